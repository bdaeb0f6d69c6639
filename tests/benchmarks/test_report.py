"""The numbers of a benchmark's report, recomputed here another way, and what becomes of records without a number."""

from __future__ import annotations

import csv
import io
import json
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.benchmark_folders import VTAB, Bench, task, variant, vtab_tasks

from benchmarks.suite.report import Suite, write_report
from benchmarks.suite.report.contents import Contents
from benchmarks.suite.report.facts import facts
from benchmarks.suite.report.records import read
from benchmarks.suite.report.results import Results, compute
from benchmarks.suite.report.statistics import mean_of_means, paired, spread
from benchmarks.suite.report.table import DASH, Table
from benchmarks.vtab.published import published
from benchmarks.vtab.report import write
from vpt.errors import OptionError

SUITE = Suite("VTAB-1K", published())


def spread_out(task: str, variant: str, seed: int) -> float:
    """Different for every cell and seed, the same every time."""
    cell, run = (zlib.crc32(text.encode()) / 2**32 for text in (f"{task} {variant}", f"{task} {variant} {seed}"))
    return 0.4 + 0.4 * cell + 0.02 * run


def results(bench: Bench) -> Results:
    return compute(read(bench.root), SUITE)


def said(bench: Bench) -> Contents:
    return Contents(results(bench))


def grid(table: Table) -> dict[str, dict[str, str]]:
    """The texts of a table, by line and column."""
    heads = [column.text for column in table.columns[1:]]
    return {line.head.text: dict(zip(heads, (e.plain for e in line.entries), strict=True)) for line in table.lines}


@pytest.fixture
def small(tmp_path: Path) -> Bench:
    """Three tasks in two groups, three variants, three seeds, nothing run."""
    tasks = [task("a"), task("b"), task("c", "structured")]
    return Bench(tmp_path, tasks, [variant("linear"), variant("full"), variant("deep", length=10)])


# --- statistics -------------------------------------------------------------------------------------------

accuracies = st.floats(0, 100, allow_nan=False)


@given(st.lists(accuracies, min_size=1, max_size=8))
def test_spread_is_numpys(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    assert found.mean == pytest.approx(np.mean(values))
    assert found.n == len(values)
    if len(values) == 1:
        assert found.std is None
    else:
        assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)


@given(st.dictionaries(st.integers(0, 9), accuracies), st.dictionaries(st.integers(0, 9), accuracies))
def test_paired_differences_are_those_of_a_paired_t_test(ours: dict[int, float], theirs: dict[int, float]) -> None:
    found, shared = paired(ours, theirs), sorted(ours.keys() & theirs.keys())
    if not shared:
        assert found is None
        return
    assert found is not None
    differences = [ours[seed] - theirs[seed] for seed in shared]
    assert (found.n, found.mean) == (len(shared), pytest.approx(np.mean(differences)))
    if len(shared) == 1:
        assert (found.low, found.high, found.sign) == (None, None, 0)
    elif np.ptp(differences) > 1e-6:
        low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_a_difference_has_a_sign_where_its_interval_leaves_zero_out() -> None:
    level = {1: 50.0, 2: 50.1, 3: 49.9}
    higher, mixed = {1: 52.0, 2: 52.2, 3: 51.9}, {1: 60.0, 2: 40.0, 3: 51.0}
    signs = [found.sign for a, b in ((higher, level), (level, higher), (mixed, level)) if (found := paired(a, b))]
    assert signs == [1, -1, 0]


@given(st.lists(st.lists(accuracies, min_size=1, max_size=5), min_size=1, max_size=4))
def test_mean_of_means_weighs_groups_equally(groups: list[list[float]]) -> None:
    assert mean_of_means(groups) == pytest.approx(np.mean([np.mean(group) for group in groups]))


# --- cells and means --------------------------------------------------------------------------------------


