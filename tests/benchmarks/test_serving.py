"""The serving benchmark: what it counts, what it calls wrong, that it goes on where it was, and what it reports."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the server: pip install 'vpt[serve]'")
pytest.importorskip("httpx", reason="needs httpx")

import httpx
from support.served import served

import vpt
from benchmarks.serving import clients, execute, predictor, process
from benchmarks.serving.__main__ import main
from benchmarks.serving.churn import Churn
from benchmarks.serving.clients import block, judge
from benchmarks.serving.figures import figures
from benchmarks.serving.server import ready
from benchmarks.serving.settings import PREDICTOR, QUICK, Settings
from benchmarks.serving.stock import BACKBONE, Stock, stock
from benchmarks.serving.tables import tables
from vpt.errors import OptionError
from vpt.serving.http import Follower, source_of

# --- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"what": "sever"}, "did you mean 'server'"),
        ({"clients": 0}, "clients: 0 given"),
        ({"requests": 1}, "requests: 1 given"),
        ({"checkpoint": Path("w.safetensors")}, "'tiny' has random weights"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        replace(Settings(), **wrong).validate()


# --- the predictor --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick run of the predictor's parts."""
    folder = tmp_path_factory.mktemp("quick")
    main(["--quick", "--what", "predictor", "--out", str(folder)])
    return folder


def test_every_part_of_the_predictor_comes_to_figures(quick: Path) -> None:
    results = json.loads((quick / "results.json").read_text())
    assert [part["part"] for part in results["parts"]] == [*PREDICTOR]
    found = results["figures"]
    assert {figure["name"] for figure in found["mixing"]} == {"backbone", "one", "each", "uneven", "halves"}
    assert found["adding"][0]["adds"] == QUICK.tasks * QUICK.rows("adding")
    assert found["memory"][0]["tensors"] > 0
    assert found["equality"][0]["tasks"] == QUICK.tasks
    assert 0 < found["equality"][0]["largest"] < 1e-10
    page = (quick / "index.html").read_text()
    assert "Many tasks on one backbone" in page
    assert "Difference from each task alone" in page
    assert "Difference from each task alone" in (quick / "results.md").read_text()


