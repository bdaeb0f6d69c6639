"""A predictor of three small tasks, and clients of the server over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.small_server import CLASSES, backbone, saved

from vpt.serving import Predictor


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three tasks."""
    place = tmp_path_factory.mktemp("tasks")
    for name in CLASSES:
        saved(place, name)
    return place


def _predictor(folder: Path) -> Predictor:
    made = Predictor(backbone())
    for name in CLASSES:
        made.add(folder / name, name=name)
    return made


@pytest.fixture
def predictor(folder: Path) -> Predictor:
    """The three tasks on their backbone."""
    return _predictor(folder)


def _start(stack: ExitStack, predictor: Any, follower: Any = None, **settings: Any) -> Any:
    testclient = pytest.importorskip("fastapi.testclient", reason="needs an extra: pip install 'vpt[serve]'")
    from vpt.serving.http import Settings, create_app

    app = create_app(predictor, Settings(**settings), follower)
    return stack.enter_context(testclient.TestClient(app, raise_server_exceptions=False))


@pytest.fixture
def serve(predictor: Predictor) -> Iterator[Any]:
    """Starts an application, `serve(predictor, follower, **settings)`, and answers with a client of it."""
    with ExitStack() as stack:
        yield lambda given=predictor, follower=None, **settings: _start(stack, given, follower, **settings)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    """A client of the three tasks, for tests that change none."""
    with ExitStack() as stack:
        yield _start(stack, _predictor(folder))