def test_cells_and_means_are_those_of_numpy(tmp_path: Path) -> None:
    bench = Bench(tmp_path, vtab_tasks(), [variant("full"), variant("deep", length=10)], (42, 44, 82, 100, 800))
    bench.fill(spread_out)
    made = said(bench)
    for label in ("full", "deep"):
        values = np.array([[100 * spread_out(t["name"], label, s) for s in bench.seeds] for t in bench.tasks])
        assert list(grid(made.tasks)[label].values()) == [f"{row.mean():.1f} ± {row.std(ddof=1):.1f}" for row in values]
        starts = np.cumsum([0, *map(len, VTAB.values())])
        groups = np.array([values[a:b].mean(0) for a, b in pairwise(starts)])
        rows = [*groups, groups.mean(0), values.mean(0)]
        shown = grid(made.summary)[label]
        assert [shown[name] for name in (*VTAB, "mean of groups", "mean of tasks")] == [
            f"{row.mean():.1f} ± {row.std(ddof=1):.1f}" for row in rows
        ]


def test_the_two_means_of_the_published_figures_differ_by_what_is_known() -> None:
    deep = published().accuracies["deep"]
    groups = [[deep[name] for name in names] for names in VTAB.values()]
    of_groups, of_tasks = mean_of_means(groups), mean_of_means([list(deep.values())])
    assert (round(of_groups, 1), round(of_tasks, 1)) == (72.0, 69.4)


def test_the_published_figures_are_those_of_the_reference() -> None:
    file = Path(__file__).parents[2].parent / "shared" / "reference" / "published_vtab1k.csv"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    theirs = [[float(v) for name, v in row.items() if name != "method"] for row in csv.DictReader(lines)]
    assert [list(published().accuracies[m].values()) for m in ("full", "linear", "shallow", "deep", "bias")] == theirs
    assert all(ours.keys() == {t["name"] for t in vtab_tasks()} for ours in published().accuracies.values())


def test_a_mean_over_incomplete_cells_is_a_dash_with_a_note(small: Bench) -> None:
    small.fill(spread_out, without=["b.deep.final.seed-44"])
    made = said(small)
    deep = grid(made.summary)["deep"]
    assert [deep[name] for name in ("natural", "mean of groups", "mean of tasks")] == [DASH] * 3
    assert deep["structured"] != DASH
    assert any(note.startswith("deep: incomplete on b;") for note in made.summary.notes)
    left = [100 * spread_out("b", "deep", seed) for seed in (42, 82)]
    assert grid(made.tasks)["deep"]["b"] == f"{np.mean(left):.1f} ± {np.std(left, ddof=1):.1f} (2 of 3)"
    assert DASH not in grid(made.summary)["linear"].values()


def test_wins_count_only_tasks_that_both_have_complete(small: Bench) -> None:
    better = {"a": 0.9, "b": 0.9, "c": 0.1}
    small.fill(lambda t, v, s: better[t] if v == "deep" else 0.5, without=["b.full.final.seed-42"])
    shown = grid(said(small).summary)
    assert {label: row["wins against full"] for label, row in shown.items()} == {
        "linear": "0 of 2", "full": DASH, "deep": "1 of 2",
    }  # fmt: skip


def test_without_full_there_are_no_wins_and_differences_are_to_linear(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [task("a"), task("b")], [variant("linear"), variant("deep")])
    bench.fill(spread_out)
    made = said(bench)
    assert [column.text for column in made.summary.columns][1:2] == ["mean of tasks"]  # one group: no mean of groups
    assert not any("wins" in column.text for column in made.summary.columns)
    assert [table.title for table in made.differences] == ["Differences to linear"]
    assert made.gains is not None
    assert "linear" in made.gains.title


def test_differences_pair_seeds_and_overall_takes_each_seeds_mean(small: Bench) -> None:
    small.fill(spread_out)
    found = next(table for table in said(small).differences if table.title == "Differences to full")
    values = {v: np.array([[100 * spread_out(t, v, s) for s in small.seeds] for t in "abc"]) for v in ("full", "deep")}
    gap = values["deep"] - values["full"]

    def shown(differences: Any) -> str:
        low, high = stats.t.interval(0.95, len(differences) - 1, np.mean(differences), stats.sem(differences))
        signed = [f"{x:+.1f}".replace("-", "−") for x in (np.mean(differences), low, high)]
        signed = ["0.0" if text[1:] == "0.0" else text for text in signed]
        return f"{signed[0]} [{signed[1]}, {signed[2]}]"

    of_groups = (gap[:2].mean(0) + gap[2]) / 2
    assert list(grid(found)["deep"].values()) == [shown(d) for d in (of_groups, gap.mean(0), *gap)]


