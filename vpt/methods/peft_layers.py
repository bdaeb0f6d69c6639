"""Hugging Face peft's layers around single linear layers, without a model of peft's around all."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vpt.attach.adapters import BASE
from vpt.errors import OptionError, nearest

OURS = frozenset({"target_modules", "exclude_modules", "feedforward_modules", "modules_to_save", "bias"})
"""Fields of peft's configurations that say where adapters go and what else learns: here the method says so."""


class Linear(Protocol):
    """What an adapter can stand beside: an `nn.Linear`, or a module that is as one."""

    @property
    def weight(self) -> Any:
        """`[outputs, inputs]`."""

    @property
    def bias(self) -> Any:
        """`[outputs]`, or None."""


def wrap(
    linears: Mapping[str, Linear],
    kind: str,
    settings: Mapping[str, Any],
    generator: torch.Generator,
    precise: bool = False,
) -> dict[str, nn.Module]:
    """peft's layers of one kind around `linears`, by the same names, with a start drawn from `generator`.

    kind: peft's name of the adapter in lower case, e.g. `"loha"`. settings: fields of its configuration.
    precise: whether their own tensors are float32 at least, whatever the layers' are.
    They are built on copies in main memory: peft changes nothing of the backbone, and every device sees one start.
    Raises `OptionError` where peft is missing, has no such kind, or refuses the settings.
    """
    if not linears:
        return {}
    peft = _import(kind)
    config = _config(peft, kind, settings)
    copies = nn.ModuleDict({str(number): _copy(linear) for number, linear in enumerate(linears.values())})
    with torch.random.fork_rng(devices=[]):  # peft draws from torch's global generator
        torch.default_generator.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        try:
            peft.inject_adapter_in_model(config, copies)
        except Exception as error:  # whatever a kind of peft's does not like of these layers or settings
            raise OptionError(f"peft cannot put {kind!r} with {dict(settings)} here: {error}") from error
    return {name: _around(linear, copies[str(n)], kind, precise) for n, (name, linear) in enumerate(linears.items())}


def _import(kind: str) -> Any:
    """peft, which brings transformers with it: not before an adapter is asked for."""
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise OptionError(f"{kind!r} needs Hugging Face peft ({error}): pip install 'vpt[peft]'") from error


def _config(peft: Any, kind: str, settings: Mapping[str, Any]) -> Any:
    made: dict[str, Any] = {"peft_type": kind.upper(), "target_modules": r"\d+"}
    if kind == "ia3":
        made["feedforward_modules"] = []
    try:
        known = [f.name for f in fields(peft.get_peft_config(made))]
    except KeyError as error:
        raise OptionError(f"the installed peft {peft.__version__} has no {kind!r}; upgrade peft") from error
    elsewhere = OURS | {f.name for f in fields(peft.PeftConfig)}
    free = [n for n in known if n not in elsewhere and not n.startswith("layers_") and not n.endswith("_pattern")]
    if wrong := [f"{name!r}{nearest(str(name), free)}" for name in settings if name not in free]:
        raise OptionError(f"peft's {kind!r} has no setting {', '.join(wrong)}; accepted: {', '.join(free)}")
    try:
        return peft.get_peft_config({**made, **settings})
    except Exception as error:
        raise OptionError(f"peft refuses {dict(settings)} for {kind!r}: {error}") from error


def _copy(linear: Linear) -> nn.Linear:
    outputs, inputs = linear.weight.shape
    twin: nn.Linear = nn.utils.skip_init(
        nn.Linear, inputs, outputs, bias=linear.bias is not None, dtype=linear.weight.dtype
    )
    twin.load_state_dict(_tensors(linear))
    return twin


def _tensors(linear: Linear) -> dict[str, Tensor]:
    both = {"weight": linear.weight, "bias": linear.bias}
    return {name: tensor.detach() for name, tensor in both.items() if tensor is not None}


def _around(linear: Linear, layer: nn.Module, kind: str, precise: bool) -> nn.Module:
    """`layer`, built on a copy of `linear`, around `linear` itself, on its device."""
    seen = layer.get_submodule(BASE).state_dict()
    if not all(torch.equal(tensor.cpu(), seen[name]) for name, tensor in _tensors(linear).items()):
        raise OptionError(f"these settings of {kind!r} change frozen weights at the start; choose others")
    if precise:
        layer.to(torch.promote_types(linear.weight.dtype, torch.float32))
    setattr(layer, BASE, linear)
    return layer.to(linear.weight.device)
