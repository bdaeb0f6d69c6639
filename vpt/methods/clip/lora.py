"""LoRA within the towers of a CLIP (CLIP-LoRA, arXiv:2405.18541), by Hugging Face peft.

open_clip's attentions keep queries, keys and values in one matrix. peft's layer for such an attention adds its product
to the frozen matrix in every pass and takes it off again, which leaves rounding in it, and has no choice of
projections. So the projections are told apart (`vpt.sites.clip_attention.Unpacked`), and each one that is adapted has
peft's layer for a linear map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from vpt.errors import OptionError, UnsupportedBackbone, unknown
from vpt.methods.clip.fixed_texts import PHOTO, Templates, as_templates, from_templates
from vpt.methods.clip.learned import ClipLearned, ClipTask, clip_method
from vpt.methods.layers import Layers, resolve
from vpt.methods.peft import lora_settings
from vpt.methods.peft_layers import Linear, wrap
from vpt.methods.peft_targets import QUERIES_AND_VALUES, Targets, is_target, linears, wanted_of
from vpt.sites import clip_attention
from vpt.sites.clip_attention import Rows, Unpacked

if TYPE_CHECKING:
    from vpt.methods.clip.tuned_clip import TunedClip

Tower = Literal["text", "image"]
TOWERS: tuple[Tower, ...] = ("text", "image")
PARTS = ("q", "k", "v")
USUAL = (*PARTS, "query", "key", "value", "k_proj", *QUERIES_AND_VALUES)
"""What is adapted by default: queries, keys and values, by every name that a tower has for them."""


@clip_method("lora")
def lora(
    task: ClipTask,
    generator: torch.Generator,
    rank: int = 2,
    alpha: float | None = 1.0,
    dropout: float = 0.25,
    rslora: bool = True,
    towers: Tower | Sequence[Tower] = TOWERS,
    targets: Targets = None,
    layers: Layers = "all",
    templates: Templates = PHOTO,
) -> ClipLearned:
    """CLIP-LoRA (arXiv:2405.18541), by peft: thin products beside queries, keys and values, in both towers.

    alpha: they are multiplied by alpha / sqrt(rank), or by alpha / rank with rslora=False.
    targets: ends of names such as `"q"`, `"attn.out_proj"`, `"c_fc"`, or `"all"`. layers: of each tower.
    """
    settings = lora_settings(rank, alpha, dropout, dora=False, rslora=rslora)
    sentences, chosen = as_templates(templates), _towers(towers)
    adapters = wrap(targeted(task, chosen, targets, layers), "lora", settings, generator, precise=True)
    features = anew if "text" in chosen else from_templates
    return ClipLearned(features, templates=sentences, adapters=_in_place(task.site.model, adapters))


def anew(model: TunedClip, images: Tensor) -> Tensor:
    """Class features `[C, F]` of the templates, with gradients."""
    return model.encode_templates()


def targeted(task: ClipTask, towers: Sequence[Tower], targets: Targets, layers: Layers) -> dict[str, Linear]:
    """What is adapted, by its name in the model; a packed projection as `Rows`, by the name "<attention>.q".

    Raises `OptionError` for a tower that has nothing to adapt, and for targets that none has.
    """
    blocks = {tower: _blocks(task, tower) for tower in towers}
    paths = {id(module): path for path, module in task.site.model.named_modules()}
    found: dict[str, Linear] = {}
    for tower in towers:
        alike = blocks[tower] if targets is None else [block for own in blocks.values() for block in own]
        wanted = _wanted(targets, alike)
        for layer in resolve(layers, len(blocks[tower])):
            block = blocks[tower][layer]
            found |= {f"{paths[id(block)]}.{n}": part for n, part in _parts(block) if is_target(n, wanted)}
    return found


def _towers(towers: Tower | Sequence[Tower]) -> tuple[Tower, ...]:
    listed = (towers,) if isinstance(towers, str) else towers
    if not isinstance(listed, Sequence) or not listed:
        raise OptionError(f"towers is {towers!r}; accepted: 'text', 'image', or both")
    for tower in listed:
        if tower not in TOWERS:
            raise unknown("tower", tower, TOWERS)
    return tuple(tower for tower in TOWERS if tower in listed)


def _blocks(task: ClipTask, tower: Tower) -> list[nn.Module]:
    if tower == "text":
        return task.site.blocks
    try:
        return list(task.visual.blocks)
    except UnsupportedBackbone as error:
        raise OptionError(f"this image tower takes no LoRA: {error} Without it: towers='text'") from error


def _parts(block: nn.Module) -> Iterator[tuple[str, Linear]]:
    """What of a block can be adapted, by name: its linear layers, and the projections of packed attentions."""
    packed = {name: module for name, module in block.named_modules() if clip_attention.is_packed(module)}
    for name, attention in packed.items():
        if clip_attention.fault(attention) is None:
            yield from ((f"{name}.{part}", Rows(attention, part)) for part in PARTS)
            yield f"{name}.out_proj", attention.get_submodule("out_proj")  # type: ignore[misc]
    inside = tuple(f"{name}." for name in packed)
    yield from ((name, linear) for name, linear in linears(block) if not name.startswith(inside))


def _wanted(targets: Targets, blocks: Sequence[nn.Module]) -> Sequence[str]:
    """Ends of the names to adapt in blocks; an error tells, too, why attentions among them cannot be."""
    try:
        return wanted_of(targets, list(dict.fromkeys(name for block in blocks for name, _ in _parts(block))), USUAL)
    except OptionError as error:
        packed = (module for block in blocks for module in block.modules() if clip_attention.is_packed(module))
        fault = next((reason for module in packed if (reason := clip_attention.fault(module))), None)
        if fault is None:
            raise
        raise OptionError(f"{error}; of its packed attentions: {fault}") from error


def _in_place(model: nn.Module, adapters: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """By the names of modules of the model, what stands in for each; projections of one attention together."""
    found: dict[str, nn.Module] = {}
    apart: dict[str, dict[str, nn.Module]] = {}
    for name, adapter in adapters.items():
        owner, _, own = name.rpartition(".")
        if clip_attention.is_packed(model.get_submodule(owner)):
            apart.setdefault(owner, {})[own] = adapter
        else:
            found[name] = adapter
    return found | {name: Unpacked(model.get_submodule(name), parts) for name, parts in apart.items()}
