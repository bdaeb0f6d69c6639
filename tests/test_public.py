"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vpt

HEAVY = ("accelerate", "albumentations", "cv2", "matplotlib", "omegaconf", "sklearn", "tensorboard", "typer")


@pytest.mark.parametrize("name", vpt.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(vpt, name).__doc__


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        vpt.nothing  # noqa: B018


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after `code`."""
    report = f"{code}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_tuning_loads_no_more_than_torch_and_timm_do() -> None:
    extra = loaded("import vpt; vpt.tune, vpt.fit, vpt.load, vpt.Preprocessing") - loaded("import torch, timm")
    assert not extra & set(HEAVY)


def test_importing_vpt_alone_loads_not_even_torch() -> None:
    assert "torch" not in loaded("import vpt")


def test_imports_run_downwards_only() -> None:
    import ast
    from pathlib import Path

    order = [
        "errors",
        "prompts",
        "sites",
        "attach",
        "methods",
        "backbones",
        "data",
        "training",
        "artifacts",
        "export",
        "serving",
        "estimator",
        "runs",
        "cli",
    ]
    root = Path(vpt.__file__).parent
    for path in root.rglob("*.py"):
        layer = path.relative_to(root).parts[0].removesuffix(".py")
        if layer not in order:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("vpt."):
                    below = name.split(".")[1]
                    assert order.index(below) <= order.index(layer), f"{path} imports {name}"
