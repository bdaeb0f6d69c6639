"""Answers over HTTP are the predictor's own; what cannot be answered is refused, with the right status and reason."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import pytest
from PIL import Image
from support.small_server import CLASSES, ask, message, picture, refusal

from vpt.data.decode import decode_bytes
from vpt.serving import Predictor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

JSON = "/v1/predict/json"


def alone(predictor: Predictor, content: bytes, task: str) -> Any:
    """The answer without a server."""
    return predictor([decode_bytes(content, "alone")], task)[0]


def item(*tasks: str, content: bytes | None = None, **fields: Any) -> dict[str, Any]:
    return {"image": base64.b64encode(content or picture()).decode(), "tasks": list(tasks), **fields}


def bomb() -> bytes:
    """A PNG of a few bytes that promises 30,000 × 30,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_every_image_is_answered_for_every_task_as_without_a_server(client: Any, predictor: Predictor) -> None:
    images = [picture(0), picture(1, format="JPEG")]
    response = ask(client, *images, task=["flowers, team-cars", "pets"], top=2, logits=True)
    assert response.status_code == 200
    for number, (seen, content) in enumerate(zip(response.json()["images"], images, strict=True)):
        assert seen["name"] == f"{number}.png"
        assert [answer["task"] for answer in seen["answers"]] == ["flowers", "team-cars", "pets"]
        for answer in seen["answers"]:
            wanted = alone(predictor, content, answer["task"])
            assert [found["label"] for found in answer["classes"]] == [label for label, _ in wanted.top(2)]
            assert [found["probability"] for found in answer["classes"]] == pytest.approx(
                [p for _, p in wanted.top(2)], abs=1e-6
            )
            assert answer["logits"] == pytest.approx(wanted.logits.tolist(), abs=1e-5)
            assert answer["digest"] == wanted.digest
            assert answer["version"] is None


def test_images_in_a_document_are_answered_alike(client: Any) -> None:
    sent = {"items": [item("pets", "flowers", name="cat.png"), item("team-cars", content=picture(1), top=1)]}
    response = client.post(JSON, json=sent)
    first, second = response.json()["images"]
    assert (first["name"], second["name"]) == ("cat.png", "image 2")
    assert rounded(first) == rounded(ask(client, task="pets,flowers").json()["images"][0])
    assert rounded(second) == rounded(ask(client, picture(1), task="team-cars", top=1).json()["images"][0])


def rounded(seen: Any) -> Any:
    """Answers with probabilities to four places: those of another batch differ in the seventh."""
    for answer in seen["answers"]:
        for found in answer["classes"]:
            found["probability"] = round(found["probability"], 4)
    return seen["answers"]


def test_attention_is_asked_for_one_by_one(client: Any, predictor: Predictor) -> None:
    sent = {"items": [item("pets", attention=True), item("flowers"), item("flowers", "team-cars", attention=True)]}
    images = client.post(JSON, json=sent).json()["images"]
    maps = [answer["attention"] for seen in images for answer in seen["answers"]]
    assert maps[1] is None
    for task, found in (("pets", maps[0]), ("flowers", maps[2]), ("team-cars", maps[3])):
        wanted = predictor.attention([decode_bytes(picture(), "alone")], task)
        assert wanted is not None
        assert found == [pytest.approx(row, abs=1e-6) for row in wanted[0].tolist()]


def test_a_task_asked_twice_is_answered_once(client: Any) -> None:
    answers = ask(client, task="pets,pets, ,pets").json()["images"][0]["answers"]
    assert [answer["task"] for answer in answers] == ["pets"]
    assert len(answers[0]["classes"]) == len(CLASSES["pets"])


