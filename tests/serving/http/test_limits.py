"""Too much, too slow, too many: each is refused with its own status, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.small_server import Held, ask, message, picture, refusal, until

from vpt.errors import OptionError
from vpt.serving import Predictor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

from fastapi import HTTPException

from vpt.serving.http import Settings
from vpt.serving.http.batcher import Full

FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def held(predictor: Predictor) -> Iterator[Held]:
    made = Held(predictor)
    yield made
    made.gate.set()


def call(app: Any, messages: list[Any], last: Any, path: str = "/v1/predict", kind: str = FORM) -> Any:
    """What the application sends to a client that sends `messages`, then does `last()`."""
    sent: list[Any] = []
    rest = iter(messages)

    async def receive() -> Any:
        message = next(rest, None)
        return await last() if message is None else message

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"content-type", kind.encode())], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent


def body(content: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def never() -> Any:
    await asyncio.Event().wait()


KINDS = {"/v1/predict": FORM, "/v1/predict/json": "application/json"}


@pytest.mark.parametrize("path", KINDS)
def test_a_body_that_is_too_large_is_refused_by_its_length_or_its_bytes(serve: Any, path: str) -> None:
    client, kind = serve(max_upload=1000), {"content-type": KINDS[path]}
    assert refusal(client.post(path, content=b"y" * 1001, headers=kind)) == (413, "too_large")
    for length, status in (("9" * 5000, 413), ("many", 400), ("-1", 400), ("1001", 413)):
        promised = client.post(path, content=b"", headers={**kind, "content-length": length})
        assert refusal(promised)[0] == status
    taken = []

    async def endless() -> Any:
        taken.append(100)
        return body(b"y" * 100, more=True)

    sent = call(client.app, [body(b"--x\r\n", more=True)], endless, path, KINDS[path])
    assert sent[0]["status"] == 413
    assert sum(taken) == 1000


def test_a_document_of_very_many_parts_is_refused_before_it_is_parsed(client: Any) -> None:
    for content in (b"0," * 10_000, b"[]" * 10_000, b'{"items": [' + b'{"tasks": []},' * 10_000):
        response = client.post("/v1/predict/json", content=content, headers={"content-type": "application/json"})
        assert refusal(response) == (422, "too_many_parts")
    assert refusal(ask(client, task="," * 10_000)) == (422, "number_of_tasks")
    large = {"items": [{"image": "%", "tasks": [f"task {i}" for i in range(32)], "name": "a", "top": 1}] * 16}
    assert refusal(client.post("/v1/predict/json", json=large)) == (404, "unknown_task")


def test_all_bodies_together_have_limited_bytes(serve: Any) -> None:
    client = serve(max_upload=1000, max_inflight=1000, body_timeout=30)

    async def crowd() -> Any:
        held = client.app.state.service.bodies
        with held.limited(lambda: pieces(b"y" * 600), {}) as first:
            await first()
            with held.limited(lambda: pieces(b"y" * 600), {}) as second, pytest.raises(HTTPException) as refused:
                await second()
            assert (refused.value.status_code, held.held) == (503, 600)
        assert held.held == 0

    async def pieces(content: bytes) -> Any:
        return body(content, more=True)

    asyncio.run(crowd())
    with pytest.raises(OptionError, match="max_inflight=10; accepted: from max_upload, which is 20"):
        Settings(max_upload=20, max_inflight=10)


def test_a_body_that_is_still_arriving_at_the_end_is_refused(serve: Any) -> None:
    client = serve()

    async def end() -> Any:
        client.app.state.service.bodies.close()
        await never()

    sent = call(client.app, [body(b"--x\r\n", more=True)], end)
    assert sent[0]["status"] == 503
    assert b"draining" in sent[1]["body"]


def test_a_refused_request_has_no_more_images_decoded(serve: Any, predictor: Predictor) -> None:
    prepared, refused = [], threading.Event()

    class Slow(Held):
        def prepare(self, pixels: Any, key: str) -> Any:
            prepared.append(pixels)
            assert refused.wait(10)
            return predictor.prepare(pixels, key)

    client = serve(Slow(predictor), decoders=2)
    service = client.app.state.service
    submit, decoding = service.decoders.submit, []
    service.decoders.submit = lambda *work: decoding.append(submit(*work)) or decoding[-1]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, client, b"no picture", *[picture()] * 8)
        until(lambda: len(prepared) > 0 and sum(one.cancelled() for one in decoding) >= 6)
        with pytest.raises(Full), service.batcher.room(service.settings.max_queue):
            pass  # as long as one is being decoded
        refused.set()
        assert refusal(asked.result()) == (422, "bad_image")
    assert len(prepared) <= 2
    with service.batcher.room(service.settings.max_queue):
        pass


def test_a_body_that_does_not_arrive_is_given_up(serve: Any) -> None:
    client = serve(body_timeout=0.05)
    for path, kind in KINDS.items():
        sent = call(client.app, [body(b"--x\r\n", more=True)], never, path, kind)
        assert sent[0]["status"] == 408
        assert b"slow_upload" in sent[1]["body"]


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure(serve: Any) -> None:
    async def leave() -> Any:
        return {"type": "http.disconnect"}

    client = serve()
    assert call(client.app, [body(b"--x\r\n", more=True)], leave)[0]["status"] == 400
    assert ask(client).status_code == 200


def test_a_client_that_leaves_takes_its_rows_along(serve: Any, held: Held) -> None:
    client = serve(held, max_batch=1, max_queue=4)
    service = client.app.state.service
    form = (
        b'--x\r\ncontent-disposition: form-data; name="task"\r\n\r\npets,flowers,team-cars\r\n'
        b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture() + b"\r\n--x--\r\n"
    )

    async def leave() -> Any:
        await asyncio.to_thread(held.began.acquire)
        return {"type": "http.disconnect"}

    assert call(client.app, [body(form, more=False)], leave)[0]["status"] == 499
    with service.batcher.room(4):
        pass
    held.gate.set()
    assert ask(client).status_code == 200
    assert (held.rows, service.batcher.depth) == (2, 0)


def test_a_full_house_asks_to_come_again(serve: Any, held: Held) -> None:
    client = serve(held, max_queue=3, max_batch=1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client, task="pets,flowers")
        held.began.acquire()
        refused = ask(client, task="pets,flowers")
        assert refusal(refused) == (503, "full")
        assert int(refused.headers["retry-after"]) > 0
        never_fits = ask(client, picture(), picture(), task="pets,flowers")
        assert refusal(never_fits) == (422, "too_many_rows")
        assert "4 images times tasks; accepted: 3" in message(never_fits)
        held.gate.set()
        assert first.result().status_code == 200
    assert ask(client, task="pets,flowers,team-cars").status_code == 200


def test_an_answer_that_is_late_is_given_up(serve: Any, held: Held) -> None:
    client = serve(held, timeout=0.05, max_queue=2)
    for _ in range(4):
        assert refusal(ask(client, task="pets,flowers")) == (504, "timeout")
    held.gate.set()
    while client.app.state.service.batcher.depth:
        threading.Event().wait(0.01)
    assert held.rows <= 2  # of the pass that had begun; the other requests' rows were not run


def test_a_stopping_server_answers_what_it_took_and_takes_nothing_more(serve: Any, held: Held) -> None:
    client = serve(held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client)
        held.began.acquire()
        client.app.state.service.draining = True
        for response in (ask(client), client.get("/v1/tasks"), client.get("/readyz")):
            assert refusal(response) == (503, "draining")
        assert client.get("/healthz").status_code == 200
        held.gate.set()
        assert first.result().status_code == 200


def test_a_failing_model_is_no_fault_of_others(serve: Any, predictor: Predictor) -> None:
    class Broken(Held):
        def __call__(self, images: Any, tasks: Any) -> Any:
            if "pets" in tasks:
                raise RuntimeError("s3cret of the device")
            return predictor(images, tasks)

    client = serve(Broken(predictor), max_wait_ms=50)
    with ThreadPoolExecutor(2) as pool:
        bad, good = pool.map(lambda task: ask(client, task=task), ["pets", "flowers"])
    assert refusal(bad) == (500, "failed")
    assert "s3cret" not in message(bad)
    assert bad.headers["x-content-type-options"] == "nosniff"
    assert good.status_code == 200


def test_a_task_taken_from_the_predictor_itself_is_a_conflict(serve: Any, predictor: Predictor) -> None:
    client = serve()
    predictor.remove("pets")
    assert refusal(ask(client, task="pets")) == (409, "task_left")
    assert ask(client, task="flowers").status_code == 200


@pytest.mark.parametrize("field", ["max_batch", "max_queue", "timeout", "max_wait_ms"])
@pytest.mark.parametrize("value", [-1, float("nan"), "3", True])
def test_wrong_settings_are_named(field: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"settings: {field}="):
        Settings(**{field: value})
