"""A tuned model as a plain timm model: a folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from torch import nn

from vpt.backbones.embedded import ARCHITECTURE, NAME
from vpt.data import Preprocessing
from vpt.errors import OptionError, nearest
from vpt.export.frozen import Frozen, freeze
from vpt.export.placing import placing
from vpt.export.stock import Tensors, refused, stock
from vpt.methods import Tuned, TunedClip

CONFIG, TENSORS = "config.json", "model.safetensors"
"""The names that timm and the Hugging Face hub look for."""

SMALLEST = "vit_tiny_patch16_224"
"""timm's architecture that becomes the embedded backbone by the arguments of that one."""


def to_timm(
    model: Tuned | TunedClip,
    folder: Path | str,
    *,
    name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Path:
    """Write `model` as a plain timm model, weights and prompts in one `state_dict()`, and answer with the folder.

    `timm.create_model("local-dir:FOLDER", pretrained=True)` makes the model of it, and so does the hub it is pushed to;
    timm's configuration has class names and preprocessing, and under `vpt` what the other exports say.
    name, arguments: of `timm.create_model`, as the backbone was made; by default what it remembers itself.
    classes, preprocessing: as for `vpt.save`. Before the files are in their places timm builds the model, and its
    logits are compared. Raises `OptionError` for what timm has no place for (deep prompts, heads of several layers) and
    for a name or arguments that make another model, `ArtifactError` where the logits differ.
    """
    if isinstance(model, TunedClip):
        raise refused(model, "its classes are texts")
    frozen = freeze(model, classes, preprocessing)
    architecture, given = _recipe(model, name, arguments or {})
    tensors, more = stock(frozen.model)  # type: ignore[arg-type]
    config = _config(frozen, architecture, {**given, **more})
    with placing(Path(folder) / CONFIG) as draft:
        draft.write_text(_as_json(config))
        own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
        draft.with_name(TENSORS).write_bytes(safetensors.torch.save(own, metadata={"format": "pt"}))
        frozen.check(str(folder), _built(architecture, config["model_args"], tensors))
    return Path(folder)


def _recipe(model: Tuned, name: str | None, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """timm's name of the backbone's architecture, and the arguments it was made with, as far as they are known."""
    backbone: Any = model.backbone
    declared = (getattr(backbone, "pretrained_cfg", None) or {}).get("architecture")
    recorded = getattr(backbone, "_model_args", {})  # by timm's factory, of late
    if declared == NAME:
        declared, recorded = SMALLEST, ARCHITECTURE
    chosen = name or declared
    if chosen is None:
        raise OptionError(
            f"this {type(backbone).__name__} does not say which of timm's architectures it is; give name=, arguments="
        )
    if not timm.is_model(chosen):
        raise OptionError(f"timm has no architecture {chosen!r}{nearest(chosen, timm.list_models())}; give name=")
    size = {"img_size": list(model.site.image_size), "num_classes": model.num_classes}
    return chosen, {**recorded, **size, **arguments}


def _config(frozen: Frozen, architecture: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """timm's configuration of a model in a folder or on the hub."""
    backbone: Any = frozen.model.backbone
    facts, shown = frozen.facts, frozen.facts["preprocessing"]
    known = getattr(backbone, "pretrained_cfg", None) or {}
    return {
        "architecture": architecture,
        "num_classes": frozen.model.num_classes,
        "num_features": backbone.num_features,
        **({} if facts["classes"] is None else {"label_names": facts["classes"]}),
        "model_args": arguments,
        "pretrained_cfg": {
            **{key: known[key] for key in ("license", "first_conv", "classifier") if known.get(key)},
            "num_classes": frozen.model.num_classes,
            "input_size": [3, *shown["size"]],
            "fixed_input_size": not getattr(backbone, "dynamic_img_size", False),
            "crop_pct": 1.0,
            "crop_mode": "squash",
            **{key: shown[key] for key in ("interpolation", "mean", "std")},
        },
        "vpt": facts,
    }


def _as_json(config: dict[str, Any]) -> str:
    try:
        return json.dumps(config, indent=1) + "\n"
    except TypeError as error:
        raise OptionError(
            f"arguments of the backbone cannot be written as JSON ({error}); give others in arguments="
        ) from error


def _built(architecture: str, arguments: Mapping[str, Any], tensors: Tensors) -> nn.Module:
    """The model that timm makes of it. Raises `OptionError` where the tensors are not that model's."""
    dtype = next(iter(tensors.values())).dtype
    try:
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = timm.create_model(architecture, **arguments)
        model.to(dtype).load_state_dict(tensors)
    except Exception as error:  # whatever timm says of arguments that are not the architecture's
        raise OptionError(
            f"timm's {architecture} with {dict(arguments)} is another model: {' '.join(str(error).split())[:500]}; "
            "give name= and arguments= as the backbone was made"
        ) from error
    return model.eval().requires_grad_(False)