def test_one_seed_has_neither_deviation_nor_interval_and_says_so(small: Bench) -> None:
    small.seeds = (42,)
    small.fill(spread_out)
    made = said(small)
    assert "one seed: no spread is known" in made.tasks.caption
    for table in (made.tasks, made.summary, *made.differences):
        assert not any("±" in e.plain or "[" in e.plain for line in table.lines for e in line.entries)
    assert all("Where only one seed is shared there is no interval" in table.notes[0] for table in made.differences)


def test_costs_are_medians_and_count_the_head_apart(small: Bench) -> None:
    small.fill(spread_out)
    trials = [trial for trial in small.trials() if trial["variant"] == "deep"]
    for seconds, trial in enumerate(trials, 1):
        record = small.record(trial, 0.5)
        record["cost"] |= {"seconds": float(seconds), "peak_memory": seconds * 2**20, "together": 3}
        small.write(record)
    cost = said(small).cost
    shown = grid(cost)["deep"]
    assert (shown["with head"], shown["without head"]) == ("99,850", "92,160")
    assert (shown["per run"], shown["peak memory"]) == ("5.0 s", "9 MiB")
    assert shown["all final runs"] == "45.0 s"
    assert any("deep (up to 3 at once)" in note for note in cost.notes)


# --- what is not a number ---------------------------------------------------------------------------------


def spoilt(bench: Bench) -> Bench:
    """With one trial each of every fate."""
    bench.fill(spread_out, without=["a.full.final.seed-82"])
    trials = {trial["id"]: trial for trial in bench.trials()}
    trace = "Traceback (most recent call last):\n  if a < b & c:\nValueError: <odd> & ends"
    bench.write({"schema": 1, "id": "a.deep.final.seed-42", "trial": trials["a.deep.final.seed-42"], "status": "failed",
                 "reason": "ValueError: <odd> & ends", "traceback": trace, "cost": {"seconds": 1.0}})  # fmt: skip
    reason = "loss is not finite at step 12"
    bench.write(bench.record(trials["b.deep.final.seed-42"], None, status="diverged", reason=reason))
    (bench.root / "trials" / "c.deep.final.seed-42.json").write_text('{"schema": 1, "id"')
    bench.write({**bench.record(trials["c.deep.final.seed-42"], 0.5), "id": "x.y.final.seed-1"})
    return bench


def test_every_fate_is_counted_and_named(small: Bench) -> None:
    made = said(spoilt(small)).outcomes
    assert made.counts == {"planned": 27, "done": 23, "diverged": 1, "failed": 1, "missing": 2, "damaged": 1}
    assert [(o.name, o.reason) for o in made.failed] == [("a.deep.final.seed-42", "ValueError: <odd> & ends")]
    assert [(o.name, o.reason) for o in made.diverged] == [("b.deep.final.seed-42", "loss is not finite at step 12")]
    assert [o.name for o in made.damaged] == ["c.deep.final.seed-42.json"]
    assert [o.name for o in made.unplanned] == ["x.y.final.seed-1.json"]
    assert made.missing_ids == ["a.full.final.seed-82", "c.deep.final.seed-42"]
    assert made.missing == ["full: 1 final trial", "deep: 1 final trial"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"metrics": {"accuracy": 78.5}}, "accuracy 78.5"),
        ({"metrics": None}, "accuracy None"),
        ({"metrics": {"accuracy": float("nan")}}, "accuracy nan"),
        ({"measured_on": "val"}, "measured on 'val'"),
        ({"status": "finished"}, "status 'finished'"),
        ({"id": "a.full.final.seed-44"}, "record of 'a.full.final.seed-44'"),
        ({"trial": {}}, "another setting"),
    ],
)
def test_a_record_that_cannot_be_this_trials_is_damaged_not_shown(small: Bench, change: Any, fault: str) -> None:
    small.fill(spread_out)
    trial = next(trial for trial in small.trials() if trial["id"] == "a.full.final.seed-42")
    (small.root / "trials" / "a.full.final.seed-42.json").write_text(json.dumps(small.record(trial, 0.5) | change))
    found = read(small.root)
    assert fault in found.damaged["a.full.final.seed-42.json"]
    assert [trial.id for trial in found.missing] == ["a.full.final.seed-42"]


