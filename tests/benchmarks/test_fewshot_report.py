"""The few-shot report from constructed records: its numbers recomputed another way, and where each of them leads."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from page import Page

from benchmarks.fewshot.planning import Asked, make_plan
from benchmarks.fewshot.published import published
from benchmarks.fewshot.report import write
from benchmarks.fewshot.report.contents import Contents
from benchmarks.fewshot.report.write import SUITE
from benchmarks.fewshot.stage import BASE_TO_NEW, HARMONIC, NEW, TRANSFER, Stage, on
from benchmarks.suite.folder import Folder
from benchmarks.suite.measured import Clock, Measured, done, failures, record
from benchmarks.suite.plan import Plan, claim
from benchmarks.suite.report.records import read
from benchmarks.suite.report.table import DASH, Table
from benchmarks.suite.trial import Trial
from vpt.errors import OptionError
from vpt.methods import names

TASKS, SEEDS = ["digits", "count", "location"], [1, 2, 3]
METHODS = ["zero_shot", "coop", "taskres"]


def rate(*what: Any) -> float:
    """Different for everything, the same every time."""
    return 0.2 + 0.7 * zlib.crc32(" ".join(map(str, what)).encode()) / 2**32


def metrics(trial: Trial) -> dict[str, float]:
    """Made up; what TaskRes learns cannot be carried to other classes."""
    kind, bound = Stage.of(trial.stage).kind, trial.method == "taskres"
    found = {"accuracy": rate(trial.id)}
    if kind == BASE_TO_NEW and not bound:
        new = rate(trial.id, "new")
        found |= {NEW: new, HARMONIC: 2 * found["accuracy"] * new / (found["accuracy"] + new)}
    if kind == TRANSFER and not bound:
        found |= {on(target): rate(trial.id, target) for target in ("count", "location")}
    return found


def made(trial: Trial) -> dict[str, Any]:
    """A finished trial's record."""
    remarks = ["new_accuracy: it belongs to its classes"] if trial.method == "taskres" else []
    about = {
        "measured_on": "test", "parameters": {"trained": 100, "prompts": 100, "head": 0, "all": 1000},
        "data": {"route": "embedded", "sizes": {"test": 30}, "digests": {"test": "0123"}},
    }  # fmt: skip
    cost = {"cost": Clock.now().cost([0.5, 1.5], 2**30)}
    return record(trial, about, done(Measured(metrics(trial), remarks), []), cost)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Asked("mini", TASKS, METHODS, shots=[1, 4], stages=["shots", BASE_TO_NEW, TRANSFER],
                           targets=["count", "location"]))  # fmt: skip


def filled(root: Path, plan: Plan, without: Mapping[str, Any] | None = None) -> Path:
    """A folder with all of the plan's records, but for those of which there is another, or none."""
    folder, others = Folder(root), without or {}
    claim(folder, plan)
    folder.note("run", command=["python", "-m", "benchmarks.fewshot"])
    for trial in plan.trials:
        if found := others.get(trial.id, made(trial)):
            folder.write(found)
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Path:
    root = filled(tmp_path_factory.mktemp("report"), plan)
    write(root)
    return root


def said(root: Path) -> Contents:
    return Contents(SUITE, read(root))


def grid(table: Table, body: int = 0) -> dict[str, list[str]]:
    """The texts of a table's body, by line."""
    return {line.head.text: [entry.plain for entry in line.entries] for line in table.bodies[body].lines}


def shown(values: Any) -> str:
    """`50.0 ± 1.0` of fractions, one for each seed."""
    own = 100 * np.array(values)
    return f"{own.mean():.1f} ± {own.std(ddof=1):.1f}"


def accuracy(task: str, method: str, stage: str, seed: int, *metric: str) -> float:
    return rate(f"{task}.{method}.{stage}.seed-{seed}", *metric)


