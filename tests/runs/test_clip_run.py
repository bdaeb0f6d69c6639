"""Runs of open_clip models: what they record, what they refuse, and that they go on where they were."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
from support.clip_runs import DIGITS, small_clip_run
from torch import Tensor

from vpt.artifacts import load, read
from vpt.backbones import load_backbone
from vpt.errors import BackboneMismatch, OptionError, VptError
from vpt.methods import TunedClip, method
from vpt.methods.clip.fixed_texts import from_templates
from vpt.methods.clip.learned import ClipLearned
from vpt.methods.method import _METHODS
from vpt.runs import run as run_module
from vpt.runs.config import RunConfig
from vpt.runs.prepare import Prepared, prepare
from vpt.runs.reading import load_config
from vpt.runs.restore import restore, zero_shot
from vpt.runs.run import run

NAMES = DIGITS.strip("[]").split(", ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run of CoOp."""
    folder = tmp_path_factory.mktemp("clip") / "run"
    run(small_clip_run(folder), quiet=True)
    return folder


def faults(*given: str) -> str:
    with pytest.raises(OptionError) as caught:
        load_config(None, ["data.name=digits", *given])
    return str(caught.value)


def test_a_finished_run_holds_everything_of_record(finished: Path) -> None:
    for name in ("config.yaml", "metrics.jsonl", "report.json", "report.png", "artifact/README.md"):
        assert (finished / name).stat().st_size > 0
    result = json.loads((finished / "result.json").read_text())
    assert result["fingerprint"] == result["backbone_fingerprint"] == read(finished / "artifact").fingerprint
    assert result["fingerprint"]["architecture"]["family"] == "open_clip"
    assert result["parameters"]["trained"] == result["parameters"]["prompts"] == 2 * 128
    assert result["parameters"]["head"] == 0
    assert result["method"]["options"]["classnames"] == result["data"]["classes"] == NAMES
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert json.loads((finished / "report.json").read_text())["classes"] == NAMES
    assert read(finished / "artifact").classes == NAMES


def test_a_restored_run_answers_as_measured_and_takes_other_names(finished: Path) -> None:
    saved, result = restore(finished), json.loads((finished / "result.json").read_text())
    config = small_clip_run(finished)
    test = prepare(config, quiet=True).task.test
    images = torch.stack([saved.preprocessing(test.decode(i)) for i in range(len(test))])
    with torch.no_grad():
        right = (saved.model(images).argmax(1).numpy() == test.labels).mean()
    assert right == pytest.approx(result["metrics"]["accuracy"])
    renamed = restore(finished, classnames=["cat", "sea lion"])
    assert renamed.classes == ["cat", "sea lion"]
    assert renamed.model(images[:3]).shape == (3, 2)
    assert isinstance(renamed.model, TunedClip)
    assert torch.equal(renamed.model.learned_tensors(), saved.model.learned_tensors())  # type: ignore[operator]
    with pytest.raises(OptionError, match="stands twice"):
        restore(finished, classnames=["cat", "cat"])


