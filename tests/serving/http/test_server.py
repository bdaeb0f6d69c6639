"""The real server: its own connections, its schema, what watches it, and how it ends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from support.served import served, serving
from support.small_server import CLASSES, ask, backbone, picture, refusal, until

from vpt.artifacts import save
from vpt.artifacts.library import Library
from vpt.backbones import load_backbone
from vpt.methods import tune
from vpt.serving import Predictor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")
pytest.importorskip("schemathesis", reason="needs an extra: pip install 'vpt[dev]'")
pytest.importorskip("httpx", reason="needs an extra: pip install 'vpt[dev]'")

import httpx
import schemathesis
from fastapi.testclient import TestClient

from vpt.serving.http import Settings, Tokens, create_app, server
from vpt.serving.http.auth import Caller

EXAMPLES = int(os.environ.get("VPT_SCHEMA_EXAMPLES", "5"))
"""Requests that are made up for each operation of the schema."""


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The address of a server of the three tasks."""
    predictor = Predictor(backbone())
    for name in CLASSES:
        predictor.add(folder / name, name=name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "HEAD_SECONDS", 0.3)
        with served(predictor, Settings(max_upload=200_000, max_wait_ms=5), max_connections=40) as address:
            yield address


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with httpx.Client(base_url=url, timeout=20) as made:
        yield made


@pytest.mark.parametrize(("mode", "closed"), [("POSITIVE", False), ("NEGATIVE", False), ("POSITIVE", True)])
def test_no_request_of_the_schema_makes_it_fail(predictor: Predictor, mode: str, closed: bool) -> None:
    """What is right by the schema may still be refused: bytes that are no image, names of no task."""
    tokens = Tokens({hashlib.sha256(b"s3cret").hexdigest(): Caller("me", ("*",), admin=True)}) if closed else None
    headers = {"Authorization": "Bearer s3cret"} if closed else None
    with served(predictor, Settings(tokens=tokens, max_wait_ms=0)) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        excluded = [schemathesis.checks.positive_data_acceptance]
        for operation in (found.ok() for found in schema.get_all_operations()):
            if mode == "NEGATIVE" and not operation.body:
                continue  # there is nothing to get wrong
            made_up = operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode])

            @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
            @given(case=made_up)
            def holds(case: Any) -> None:
                case.call_and_validate(headers=headers, excluded_checks=excluded)

            holds()


def test_many_clients_at_once_are_answered_as_one(client: Any) -> None:
    def best(name: str) -> Any:
        return ask(client, picture(3), task=name).json()["images"][0]["answers"][0]["classes"][0]

    alone = {name: best(name) for name in CLASSES}

    def one(number: int) -> None:
        name = list(CLASSES)[number % 3]
        found = best(name)
        assert found["label"] == alone[name]["label"]
        assert found["probability"] == pytest.approx(alone[name]["probability"], abs=1e-5)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(90)))
    assert counted(client, "vpt_batch_rows_sum") > counted(client, "vpt_batch_rows_count")


