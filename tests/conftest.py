"""A finished run, and a spy on what runs do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import small

from vpt.runs.run import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(small(folder), quiet=True)
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every training and measurement of a run, in order: what was done, on which images, with which rate."""
    import vpt.training as training

    seen: list[dict[str, Any]] = []

    def spy(name: str) -> None:
        original: Callable[..., Any] = getattr(training, name)

        def wrapper(model: Any, data: Any, *rest: Any, **more: Any) -> Any:
            config = next((r for r in rest if hasattr(r, "lr")), None)
            seen.append({"did": name, "images": len(data), "name": data.images.name, "lr": getattr(config, "lr", None)})
            return original(model, data, *rest, **more)

        monkeypatch.setattr(training, name, wrapper)
        monkeypatch.setattr(f"vpt.runs.run.{name}", wrapper)

    spy("fit")
    spy("evaluate")
    return seen