def test_another_schema_is_refused_naming_every_file(small: Bench) -> None:
    small.fill(spread_out)
    for name in ("a.full.final.seed-42", "b.full.final.seed-44"):
        path = small.root / "trials" / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(OptionError, match=r"(?s)a\.full\.final\.seed-42\.json: schema 2.*b\.full\.final\.seed-44"):
        write(small.root)


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"holds no plan\.json"):
        write(tmp_path)


def test_a_report_can_be_made_before_anything_was_run_and_again_after(small: Bench) -> None:
    small.write_plan()
    first = write(small.root)
    assert (first.counts["missing"], first.counts["done"]) == (27, 0)
    assert not list(first.page.parent.glob("*.svg"))
    small.fill(spread_out)
    assert write(small.root).counts["done"] == 27
    assert {path.name for path in first.page.parent.glob("*.svg")} == {
        "parameters.svg",
        "groups.svg",
        "differences.svg",
    }


# --- search, data, published ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "edge"),
    [
        ((0.5, 0.001), "no"),
        ((5.0, 0.001), "highest learning rate"),
        ((0.05, 0.01), "lowest learning rate, highest weight decay"),
        ((0.5, 0.0), "no"),  # nothing lies below a decay of zero
    ],
)
def test_a_choice_at_the_edge_of_its_grid_is_said(small: Bench, chosen: tuple[float, float], edge: str) -> None:
    small.grid, small.chosen = [(lr, wd) for lr in (5.0, 0.5, 0.05) for wd in (0.01, 0.001, 0.0)], chosen
    small.fill(spread_out, without=["a.deep.search.lr-5-wd-0.01"])
    made = said(small)
    line = next(line for line in made.searches[2].lines if line.head.text == "a")
    lr, decay, accuracy, where, tried = line.entries
    assert (lr.text, decay.text, where.text, tried.text) == (f"{chosen[0]:g}", f"{chosen[1]:g}", edge, "8 of 9")
    assert accuracy.text == f"{chosen[0] / 10:.1f}"
    assert accuracy.href == f"../trials/a.deep.search.lr-{chosen[0]:g}-wd-{chosen[1]:g}.json"
    assert made.edges == (0 if edge == "no" else 9)


def test_own_splits_are_said_beside_every_table_of_accuracies(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [task("cifar", test=10000), task("svhn", test=26032)], [variant("full"), variant("deep")])
    bench.fill(spread_out)
    for trial in bench.trials():
        if trial["task"] == "cifar":
            record = bench.record(trial, 0.5)
            record["data"]["deviations"] = ["train is not VTAB-1K's 800"]
            bench.write(record)
    made = said(bench)
    told = ("Own split, not a VTAB-1K score: cifar (train is not VTAB-1K's 800); svhn (test holds 10000 images, "
            "not 26032).")  # fmt: skip
    assert made.published is not None
    for table in (made.summary, made.tasks, made.published):
        assert told in table.notes
    assert grid(made.data)["cifar"]["deviations"] == "train is not VTAB-1K's 800"


def test_trials_of_one_task_with_different_images_are_told_apart(small: Bench) -> None:
    small.fill(spread_out)
    record = small.record(small.trials()[-1], 0.5)
    record["data"]["digests"] = {"train": "other"}
    small.write(record)
    assert any("c: trials were given 2 different sets of images" in note for note in said(small).data.notes)


