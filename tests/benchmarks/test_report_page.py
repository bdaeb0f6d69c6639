"""The forms of a benchmark's report: a page that leads every number to its file, Markdown, LaTeX, the terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page import Page
from support.benchmark_folders import Bench, task, variant

from benchmarks.suite.report import latex, markdown
from benchmarks.suite.report.charts.canvas import chart
from benchmarks.suite.report.table import Body, Column, Entry, Line, Table
from benchmarks.vtab.report import show, write

ODD = '<b>&amp;%_$x$ "#~^\\{}|'
"""A name in which every letter means something somewhere."""


def full(root: Path, name: str = "deep", group: str = "structured") -> Bench:
    """With searches, failures, published tasks, an odd name, and all charts."""
    tasks = [task("cifar", title="CIFAR-100"), task("svhn", title="SVHN"), task("dmlab", group)]
    variants = [variant("linear"), variant("full")]
    variants += [variant(name, "deep", length=10), variant("deep 50", "deep", length=50)]
    bench = Bench(root, tasks, variants, grid=[(5.0, 0.01), (0.5, 0.001)])
    worth = {v["label"]: rank / 10 for rank, v in enumerate(variants, 5)}
    bench.fill(lambda t, v, s: worth[v] + s / 10_000 + len(t) / 1000, without=["svhn.full.final.seed-82"])
    trials = {trial["id"]: trial for trial in bench.trials()}
    gone = trials["cifar.linear.final.seed-42"]
    bench.write({"schema": 1, "id": gone["id"], "trial": gone, "status": "failed", "reason": "ValueError: <odd> & ends",
                 "traceback": "Traceback:\n  <i>a && b</i>"})  # fmt: skip
    bench.write(bench.record(trials["svhn.linear.final.seed-42"], None, status="diverged", reason="not finite"))
    (root / "trials" / "dmlab.linear.final.seed-42.json").write_text("{")
    event = json.dumps({"event": "run", "command": ["vtab", "run", "<out> & more"]})
    (root / "events.jsonl").write_text(f"{event}\n{event}\n{{torn")
    return bench


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a folder where a variant and a group have odd names."""
    return write(full(tmp_path_factory.mktemp("odd"), ODD, "<g> & %").root).page


def test_every_link_leads_somewhere_and_nothing_is_loaded(odd: Path) -> None:
    page = Page(odd)
    assert len(page.ids) == len(set(page.ids))
    for href in page.hrefs:
        parts = urlsplit(href)
        assert not parts.scheme
        assert not parts.netloc
        if parts.path:
            assert (odd.parent / unquote(parts.path)).resolve().is_file(), href
        if parts.fragment:
            assert parts.fragment in page.ids, href
    assert set(page.loaded) == {"data:,"}  # the icon: none, so that a browser does not ask for one
    assert not {"script", "iframe", "object", "embed", "img"} & set(page.tags)
    style = re.findall(r"<style>(.*?)</style>", odd.read_text(), flags=re.DOTALL)
    assert not re.search(r"url\(|@import", "".join(style))


def test_every_number_in_a_cell_is_a_link(odd: Path) -> None:
    own = re.compile(r"[-\d.,+−]+( ± [\d.]+)?( \(\d of \d\))?|\d+ of \d+|[\d.]+ (s|min|h|MiB|GiB)|[\d.]+%")
    numbers = [(text.strip(), linked) for text, linked in Page(odd).cells if own.fullmatch(text.strip())]
    assert len(numbers) > 100
    assert [text for text, linked in numbers if not linked] == []


def test_names_and_reasons_are_text_never_markup(odd: Path) -> None:
    page = Page(odd)
    for text in (ODD, "ValueError: <odd> & ends", "<i>a && b</i>", "vtab run '<out> & more'", "<g> & %"):
        assert text in page.text
    assert not {"b", "i", "g"} & set(page.tags) - {"g"}  # <g> is SVG's
    assert page.text.count(ODD) > 10


def test_every_trial_that_has_a_file_is_linked(odd: Path) -> None:
    linked = {Path(unquote(urlsplit(href).path)).name for href in Page(odd).hrefs}
    finals = {path.name for path in (odd.parents[1] / "trials").iterdir() if ".final." in path.name}
    assert finals <= linked


