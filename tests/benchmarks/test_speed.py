"""The speed benchmark: what it counts, that it takes turns, that it goes on where it was, and what it reports."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.speed import execute, memory, models, report
from benchmarks.speed.__main__ import arguments, main, settings
from benchmarks.speed.execute import collect
from benchmarks.speed.figures import cached, figures, ratio, swept
from benchmarks.speed.measure import interleave
from benchmarks.speed.plan import Case, Contender, plan
from benchmarks.speed.settings import KINDS, QUICK, Settings
from vpt import Tuned
from vpt.errors import OptionError
from vpt.training.versions import versions

FLOOR, FULL = Contender("floor"), Contender("full")
HOOKS, FUSED = Contender("hooks", 2), Contender("fused", 2)


def case(what: str, *contenders: Contender, rows: int = 3, **more: Any) -> Case:
    return Case(what, "quick", contenders, 2, rows, **more)


def part(of: Case, *rows: dict[str, Any]) -> dict[str, Any]:
    machine = {"cpu": "A", "cores": 2, "threads": 1}
    versions = dict.fromkeys(("python", "vpt", "torch", "timm"), "1")
    fields = {"case": of.identity(), "machine": machine, "versions": versions, "begun": "now", "load": 1.0}
    return json.loads(json.dumps({**fields, "rows": list(rows)}))


# --- the plan ---------------------------------------------------------------------------------------------


def test_all_contenders_of_a_backbone_meet_in_one_case() -> None:
    planned = plan(Settings(what=("train", "infer", "memory")))
    names = {of.name: [contender.name for contender in of.contenders] for of in planned}
    both = [f"{path}-{p}" for p in (10, 50, 100, 200) for path in ("hooks", "fused")]
    assert names["train-base"] == ["floor", *both, "full"]
    assert names["infer-tiny"] == ["floor", *both]
    assert names["memory-small-fused-50"] == ["fused-50"]
    assert len(planned) == 3 + 3 + 3 * 10
    assert {of.backbone: of.batch for of in planned} == {"tiny": 32, "small": 16, "base": 8}
    assert {of.batch for of in plan(Settings(device="cuda")) if of.what == "train"} == {128}


def test_precision_and_compiling_go_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        found = settings(arguments([]))
        wanted = ("cuda", "bf16", True) if there else ("cpu", "fp32", False)
        assert (found.device, found.precision, found.compile) == wanted
    said = settings(arguments(["--precision", "fp32", "--no-compile", "--lengths", "5,7", "--quick"]))
    assert (said.precision, said.compile, said.lengths, said.models) == ("fp32", False, (5, 7), QUICK.models)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"models": ["tinny"]}, "tiny"),
        ({"what": ["trian"]}, "train"),
        ({"rounds": 0}, "rounds"),
        ({"batch": 0}, "batch"),
        ({"precision": "fp8"}, "fp32"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        plan(Settings(**wrong))


# --- figures ----------------------------------------------------------------------------------------------


def test_ratio_is_of_the_medians_and_its_quartiles_of_the_rounds() -> None:
    assert ratio([2.0, 9.0, 4.0, 6.0, 8.0], [1.0, 3.0, 2.0, 2.0, 4.0]) == {"ratio": 3.0, "quartiles": [2.0, 3.0]}
    assert ratio([3.0], [2.0]) == {"ratio": 1.5, "quartiles": [1.5, 1.5]}


def test_contenders_are_set_against_the_plain_path_of_their_length_the_floor_and_full() -> None:
    rows = [{"floor": 1.0, "hooks-2": 4.0, "hooks-3": 8.0, "fused-2": 2.0, "full": 5.0}] * 3
    all_of_them = (FLOOR, HOOKS, Contender("hooks", 3), FUSED, FULL)
    found = {(f["kind"], f["length"]): f for f in figures([part(case("train", *all_of_them), *rows)])}
    ratios = {key: {base: r["ratio"] for base, r in figure["ratios"].items()} for key, figure in found.items()}
    assert ratios["fused", 2] == {"hooks": 0.5, "floor": 2.0, "full": 0.4}
    assert ratios["hooks", 3] == {"hooks": 1.0, "floor": 8.0, "full": 1.6}
    assert ratios["floor", None] == {"floor": 1.0, "full": 0.2}
    assert found["fused", 2]["median"] == 2.0


def test_memory_is_set_against_contenders_of_the_same_backbone() -> None:
    rows = {FLOOR: (1100, 50), HOOKS: (1400, 100), FUSED: (1200, 75)}
    parts = [part(case("memory", c), {"peak": p, "resting": 1000, "saved": s}) for c, (p, s) in rows.items()]
    other = Case("memory", "tiny", (FLOOR,), 2, 1)
    found = figures([*parts, part(other, {"peak": 5000, "resting": 1000, "saved": 1})])
    fused = next(figure for figure in found if figure["kind"] == "fused")
    assert (fused["above"], fused["saved"]) == (200, 75)
    assert fused["ratios"] == {"hooks": {"above": 0.5, "saved": 0.75}, "floor": {"above": 2.0, "saved": 1.5}}


def test_what_was_not_measured_says_so() -> None:
    options = {"epochs": 100, "images": 1000, "lr": [1, 2], "weight_decay": [0, 1, 2]}
    found = swept(part(case("sweep", options=options), {"pass": 4.0, "together": 2.0, "epoch": 5.0}))
    assert (found["points"], found["sweep"], found["passes"]) == (6, 6.0, 1.5)
    assert (found["rerun"], found["ratio"]) == (5.0 * 100 * 6, 500.0)
    assert "extrapolated" in found["rerun_is"]


def test_first_epoch_against_the_later_ones() -> None:
    found = cached(part(case("cache"), {"epochs": [9.0, 2.0, 4.0, 3.0], "total": 20.0, "uncached": [8.0, 6.0]}))
    assert (found["first"], found["later"], found["ratio"], found["outside"]) == (9.0, 3.0, 3.0, 2.0)
    assert found["uncached"] == 7.0


# --- taking turns -----------------------------------------------------------------------------------------


def test_every_round_each_contender_has_one_turn_in_an_order_of_that_round() -> None:
    taken: list[str] = []
    turns = {name: lambda name=name: taken.append(name) for name in "abcdef"}
    rows = list(interleave(turns, range(4), repeats=3, synchronise=lambda: None))
    orders = [list(row) for row in rows]
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert taken == [name for order in orders for name in order for _ in range(3)]
    later = interleave(turns, range(2, 4), synchronise=lambda: None)
    assert [list(row) for row in later] == orders[2:], "a round's order must not depend on where one began"


# --- contenders -------------------------------------------------------------------------------------------


def test_floor_runs_activation_gradients_through_all_blocks_and_trains_only_the_head() -> None:
    floor = models.build(FLOOR, "quick", "cpu").double()
    plain = models.backbone("quick", "cpu").double().eval()
    images, labels = models.batch("quick", 2, "cpu")
    step = models.TrainingStep(floor, images.double(), labels, case("train", FLOOR))
    before = {name: tensor.clone() for name, tensor in floor.state_dict().items()}
    start = next(h for h in floor.site.blocks[0]._forward_pre_hooks.values() if isinstance(h, models.Start))

    entered: list[Tensor] = []
    plain.requires_grad_(False)
    plain.blocks[0].register_forward_pre_hook(lambda _, args: entered.append(args[0].requires_grad_()))
    loss = torch.nn.functional.cross_entropy(plain(images.double()), labels)
    loss.backward()
    torch.testing.assert_close(step.loss(), loss, rtol=1e-12, atol=1e-12)

    step()
    assert entered[0].grad is not None
    assert entered[0].grad.abs().sum() > 0
    torch.testing.assert_close(start.zero.grad.double(), entered[0].grad.sum(), rtol=1e-4, atol=1e-7)
    moved = {name for name, tensor in floor.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"backbone.head.weight", "backbone.head.bias"} == set(floor.trainable())


def test_floor_without_gradients_is_the_backbone() -> None:
    images, _ = models.batch("quick", 2, "cpu")
    run = models.Inference(models.build(FLOOR, "quick", "cpu"), images, case("infer", FLOOR))
    with torch.inference_mode():
        assert torch.equal(run(), models.backbone("quick", "cpu").eval()(images))


def test_contenders_of_one_length_compute_the_same_and_fold_for_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[str] = []
    fold = Tuned.fold
    monkeypatch.setattr(Tuned, "fold", lambda self: folded.append(self.path) or fold(self))
    runs = models.turns(case("infer", HOOKS, FUSED))
    torch.testing.assert_close(runs["hooks-2"](), runs["fused-2"](), rtol=1e-4, atol=1e-5)
    assert folded == ["hooks", "fused"]


# --- memory -----------------------------------------------------------------------------------------------


def test_saved_for_backward_counts_each_storage_once_and_owned_ones_not_at_all() -> None:
    owned, inputs = torch.ones(4, 4, dtype=torch.float64, requires_grad=True), torch.ones(5, 4, dtype=torch.float64)

    def forward() -> Tensor:
        hidden = (inputs @ owned).exp()  # saves inputs and owned, then its own output, 5 x 4
        return (hidden.sin() * hidden.t().flatten()[:1]).sum()  # hidden again, the sine, one value of a 5 x 4 copy

    sine, copy, hidden = 5 * 4 * 8, 5 * 4 * 8, 5 * 4 * 8
    assert memory.saved_for_backward(forward, [owned, inputs]) == sine + copy + hidden
    assert memory.saved_for_backward(forward, [owned]) == sine + copy + hidden + inputs.nbytes
    with torch.no_grad():
        assert memory.saved_for_backward(forward) == 0


def test_full_fine_tuning_keeps_more_than_the_floor() -> None:
    images, labels = models.batch("quick", 2, "cpu")
    kept = {}
    for contender in (FLOOR, FULL):
        step = models.TrainingStep(models.build(contender, "quick", "cpu"), images, labels, case("memory", contender))
        kept[contender.kind] = memory.saved_for_backward(step.loss, step.model.parameters())
    assert kept["full"] > kept["floor"] > 0


def test_a_peak_is_seen_after_it_is_over_and_a_new_one_begins() -> None:
    resident, size = memory.Resident(), 64 * 2**20
    resettable, before = resident.reset(), resident.now()
    with mmap.mmap(-1, size) as pages:  # a worker's heap may hold that much already, and answer with what is resident
        pages.write(bytes(size))
    assert resident.peak() >= before + 0.9 * size
    if resettable:
        resident.reset()
        assert resident.peak() < before + 0.5 * size


# --- going on ---------------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every row that is measured, in place of measuring; one named in `broken` is interrupted."""
    seen: list[str] = []

    def measure(of: Case, done: int) -> Iterator[dict[str, float]]:
        for row in range(done, of.rows):
            if seen.count(f"{of.name} {row}") == 0 and f"{of.name} {row}" == "infer-quick 1":
                seen.append(f"{of.name} {row}")
                raise KeyboardInterrupt
            seen.append(f"{of.name} {row}")
            yield {contender.name: float(row) for contender in of.contenders}

    monkeypatch.setattr(execute, "MEASURES", dict.fromkeys(execute.MEASURES, measure))
    return seen