def test_published_figures_stand_beside_ours_with_their_route(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, vtab_tasks(), [variant("full"), variant("deep-a", "deep"), variant("deep-b", "deep")], (1, 2)
    )
    bench.fill(spread_out)
    table = said(bench).published
    assert table is not None
    heads = [[line.head.plain for line in body.lines] for body in table.bodies]
    assert heads == [["Full published", "full ours"], ["VPT-Deep published", "deep-a ours", "deep-b ours"]]
    shown = grid(table)["VPT-Deep"]
    assert (shown["mean of groups"], shown["mean of tasks"], shown["cifar"]) == ("72.0", "69.4", "78.8")
    assert "data by TensorFlow Datasets" in table.caption
    assert "data by vtab-folder" in table.caption
    assert any("Another data route" in note and "vtab-folder, on all tasks" in note for note in table.notes)


def test_what_should_be_one_and_is_not_is_pointed_out(small: Bench) -> None:
    small.fill(spread_out)
    small.write(small.record(small.trials()[-1], 0.5, device="NVIDIA H100"))
    found = {fact.name: fact for fact in facts(read(small.root)) if not fact.mixed}
    assert (found["fingerprint"].text, found["seeds"].text) == ("f00d", "42, 44, 82")
    assert found["total cost"].text == "5.4 min of training and measuring, over 27 trials"
    mixed = [fact for fact in facts(read(small.root)) if fact.mixed]
    assert [(fact.name, fact.text) for fact in mixed] == [
        ("device", "cpu (26 trials)"), ("device", "NVIDIA H100 (1 trial)"),
    ]  # fmt: skip
    assert mixed[1].href == f"../trials/{small.trials()[-1]['id']}.json"


def test_nothing_published_no_table(small: Bench) -> None:
    small.fill(spread_out)
    assert said(small).published is None
    assert Contents(compute(read(small.root), Suite("Other"))).published is None


def test_embedded_tasks_are_not_called_vtab_scores(small: Bench) -> None:
    small.settings = {**small.settings, "data": {"source": "embedded"}}
    small.fill(spread_out)
    assert write(small.root).title == "VTAB-1K's protocol on embedded tasks: paper"


# --- charts -----------------------------------------------------------------------------------------------


def test_an_ablation_has_its_chart_and_lengths_have_theirs(tmp_path: Path) -> None:
    tasks = [task("a"), task("c", "structured")]
    by_length = [variant(f"deep-{n}", "deep", length=n) for n in (1, 10, 50)]
    plain = Bench(tmp_path / "plain", tasks, by_length)
    plain.fill(spread_out)
    assert [chart.name for chart in said(plain).pictures] == ["length", "parameters", "groups"]
    ablation = {"name": "start", "title": "Start", "axis": "start of prompts", "about": "How prompts start."}
    named = [variant(f"deep-{n}", "deep", axis=n) for n in ("normal", "first:3")]
    bench = Bench(tmp_path / "ablation", tasks, named, ablation=ablation)
    bench.fill(spread_out)
    made = said(bench)
    assert [chart.name for chart in made.pictures] == ["ablation"]
    assert all(text in made.pictures[0].svg for text in ("first:3", "normal", "start of prompts", "mean of groups"))
    assert (made.title, made.about) == ("VTAB-1K: Start", ["A protocol.", "How prompts start."])


def test_reports_are_the_same_every_time(small: Bench) -> None:
    small.grid = [(5.0, 0.0), (0.5, 0.001)]
    small.fill(spread_out)

    def written() -> dict[str, bytes]:
        folder = write_report(small.root, SUITE).page.parent
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert written() == written()


def test_the_tidy_csv_holds_every_number_in_full(small: Bench) -> None:
    small.fill(spread_out, without=["b.deep.final.seed-44"])
    text = (write(small.root).page.parent / "table.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 9
    row = next(row for row in rows if (row["variant"], row["task"]) == ("deep", "b"))
    values = [100 * spread_out("b", "deep", seed) for seed in (42, 82)]
    assert [float(value) for value in row["accuracies"].split(";")] == values
    assert (float(row["mean"]), float(row["std"])) == (
        pytest.approx(np.mean(values), abs=1e-12), pytest.approx(np.std(values, ddof=1), abs=1e-12),
    )  # fmt: skip
    assert (row["n"], row["planned"], row["route"]) == ("2", "3", "vtab-folder")
    assert row["trials"] == "b.deep.final.seed-42;b.deep.final.seed-82"
