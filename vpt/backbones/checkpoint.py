"""Weights from a file on this machine into a stock timm model, all of them or one clear error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

from timm.models import load_state_dict as read_state_dict
from torch import Tensor, nn

from vpt.errors import OptionError, WeightsUnavailable, some

log = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
SHOWN = 8  # names listed per kind of mismatch
LONGEST = 300  # characters of another library's error


def brief(error: Exception) -> str:
    """Another library's error on one line of bearable length."""
    return shorten(str(error), LONGEST) or type(error).__name__


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill a timm model with the tensors of `path` (.safetensors, or .pth/.pt/.bin holding nothing but tensors).

    timm's own filter of the model's family renames keys of known releases and resamples position embeddings (and
    relative-position tables, and patch embeddings) to the model's size. A head with another number of classes, or
    with none to fill, is left out, with a note in the log. Raises `WeightsUnavailable` for a file that is not there
    or not readable, `OptionError` for tensors that are not this model's.
    """
    load_state(model, read(path), origin=str(path))


def check_file(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raise `WeightsUnavailable` where there is no file, `OptionError` where its suffix is none of `suffixes`."""
    if not path.is_file():
        raise WeightsUnavailable(f"checkpoint {str(path)!r} is not a file on this machine")
    if path.suffix not in suffixes:
        raise OptionError(
            f"checkpoint {str(path)!r} is a {path.suffix or 'file with no suffix'}; accepted: {', '.join(suffixes)}"
        )


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name; nothing in the file is ever executed."""
    check_file(path)
    try:
        state: dict[str, Tensor] = read_state_dict(str(path), device="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsUnavailable(
            f"checkpoint {str(path)!r} holds Python objects besides tensors, which are not loaded for safety; "
            "save its state_dict alone, best as .safetensors"
        ) from error
    except Exception as error:  # safetensors, zip and tensor readers each raise their own
        raise WeightsUnavailable(f"checkpoint {str(path)!r} cannot be read: {error}") from error
    return state


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, origin: str) -> None:
    """Like `load_checkpoint`, for tensors already in memory; `origin` names them in messages."""
    given = _filtered(model, state, origin)
    wanted = model.state_dict()
    heads = _head_names(model)
    headless = _without_other_heads(given, wanted, heads, origin)
    problems = {
        "missing": [k for k in wanted if k not in headless and not k.startswith(tuple(f"{name}." for name in heads))],
        "not in the model": [k for k in headless if k not in wanted],
        "of another shape": [
            f"{k} {tuple(headless[k].shape)}, not {tuple(wanted[k].shape)}"
            for k in wanted
            if k in headless and headless[k].shape != wanted[k].shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {some(keys, SHOWN)}" for kind, keys in problems.items() if keys)
        raise OptionError(f"the weights in {origin} are not those of this {type(model).__name__}: {listed}")
    model.load_state_dict(headless, strict=False)


def _filtered(model: nn.Module, state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The tensors under timm's names and at the model's size, by the filter of the module the model's class is from."""
    rename: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return dict(state)
    try:
        renamed: dict[str, Tensor] = rename(dict(state), model)
    except Exception as error:  # timm's filters meet foreign tensors with whatever their arithmetic raises
        raise OptionError(f"the weights in {origin} do not fit this {type(model).__name__}: {error}") from error
    return renamed


def _without_other_heads(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], heads: Iterable[str], origin: str
) -> dict[str, Tensor]:
    """`given` less every classifier tensor that the model has no equal place for."""
    kept = dict(given)
    for name in heads:
        keys = [k for k in given if k.startswith(f"{name}.")]
        if any(k not in wanted or wanted[k].shape != given[k].shape for k in keys):
            log.info("%s: its head %r (%d classes) is left out", origin, name, len(given[keys[0]]))
            kept = {k: v for k, v in kept.items() if k not in keys}
    return kept


def _head_names(model: nn.Module) -> tuple[str, ...]:
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or "head"
    return (named,) if isinstance(named, str) else tuple(named)
