"""Many tasks in one pass are each task alone, over every family of backbones and every kind of task."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.forgery import changes
from support.matrix import VARIANTS, images, small
from support.shared_tasks import KINDS, Kind, assert_alike, assert_as_alone, noisy, saved, saved_all
from torch import Tensor, nn

import vpt
from vpt.artifacts.schema import CONFIG, TENSORS
from vpt.errors import ArtifactError, BackboneMismatch, DataError, OptionError, UnsupportedBackbone, VptError
from vpt.training.attention import class_attention

PLAIN, ROTARY, RELATIVE = "flexivit_base", "vit_base_patch16_lingbot", "beit_base_patch16_224"
DEEP, SHALLOW, LINEAR = KINDS[0], KINDS[4], KINDS[6]


@pytest.fixture(scope="module")
def backbone() -> Any:
    return small(PLAIN)


@pytest.fixture(scope="module")
def two(backbone: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor], Tensor]:
    """A folder with the tasks `deep` and `shallow`, what they answer for two images, and these."""
    folder, x = tmp_path_factory.mktemp("two"), images(backbone)
    alone = {kind[0]: saved(backbone, kind, folder / kind[0], x, num_classes=4) for kind in (DEEP, SHALLOW)}
    return folder, alone, x


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_mixed_batch_is_each_task_alone(variant: str, tmp_path: Path) -> None:
    model = small(variant)
    x = images(model)
    alone = saved_all(model, KINDS, tmp_path, x)
    assert len(alone) >= 8
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        base = model(x)
    predictor = vpt.Predictor(model)
    for name in alone:
        predictor.add(tmp_path / name)
    names, rows = [*alone, None, *alone], [*(0 for _ in alone), 1, *(1 for _ in alone)]
    found = predictor(x[rows], names)
    assert [result.task for result in found] == names
    middle = found.pop(len(alone))
    rows.pop(len(alone))
    assert_alike(middle.logits, base[1])
    assert_as_alone(found, alone, rows)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[str, list[Kind], list[int | None]]:
    """A model, kinds of tokens on it, and the task of each image of a batch."""
    layers = st.sampled_from(["all", "first", "last:1", "last:2", [0, 2], [1], [0, 1]])
    options = {"length": st.integers(1, 5), "layers": layers, "pool": st.sampled_from(["backbone", "prompts", "all"])}
    kinds = draw(st.lists(st.fixed_dictionaries(options).map(lambda chosen: ("deep", chosen)), min_size=1, max_size=4))
    tasks = st.lists(st.none() | st.integers(0, len(kinds) - 1), min_size=1, max_size=6)
    return draw(st.sampled_from([PLAIN, ROTARY, RELATIVE, "vit_dlittle_patch16_reg1_gap_256"])), kinds, draw(tasks)


@settings(max_examples=25, deadline=None)
@given(mixture=mixtures())
def test_any_mixture_of_lengths_layers_and_poolings(
    mixture: tuple[str, list[Kind], list[int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    variant, kinds, tasks = mixture
    model, folder = small(variant), tmp_path_factory.mktemp("mixture")
    x = images(model, len(tasks))
    alone = saved_all(model, kinds, folder, x)
    with torch.no_grad():
        base = model(x)
    predictor = vpt.Predictor(model)
    for name in alone:
        predictor.add(folder / name)
    for row, result in enumerate(predictor(x, [None if t is None else str(t) for t in tasks])):
        assert_alike(result.logits, base[row] if result.task is None else alone[result.task][row])


def test_a_hundred_tasks_in_one_batch(tmp_path: Path) -> None:
    model = small(PLAIN)
    x = images(model, 100)
    kinds = [("shallow" if i % 5 == 0 else "deep", {"length": 1 + i % 4}) for i in range(100)]
    alone = {
        str(i): saved(model, kind, tmp_path / str(i), x[i : i + 1], i, num_classes=2 + i % 7)
        for i, kind in enumerate(kinds)
    }
    predictor = vpt.Predictor(model)
    for name in alone:
        predictor.add(tmp_path / name)
    assert_as_alone(predictor(x, list(alone)), alone, [0] * 100)


def test_tasks_are_added_replaced_and_removed(backbone: nn.Module, two: Any, tmp_path: Path) -> None:
    folder, alone, x = two
    predictor = vpt.Predictor(backbone)
    assert predictor.tasks == []
    assert predictor.add(folder / "deep") == "deep"
    assert predictor.add(str(folder / "shallow"), name="second") == "second"
    assert predictor.tasks == ["deep", "second"]
    old = predictor(x, "deep")[0]
    assert_alike(old.logits, alone["deep"][0])
    predictor.add(folder / "shallow", name="deep")
    new = predictor(x, "deep")[0]
    assert_alike(new.logits, alone["shallow"][0])
    assert new.digest == vpt.artifacts.read(folder / "shallow").tensors["sha256"] != old.digest
    predictor.remove("second")
    assert predictor.tasks == ["deep"]
    for call in (lambda: predictor.remove("second"), lambda: predictor(x, ["deep", "deeper"])):
        with pytest.raises(OptionError, match=r"unknown task.*deep"):
            call()


def test_a_run_gives_its_own_name(backbone: nn.Module, tmp_path: Path) -> None:
    saved(backbone, LINEAR, tmp_path / "flowers" / "artifact", images(backbone), num_classes=4)
    predictor = vpt.Predictor(backbone)
    assert predictor.add(tmp_path / "flowers") == predictor.add(tmp_path / "flowers" / "artifact") == "flowers"


def test_results_have_labels_probabilities_and_logits(backbone: nn.Module, tmp_path: Path) -> None:
    model = noisy(vpt.tune(backbone, "deep", num_classes=3), 1)
    vpt.save(model, tmp_path / "pets", classes=["cat", "dog", "emu"])
    model.detach()
    predictor = vpt.Predictor(backbone)
    predictor.add(tmp_path / "pets")
    (result,) = predictor(images(backbone, 1), ["pets"])
    assert result.labels == ("cat", "dog", "emu") == predictor.task("pets").classes
    torch.testing.assert_close(result.probabilities, result.logits.softmax(0))
    top = result.top(2)
    assert [label for label, _ in top] == [result.labels[c] for c in result.logits.argsort(descending=True)[:2]]
    assert result.label == top[0][0]
    assert top[0][1] == float(result.probabilities.max())


def test_rounded_and_headless_tasks_are_those_that_load_gives(tmp_path: Path) -> None:
    for variant, classes in ((PLAIN, 5), ("no head", 0)):
        model = small(variant)
        x = images(model)
        tuned = noisy(vpt.tune(model, "deep", num_classes=4), 0)
        vpt.save(tuned, tmp_path / "prompts", head=False)
        vpt.save(tuned, tmp_path / "rounded", dtype="float16")
        tuned.detach()
        predictor = vpt.Predictor(model)
        for name in ("prompts", "rounded"):
            loaded = vpt.load(model, tmp_path / name)
            with torch.no_grad():
                alone = loaded(x)
            loaded.detach()
            predictor.add(tmp_path / name)
            (result, _) = predictor(x, name)
            assert_alike(result.logits, alone[0])
            assert len(result.labels) == (4 if name == "rounded" else classes)
            assert predictor.task(name).bytes == 8 * (3 * 2 * 10 * 48 + (196 if name == "rounded" else 0))


def test_the_backbone_alone_has_its_own_head_or_features(backbone: nn.Module) -> None:
    x = images(backbone)
    (own, _) = vpt.Predictor(backbone)(x, None)
    assert own.labels == ("0", "1", "2", "3", "4")
    assert own.task is own.digest is None
    (features,) = vpt.Predictor(small("no head"))(x[:1], [None])
    assert (features.labels, features.probabilities.numel(), features.logits.shape) == ((), 0, (48,))
    with pytest.raises(OptionError, match="has no classes"):
        _ = features.label


def test_bytes_are_those_of_keys_values_and_head(backbone: nn.Module, two: Any) -> None:
    predictor = vpt.Predictor(backbone)
    predictor.add(two[0] / "deep")
    assert predictor.task("deep").bytes == 8 * (3 * 2 * 2 * 48 + 4 * 48 + 4)


def test_attention_is_that_of_the_tuned_model(backbone: nn.Module, tmp_path: Path) -> None:
    x = images(backbone)
    predictor, expected = vpt.Predictor(backbone), {}
    for kind in (DEEP, SHALLOW):
        model = noisy(vpt.tune(backbone, kind[0], num_classes=4, **kind[1]), 0)
        vpt.save(model, tmp_path / kind[0])
        expected[kind[0]] = class_attention(model.backbone, x)
        model.detach()
        predictor.add(tmp_path / kind[0])
    found = predictor.attention(x, ["deep", "shallow"])
    for row, name in enumerate(expected):
        torch.testing.assert_close(found[row], expected[name][row])
    assert vpt.Predictor(small("aimv2_1b_patch14_224")).attention(x, None) is None


def test_images_may_be_pixels_pictures_and_files(backbone: nn.Module, tmp_path: Path) -> None:
    predictor = vpt.Predictor(backbone)
    for name, mean in (("grey", 0.5), ("dark", 0.1)):
        model = noisy(vpt.tune(backbone, "deep", num_classes=4), 0)
        vpt.save(model, tmp_path / name, preprocessing=vpt.Preprocessing.of(backbone, mean=(mean,) * 3))
        model.detach()
        predictor.add(tmp_path / name)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    given = [pixels, Image.fromarray(pixels), tmp_path / "picture.png", predictor.prepare(pixels, "grey")]
    found = predictor([*given, pixels], ["grey"] * 4 + ["dark"])
    expected = predictor(predictor.prepare(pixels, "grey")[None], "grey")[0].logits
    assert all(torch.equal(result.logits, found[0].logits) for result in found[:4])
    torch.testing.assert_close(found[0].logits, expected)
    assert not torch.allclose(found[4].logits, expected)
    assert predictor([], []) == []
    assert predictor.attention([], "grey") is None
    assert len(predictor((picture for picture in given), "grey")) == 4


def test_bad_images_are_named(backbone: nn.Module, two: Any, tmp_path: Path) -> None:
    predictor = vpt.Predictor(backbone)
    predictor.add(two[0] / "deep")
    broken = images(backbone, 3)
    broken[1, 0, 0, 0] = float("nan")
    (tmp_path / "text.png").write_text("no picture")
    cases: list[tuple[Any, Any, type[Exception], str]] = [
        (broken, "deep", DataError, "NaN or infinity in 1 of 3 images, by number: 1"),
        (broken[:, :, :32], "deep", OptionError, "32 x 64 pixels; this model takes 64 x 64"),
        (broken[0], "deep", OptionError, r"\[B, 3, H, W\]"),
        (broken.byte(), "deep", OptionError, "torch.uint8"),
        (broken, ["deep"], OptionError, "3 images and 1 tasks"),
        ([np.zeros((4, 4))], "deep", OptionError, r"image 0 is float64 \[4, 4\]"),
        ([3], "deep", OptionError, "image 0 is int"),
        ([tmp_path / "text.png"], "deep", DataError, "text.png"),
        ([broken[0], broken[0, :, :8]], "deep", OptionError, "images of one batch have shapes"),
        (tmp_path / "text.png", "deep", OptionError, "images is a PosixPath; accepted"),
        ([], "deeper", OptionError, r"unknown task 'deeper' \(did you mean 'deep'"),
    ]
    for asked, task, error, message in cases:
        with pytest.raises(error, match=message):
            predictor(asked, task)


@pytest.mark.parametrize("method", ["full", "bias", "partial", "lora"])
def test_what_changes_the_backbone_cannot_share_it(backbone: nn.Module, method: str, tmp_path: Path) -> None:
    if method == "lora":
        pytest.importorskip("peft")
    saved(backbone, (method, {}), tmp_path / "task", images(backbone), num_classes=4)
    predictor = vpt.Predictor(backbone)
    with pytest.raises(OptionError, match=rf"{method}.*changes the backbone itself"):
        predictor.add(tmp_path / "task")
    assert predictor.tasks == []


def test_another_backbone_and_damage_are_refused_and_nothing_changes(two: Any, tmp_path: Path) -> None:
    folder, _, x = two
    other = small(PLAIN)
    with torch.no_grad():
        next(other.blocks.parameters()).add_(1e-6)
    predictor = vpt.Predictor(other)
    with pytest.raises(BackboneMismatch, match="the frozen tensors"):
        predictor.add(folder / "deep")
    assert predictor.add(folder / "deep", name="forced", force=True) == "forced"
    before = predictor(x, "forced")[0].logits
    with pytest.raises(OptionError, match="is not a run or an artefact"):
        predictor.add(tmp_path, name="forced")
    shutil.copytree(folder / "deep", tmp_path / "damaged")
    (tmp_path / "damaged" / TENSORS).write_bytes(b"")
    with pytest.raises(ArtifactError, match="is damaged"):
        predictor.add(tmp_path / "damaged", name="forced")
    assert torch.equal(predictor(x, "forced")[0].logits, before)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_forged_task_is_refused_or_as_before(
    data: st.DataObject, backbone: nn.Module, two: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, x = tmp_path_factory.mktemp("forged") / "task", two[2]
    shutil.copytree(two[0] / "deep", folder)
    (folder / CONFIG).write_text(json.dumps(data.draw(changes(json.loads((folder / CONFIG).read_text())))))
    predictor = vpt.Predictor(backbone)
    try:
        predictor.add(folder)
    except VptError:
        return
    assert_alike(predictor(x, "task")[1].logits, two[1]["deep"][1])


def test_a_tuned_backbone_is_in_use_and_a_shared_one_is_free(backbone: nn.Module, two: Any) -> None:
    folder, alone, x = two
    predictor = vpt.Predictor(backbone)
    model = vpt.load(backbone, folder / "deep")
    calls = (lambda: vpt.Predictor(backbone), lambda: predictor.add(folder / "shallow"), lambda: predictor(x, None))
    for call in calls:
        with pytest.raises(OptionError, match="already tuned"):
            call()
    model.detach()
    predictor.add(folder / "shallow")
    assert_alike(predictor(x, "shallow")[1].logits, alone["shallow"][1])


def test_images_of_other_sizes(tmp_path: Path) -> None:
    model = small("dynamic image size")
    x = images(model)
    larger = torch.nn.functional.interpolate(x, (96, 80))
    predictor = vpt.Predictor(model)
    for kind in (DEEP, ("added", {}), ("frame", {"border": 2})):
        saved(model, kind, tmp_path / kind[0], x, num_classes=4)
        predictor.add(tmp_path / kind[0])
    loaded = vpt.load(model, tmp_path / "deep")
    with torch.no_grad():
        alone = loaded(larger)
    loaded.detach()
    assert_alike(predictor(larger, "deep")[1].logits, alone[1])
    cases = (
        (larger, "added", "adds to 16 patches; these images have 30"),
        (larger, "frame", "frame is of 64 x 64 pixels; images are of 96 x 80"),
        (larger[..., :70], "deep", "96 x 70 pixels; this model takes multiples of 16 x 16"),
    )
    for shown, task, message in cases:
        with pytest.raises(OptionError, match=message):
            predictor(shown, task)


def test_a_task_of_images_of_another_size_is_refused(backbone: nn.Module, tmp_path: Path) -> None:
    model = vpt.tune(backbone, "deep", num_classes=4)
    vpt.save(model, tmp_path / "task", preprocessing=vpt.Preprocessing.of(backbone, size=(32, 32)))
    model.detach()
    with pytest.raises(OptionError, match="32 x 32 pixels; this model takes 64 x 64"):
        vpt.Predictor(backbone).add(tmp_path / "task")


def test_a_backbone_with_hooks_of_its_own_is_refused() -> None:
    model = small(PLAIN)
    model.register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedBackbone, match="hooks"):
        vpt.Predictor(model)
    with pytest.raises(OptionError, match="tokenizer"):
        vpt.Predictor(small(PLAIN), tokenizer=lambda text: text)


def test_the_least_recently_used_wait_in_host_memory(
    backbone: nn.Module, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, alone, x = two
    moves: list[str | None] = []
    stay = vpt.serving.Task.to
    monkeypatch.setattr(vpt.serving.Task, "to", lambda self, device: (moves.append(self.name), stay(self, device))[1])
    predictor = vpt.Predictor(backbone, resident=2)
    for name in ("a", "b", "c"):
        predictor.add(folder / "deep", name=name)
    assert (predictor.resident, moves) == (["b", "c"], ["a"])
    predictor(x, ["b", "a"])
    assert (predictor.resident, moves) == (["b", "a"], ["a", "a", "c"])
    found = predictor(torch.cat([x, x]), ["a", "a", "b", "c"])  # more than fit: all stay for the length of the pass
    assert predictor.resident == ["b", "c"]
    assert_alike(found[3].logits, alone["deep"][1])
    predictor.remove("a")
    assert "a" not in predictor.tasks
    with pytest.raises(OptionError, match="resident is 0"):
        vpt.Predictor(backbone, resident=0)


def test_tasks_come_and_go_while_others_predict(backbone: nn.Module, two: Any) -> None:
    folder, alone, x = two
    digests = {vpt.artifacts.read(folder / name).tensors["sha256"]: name for name in alone}
    predictor = vpt.Predictor(backbone)
    predictor.add(folder / "deep", name="changing")
    predictor.add(folder / "shallow", name="steady")
    seen, done = set(), threading.Event()

    def churn() -> None:
        while not done.is_set():
            for name in alone:
                predictor.add(folder / name, name="changing")
                predictor.add(folder / name, name="passing")
                predictor.remove("passing")

    def ask() -> None:
        for _ in range(40):
            for row, result in enumerate(predictor(x, ["changing", "steady"])):
                name = digests[str(result.digest)]
                seen.add((result.task, name))
                assert_alike(result.logits, alone[name][row])

    with ThreadPoolExecutor(4) as pool:
        churning, asking = pool.submit(churn), [pool.submit(ask) for _ in range(3)]
        try:
            for answered in asking:
                answered.result()
        finally:
            done.set()
        churning.result()
    assert seen == {("changing", "deep"), ("changing", "shallow"), ("steady", "shallow")}
