"""The server as a Ray Serve application: replicas that follow one library, and answer as a task alone."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from starlette.testclient import TestClient
from support.small_server import ask, message, picture, refusal

import vpt
from vpt.data.decode import decode_bytes
from vpt.errors import OptionError

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'vpt[ray,serve]'")
serve = pytest.importorskip("ray.serve", reason="needs Ray Serve: pip install 'vpt[ray,serve]'")

from vpt.serving import ray_serve  # noqa: E402 - needs Ray Serve's dependencies
from vpt.serving.http import Settings  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

SECONDS = 60
"""Longest wait for anything."""


# --- arguments ------------------------------------------------------------------------------------------------------


def test_arguments_are_read_as_yaml_and_go_where_they_belong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(f"tokens: [{{name: shop, sha256: {'a' * 64}, tasks: ['*']}}]")
    found: dict[str, Any] = {}
    monkeypatch.setattr(ray_serve, "application", _keeping(ray_serve.application, found))
    ray_serve.build({
        "library": "s3://bucket/7", "backbone": "embedded", "checkpoint": "w.safetensors", "poll": "0.5",
        "max_batch": "8", "tokens": str(tokens), "num_replicas": "2", "ray_actor_options.num_cpus": "0.5",
        "user_config": {"a": 1},
    })  # fmt: skip
    settings = found.pop("settings")
    assert (settings.max_batch, settings.max_queue) == (8, Settings().max_queue)
    assert settings.tokens.caller(b"none of theirs") is None
    assert found == {
        "library": "s3://bucket/7", "backbone": "embedded", "checkpoint": Path("w.safetensors"), "poll": 0.5,
        "num_replicas": 2, "ray_actor_options": {"num_cpus": 0.5}, "user_config": {"a": 1},
    }  # fmt: skip


def _keeping(real: Callable[..., Any], found: dict[str, Any]) -> Callable[..., Any]:
    """`application`, its signature included, that only says what it was given."""

    def application(**given: Any) -> None:
        found.update(given)

    application.__wrapped__ = real  # type: ignore[attr-defined]
    return application


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({}, "library and backbone missing"),
        ({"library": "tasks"}, "backbone missing"),
        ({"library": "tasks", "backbone": "embedded", "max_bach": "8"}, "did you mean 'max_batch'"),
        ({"library": "tasks", "backbone": "embedded", "max_batch": "many"}, "max_batch='many'"),
        ({"library": "tasks", "backbone": "embedded", "tokens": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_wrong_arguments_are_named(args: dict[str, str], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        ray_serve.build(args)


def test_wrong_options_of_a_deployment_are_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'num_replicas'"):
        ray_serve.application("tasks", "embedded", num_replica=2)


def test_without_ray_serve_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r"vpt\[ray,serve\]"):
        ray_serve.application("tasks", "embedded")


def test_an_unknown_backbone_is_named_before_anything_starts() -> None:
    with pytest.raises(OptionError, match="did you mean 'embedded'"):
        ray_serve.application("tasks", "embeded")


# --- one replica ----------------------------------------------------------------------------------------------------


def test_a_replica_follows_its_library_and_takes_no_change_by_hand(tmp_path: Path) -> None:
    library = Known(vpt.Library(tmp_path / "library"), tmp_path)
    library.approve("flowers", 1)
    app = ray_serve.app_of_replica(library.library.url, "embedded", None, None, None, 0.05, Settings())
    replica = ray_serve.Replica()
    replica.app = app
    with pytest.raises(TimeoutError):  # nothing is loaded before the app's life begins
        asyncio.run(asyncio.wait_for(replica.check_health(), 0.2))
    with TestClient(app) as client:
        asyncio.run(asyncio.wait_for(replica.check_health(), SECONDS))
        library.assert_right("flowers", ask(client, logits="1"))
        library.approve("pets", 2)
        until(lambda: ask(client, task="pets").status_code == 200)
        library.assert_right("pets", ask(client, task="pets", logits="1"))
        for response in (client.delete("/v1/tasks/pets"), client.put("/v1/tasks/pets", json={"version": 1})):
            assert response.status_code == 409
            assert "change it in the library" in message(response)
        library.assert_right("pets", ask(client, task="pets", logits="1"))


@dataclass
class Known:
    """A library, and what each of its tasks answers alone for the picture, `[C]`."""

    library: vpt.Library
    folder: Path
    truth: dict[str, torch.Tensor] = field(default_factory=dict)

    def approve(self, task: str, seed: int) -> None:
        """A task of random prompts and head, approved."""
        model = vpt.tune(vpt.load_backbone("embedded"), "deep", num_classes=3, length=2)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in model.trainable().values():
                tensor.add_(torch.randn(tensor.shape, generator=generator))
            pixels = decode_bytes(picture(), "a picture", 10**6)
            self.truth[task] = model.eval()(vpt.Preprocessing.of(model)(pixels)[None])[0]
        place = vpt.save(model, self.folder / f"{task}-{seed}")
        self.library.approve(task, self.library.add(place, task).number)

    def assert_right(self, task: str, response: httpx.Response) -> None:
        """It is what the task answers alone."""
        assert response.status_code == 200, response.text
        (answer,) = response.json()["images"][0]["answers"]
        torch.testing.assert_close(torch.tensor(answer["logits"]), self.truth[task], rtol=1e-4, atol=1e-4)


def until(done: Callable[[], bool]) -> None:
    """Wait for it."""
    for _ in range(SECONDS * 20):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {SECONDS} seconds")


# --- a cluster ------------------------------------------------------------------------------------------------------


@dataclass
class Cluster(Known):
    """Two replicas of that library's, and the address at which both are reached."""

    url: str = ""

    def ask(self, task: str) -> httpx.Response:
        """By a connection of its own; a client asks again where the server failed, or went."""
        for _ in range(SECONDS * 10):
            with suppress(httpx.TransportError), httpx.Client(base_url=self.url, timeout=SECONDS) as client:
                response: httpx.Response = ask(client, task=task, logits="1")
                if response.status_code < 500:
                    return response
            time.sleep(0.1)
        raise AssertionError(f"no answer within {SECONDS} seconds")

    def replicas(self) -> list[psutil.Process]:
        """Their processes, none that has ended."""
        found = []
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                words = " ".join(child.cmdline())
                if words.startswith("ray::ServeReplica") and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    made = Cluster(vpt.Library(folder / "library"), folder, url=f"http://127.0.0.1:{port}")
    made.approve("flowers", 1)
    paths = os.pathsep.join(path for path in sys.path if path)
    ray.init(
        "local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )  # fmt: skip
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        app = ray_serve.application(
            made.library.url, "embedded", poll=0.1, num_replicas=2, ray_actor_options={"num_cpus": 0.5},
            health_check_period_s=0.5,
        )  # fmt: skip
        serve.run(app, route_prefix="/")
        yield made
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.skipif("VPT_RAY_SERVE" not in os.environ, reason="a cluster takes a minute: VPT_RAY_SERVE=1 runs it")
def test_replicas_follow_one_library_and_one_that_is_killed_comes_back(cluster: Cluster) -> None:
    killed, *_ = before = cluster.replicas()
    assert len(before) == 2
    for _ in range(8):
        cluster.assert_right("flowers", cluster.ask("flowers"))

    cluster.approve("pets", 2)
    until(lambda: all(cluster.ask("pets").status_code == 200 for _ in range(16)))  # in both of them
    cluster.assert_right("pets", cluster.ask("pets"))

    killed.kill()
    for task in ("flowers", "pets") * 10:
        cluster.assert_right(task, cluster.ask(task))
    until(lambda: len({one.pid for one in cluster.replicas()} - {killed.pid}) == 2)
    assert cluster.ask("unknown").status_code == 404
    with httpx.Client(base_url=cluster.url, timeout=SECONDS) as client:
        assert refusal(client.delete("/v1/tasks/pets")) == (409, "does_not_load")
    for task in ("flowers", "pets") * 5:
        cluster.assert_right(task, cluster.ask(task))