def test_weights_of_another_clip_are_refused(finished: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(5)
    other = load_backbone("embedded-clip", pretrained=False, image_size=16)
    save_file({name: tensor.clone() for name, tensor in other.state_dict().items()}, tmp_path / "other.safetensors")
    with pytest.raises(BackboneMismatch, match="the frozen tensors"):
        restore(finished, checkpoint=tmp_path / "other.safetensors")
    assert restore(finished, checkpoint=tmp_path / "other.safetensors", force=True).classes == NAMES
    with pytest.raises(BackboneMismatch, match="bound to an open_clip model"):
        restore(finished, backbone="embedded")
    assert isinstance(
        load(load_backbone("embedded-clip", pretrained=False, image_size=16), finished / "artifact", force=True),
        TunedClip,
    )


def test_an_interrupted_run_goes_on_to_the_undisturbed_result(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = importlib.import_module("vpt.training.fit")  # its name in the package is the function
    original, calls = fit.train_epoch, []

    def stop(*given: Any) -> Any:
        calls.append(given)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(fit, "train_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        run(small_clip_run(tmp_path / "cut"), quiet=True)
    monkeypatch.undo()
    run(small_clip_run(tmp_path / "cut"), quiet=True)
    assert read(tmp_path / "cut" / "artifact").tensors == read(finished / "artifact").tensors


def test_a_search_and_seeds_are_as_for_any_model(tmp_path: Path) -> None:
    more = [
        "search={lr: [1e-3, 1e-2], epochs: 1}",
        "seeds=[0,1]",
        "train.epochs=1",
        "data.options={train: 60, shots: 1}",
    ]
    result = run(small_clip_run(tmp_path / "run", *more), quiet=True)
    assert {trial["lr"] for trial in result["search"]["trials"]} == {1e-3, 1e-2}
    assert result["runs"] == ["seed-0", "seed-1"]
    inner = json.loads((tmp_path / "run" / "seed-1" / "result.json").read_text())
    assert inner["data"]["sizes"]["train"] == 10
    assert inner["trained_with"]["data"]["fit_on"] == "train"


def test_zero_shot_is_measured_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "fit", lambda *_, **__: pytest.fail("something was trained"))
    result = run(small_clip_run(tmp_path / "run", "method.name=zero_shot"), quiet=True)
    assert result["history"] == []
    assert result["parameters"]["trained"] == 0
    assert restore(tmp_path / "run").classes == NAMES
    with pytest.raises(OptionError, match="'zero_shot' learns nothing"):
        run(small_clip_run(tmp_path / "search", "method.name=zero_shot", "search.lr=[1e-3]"), quiet=True)


def test_a_method_that_keeps_the_training_images_gets_them(tmp_path: Path) -> None:
    seen: list[tuple[Any, Any]] = []

    def remembering(
        task: Any, generator: Any, support_images: Tensor | None = None, support_labels: Tensor | None = None
    ) -> ClipLearned:
        """Looks at what it is given."""
        seen.append((support_images, support_labels))
        return ClipLearned(from_templates, templates=("{}",))

    method("remembering", "open_clip")(remembering)
    try:
        config = small_clip_run(tmp_path / "run", "method.name=remembering", "data.options={train: 60, shots: 1}")
        prepared = prepare(config, quiet=True)
        prepared.model(config, 0).detach()
        features, labels = seen[0]
        assert features.shape == (10, 128)
        assert labels.tolist() == prepared.task.train.labels.tolist()
        config.data.fit_on = "trainval"
        prepared.model(config, 0).detach()
        assert len(seen[1][0]) == 20
    finally:
        del _METHODS["remembering", "open_clip"]


def test_a_trial_keeps_no_image_that_judges_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[tuple[bool, int]] = []
    original = Prepared.model

    def model(self: Prepared, config: RunConfig, seed: int) -> Any:
        made = original(self, config, seed)
        kept.append((bool(config.search.lr), len(made.get_parameter("prompts.keys"))))
        return made

    monkeypatch.setattr(Prepared, "model", model)
    more = ["method.name=tip_adapter_f", "search.lr=[1e-3]", "train.epochs=1", "data.fit_on=trainval"]
    run(small_clip_run(tmp_path / "run", *more), quiet=True)
    assert {keys for searched, keys in kept if searched} == {30}, "the training images"
    assert {keys for searched, keys in kept if not searched} == {40}, "those of val too, as asked for"


def test_each_seed_of_a_few_shot_run_draws_its_own_images(tmp_path: Path) -> None:
    def shots(name: str, *more: str) -> dict[str, Any]:
        options = "data.options={train: 60, val: 20, test: 20, shots: 2, val_shots: auto}"
        return run(small_clip_run(tmp_path / name, "method.name=zero_shot", options, *more), quiet=True)

    both, alone = shots("both", "seeds=[0,1]"), shots("alone", "seeds=[1]")
    first, second = both["draws"]
    assert first["digests"]["train"] != second["digests"]["train"]
    assert first["digests"]["val"] != second["digests"]["val"]
    assert first["digests"]["test"] == second["digests"]["test"]
    assert second["splits"]["train"].endswith("seed 1")
    assert alone["data"]["digests"] == second["digests"], "a seed draws the same beside others and alone"
    inner = json.loads((tmp_path / "both" / "seed-1" / "result.json").read_text())
    assert inner["data"]["digests"] == second["digests"]
    assert inner["trained_with"]["data"]["options"]["seed"] == 1
    assert restore(tmp_path / "both" / "seed-1").config.data.options["seed"] == 1
    fixed = shots("fixed", "seeds=[0,1]", "data.options.seed=1")
    assert [draw["digests"] for draw in fixed["draws"]] == [second["digests"]] * 2


def test_what_does_not_fit_a_family_is_listed_at_once() -> None:
    said = faults("method.name=coop", "backbone.tokenizer=words", "method.path=plain")
    for part in (
        "method.name: 'coop' is for open_clip models; backbone 'embedded' is one of timm's, which take: ",
        "method.path: 'plain' given; accepted: auto, hooks, fused", "backbone.tokenizer: 'words' given",
    ):  # fmt: skip
        assert part in said
    said = faults(
        "backbone.name=embedded-clip", "method.name=deep", "method.path=hooks", "method.head_init=zeros", "seeds=[]"
    )
    for part in (
        "method.name: 'deep' is for timm models; backbone 'embedded-clip' is one of open_clip's, which take: ",
        "method.path: 'hooks' given; accepted: auto, plain, fused", "method.head_init: 'zeros' given; accepted: auto",
        "seeds: []",
    ):  # fmt: skip
        assert part in said
    said = faults("backbone.name=ViT-B-32", "method.name=coop", "method.path=plian")
    assert "did you mean 'open_clip/ViT-B-32'" in said
    assert "did you mean 'plain'" in said
    assert "is for open_clip models" not in said
    said = faults("backbone.name=embedded-clip", "method.name=coop", "method.options.context_lenght=2")
    assert "did you mean 'context_length'" in said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["one", "One", *NAMES[2:]], "'One' .*stands twice"),
        (["one", "one", *NAMES[2:]], "'one' stands"),
        (["", *NAMES[1:]], "name 0 is"),
        (["word " * 80, *NAMES[1:]], "too long"),
    ],
)
def test_class_names_that_cannot_be_are_named(names: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(VptError, match=said):  # the data's error or the method's, whoever sees it first
        run(small_clip_run(tmp_path / "run", f"data.options.class_names={json.dumps(names)}"), quiet=True)


def test_class_names_alone_make_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.small_clips import package_weights

    package_weights(tmp_path / "clip.safetensors", monkeypatch)
    ready = zero_shot(["cat", "sea lion"], backbone="embedded-clip", templates=["a {}.", "the {}"])
    assert ready.classes == ["cat", "sea lion"]
    assert ready.model(torch.zeros(2, 3, *ready.preprocessing.size)).shape == (2, 2)
    with pytest.raises(OptionError, match="knows no names"):
        zero_shot(["cat"], backbone="embedded")
    with pytest.raises(OptionError, match="accepted: a list of one or more names"):
        zero_shot([], backbone="embedded-clip")