def test_an_interrupted_plan_goes_on_with_the_row_it_was_at(made: list[str], tmp_path: Path) -> None:
    cases, told = [case("train", FLOOR, rows=2), case("infer", FLOOR, rows=3)], []
    with pytest.raises(KeyboardInterrupt):
        execute.execute(cases, tmp_path, lambda _: None)
    assert made == ["train-quick 0", "train-quick 1", "infer-quick 0", "infer-quick 1"]
    execute.execute(cases, tmp_path, told.append)
    assert made[4:] == ["infer-quick 1", "infer-quick 2"]
    assert len(told) == 5, "rows that were there count as progress"
    assert [len(found["rows"]) for found in collect(tmp_path)] == [2, 3]
    execute.execute(cases, tmp_path, lambda _: None)
    assert len(made) == 6


def test_more_rounds_are_added_to_those_there_are(made: list[str], tmp_path: Path) -> None:
    for rows in (1, 3):
        execute.execute([case("train", FLOOR, rows=rows)], tmp_path, lambda _: None)
    assert made == ["train-quick 0", "train-quick 1", "train-quick 2"]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Case("train", "quick", (FLOOR,), 4, 1), "batch"),
        (Case("infer", "quick", (FLOOR,), 2, 1, precision="bf16"), "precision"),
    ],
)
def test_rows_that_must_not_be_compared_are_refused(made: list[str], tmp_path: Path, other: Case, named: str) -> None:
    execute.execute([case("train", FLOOR, rows=1)], tmp_path, lambda _: None)
    with pytest.raises(OptionError, match=named):
        execute.execute([other], tmp_path, lambda _: None)
    assert made == ["train-quick 0"]