def counted(client: Any, name: str, labels: str = "", headers: Any = None) -> float:
    text = client.get("/metrics", headers=headers).text
    found = re.search(f"^{re.escape(name + labels)} (\\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_count_what_was_asked_and_nothing_that_was_made_up(client: Any) -> None:
    asked = '{method="POST",route="/v1/predict",status="200"}'
    before = [counted(client, "vpt_requests_total", asked), counted(client, "vpt_images_total", '{task="pets"}')]
    ask(client, picture(), picture(), task="pets")
    ask(client, task="made-up")
    client.get("/made-up")
    client.request("MADEUP", "/v1/tasks/made-up")
    after = [counted(client, "vpt_requests_total", asked), counted(client, "vpt_images_total", '{task="pets"}')]
    assert after == [before[0] + 1, before[1] + 2]
    text = client.get("/metrics").text
    assert "made-up" not in text
    assert "MADEUP" not in text
    for wanted in (
        "vpt_queue_rows 0.0",
        "vpt_tasks 3.0",
        "vpt_request_seconds_bucket",
        "process_resident_memory_bytes",
    ):
        assert wanted in text


def test_a_task_that_is_gone_is_counted_no_longer(serve: Any) -> None:
    client = serve()
    ask(client, task="pets,flowers")
    client.delete("/v1/tasks/pets")
    assert counted(client, "vpt_images_total", '{task="flowers"}') == 1
    assert "pets" not in client.get("/metrics").text


def test_a_server_answers_to_its_own_names_alone(predictor: Predictor) -> None:
    client = TestClient(create_app(predictor, hosts=("localhost", "::1")))
    for host in ("[::1]:8000", "[::1]", "localhost:8000", "LOCALHOST"):
        assert client.get("/healthz", headers={"host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example:8000", "[::2]:8000", ""):
        refused = client.get("/healthz", headers={"host": host})
        assert refusal(refused) == (400, "unknown_host")
        assert refused.headers["x-frame-options"] == "DENY"
    seen = '{method="GET",route="unmatched",status="400"}'
    assert counted(client, "vpt_requests_total", seen, {"host": "localhost"}) == 4


def test_every_answer_tells_browsers_to_be_careful(client: Any) -> None:
    for response in (client.get("/healthz"), client.get("/nowhere"), ask(client, task="no")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
    answer = client.get("/v1/tasks", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
    for path in ("/../app.py", "/%2e%2e/app.py", "/page.py", "//etc/passwd"):
        assert client.get(path).status_code == 404


def test_a_task_is_described(client: Any) -> None:
    found = client.get("/v1/tasks/pets").json()
    assert found["classes"] == list(CLASSES["pets"])
    assert (found["method"], found["licence"], found["metrics"]) == ("deep", "MIT", {"accuracy": 0.5})
    assert found["bytes"] > 0
    listed = client.get("/v1/tasks").json()
    assert [task["name"] for task in listed["tasks"]] == sorted(CLASSES)
    assert listed["problems"] == []


def test_a_large_upload_is_answered_although_it_was_not_read(client: Any) -> None:
    assert refusal(ask(client, b"x" * 3_000_000)) == (413, "too_large")

    def pieces() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 10_000

    sent = client.post("/v1/predict/json", content=pieces(), headers={"content-type": "application/json"})
    assert refusal(sent) == (413, "too_large")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"\x00\xff\r\n\r\n"])
def test_a_connection_that_asks_nothing_is_closed(url: str, sent: bytes) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        assert connection.recv(1000)[:12] in (b"", b"HTTP/1.1 400")


def test_too_many_connections_are_refused_and_the_server_goes_on(url: str, client: Any) -> None:
    host, port = url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(45)]
    try:
        assert httpx.get(f"{url}/healthz").status_code == 503
    finally:
        for connection in idle:
            connection.close()
    with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=3)) as again:
        until(lambda: again.get("/healthz").status_code == 200)


def test_the_command_serves_a_library_and_ends_when_all_is_answered(tmp_path: Path) -> None:
    model = tune(load_backbone("embedded", image_size=16), "linear", num_classes=2)
    library = Library(tmp_path / "library")
    library.add(save(model, tmp_path / "task", classes=("cat", "dog")), "pets")
    library.approve("pets", 1)
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(
        f"tokens: [{{name: me, sha256: {hashlib.sha256(b's3cret').hexdigest()}, tasks: ['*'], admin: true}}]"
    )
    known = {"Authorization": "Bearer s3cret"}
    arguments = ("--library", library.url, "--backbone", "embedded", "--image-size", "16", "--tokens", str(tokens))
    with serving(*arguments, "--max-wait-ms", "2500", "--host", "0.0.0.0") as running:
        address = running.url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=address, timeout=30) as client, ThreadPoolExecutor(1) as pool:
            until(lambda: client.get("/readyz").status_code == 200)
            assert ask(client, task="pets").status_code == 401
            asked = pool.submit(ask, client, task="pets", headers=known)
            until(lambda: counted(client, "vpt_requests_active", headers=known) == 2)  # it, and this one
            running.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/readyz").status_code == 503)
            assert refusal(client.get("/v1/tasks", headers=known)) == (503, "draining")
            assert asked.result().json()["images"][0]["answers"][0]["version"] == 1
        assert running.process.wait(20) == 0
        written = running.output()
    assert "POST /v1/predict 200" in written
    assert "s3cret" not in written
    assert "Traceback" not in written
