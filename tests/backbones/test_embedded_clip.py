"""The CLIP in the package: stock, small, whole, and as good as its record says."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import torch
from safetensors.torch import load_file

import vpt
from vpt.backbones.embedded_clip import ROWS, TABLE, WEIGHTS, embedded_clip, known_tokens, whole_table
from vpt.data import Preprocessing
from vpt.errors import ArtifactError, WeightsUnavailable

ROOT = Path(__file__).parents[2]
TINY_IMAGENET = ROOT.parent / "shared" / "data" / "tiny-imagenet-200"
module = importlib.import_module("vpt.backbones.embedded_clip")  # the package has a function of that name
RECORD = json.loads(WEIGHTS.with_suffix(".json").read_text())


def test_it_is_a_stock_open_clip_model_of_at_most_twelve_megabytes() -> None:
    clip = embedded_clip()
    assert type(clip) is open_clip.CLIP
    assert not clip.training
    assert WEIGHTS.stat().st_size <= 12e6
    assert Preprocessing.of(clip).to_dict()["mean"] == [0.5, 0.5, 0.5]
    assert all(torch.isfinite(p).all() for p in clip.parameters())


def test_it_is_the_same_each_time_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two = embedded_clip().state_dict(), embedded_clip().state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_stored_rows_are_those_that_training_knew() -> None:
    stored, table = load_file(WEIGHTS), embedded_clip().token_embedding.weight
    ids = known_tokens()
    assert torch.equal(ids, stored[ROWS])
    assert len(ids) == RECORD["tokens"] < len(table)
    torch.testing.assert_close(table[ids].half(), stored[TABLE], rtol=0, atol=0)
    others = torch.ones(len(table), dtype=torch.bool)
    others[ids] = False
    assert len(torch.unique(table[others][:200], dim=0)) == 200, "words it does not know still differ"
    assert math.isclose(table[others].std().item(), table[ids].std().item(), rel_tol=0.01)


def test_a_table_is_whole_whatever_was_stored() -> None:
    rows = torch.randn(3, 4)
    table = whole_table(rows, torch.tensor([1, 5, 8]), 10)
    assert table.shape == (10, 4)
    assert torch.equal(table[[1, 5, 8]], rows)
    assert torch.equal(table, whole_table(rows, torch.tensor([1, 5, 8]), 10))


def test_a_package_without_its_weights_says_what_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WEIGHTS", tmp_path / "embedded_clip.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"pretrain_embedded_clip\.py"):
        embedded_clip()
    (tmp_path / "embedded_clip.safetensors").write_bytes(WEIGHTS.read_bytes()[:-1])
    (tmp_path / "embedded_clip.json").write_text(json.dumps(RECORD))
    with pytest.raises(ArtifactError, match="is damaged"):
        embedded_clip()


def test_known_and_unknown_names_have_features_of_their_own() -> None:
    names = ["goldfish", "school bus", "zyzzyva", "quokka"]
    features = vpt.tune(embedded_clip(), "zero_shot", classnames=names).text_features()
    cosines = features @ features.T - torch.eye(4)
    assert cosines.max() < 0.999


@pytest.mark.skipif(not TINY_IMAGENET.exists(), reason="needs Tiny-ImageNet beside the checkout")
def test_its_recorded_accuracy_is_measured_again(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from pretrain_embedded_clip import Captions, accuracy
        from tiny_imagenet import decoded
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    images, labels = decoded(TINY_IMAGENET, "val", tmp_path)
    captions = Captions(json.loads((TINY_IMAGENET / "classnames.json").read_text()))
    found = accuracy(embedded_clip(), images[::4], labels[::4], captions.judged())
    error = math.sqrt(RECORD["val_top1"] * (1 - RECORD["val_top1"]) / len(labels[::4]))
    assert abs(found - RECORD["val_top1"]) < 4 * error
    assert found > 0.1, "chance is 0.005"
