"""A finished run, a spy on what runs do, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real chromium, where this machine has one."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium on this machine")
    api = pytest.importorskip("playwright.sync_api")
    quiet = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")  # fmt: skip
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(quiet))
        yield chromium
        chromium.close()
