"""What is served follows a library, or a folder, while requests run."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.small_server import Held, ask, backbone, message, refusal, saved, until

from vpt.artifacts import read
from vpt.artifacts.library import Library
from vpt.errors import ArtifactError, OptionError
from vpt.serving import Predictor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

from vpt.serving.http import Follower, source_of
from vpt.serving.http.sources import SavedTasks


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """pets in two versions, the first approved; flowers approved; team-cars a draft."""
    made = Library(tmp_path / "library")
    for seed in (1, 2):
        made.add(saved(tmp_path / str(seed), "pets", seed), "pets")
    made.add(saved(tmp_path, "flowers"), "flowers")
    made.add(saved(tmp_path, "team-cars"), "team-cars")
    made.approve("pets", 1)
    made.approve("flowers", 1)
    return made


@pytest.fixture
def follow(serve: Any, library: Library) -> Any:
    """A client of a server that follows the library, once it is ready."""
    client = serve(Predictor(backbone()), Follower(source_of(library.url), poll=0.02))
    until(lambda: client.get("/readyz").status_code == 200)
    return client


def versions(client: Any) -> dict[str, int]:
    return {task["name"]: task["version"] for task in client.get("/v1/tasks").json()["tasks"]}


def test_approvals_and_rollbacks_take_effect(follow: Any, library: Library) -> None:
    assert versions(follow) == {"flowers": 1, "pets": 1}
    first = ask(follow, task="pets").json()["images"][0]["answers"][0]
    library.approve("pets", 2)
    until(lambda: versions(follow)["pets"] == 2)
    second = ask(follow, task="pets").json()["images"][0]["answers"][0]
    for found, number in ((first, 1), (second, 2)):
        assert found["version"] == number
        assert found["digest"] == read(library.open("pets", number)).tensors["sha256"]
    assert first["classes"] != second["classes"]
    library.rollback("pets", why="worse")
    library.approve("team-cars", 1)
    until(lambda: versions(follow) == {"flowers": 1, "pets": 1, "team-cars": 1})
    library.retire("flowers", 1, why="winter")
    until(lambda: "flowers" not in versions(follow))
    assert refusal(ask(follow, task="flowers")) == (404, "unknown_task")


def test_no_request_is_lost_while_versions_change(follow: Any, library: Library) -> None:
    ended = threading.Event()

    def requests() -> set[tuple[int, str]]:
        found = set()
        while not ended.is_set():
            response = ask(follow, task="pets,flowers")
            assert response.status_code == 200, response.text
            answer = response.json()["images"][0]["answers"][0]
            found.add((answer["version"], answer["digest"]))
        return found

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(requests) for _ in range(3)]
        for _ in range(3):
            library.approve("pets", 2)
            until(lambda: versions(follow)["pets"] == 2)
            library.rollback("pets", why="test")
            until(lambda: versions(follow)["pets"] == 1)
        ended.set()
        seen = set.union(*(one.result() for one in running))
    assert seen == {(n, read(library.open("pets", n)).tensors["sha256"]) for n in (1, 2)}


def test_a_request_is_answered_by_the_version_that_it_was_accepted_with(serve: Any, library: Library) -> None:
    held = Held(Predictor(backbone()))
    client = serve(held, Follower(source_of(library.url), poll=0.02))
    until(lambda: client.get("/readyz").status_code == 200)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, client, task="pets")
        held.began.acquire()
        library.approve("pets", 2)
        until(lambda: versions(client)["pets"] == 2)
        assert len(held.tasks) == 3
        held.gate.set()
        answer = asked.result().json()["images"][0]["answers"][0]
    assert answer["version"] == 1
    assert answer["digest"] == read(library.open("pets", 1)).tensors["sha256"]
    until(lambda: len(held.tasks) == 2)


def test_a_task_that_does_not_load_is_named_and_the_others_serve(
    follow: Any, library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library.add(saved(tmp_path / "other", "pets", on=9), "pets")
    library.add(saved(tmp_path / "other", "flowers", on=9), "cats")
    library.approve("pets", 3)
    library.approve("cats", 1)
    until(lambda: len(follow.get("/v1/tasks").json()["problems"]) == 2)
    problems = {one["name"]: one["message"] for one in follow.get("/v1/tasks").json()["problems"]}
    assert "version 3 does not load, its version before is served on" in problems["pets"]
    assert "version 1 does not load, it is not served" in problems["cats"]
    assert "is bound to the backbone" in problems["cats"]
    assert any("cats: version 1 does not load" in record.getMessage() for record in caplog.records)
    assert versions(follow) == {"flowers": 1, "pets": 1}
    library.rollback("pets", why="broken")
    until(lambda: len(follow.get("/v1/tasks").json()["problems"]) == 1)
    assert ask(follow, task="pets").status_code == 200


def test_what_is_put_by_hand_stays_until_it_follows_again(follow: Any, library: Library) -> None:
    put = lambda name, version: follow.put(f"/v1/tasks/{name}", json={"version": version})  # noqa: E731
    assert refusal(put("pets", 2)) == (409, "does_not_load")  # a draft
    library.approve("pets", 2)
    until(lambda: versions(follow)["pets"] == 2)
    details = put("pets", 1)
    assert (details.status_code, details.json()["version"]) == (200, 1)
    assert follow.delete("/v1/tasks/flowers").status_code == 204
    library.approve("team-cars", 1)
    until(lambda: "team-cars" in versions(follow))
    assert versions(follow) == {"pets": 1, "team-cars": 1}
    assert put("flowers", 1).status_code == 201
    assert put("pets", None).json()["version"] == 2
    library.rollback("pets", why="test")
    until(lambda: versions(follow)["pets"] == 1)


def test_what_cannot_be_put_changes_nothing(follow: Any) -> None:
    for name, version in (("pets", 7), ("dogs", 1), ("dogs", None), ("%2e%2e%2fpets", 1), ("..", 1)):
        assert refusal(follow.put(f"/v1/tasks/{name}", json={"version": version}))[0] in (404, 405)
    for sent in ({"version": 0}, {"version": "a"}, {"folder": "/etc"}, [], None):
        assert refusal(follow.put("/v1/tasks/pets", json=sent)) == (422, "invalid")
    assert versions(follow) == {"flowers": 1, "pets": 1}


def test_a_server_without_a_library_has_nothing_to_put(serve: Any) -> None:
    client = serve()
    assert refusal(client.put("/v1/tasks/pets", json={"version": 1})) == (409, "no_library")
    assert client.delete("/v1/tasks/pets").status_code == 204
    assert refusal(client.delete("/v1/tasks/pets")) == (404, "unknown_task")
    assert refusal(ask(client, task="pets")) == (404, "unknown_task")


def test_an_unreachable_library_changes_nothing_and_is_followed_again(follow: Any, library: Library) -> None:
    away = Path(library.url).rename(Path(library.url).with_name("away"))
    library_is_back = lambda: versions(follow)["pets"] == 2  # noqa: E731
    threading.Event().wait(0.1)
    assert ask(follow, task="pets").status_code == 200
    assert follow.get("/readyz").status_code == 200
    away.rename(library.url)
    library.approve("pets", 2)
    until(library_is_back)


def test_a_folder_of_saved_tasks_is_followed(serve: Any, tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "plain"
    shutil.copytree(folder / "pets", place / "pets")
    shutil.copytree(folder / "flowers", place / "run" / "artifact")
    (place / "notes").mkdir()
    client = serve(Predictor(backbone()), Follower(source_of(place), poll=0.02))
    until(lambda: client.get("/readyz").status_code == 200)
    assert versions(client) == {"pets": None, "run": None}
    before = ask(client, task="pets").json()["images"][0]["answers"][0]["digest"]
    saved(place, "pets", seed=5)
    until(lambda: ask(client, task="pets").json()["images"][0]["answers"][0]["digest"] != before)
    shutil.copytree(folder / "flowers", place / "a,b")
    until(lambda: len(client.get("/v1/tasks").json()["problems"]) == 1)
    shutil.rmtree(place / "run")
    until(lambda: versions(client) == {"pets": None})
    assert refusal(client.put("/v1/tasks/pets", json={"version": 3})) == (404, "unknown_task")
    assert client.put("/v1/tasks/pets", json={}).status_code == 200


def test_what_is_neither_library_nor_tasks_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match="is no library"):
            source_of(place)
    with pytest.raises(FileNotFoundError):
        SavedTasks(tmp_path / "nowhere").wanted()


def test_a_folder_that_is_away_retires_nothing_and_odd_names_are_problems(
    serve: Any, tmp_path: Path, folder: Path
) -> None:
    place = tmp_path / "plain"
    for name in ("pets", ".flowers", " blank", "x" * 201):
        shutil.copytree(folder / "pets", place / name)
    shutil.copytree(folder / "pets", place / os.fsdecode(b"\xff"))
    client = serve(Predictor(backbone()), Follower(source_of(place), poll=0.02))
    until(lambda: client.get("/readyz").status_code == 200)
    problems = {one["name"]: one["message"] for one in client.get("/v1/tasks").json()["problems"]}
    assert problems.keys() == {" blank", "x" * 201, "?"}
    assert "without outer blanks" in problems[" blank"]
    away = place.rename(tmp_path / "away")
    threading.Event().wait(0.1)
    assert versions(client) == {"pets": None}
    shutil.rmtree(away / ("x" * 201))
    away.rename(place)
    until(lambda: len(client.get("/v1/tasks").json()["problems"]) == 2)


@pytest.mark.parametrize("poll", [0, -1, float("inf"), float("nan")])
def test_a_poll_that_is_no_time_to_wait_is_refused(library: Library, poll: float) -> None:
    with pytest.raises(OptionError, match=r"poll is .*; accepted: seconds above 0"):
        Follower(source_of(library.url), poll=poll)


class Strange:
    """A source whose `open` first calls `opening(name, number)`."""

    def __init__(self, library: Library, opening: Any) -> None:
        self._source, self._opening = source_of(library.url), opening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def open(self, name: str, edition: Any) -> Path:
        self._opening(name, edition.number)
        return self._source.open(name, edition)


def test_a_task_retired_while_its_next_version_cannot_be_read_is_served_no_longer(serve: Any, library: Library) -> None:
    def opening(name: str, number: int) -> None:
        if (name, number) == ("pets", 2):
            raise ConnectionResetError("the store is away")

    client = serve(Predictor(backbone()), Follower(Strange(library, opening), poll=0.02))
    until(lambda: client.get("/readyz").status_code == 200)
    library.approve("pets", 2)
    until(lambda: len(client.get("/v1/tasks").json()["problems"]) == 1)
    assert versions(client) == {"flowers": 1, "pets": 1}
    for number in (1, 2):
        library.retire("pets", number, why="bad")
    until(lambda: versions(client) == {"flowers": 1})
    assert client.get("/v1/tasks").json()["problems"] == []


def test_what_was_wanted_before_does_not_replace_what_was_put_since(serve: Any, library: Library) -> None:
    opened: list[tuple[str, int]] = []
    inside, gate = threading.Event(), threading.Event()

    def opening(name: str, number: int) -> None:
        opened.append((name, number))
        if name == "flowers":  # by then it is known that the first version of pets is wanted
            inside.set()
            assert gate.wait(10)

    client = serve(Predictor(backbone()), Follower(Strange(library, opening), poll=0.02))
    assert inside.wait(10)
    library.approve("pets", 2)
    gate.set()
    until(lambda: versions(client) == {"flowers": 1, "pets": 2})
    assert ("pets", 1) not in opened


def test_until_tasks_are_loaded_the_server_is_not_ready(serve: Any, library: Library) -> None:
    gate = threading.Event()
    source = source_of(library.url)

    class Slow:
        def head(self) -> Any:
            assert gate.wait(10)
            return source.head()

        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

    client = serve(Predictor(backbone()), Follower(Slow(), poll=0.02))  # type: ignore[arg-type]
    assert refusal(client.get("/readyz")) == (503, "loading")
    assert refusal(ask(client, task="pets")) == (503, "loading")
    assert "not there yet" in message(ask(client, task="pets"))
    gate.set()
    until(lambda: client.get("/readyz").status_code == 200)
    assert ask(client, task="pets").status_code == 200
