"""Prompts per block and task: the published choice of VPT-Deep for a ViT-B/16 (`visinf/adapter_plus`)."""

from __future__ import annotations

LENGTHS = dict(
    cifar=10, caltech101=10, dtd=10, oxford_flowers102=1, oxford_iiit_pet=1, svhn=50, sun397=5,
    patch_camelyon=100, eurosat=100, resisc45=10, diabetic_retinopathy=1,
    clevr_count=100, clevr_dist=200, dmlab=100, kitti=100,
    dsprites_loc=100, dsprites_ori=100, smallnorb_azi=200, smallnorb_ele=200,
)  # fmt: skip

ELSEWHERE = 10
"""For tasks that are not VTAB-1K's."""


def length(task: str) -> int:
    """What the option value "per-task" stands for."""
    return LENGTHS.get(task, ELSEWHERE)