BAD_IMAGES = {
    "text": (b"no image", "not an image"),
    "empty": (b"", "not an image"),
    "truncated": (picture(size=64)[:2000], "cannot be decoded"),
    "bomb": (bomb(), "too large"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_named_with_its_reason(client: Any, kind: str) -> None:
    content, reason = BAD_IMAGES[kind]
    for response in (
        ask(client, picture(), content),
        client.post(JSON, json={"items": [item("pets"), {**item("pets", name="1.png"), **_as_image(content)}]}),
    ):
        assert refusal(response) == (422, "bad_image")
        assert message(response).startswith("1.png")
        assert reason in message(response)


def _as_image(content: bytes) -> dict[str, str]:
    return {"image": base64.b64encode(content).decode()}


def test_pixels_are_limited(serve: Any) -> None:
    client = serve(max_pixels=400)
    assert ask(client, picture(size=20)).status_code == 200
    assert refusal(ask(client, picture(size=21))) == (422, "bad_image")


@pytest.mark.parametrize("name", ["flower", "x" * 100_000, "é\n\"'<", "../../etc/passwd"])
def test_an_unknown_task_is_not_found(client: Any, name: str) -> None:
    response = ask(client, task=name)
    assert refusal(response) == (404, "unknown_task")
    assert ("did you mean 'flowers'" in message(response)) == (name == "flower")
    assert len(message(response)) < 500


def test_numbers_of_things_are_limited(serve: Any) -> None:
    client = serve(max_images=2, max_tasks=2)
    assert ask(client, *[picture()] * 2, task="pets,flowers").status_code == 200
    assert refusal(ask(client, *[picture()] * 3)) == (422, "too_many_images")
    assert refusal(ask(client, task="pets,flowers,team-cars")) == (422, "number_of_tasks")
    assert refusal(ask(client, task=",")) == (422, "number_of_tasks")


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"top": 0}, "top"), ({"top": "many"}, "top"), ({"tops": 3}, "tops"), ({"attention": "perhaps"}, "attention")],
)
def test_a_wrong_field_is_named(client: Any, fields: Any, named: str) -> None:
    response = ask(client, **fields)
    assert refusal(response) == (422, "invalid")
    assert f"body.{named}" in message(response)
    response = client.post(JSON, json={"items": [item("pets", **fields)]})
    assert refusal(response) == (422, "invalid")
    assert f"body.items.0.{named}" in message(response)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422), (b"{", 422), (b"[]", 422), (b"null", 422), (b'{"items": []}', 422), (b"\x80", 400),
        (b"[" * 5_000, 400), (json.dumps({"items": [{"image": "%%%", "tasks": ["pets"]}]}).encode(), 422),
        (json.dumps({"items": [{"image": "http://x/y.png", "tasks": ["pets"]}]}).encode(), 422),
    ],
)  # fmt: skip
def test_a_malformed_document_is_refused(client: Any, content: bytes, status: int) -> None:
    response = client.post(JSON, content=content, headers={"content-type": "application/json"})
    assert refusal(response)[0] == status


@pytest.mark.parametrize(
    "document",
    [
        rb'{"items": [{"image": "", "tasks": ["pets"], "\ud800": 1}]}', rb'{"items": [], "\ud800": 1}',
        rb'{"items": [{"image": "", "tasks": ["\ud800"]}]}', rb'{"items": [{"image": "\ud800", "tasks": ["pets"]}]}',
        rb'{"items": [{"image": "", "name": "\ud800", "tasks": ["pets"]}]}',
        b'{"items": [], "' + b"k" * 1_000_000 + b'": 1}',
    ],
)  # fmt: skip
def test_odd_names_in_a_document_are_refused_in_few_words(client: Any, document: bytes) -> None:
    response = client.post(JSON, content=document, headers={"content-type": "application/json"})
    assert refusal(response)[0] in (404, 422)
    assert len(response.content) < 500


@pytest.mark.parametrize("charset", ["utf-7", "undefined", "punycode", "utf-16", "hex", "no-such"])
def test_a_form_in_an_odd_charset_is_no_failure(client: Any, charset: str) -> None:
    for name, image in ((b"+2AA-", picture()), (b"+2AA-", b"no picture"), (b"\xff\xfe", picture())):
        form = (
            b'--x\r\ncontent-disposition: form-data; name="task"\r\n\r\npets\r\n'
            b'--x\r\ncontent-disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\n' + image
            + b"\r\n--x--\r\n"
        )  # fmt: skip
        kind = {"content-type": f"multipart/form-data; charset={charset}; boundary=x"}
        assert client.post("/v1/predict", content=form, headers=kind).status_code < 500


@pytest.mark.parametrize("content", [b"", b"--x\r\nnonsense", b"--x--", b"\x00" * 100])
def test_a_malformed_form_is_refused(client: Any, content: bytes) -> None:
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert refusal(client.post("/v1/predict", content=content, headers=kind))[0] in (400, 422)


def test_another_type_of_body_is_refused(client: Any) -> None:
    plain = {"content-type": "text/plain"}
    assert refusal(client.post("/v1/predict", content=b"x", headers=plain)) == (415, "unsupported_media_type")
    assert refusal(client.post("/v1/predict", data={"task": "pets"})) == (415, "unsupported_media_type")
    assert refusal(client.post(JSON, content=b"{}", headers=plain)) == (415, "unsupported_media_type")
    assert refusal(client.post(JSON, data={"items": "x"})) == (415, "unsupported_media_type")


def test_what_is_not_there_is_refused_in_the_same_shape(client: Any) -> None:
    assert refusal(client.get("/v2")) == (404, "not_found")
    assert refusal(client.get("/v1/predict")) == (405, "method_not_allowed")


def test_grey_and_transparent_pictures_are_taken(client: Any) -> None:
    for mode in ("L", "RGBA", "P"):
        buffer = io.BytesIO()
        Image.new(mode, (9, 5)).save(buffer, "PNG")
        assert ask(client, buffer.getvalue()).status_code == 200