def test_what_was_interrupted_goes_on_and_what_is_there_stays(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = quick / "parts" / "mixing.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "rows": whole["rows"][:1]}))
    begun: list[tuple[str, int]] = []

    def noting(name: str) -> Any:
        real = execute.MEASURES[name]
        return lambda settings, folder, done: (begun.append((name, done)), real(settings, folder, done))[1]

    monkeypatch.setattr(execute, "MEASURES", {name: noting(name) for name in execute.MEASURES})
    execute.execute(replace(QUICK, what="predictor"), quick)
    assert begun == [("mixing", 1)]
    again = json.loads(file.read_text())["rows"]
    assert again[0] == whole["rows"][0]
    assert len(again) == len(whole["rows"])


def test_other_sizes_are_not_mixed_in(quick: Path) -> None:
    before = (quick / "parts" / "mixing.json").read_text()
    with pytest.raises(OptionError, match="another length"):
        execute.execute(replace(QUICK, what="predictor", length=3), quick)
    with pytest.raises(SystemExit, match="did you mean"):
        main(["--quick", "--what", "predictor", "--backbone", "tinyy", "--out", str(quick / "other")])
    assert (quick / "parts" / "mixing.json").read_text() == before


def test_contenders_are_what_their_names_say(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[tuple[str, Any, Any]]] = []

    def noting(self: vpt.Predictor, images: Any, names: list[str]) -> None:
        manifests = [self.task(name).manifest for name in names]
        asked.append([(n, m.method, m.options["length"]) for n, m in zip(names, manifests, strict=True) if m])

    turns = predictor.contenders(replace(QUICK, length=4), quick / "contenders")
    monkeypatch.setattr(vpt.Predictor, "__call__", noting)
    for name in ("one", "each", "uneven", "halves"):
        turns[name]()
    assert [len({name for name, _, _ in rows}) for rows in asked] == [1, *[QUICK.batch] * 3]
    one, each, uneven, halves = ([(method, length) for _, method, length in rows] for rows in asked)
    assert one == each == [("deep", 4)] * QUICK.batch
    assert uneven == [("deep", length) for length in (2, 3, 4, 5)]
    assert sorted(halves) == [("deep", 4)] * 2 + [("shallow", 4)] * 2


# --- the server -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return stock(QUICK, tmp_path_factory.mktemp("stock"))


def reply(made: Stock, task: str, number: int, **more: Any) -> dict[str, Any]:
    """The true one for the first picture, with `more` in its answer."""
    digest = made.versions[task][number]
    answer = {"task": task, "version": number, "digest": digest, "logits": made.truth[digest][0].tolist()}
    return {"images": [{"answers": [{**answer, **more}]}]}


def test_a_reply_is_right_only_as_its_version_answers_alone(made: Stock) -> None:
    task, other = made.changing[0], made.steady[0]
    assert judge(made, task, 0, 200, reply(made, task, 1)) == "right"
    assert judge(made, task, 0, 200, reply(made, task, 2)) == "right"
    assert judge(made, task, 1, 200, reply(made, task, 2)) == "wrong"
    first, second = (made.truth[made.versions[task][number]][0] for number in (1, 2))
    assert judge(made, task, 0, 200, reply(made, task, 1, logits=second.tolist())) == "wrong"
    assert judge(made, task, 0, 200, reply(made, task, 1, logits=(first + 0.01).tolist())) == "wrong"
    assert judge(made, task, 0, 200, reply(made, task, 1, logits=[float("nan")] * len(first))) == "wrong"
    assert judge(made, task, 0, 200, reply(made, task, 1, version=2)) == "wrong"
    assert judge(made, task, 0, 200, reply(made, task, 1, version=3)) == "wrong"
    assert judge(made, task, 0, 200, reply(made, other, 1)) == "wrong"


def test_only_what_comes_and_goes_may_be_away(made: Stock) -> None:
    verdicts = {
        (task, status): judge(made, task, 0, status, {})
        for task in (made.steady[0], made.changing[0], made.visiting[0], "guest-0")
        for status in (404, 409, 503)
    }
    assert {key for key, verdict in verdicts.items() if verdict == "away"} == {
        (task, status) for task in (made.visiting[0], "guest-0") for status in (404, 409)
    }
    assert {*verdicts.values()} == {"away", "refused"}


def test_requests_are_all_accounted_for_while_tasks_come_and_go(made: Stock) -> None:
    server = vpt.Predictor(vpt.load_backbone(BACKBONE))
    with served(server, follower=Follower(source_of(made.library.url), poll=0.05)) as url:
        ready(url)
        churn = Churn(made, 0.01, itertools.count())
        with churn.at(url):
            found = asyncio.run(block(url, made, churn, 120, 8, 0, lambda text: None))
    assert sum(found["verdicts"].values()) == 120
    assert (found["verdicts"]["wrong"], found["verdicts"]["lost"], found["verdicts"]["refused"]) == (0, 0, 0)
    assert len(found["latencies"]) == found["verdicts"]["right"] > 0
    assert churn.done["replaced"] > 0
    assert churn.done["failed"] == 0
    assert found["rows"] >= 1
    row = {name: {**found, "requests": 120, "changes": dict(churn.done)} for name in ("batched", "single")}
    part = {"part": "server", "case": {"clients": 8}, "rows": [json.loads(json.dumps(row))] * 2}
    (batched, single) = figures([part])["server"]
    assert (batched["requests"], batched["verdicts"]["right"]) == (240, 2 * found["verdicts"]["right"])
    assert batched["latency"]["p100"] == max(found["latencies"])
    assert (batched["ratios"]["single"]["ratio"], single["ratios"]) == (1, {})
    replies, *_ = tables({"server": [batched, single]})
    assert replies.lines[1][:3] == ["with batching", "240", str(batched["verdicts"]["right"])]


def test_a_proxy_in_distress_is_counted_and_ends_nothing(made: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, replies = iter([200, 503]), iter([502, 200])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/metrics":
            return httpx.Response(next(looks, 200), text="vpt_batch_rows_count 1\nvpt_batch_rows_sum 1\n")
        return httpx.Response(next(replies), html="<h1>Bad gateway</h1>")

    client = partial(httpx.AsyncClient, transport=httpx.MockTransport(answer))
    monkeypatch.setattr(clients.httpx, "AsyncClient", client)
    churn = Churn(made, 1.0, itertools.count())
    found = asyncio.run(block("http://proxy", made, churn, 2, 1, 0, lambda text: None))
    assert (found["verdicts"]["refused"], found["verdicts"]["wrong"]) == (1, 1)
    assert next(looks, None) is None, "no look failed"


def test_what_a_server_dies_of_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("error: no such library\n")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        with pytest.raises(OptionError, match="no such library"):
            process.address(ended, log)


def test_versions_differ_enough_to_be_told_apart(made: Stock) -> None:
    logits = [made.truth[digest] for digest in made.truth]
    for one, other in itertools.combinations(logits, 2):
        assert np.abs(one - other).max() > 1e-2 * np.abs(one).max()
