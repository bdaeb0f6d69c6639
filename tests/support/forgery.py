"""Saved tasks changed by somebody who can count and sum: sizes and checksums agree, the rest need not."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import operator
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import strategies as st
from safetensors import SafetensorError

from vpt.artifacts.schema import CONFIG, TENSORS, checksum

STRANGE = [None, True, -1, 10**12, 0.5, "", "strange", [], [[]], {}, {"strange": []}, KeyError]
"""What may stand where something else stood; KeyError for nothing at all."""


def rewrite(folder: Path, change: dict[str, Any], *drop: str, sign: bool = True) -> None:
    """Change the configuration, with a checksum that agrees again."""
    content = {k: v for k, v in {**json.loads((folder / CONFIG).read_text()), **change}.items() if k not in drop}
    if sign:
        content["sha256"] = checksum(content)
    (folder / CONFIG).write_text(json.dumps(content))


def forge(folder: Path, content: bytes, **more: Any) -> None:
    """Put `content` in the place of the tensors, and declare it."""
    shapes = {}
    with suppress(SafetensorError):
        shapes = {name: list(tensor.shape) for name, tensor in safetensors.torch.load(content).items()}
    said = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "shapes": shapes}
    (folder / TENSORS).write_bytes(content)
    rewrite(folder, {"tensors": said, **more})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything inside a JSON value stands, outermost first."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(content: dict[str, Any], place: tuple[Any, ...], change: Any) -> dict[str, Any]:
    """A copy of a configuration with something else in one place; its checksum is left as it is."""
    content = copy.deepcopy(content)
    held = functools.reduce(operator.getitem, place[:-1], content)
    if change is KeyError:
        del held[place[-1]]
    else:
        held[place[-1]] = change
    return content


def changes(content: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Configurations with one strange thing in them, and a checksum that agrees."""
    inside = [place for place in places(content) if place not in (("sha256",), ("schema",))]
    made = st.builds(changed, st.just(content), st.sampled_from(inside), st.sampled_from(STRANGE))
    return made.map(lambda found: {**found, "sha256": checksum(found)})


def forbid_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make whatever unpickles fail."""

    def forbidden(*args: object, **more: object) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((pickle, "loads"), (pickle, "load"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, forbidden)
