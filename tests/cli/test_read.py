"""`vpt read`: the words of a saved context on the terminal and on a page, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
from typer.testing import CliRunner

import vpt
from vpt.backbones.embedded_clip import NAME, embedded_clip, known_tokens
from vpt.cli.main import app, main
from vpt.cli.read import known_words
from vpt.errors import VptError
from vpt.methods.clip import nearest_words
from vpt.prompts.words import Words
from vpt.runs.config import BackboneConfig
from vpt.runs.prepare import prepare_backbone, prepare_tokenizer

RANDOM = {"name": NAME, "pretrained": False}
"""The small CLIP without its weights, the same each time."""


def output(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["read", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["read", *map(str, arguments)])
    return int(caught.value.code or 0), capsys.readouterr().err


def saved(folder: Path, method: str = "coop", planted: str | None = None, **options: Any) -> Path:
    """A task of three classes on the small CLIP, whose context is the word `planted`, times over."""
    config = BackboneConfig(**RANDOM)
    clip, tokenizer = prepare_backbone(config), prepare_tokenizer(config)
    model = vpt.tune(clip, method, classnames=["cat", "<sea> lion", "go-kart"], tokenizer=tokenizer, **options)
    if planted is not None:
        (token,) = Words(tokenizer)([planted])[0]
        with torch.no_grad():
            model.get_parameter("prompts.tokens").copy_(clip.get_parameter("token_embedding.weight")[token])
    return vpt.save(model.eval(), folder, provenance={"backbone": RANDOM}, metrics={"accuracy": 0.5})


def test_a_table_and_a_page(tmp_path: Path) -> None:
    task, out = saved(tmp_path / "task", planted="photo", context_length=2), tmp_path / "new" / "page.html"
    shown = output(task, "--out", out, "--words", 3)
    assert shown.count("photo 0.000") == 2
    assert "4." not in shown
    page = out.read_text(encoding="utf-8")
    assert page.count("photo<small>0.000") == 2
    assert f"coop on {NAME}, 3 classes" in page
    assert "&lt;sea&gt; lion" in page
    manifest = vpt.artifacts.read(task)
    for fact in (str(task), manifest.fingerprint["digest"], manifest.versions["torch"], "context_length 2", "0.5000"):
        assert fact in page


def test_contexts_of_classes_are_rows_of_their_own(tmp_path: Path) -> None:
    task = saved(tmp_path / "task", planted="photo", context_length=1, class_specific=True)
    shown = output(task)
    assert all(shown.count(f" {name} 1 ") == 1 for name in ("cat", "<sea> lion", "go-kart"))
    assert shown.count("photo 0.000") == 3


@pytest.mark.parametrize("method", ["taskres", "zero_shot"])
def test_what_has_no_words_names_what_has(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = failure(capsys, saved(tmp_path / "task", method), "--out", tmp_path / "page.html")
    assert code == 2
    assert f"method '{method}' learns no tokens among words" in said
    assert "cocoop, coop," in said
    assert not (tmp_path / "page.html").exists()


def test_a_task_of_a_timm_model_has_no_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = {"name": "embedded", "pretrained": False}
    model = vpt.tune(prepare_backbone(BackboneConfig(**backbone)), "linear", num_classes=3)
    code, said = failure(capsys, vpt.save(model, tmp_path / "task", provenance={"backbone": backbone}))
    assert code == 2
    assert "method 'linear' learns no tokens among words" in said
    assert "coop" in said


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = saved(tmp_path / "task", context_length=1)
    assert failure(capsys, tmp_path)[0] == 2
    code, said = failure(capsys, task, "--out", tmp_path)
    assert code == 2
    assert "is a folder" in said
    code, said = failure(capsys, task, "--words", 10**6)
    assert code == 2
    assert "k is 1000000; accepted: 1 to 49408" in said


def test_an_untrained_context_is_near_no_word() -> None:
    try:
        clip = embedded_clip()
    except VptError as error:
        pytest.skip(f"the package was built without the weights: {error}")
    model = vpt.tune(clip, "coop", classnames=["cat", "sea lion"], context_length=16)
    found = nearest_words(model, 1, among=known_tokens())
    assert max(found.distances) < found.apart, "by their distance all would be"
    assert found.near_a_word == 0


def test_only_the_embedded_weights_know_some_words_alone() -> None:
    assert known_words(BackboneConfig("open_clip/ViT-B-32")) is None
    assert known_words(BackboneConfig(NAME, checkpoint=Path("mine.safetensors"))) is None
    assert known_words(BackboneConfig(NAME, pretrained=False)) is None
    try:
        known = known_tokens()
    except VptError as error:
        pytest.skip(f"the package was built without the weights: {error}")
    found = known_words(BackboneConfig(NAME))
    assert found is not None
    assert torch.equal(found, known)
    assert 0 < len(known) < 49408