def test_accuracy_against_shots_is_the_mean_over_tasks_of_each_seed(whole: Path) -> None:
    table = said(whole).by_shots
    assert table is not None
    assert [column.text for column in table.columns] == ["method", "0", "1", "4"]
    found = grid(table)
    for method in ("coop", "taskres"):
        for place, k in ((1, 1), (2, 4)):
            by_seed = [np.mean([accuracy(task, method, f"shots-{k}", seed) for task in TASKS]) for seed in SEEDS]
            assert found[method][place] == shown(by_seed)
    zero = np.mean([accuracy(task, "zero_shot", "shots-0", 1) for task in TASKS])
    assert found["zero_shot"] == [f"{100 * zero:.1f}", "", ""]


def test_every_task_has_its_body(whole: Path) -> None:
    table = said(whole).tasks
    assert table is not None
    assert {body.title for body in table.bodies} == {"Digits", "Count", "Location"}
    for place, body in enumerate(table.bodies):
        expected = shown([accuracy(body.title.lower(), "coop", "shots-4", seed) for seed in SEEDS])
        assert grid(table, place)["coop"][2] == expected


def test_h_of_the_mean_is_that_of_the_means_and_h_of_a_task_its_own(whole: Path) -> None:
    table = said(whole).generalisation
    assert table is not None
    stage = "base-to-new-16"
    base = np.array([[accuracy(t, "coop", stage, s) for t in TASKS] for s in SEEDS])
    new = np.array([[accuracy(t, "coop", stage, s, "new") for t in TASKS] for s in SEEDS])
    a, b = base.mean(1), new.mean(1)
    assert grid(table)["coop"] == [shown(a), shown(b), shown(2 * a * b / (a + b)), "2.0 s"]
    for place, body in enumerate(table.bodies[1:]):
        index = [task.capitalize() for task in TASKS].index(body.title)
        a, b = base[:, index], new[:, index]
        assert grid(table, place + 1)["coop"] == [shown(a), shown(b), shown(2 * a * b / (a + b)), "2.0 s"]


def test_what_cannot_be_carried_to_other_classes_is_a_dash_with_a_note(whole: Path) -> None:
    contents = said(whole)
    for table in (contents.generalisation, *contents.transfer):
        assert table is not None
        assert set(grid(table)["taskres"][1:3]) == {DASH}
        assert "taskres: not measured on other classes: it belongs to its classes." in table.notes


def test_transfer_has_the_source_every_target_and_their_mean(whole: Path) -> None:
    (table,) = said(whole).transfer
    values = [accuracy("digits", "coop", "transfer-16", s) for s in SEEDS]
    targets = {t: [accuracy("digits", "coop", "transfer-16", s, t) for s in SEEDS] for t in ("count", "location")}
    expected = dict(zip(["Digits", *(t.capitalize() for t in targets)], [values, *targets.values()], strict=True))
    heads = [column.text for column in table.columns[1:]]
    assert set(heads) == {*expected, "mean"}
    found = dict(zip(heads, grid(table)["coop"], strict=True))
    assert found == {**{name: shown(v) for name, v in expected.items()}, "mean": shown(np.mean([*targets.values()], 0))}


def test_published_figures_stand_beside_ours_and_say_of_what_they_are(whole: Path) -> None:
    contents = said(whole)
    table, ours = contents.published, contents.by_shots
    assert table is not None
    assert ours is not None
    assert "ViT-B/16" in table.caption
    assert "11 datasets" in table.caption
    assert any("Another backbone" in note for note in table.notes)
    found, facts = (
        {head: cells for b in range(len(table.bodies)) for head, cells in grid(table, b).items()},
        published(),
    )
    heads = [column.long for column in table.columns[1:]]
    names = {"base to new: base": "base", "base to new: new": "new", "base to new: H": "h"}
    expected = [facts["coop"].figures.get(names.get(h, f"shots-{h.rpartition(' ')[2]}")) for h in heads]
    assert found["CoOp"] == [DASH if value is None else f"{value:.1f}" for value in expected]
    assert found["coop"][-2:] == grid(ours)["coop"][-2:]


