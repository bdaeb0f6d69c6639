"""Who may do what; and no secret comes out anywhere."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
from support.small_server import ask, message, refusal

from vpt.errors import OptionError

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

from vpt.serving.http import Tokens

SECRETS = {"shop": "s3cret-of-the-shop", "operator": "s3cret-of-the-operator"}
FILE = """
tokens:
  - {{name: shop, sha256: {digest}, tasks: [flowers, "team-*"]}}
  - {{name: operator, env: OPERATOR_TOKEN, tasks: ["*"], admin: true}}
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    file = tmp_path / "tokens.yaml"
    file.write_text(FILE.format(digest=hashlib.sha256(SECRETS["shop"].encode()).hexdigest().upper()))
    return Tokens.read(file, {"OPERATOR_TOKEN": SECRETS["operator"]})


def bearer(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[who]}"}


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic czNjcmV0", f"Basic {SECRETS['shop']}", "Bearer é"]
)
def test_without_a_known_token_nothing_is_answered(serve: Any, tokens: Tokens, header: str | None) -> None:
    client = serve(tokens=tokens)
    headers = {} if header is None else {"Authorization": header.encode()}
    for response in (
        ask(client, headers=headers), client.get("/v1/tasks", headers=headers), client.get("/metrics", headers=headers),
        client.delete("/v1/tasks/pets", headers=headers), client.put("/v1/tasks/pets", json={}, headers=headers),
        client.post("/v1/predict/json", content=b"{", headers=headers),
    ):  # fmt: skip
        assert refusal(response) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_a_token_sees_and_uses_its_own_tasks(serve: Any, tokens: Tokens) -> None:
    client = serve(tokens=tokens)
    assert ask(client, task="flowers,team-cars", headers=bearer("shop")).status_code == 200
    assert refusal(ask(client, task="flowers,pets", headers=bearer("shop"))) == (403, "forbidden")
    listed = client.get("/v1/tasks", headers=bearer("shop")).json()["tasks"]
    assert [task["name"] for task in listed] == ["flowers", "team-cars"]
    assert client.get("/v1/tasks/flowers", headers=bearer("shop")).status_code == 200
    for name in ("pets", "dogs"):  # one is there and one is not: the answer does not tell
        assert refusal(client.get(f"/v1/tasks/{name}", headers=bearer("shop"))) == (403, "forbidden")
    response = ask(client, task="team-pets", headers=bearer("shop"))
    assert refusal(response) == (404, "unknown_task")
    assert "'pets'" not in message(response)
    assert ask(client, task="pets", headers=bearer("operator")).status_code == 200


def test_changes_and_metrics_are_for_administrators(serve: Any, tokens: Tokens) -> None:
    client = serve(tokens=tokens)
    assert refusal(client.delete("/v1/tasks/flowers", headers=bearer("shop"))) == (403, "forbidden")
    assert refusal(client.put("/v1/tasks/flowers", json={}, headers=bearer("shop"))) == (403, "forbidden")
    assert refusal(client.get("/metrics", headers=bearer("shop"))) == (403, "forbidden")
    assert client.get("/metrics", headers=bearer("operator")).status_code == 200
    assert client.delete("/v1/tasks/flowers", headers=bearer("operator")).status_code == 204


def test_no_secret_is_written_or_sent(serve: Any, tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve(tokens=tokens)
    said = [
        ask(client, headers=bearer("shop"), top=0), ask(client, task="pets", headers=bearer("shop")),
        client.get("/v1/tasks", headers={"Authorization": "Bearer s3cret-but-wrong"}),
        client.get("/v1/tasks?token=s3cret-in-a-query", headers=bearer("operator")),
        client.get("/s3cret-path?token=s3cret-in-a-query"), client.get("/metrics", headers=bearer("operator")),
    ]  # fmt: skip
    ours = [record for record in caplog.records if record.name.startswith("vpt")]
    written = " ".join(record.getMessage() for record in ours)
    assert "GET /v1/tasks 200" in written
    assert " shop" in written
    for response in said:
        assert "s3cret" not in response.text
    assert "s3cret" not in written
    assert "s3cret" not in repr(vars(tokens))


def entry(name: str, digit: str) -> str:
    return f"{{name: {name}, sha256: {digit * 64}, tasks: []}}"


WRONG = {
    "is not YAML": "tokens: [",
    "tokens: Field required": "{}",
    "tokens: List should have at least 1": "tokens: []",
    "the file: Input should be": "- a",
    "tokens.0.tasks: Field required": f"tokens: [{{name: a, sha256: {'a' * 64}}}]",
    "tokens.0.sha256: String should match": "tokens: [{name: a, sha256: s3cret, tasks: []}]",
    "tokens.0.token: Extra inputs": f"tokens: [{{name: a, sha256: {'a' * 64}, tasks: [], token: s3cret}}]",
    "needs either sha256": "tokens: [{name: a, tasks: []}]",
    "tokens.0.admin: Input should be": f"tokens: [{{name: a, sha256: {'a' * 64}, tasks: [], admin: 's3cret'}}]",
    "'a' has its token in a variable that is not set": "tokens: [{name: a, env: my-s3cret, tasks: []}]",
    "'b' has the token": f"tokens: [{entry('a', 'c')}, {entry('b', 'c')}]",
    "'a' has the token or the name": f"tokens: [{entry('a', 'c')}, {entry('a', 'd')}]",
}  # fmt: skip


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_file_is_refused_without_a_word_of_it(tmp_path: Path, said: str) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(WRONG[said])
    with pytest.raises(OptionError) as caught:
        Tokens.read(file, {})
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_token_of_any_letters_is_known_by_its_bytes(serve: Any, tmp_path: Path) -> None:
    file, secret = tmp_path / "tokens.yaml", "pässwörd\u0160à"  # its UTF-8 ends as some blanks do in Latin 1
    file.write_text("tokens: [{name: a, env: TOKEN, tasks: ['*']}]")
    client = serve(tokens=Tokens.read(file, {"TOKEN": f"{secret}\n"}))
    assert client.get("/v1/tasks", headers={"Authorization": f"Bearer {secret} ".encode()}).status_code == 200
    assert client.get("/v1/tasks", headers={"Authorization": f"Bearer {secret[:-1]}".encode()}).status_code == 401


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none.yaml cannot be read: No such file"):
        Tokens.read(tmp_path / "none.yaml")