def test_another_machine_is_refused(made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute.execute([case("train", FLOOR, rows=1)], tmp_path, lambda _: None)
    monkeypatch.setattr(execute.machine, "machine", lambda _: {"cpu": "another", "cores": 2, "threads": 1})
    with pytest.raises(OptionError, match="cpu"):
        execute.execute([case("infer", FLOOR, rows=1)], tmp_path, lambda _: None)


# --- the report -------------------------------------------------------------------------------------------


def test_the_report_is_rebuilt_from_the_results_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"floor": 0.001, "hooks-2": 0.004, "fused-2": 0.002, "full": 0.005}] * 2
    parts = [part(case("train", FLOOR, HOOKS, FUSED, FULL), *rows)]
    parts += [part(case("memory", c), {"peak": 3 << 20, "resting": 1 << 20, "saved": 1 << 19}) for c in (FLOOR, HOOKS)]
    report.write_results(tmp_path, parts, QUICK.to_dict(), "a command")
    results = (tmp_path / "results.json").read_text()
    assert json.loads(results)["parts"] == parts, "every raw row is in the results"

    main(["--report-only", str(tmp_path)])
    assert (tmp_path / "results.json").read_text() == results
    written = (tmp_path / "results.md").read_text()
    assert "| quick | 2 | 2 | 1.0 | 4.0 | 2.0 | 5.0 |" in written
    assert "| quick | 2 | 2 | 4.00 (4.00–4.00) | 2.00 (2.00–2.00) | 5.00 (5.00–5.00) | 0.50 (0.50–0.50) |" in written
    assert "| quick | 2 | 2 | 3 (2) | 3 (2) | – | – |" in written
    assert "Inference" not in written, "no table of what was not measured"
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page, "the page needs nothing but itself"


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"results\.json"):
        main(["--report-only", str(tmp_path)])


# --- all of it --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--quick", "--device", "cpu", "--what", ",".join(KINDS[:-1])]  # of texts there is a file of its own
    main([*quick, "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert {figure["what"] for figure in results["figures"]} == {*KINDS[:-1]}
    timed = [figure for figure in results["figures"] if figure["what"] in ("train", "infer")]
    assert all(figure["median"] > 0 and figure["rounds"] == 2 for figure in timed)
    kept = {f["kind"]: f["saved"] for f in results["figures"] if f["what"] == "memory"}
    assert set(kept) == {"floor", "hooks", "fused", "full"}
    assert kept["fused"] < kept["hooks"]
    assert results["versions"] == versions()
    assert results["settings"]["lengths"] == [2]
    for name in ("results.md", "index.html", "speed.png"):
        assert (tmp_path / name).stat().st_size > 0

    def again(*_: Any) -> Iterator[Any]:
        raise AssertionError("measured again")

    monkeypatch.setattr(execute, "MEASURES", dict.fromkeys(execute.MEASURES, again))
    main([*quick, "--out", str(tmp_path)])
    assert json.loads((tmp_path / "results.json").read_text())["parts"] == results["parts"]
