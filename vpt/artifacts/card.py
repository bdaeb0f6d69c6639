"""The README.md of a saved task: what it is, what it needs, how it is used."""

from __future__ import annotations

import json
import re
from typing import Any

from vpt.artifacts.schema import TENSORS, Manifest

SHOWN = 20
"""Class names, tensors, and items of an option that are listed."""

SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
"""What a licence's identifier looks like; the Hugging Face hub knows these in small letters."""


def card(manifest: Manifest) -> str:
    """Markdown for people, made from the manifest alone."""
    parts = (_front, _what, _how, _use, _metrics, _data, _made)
    text = "\n".join(part(manifest) for part in parts)
    return text.encode(errors="backslashreplace").decode()  # a path in the provenance need not be text


def _front(manifest: Manifest) -> str:
    tags = f"tags: [vpt, {json.dumps(manifest.method)}]"  # quoted, as "no" is a truth value in YAML
    facts = ["library_name: vpt", "pipeline_tag: image-classification", tags]
    return "\n".join(["---", *facts, *_licence(manifest.licence), "---\n"])


def _licence(licence: str | None) -> list[str]:
    """Lines of the front matter, none where nothing was said."""
    if licence is None:
        return []
    if SPDX.fullmatch(licence):
        return [f"license: {json.dumps(licence.lower())}"]
    return ["license: other", f"license_name: {json.dumps(licence)}"]


def _what(manifest: Manifest) -> str:
    backbone, tensors = manifest.fingerprint, manifest.tensors
    shape = backbone["architecture"]
    name = manifest.part("backbone").get("name", shape.get("class", "unknown"))
    facts = {
        "Method": f"`{manifest.method}`, {_inline({k: v for k, v in manifest.options.items() if k != 'classnames'})}",
        "Backbone": f"`{name}`: {_inline(shape)}",
        "Fingerprint": f"`{backbone['digest']}`; `vpt.load` refuses any other backbone",
        "Classes": _classes(manifest),
        "Form": _form(manifest),
        "Preprocessing": _inline(manifest.preprocessing or {}) or "not recorded",
        "Tensors": f"{tensors['bytes']:,} bytes in `{TENSORS}`: "
        + ", ".join(f"`{n}` {shape}" for n, shape in list(tensors["shapes"].items())[:SHOWN]),
    }
    if manifest.tokenizer is not None:
        facts["Tokenizer"] = _inline(manifest.tokenizer)
    facts["Licence"] = manifest.licence or "unspecified"
    classes = f"{manifest.num_classes} classes" if manifest.num_classes else "no head"
    title = f"# `{manifest.method}` on `{name}`, {classes}\n\n"
    return title + "".join(f"- **{key}**: {value}\n" for key, value in facts.items())


def _form(manifest: Manifest) -> str:
    numbers = f"numbers rounded to {manifest.dtype}" if manifest.dtype else "numbers as they were trained"
    head = "with all that was trained" if manifest.head else "without the head that it was trained with"
    return f"{head}, {numbers}"


def _classes(manifest: Manifest) -> str:
    if not manifest.num_classes:
        return "none: features, or what a head makes of them"
    if not manifest.classes:
        return str(manifest.num_classes)
    more = ", ..." if len(manifest.classes) > SHOWN else ""
    return f"{manifest.num_classes} ({', '.join(manifest.classes[:SHOWN])}{more})"


def _how(manifest: Manifest) -> str:
    of_names = manifest.tokenizer is not None
    stock = "open_clip model; tokenizer=... where it is not CLIP's own" if of_names else "timm model"
    load = [f"model = vpt.load(backbone, 'this/folder')  # a stock {stock}"]
    if not manifest.num_classes:
        load = [
            f"{load[0]}, with its own head or none",
            "model = vpt.load(backbone, 'this/folder', num_classes=10)  # with a fresh head, to be trained",
        ]
    lines = ["import vpt", *load, "logits = model(images)"]
    command = ["", "`vpt predict this/folder pictures/`"] if manifest.num_classes else []
    return "\n".join(["## Use", "", "```python", *lines, "```", *command, ""])


def _use(manifest: Manifest) -> str:
    return f"## Intended use\n\n{manifest.intended_use or 'Nothing was said.'}\n"


def _metrics(manifest: Manifest) -> str:
    rows = "".join(f"| {k} | {_number(v)} |\n" for k, v in manifest.metrics.items() if isinstance(v, int | float | str))
    return f"## Measured\n\n| metric | value |\n|---|---|\n{rows}" if rows else "## Measured\n\nNothing was recorded.\n"


def _data(manifest: Manifest) -> str:
    digests = manifest.part("data").get("digests")
    if not isinstance(digests, dict) or not digests:
        return "## Data\n\nNo digest was recorded.\n"
    return "## Data\n\n" + "".join(f"- {part}: `{digest}`\n" for part, digest in digests.items())


def _made(manifest: Manifest) -> str:
    made = {**manifest.versions, **{k: v for k, v in manifest.provenance.items() if isinstance(v, str | int | float)}}
    return "## Made with\n\n" + "".join(f"- {key}: {value}\n" for key, value in made.items())


def _inline(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_brief(value)}" for key, value in facts.items() if value is not None)


def _brief(value: Any) -> str:
    if not isinstance(value, list) or len(value) <= SHOWN:
        return str(value)
    return f"{str(value[:SHOWN])[:-1]}, ... ({len(value)})]"


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
