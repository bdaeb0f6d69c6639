"""The README.md of a saved task: what it is, what it needs, how it is used."""

from __future__ import annotations

from typing import Any

from vpt.artifacts.schema import TENSORS, Manifest

SHOWN = 20
"""Class names, tensors, and items of an option that are listed."""


def card(manifest: Manifest) -> str:
    """Markdown for people, made from the manifest alone."""
    return "\n".join([_front(manifest), _what(manifest), _how(manifest), _metrics(manifest), _made(manifest)])


def _front(manifest: Manifest) -> str:
    return "---\nlibrary_name: vpt\npipeline_tag: image-classification\n" + f"tags: [vpt, {manifest.method}]\n---\n"


def _what(manifest: Manifest) -> str:
    backbone, tensors = manifest.fingerprint, manifest.tensors
    shape = backbone["architecture"]
    name = manifest.part("backbone").get("name", shape.get("class", "unknown"))
    facts = {
        "Method": f"`{manifest.method}`, {_inline({k: v for k, v in manifest.options.items() if k != 'classnames'})}",
        "Backbone": f"`{name}`: {_inline(shape)}",
        "Fingerprint": f"`{backbone['digest']}`; `vpt.load` refuses any other backbone",
        "Classes": _classes(manifest),
        "Preprocessing": _inline(manifest.preprocessing or {}) or "not recorded",
        "Tensors": f"{tensors['bytes']:,} bytes in `{TENSORS}`: "
        + ", ".join(f"`{n}` {shape}" for n, shape in list(tensors["shapes"].items())[:SHOWN]),
    }
    if manifest.tokenizer is not None:
        facts["Tokenizer"] = _inline(manifest.tokenizer)
    title = f"# `{manifest.method}` on `{name}`, {manifest.num_classes} classes\n\n"
    return title + "".join(f"- **{key}**: {value}\n" for key, value in facts.items())


def _classes(manifest: Manifest) -> str:
    if not manifest.classes:
        return str(manifest.num_classes)
    more = ", ..." if len(manifest.classes) > SHOWN else ""
    return f"{manifest.num_classes} ({', '.join(manifest.classes[:SHOWN])}{more})"


def _how(manifest: Manifest) -> str:
    of_names = manifest.tokenizer is not None
    stock = "open_clip model; tokenizer=... where it is not CLIP's own" if of_names else "timm model"
    return (
        f"## Use\n\n```python\nimport vpt\nmodel = vpt.load(backbone, 'this/folder')  # a stock {stock}\n"
        f"logits = model(images)\n```\n\n`vpt predict this/folder pictures/`\n"
    )


def _metrics(manifest: Manifest) -> str:
    rows = "".join(f"| {k} | {_number(v)} |\n" for k, v in manifest.metrics.items() if isinstance(v, int | float | str))
    return f"## Measured\n\n| metric | value |\n|---|---|\n{rows}" if rows else "## Measured\n\nNothing was recorded.\n"


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
