"""Learned texts in the speed benchmark: who meets over how many class names, what is timed, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.speed import memory, text
from benchmarks.speed.__main__ import main
from benchmarks.speed.figures import extrapolated, figures
from benchmarks.speed.plan import FUSED, PLAIN, Case, Contender, plan
from benchmarks.speed.settings import QUICK, TEXT_KINDS, TOWERS, Settings
from benchmarks.speed.text_tables import text_tables
from vpt.attach import text_fused
from vpt.errors import OptionError

OPTIONS = {"texts": 5, "context": 3, "at_once": 9, "start": "forkserver"}


def case(what: str, *contenders: Contender, **options: Any) -> Case:
    return Case(what, "quick", contenders, 4, 2, options={**OPTIONS, **options})


def part(of: Case, *rows: dict[str, float]) -> dict[str, Any]:
    return json.loads(json.dumps({"case": of.identity(), "rows": list(rows)}))


def cells(parts: list[dict[str, Any]], title: str) -> list[list[str]]:
    (table,) = [table for table in text_tables(figures(parts)) if title in table.title]
    return table.lines[1:]


# --- the plan ---------------------------------------------------------------------------------------------


def test_both_paths_meet_over_every_number_of_classes() -> None:
    planned = plan(Settings(what=("text",)))
    assert [of.what for of in planned] == sorted((of.what for of in planned), key=TEXT_KINDS.index)
    timed = {of.name: of for of in planned if of.what in ("text-train", "text-infer")}
    assert list(timed) == [f"text-{what}-clip-b32-{texts}" for what in ("train", "infer") for texts in (100, 1000)]
    assert all(of.contenders == (PLAIN, FUSED) for of in timed.values())
    assert (timed["text-train-clip-b32-100"].rows, timed["text-train-clip-b32-1000"].rows) == (10, 3)
    assert len({of.name for of in planned}) == len(planned)


def test_the_plain_path_is_never_given_more_texts_than_fit_on_a_cpu() -> None:
    for device, most in (("cpu", 500), ("cuda", 1000)):
        planned = plan(Settings(what=("text",), device=device))
        plain = {of.options["texts"] for of in planned if of.what == "text-memory" and of.contenders == (PLAIN,)}
        fused = {of.options["texts"] for of in planned if of.what == "text-memory" and of.contenders == (FUSED,)}
        assert (max(plain), max(fused)) == (most, 1000)
        assert {of.options["at_once"] for of in planned} == {most}


# --- contenders -------------------------------------------------------------------------------------------


def test_class_names_are_a_thousand_different_ones_and_the_first_stay_the_first() -> None:
    names = text.classnames(1000)
    assert len(set(names)) == 1000
    assert text.classnames(7) == names[:7]
    with pytest.raises(OptionError, match=r"1001 given; accepted: 1 to 1000"):
        text.classnames(1001)


@pytest.mark.parametrize("tokens", [None, 8])
def test_both_paths_step_on_the_same_loss_and_move_the_same_context(tokens: int | None) -> None:
    of = case("text-train", PLAIN, Contender("fused", tokens))
    steps = {contender.kind: text.step(contender, of, 5) for contender in of.contenders}
    moved = {}
    for kind, step in steps.items():
        step.model.double()
        step.images = step.images.double()
        before = {name: tensor.clone() for name, tensor in step.model.state_dict().items()}
        loss = step.loss()
        step()
        state = step.model.state_dict()
        ((name, context),) = step.model.trainable().items()
        assert {key for key in state if not torch.equal(state[key], before[key])} == {name}
        moved[kind] = (loss.detach(), context.detach() - before[name])
    torch.testing.assert_close(moved["plain"], moved["fused"], rtol=1e-9, atol=1e-12)


def test_both_paths_answer_the_same_features_once_for_all_images() -> None:
    of = case("text-infer", PLAIN, FUSED)
    plain, fused = (text.Once(text.build(contender, of, 5), of)() for contender in of.contenders)
    assert plain.shape == (1, 5, 32)
    torch.testing.assert_close(plain, fused, rtol=1e-4, atol=1e-5)


def test_a_chunk_is_as_large_as_it_was_asked_for_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    own, seen = text_fused.TOKENS_AT_ONCE, []
    encode = text_fused.encode
    monkeypatch.setattr(text_fused, "encode", lambda *a: seen.append(text_fused.TOKENS_AT_ONCE) or encode(*a))
    for contender in (Contender("fused", 8), FUSED):
        text.step(contender, case("text-chunks", contender), 5)()
    assert seen == [8, own]
    with pytest.raises(ZeroDivisionError), text.chunks_of(3):
        raise ZeroDivisionError
    assert own == text_fused.TOKENS_AT_ONCE


@pytest.mark.parametrize(("texts", "sizes"), [(5, [5]), (9, [9]), (10, [9, 1]), (20, [9, 9, 2])])
def test_what_does_not_fit_at_once_is_stepped_in_parts(
    texts: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, int]] = []
    monkeypatch.setattr(text, "step", lambda contender, of, size: lambda: taken.append((contender.kind, size)))
    list(text.steps(case("text-train", PLAIN, texts=texts), done=1))  # one turn to warm up, and the one row to come
    assert taken == [("plain", size) for size in sizes] * 2
    taken.clear()
    list(text.steps(case("text-train", FUSED, texts=texts), done=1))
    assert taken == [("fused", texts)] * 2


def test_fewer_bytes_are_kept_for_backward_on_the_fused_path_and_in_chunks() -> None:
    kept = []
    for contender in (PLAIN, FUSED, Contender("fused", 8)):
        step = text.step(contender, case("text-memory", contender), 5)
        kept.append(memory.saved_for_backward(step.loss, [*step.model.parameters(), *step.model.buffers()]))
    assert kept[0] > kept[1] > kept[2] > 0


# --- figures and tables -----------------------------------------------------------------------------------


def test_the_table_tells_how_many_times_faster_and_in_how_many_parts() -> None:
    rows = [{"plain": 8.0, "fused": 2.0}, {"plain": 9.0, "fused": 1.0}, {"plain": 7.0, "fused": 1.75}]
    made = [part(case("text-train", PLAIN, FUSED, texts=texts), *rows) for texts in (5, 20)]
    assert cells(made, "training step") == [
        ["quick", "4", "5", "8.00", "1.75", "4.57 (4.00–6.50)"],
        ["quick", "4", "20", "8.00 in 3 parts", "1.75", "4.57 (4.00–6.50)"],
    ]


def test_chunks_are_set_against_vpts_own_with_the_bytes_where_they_were_measured() -> None:
    small = Contender("fused", 8)
    made = [part(case("text-chunks", FUSED, small), {"fused": 2.0, "fused-8": 3.0})]
    made += [part(case("text-memory", small), {"peak": 5 << 20, "resting": 2 << 20, "saved": 1 << 20})]
    assert cells(made, "chunks") == [
        ["quick", "4", "5", "vpt's own", "2.00", "1.00 (1.00–1.00)", "–"],
        ["quick", "4", "5", "8", "3.00", "1.50 (1.50–1.50)", "3"],
    ]


def test_plain_bytes_that_were_not_measured_are_on_a_line_and_say_so() -> None:
    def bytes_of(contender: Contender, texts: int, above: int) -> dict[str, Any]:
        row = {"peak": (above + 7) << 20, "resting": 7 << 20, "saved": (above // 2) << 20}
        return part(case("text-memory", contender, texts=texts), row)

    made = [bytes_of(PLAIN, 2, 30), bytes_of(PLAIN, 4, 50), bytes_of(FUSED, 4, 20), bytes_of(FUSED, 8, 36)]
    assert cells(made, "peak memory") == [
        ["quick", "4", "4", "50 (25)", "20 (10)", "0.40"],
        ["quick", "4", "8", "≈ 90 (45)", "36 (18)", "0.40"],
    ]
    assert extrapolated([f for f in figures(made[:1]) if f["kind"] == "plain"]) == [], "one point is no line"
    assert cells([made[0], made[3]], "peak memory") == [["quick", "4", "8", "–", "36 (18)", "–"]]


# --- all of it --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--device", "cpu", "--what", "text", "--rounds", "1", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    assert {figure["what"] for figure in results["figures"]} == {*TEXT_KINDS}
    assert results["towers"] == {"quick": TOWERS["quick"].model}
    assert all(figure["above"] > 0 for figure in results["figures"] if figure["what"] == "text-memory")
    written = (tmp_path / "results.md").read_text()
    assert written.count("## Learned texts") == 4
    assert f"text tower (quick: {TOWERS['quick'].model}); cpu, {QUICK.precision}" in written
    assert not (tmp_path / "speed.png").exists(), "no picture of what was not measured"