def test_costs_are_medians_of_trainings(whole: Path) -> None:
    table = said(whole).cost
    found = dict(zip([column.long for column in table.columns[1:]], grid(table)["coop"], strict=True))
    assert found["trained parameters: number"] == "100"
    assert found["trained parameters: share of all"] == "10.00%"
    assert {text for name, text in found.items() if name.startswith("one training")} == {"2.0 s"}
    assert found["peak memory"] == "1.00 GiB"


def test_every_number_leads_to_its_trial_file(whole: Path) -> None:
    page = Page(whole / "report" / "index.html")
    assert len(page.ids) == len(set(page.ids))
    for href in page.hrefs:
        parts = urlsplit(href)
        assert not parts.scheme, href
        if parts.path:
            assert (whole / "report" / unquote(parts.path)).exists(), href
        else:
            assert parts.fragment in page.ids, href
    assert not [text for text, linked in page.cells if re.search(r"\d\.\d", text) and not linked]
    assert page.loaded == ["data:,"]
    files = {path.name for path in (whole / "trials").iterdir()}
    assert files == {unquote(urlsplit(h).path).rpartition("/")[2] for h in page.hrefs if "trials/" in h}


def test_the_csv_holds_every_number_in_full(whole: Path, plan: Plan) -> None:
    rows = list(csv.DictReader(io.StringIO((whole / "report" / "table.csv").read_text())))
    told = {(r["variant"], r["measured"], r["task"]): r for r in rows}
    row = told["coop", "base to new: new classes", "count"]
    values = [100 * accuracy("count", "coop", "base-to-new-16", seed, "new") for seed in SEEDS]
    assert [float(v) for v in row["accuracies"].split(";")] == pytest.approx(values, rel=1e-12)
    assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-12)
    assert {name for r in rows for name in r["trials"].split(";") if name} == {trial.id for trial in plan.trials}


def test_all_forms_have_all_tables(whole: Path) -> None:
    contents = said(whole)
    markdown, tex = ((whole / "report" / name).read_text() for name in ("table.md", "table.tex"))
    for table in contents.tables:
        assert f"## {table.title}" in markdown
    assert tex.count(r"\begin{table*}") == tex.count(r"\end{table*}") == len(contents.tables) - 1
    for name in ("shots", "tasks", "base-to-new"):
        assert (whole / "report" / f"{name}.svg").exists()


def test_reports_are_the_same_every_time(whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in (whole / "report").iterdir()}
    write(whole)
    assert {path.name: path.read_bytes() for path in (whole / "report").iterdir()} == before


def test_what_is_not_done_is_told_and_no_mean_is_taken_without(tmp_path: Path, plan: Plan) -> None:
    broken, gone = "digits.coop.shots-4.seed-1", "count.coop.base-to-new-16.seed-2"
    trial = next(trial for trial in plan.trials if trial.id == broken)
    root = filled(tmp_path, plan, {broken: failures([trial], ValueError("odd & <ends>"))[0], gone: None})
    report, contents = write(root), said(root)
    assert (report.counts["failed"], report.counts["missing"]) == (1, 1)
    assert contents.by_shots is not None
    assert contents.generalisation is not None
    assert grid(contents.by_shots)["coop"][2] == DASH
    assert grid(contents.by_shots)["coop"][1] != DASH
    base, new, h, _ = grid(contents.generalisation)["coop"]
    assert (base, new, h) == (DASH, DASH, DASH)
    page = (root / "report" / "index.html").read_text()
    assert "odd &amp; &lt;ends&gt;" in page
    assert gone in page


def test_a_report_before_anything_was_run_and_of_one_stage_alone(tmp_path: Path) -> None:
    for stage in ("shots", BASE_TO_NEW, TRANSFER):
        alone = make_plan(Asked("mini", ["digits"], ["coop"], stages=[stage], targets=["count"]))
        claim(Folder(tmp_path / stage), alone)
        report = write(tmp_path / stage)
        assert report.counts["missing"] == len(alone.trials)
        assert report.rows[0][0] == "coop"


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no plan\.json"):
        write(tmp_path)


def test_the_methods_of_the_published_table_are_all_there_to_be_compared() -> None:
    assert set(published()) <= set(names("open_clip"))