def test_inline_charts_follow_the_page_and_files_stand_alone(odd: Path) -> None:
    page = odd.read_text()
    assert page.count("<svg") == 4
    assert "#24292f" not in page
    files = {path.stem: path.read_text() for path in odd.parent.glob("*.svg")}
    assert all(text.startswith("<?xml") and "var(--" not in text for text in files.values())
    odd_name = ODD.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert {name for name, text in files.items() if odd_name in text} == {"parameters", "groups", "differences"}


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12))
def test_charts_write_any_name_as_it_is(name: str) -> None:
    from xml.etree import ElementTree

    drawn = chart("x", "title", "caption", (2, 1), lambda figure: figure.text(0, 0, name))
    for svg in (drawn.svg, drawn.inline):
        assert name in "".join(ElementTree.fromstring(svg).itertext())


# --- Markdown and LaTeX -----------------------------------------------------------------------------------


def one(text: str) -> Table:
    body = Body([Line(Entry(text), [Entry(text, text)])])
    return Table("t", text, text, [Column(text), Column(text, text)], [body], [text])


def unescape(text: str) -> str:
    """What LaTeX would set, for the letters that are special to it."""
    named = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
             "textbar": "|", "textquotedbl": '"'}  # fmt: skip
    text = re.sub(r"\\(text[a-z]+)\{\}", lambda match: f"\0{ord(named[match[1]])}\0", text)
    text = text.replace(r"$\pm$", "±").replace(r"$\times$", "×").replace("$-$", "−").replace("--", "–")
    text = re.sub(r"\\([{}&%$#_])", lambda match: f"\0{ord(match[1])}\0", text)
    assert not re.search(r"[\\{}&%$#_~^<>|\"]", re.sub(r"^\{(.*)\}$", r"\1", text))  # nothing special is left bare
    return re.sub("\0(\\d+)\0", lambda match: chr(int(match[1])), re.sub(r"^\{(.*)\}$", r"\1", text))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="–−±×-")))
def test_latex_escapes_lose_nothing_and_leave_nothing_bare(text: str) -> None:
    assert unescape(latex.escape(text)) == text


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_latex_tables_keep_their_shape_whatever_the_names(text: str) -> None:
    made = latex.latex(one(text))
    assert re.sub(r"\\[{}]", "", made).count("{") == re.sub(r"\\[{}]", "", made).count("}")
    rows = [line for line in made.splitlines() if line.endswith(r" \\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1] * len(rows)


@given(st.text(max_size=20))
def test_markdown_tables_keep_their_shape_whatever_the_names(text: str) -> None:
    rows = [line for line in markdown.markdown(one(text)).split("\n") if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]] == [3, 3, 3]
    assert not re.search(r"(?<!\\)<", "\n".join(rows))


def test_files_of_the_report(odd: Path) -> None:
    tex, text = (odd.with_name(name).read_text() for name in ("table.tex", "table.md"))
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 2
    assert latex.escape(ODD) in tex
    assert markdown.escape(ODD) in text
    for title in ("Means", "Every task", "Differences to full", "Published figures beside ours", "Cost", "Data"):
        assert f"## {title}" in text
    assert (odd.with_name("published.csv")).exists()


def test_the_terminal_is_shown_the_table_and_its_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write(full(tmp_path).root)
    show(report)
    shown = capsys.readouterr().out
    assert all(cell in shown for row in report.rows for cell in row)
    assert "mean of tasks" in shown
    assert "no mean is taken without" in shown
    assert str(report.page) in shown.replace("\n", "")
    assert {len(row) for row in report.rows} == {len(report.headings)}


# --- a real browser ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_cells_lead_to_files_and_nothing_overflows(browser, odd: Path, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(odd.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert [url for url in asked if not url.startswith("data:")] == [odd.as_uri()]
    page.locator("#tasks tbody tr", has_text="deep 50").locator("td a").first.click()
    line = page.locator(":target")
    assert line.get_attribute("id") == "cell-3-0"
    assert line.is_visible()
    line.get_by_role("link").nth(2).click()
    assert unquote(page.url).endswith("/trials/cifar.deep 50.final.seed-44.json")
    assert json.loads(page.locator("pre").inner_text())["id"] == "cifar.deep 50.final.seed-44"
    assert wrong == []
    page.close()
