"""Text sites: every part of a tower, against open_clip's own forward."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import timm
import torch
from support.small_tokenizer import SmallTokenizer
from support.text_towers import TOWERS, small_clip

import vpt
from vpt.prompts.words import Words
from vpt.sites.clip_text import is_open_clip, text_site
from vpt.sites.clip_text_site import CLIP_VOCABULARY


@pytest.mark.parametrize("tower", TOWERS)
def test_its_parts_in_a_row_are_open_clips_forward(tower: str) -> None:
    clip = small_clip(tower)
    site, ids = text_site(clip), SmallTokenizer()(["no", "a sea lion.", "vezi tomi la no"])
    tokens, mask = site.embed(ids), site.mask(ids)
    if site.cls is not None:
        tokens = torch.cat([tokens, site.cls.expand(3, 1, -1)], 1)
    tokens = tokens + site.positions()
    if mask is not None and mask.dim() == 3:
        mask = mask.repeat_interleave(site.heads, 0)
    tokens = site.tower.transformer(tokens, attn_mask=mask)
    features = site.leave(tokens[torch.arange(3), site.reads(ids)])
    torch.testing.assert_close(features, clip.encode_text(ids, normalize=False))
    assert features.shape == (3, site.features)
    assert (site.depth, site.width, site.context_length) == (3, tokens.shape[-1], 20)
    settings = TOWERS[tower][1]
    assert site.causal == (not settings.get("no_causal_mask", False))


@pytest.mark.parametrize(
    ("tower", "whole"),
    [
        ("flat", False),
        ("flat, last", True),
        ("text, class token, mask corrected", False),
        ("text, padding hidden", False),
        ("text, SigLIP", True),
    ],
)
def test_texts_are_cut_where_nothing_read_depends_on_the_rest(tower: str, whole: bool) -> None:
    texts = ["no", "a sea lion."]
    lengths = [20 if whole else 2 + len(SmallTokenizer().encode(text)) for text in texts]
    assert text_site(small_clip(tower)).cuts(SmallTokenizer()(texts)).tolist() == lengths


def test_clips_own_tokenizer_is_taken_where_its_vocabulary_is_the_towers() -> None:
    site = text_site(small_clip("flat", vocab_size=CLIP_VOCABULARY))
    assert site.tokenizer() is open_clip.tokenize
    assert int(open_clip.tokenize("a photo").max()) == CLIP_VOCABULARY - 1
    words = Words(site.tokenizer())
    assert words(["a photo"]) == [open_clip.tokenize("a photo")[0, 1:3].tolist()]
    assert len(words(["half a character: \ud800"])[0]) > 4, "ids of any text, also of one that no encoding has"


def test_who_is_open_clips() -> None:
    assert is_open_clip(small_clip("flat"))
    assert is_open_clip(small_clip("coca"))
    assert not is_open_clip(torch.nn.Linear(1, 1))


def test_only_clips_need_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    for file in Path(vpt.__file__).parent.rglob("*.py"):
        for node in ast.parse(file.read_text()).body:  # the module's own level, not functions
            names = [alias.name for alias in getattr(node, "names", ())] + [getattr(node, "module", None) or ""]
            assert "open_clip" not in {name.partition(".")[0] for name in names}, file
    monkeypatch.setitem(sys.modules, "open_clip", None)  # importing it now fails
    small = {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 2}
    vpt.tune(timm.create_model("vit_tiny_patch16_224", **small), "deep", num_classes=2)(torch.zeros(1, 3, 16, 16))
