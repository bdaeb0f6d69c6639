"""The page that reads a prompt: what it shows, that names are text, that it loads nothing, in a real browser too."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.tuned_clips import NAMES, moved, tuned_clip

from vpt.methods.clip import Reading, Similarity, class_similarity, nearest_words
from vpt.methods.clip.reading import NearWord, ReadContext, ReadToken
from vpt.runs.prompt_page import prompt_page
from vpt.runs.prompt_page.heat_map import OPAQUE, difference_map, similarity_map

ODD = "<b>&amp;\"'{{ 1 }}</b>"
"""A name in which every letter means something to a page or a template."""


class Page(HTMLParser):
    """Tags, visible text, and whatever a browser would load or run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = {name: value or "" for name, value in attrs}
        self.loaded += [
            found[name] for name in ("src", "href", "srcset", "data", "action", "xlink:href") if name in found
        ]
        assert not [name for name in found if name.startswith("on")]
        if tag not in ("meta", "link", "image", "rect"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if self.open and tag == self.open[-1]:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def read(*, distance: float = 0.5, cosine: float = -0.25, text: str | None = "cat", of: str | None = None) -> Reading:
    """One token of one word, where words lie 0.3 from each other with a cosine of 0.5."""
    context = ReadContext(of, (ReadToken(1.0, (NearWord(7, text, distance, cosine),)),))
    return Reading((context,), 100, 1.5, 0.3, 0.5, 100, ())


def similar(count: int, names: tuple[str, ...] | None = None, change: float = 0.2) -> Similarity:
    """Random features of classes, and the same after a random change."""
    generator = torch.Generator().manual_seed(count)
    before = torch.randn(count, 8, dtype=torch.float64, generator=generator)
    after = before + change * torch.randn(count, 8, dtype=torch.float64, generator=generator)
    before, after = F.normalize(before), F.normalize(after)
    names = names or tuple(f"class {i}" for i in range(count))
    return Similarity(names, before @ before.T, after @ after.T, (before * after).sum(1), ("a photo of a {}.",), ())


def page(reading: Reading | None = None, similarity: Similarity | None = None, **facts: str) -> Page:
    return Page(prompt_page("a title", reading or read(), similarity or similar(4), facts))


@pytest.mark.parametrize("method", ["coop", "cocoop", "kgcoop", "ivlp"])
def test_all_that_was_read_is_on_the_page(method: str) -> None:
    options = {"words": "a no sea"} if method == "ivlp" else {}
    model = moved(method, **options)
    reading, similarity = nearest_words(model, 3), class_similarity(model)
    made = page(reading, similarity, method=method)
    (context,) = reading.contexts
    for place, (token, row) in enumerate(zip(context.tokens, made.rows[1:], strict=False), 1):
        expected = [f"{word}{word.distance:.3f}cos {word.cosine:.2f}".replace("-", "−") for word in token.words]
        assert [cell.strip() for cell in row] == [str(place), f"{token.norm:.3f}", *expected]
    assert all(remark in made.text for remark in (*reading.remarks, *similarity.remarks))
    assert all(name in made.text for name in NAMES)
    assert "These words explain little." in made.text
    assert f"{reading.near_a_word} of {len(context.tokens)} learned tokens" in made.text
    moved_most = [NAMES[i] for i in similarity.kept.argsort().tolist()]
    assert [row[0] for row in made.rows[-len(NAMES) :]] == moved_most
    assert made.open == []


def test_near_words_stand_out_and_far_ones_do_not() -> None:
    places = [(0.29, 0.6), (0.3, 0.5), (0.31, 0.6), (0.29, 0.4)]
    html = [prompt_page("t", read(distance=d, cosine=c), similar(2), {}) for d, c in places]
    assert [page.count('class="near"') for page in html] == [1, 1, 0, 0]
    assert ["1 of 1 learned" in page for page in html] == [True, True, False, False]


def test_words_of_which_nothing_is_told_and_beginnings_are_explained_where_they_are() -> None:
    assert "#7" in page(read(text=None)).text
    assert "tells no text" in page(read(text=None)).text
    assert "only begins words" in page(read(text="ca…")).text
    assert not re.search("tells no text|only begins words", page().text)


def test_contexts_of_classes_fold() -> None:
    reading = nearest_words(moved("coop", context_length=2, class_specific=True))
    html = prompt_page("t", reading, similar(2, ("x", "y")), {})
    assert re.findall(r"<details( open)?><summary>(.*?)</summary>", html) == [
        *((" open", n) for n in NAMES[:3]),
        ("", NAMES[3]),
    ]
    assert html.count('<table class="words">') == 4


def test_names_and_facts_are_text_never_markup_and_nothing_is_loaded() -> None:
    names = (ODD, "b", "</svg><script>", "d")
    html = prompt_page(ODD, read(text=ODD, of=ODD), similar(4, names), {ODD: ODD})
    made = Page(html)
    assert made.text.count(ODD) >= 8
    assert not {"b", "script", "iframe", "object", "embed", "img"} & set(made.tags)
    assert made.loaded
    assert all(url.startswith("data:") for url in made.loaded)
    assert not re.search(r"url\(|@import|https?:", html)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=10), min_size=2, max_size=6))
def test_any_names_are_written_as_they_are(names: list[str]) -> None:
    made = page(read(text=names[0]), similar(len(names), tuple(names)))
    assert all(name in made.text for name in names)


def test_what_did_not_move_is_said_not_drawn() -> None:
    model = tuned_clip("coop", words="a photo of a").eval()
    made = page(nearest_words(model), class_similarity(model))
    assert "None of them changed." in made.text
    assert made.tags.count("svg") == 2
    assert "Moved apart" not in made.text


def test_one_class_is_compared_with_none() -> None:
    made = page(similarity=similar(1))
    assert "There is one class" in made.text
    assert "svg" not in made.tags


def test_pairs_are_those_that_changed_most() -> None:
    similarity = similar(9)
    change = similarity.difference.numpy()
    pairs = {(a, b): change[a, b] for a in range(9) for b in range(a + 1, 9)}
    closest = max(pairs, key=pairs.__getitem__)
    rows = page(similarity=similarity).rows
    first = next(place for place, row in enumerate(rows) if row[0] == "Moved together")
    assert rows[first + 1][0] == " · ".join(f"class {c}" for c in closest)
    assert rows[first + 1][3].strip() == f"{pairs[closest]:+.4f}"


# --- heat maps ----------------------------------------------------------------------------------------------


def pixels(svg: str) -> Any:
    """The picture inside a map as integers `[C, C, 4]`."""
    (code,) = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))).astype(int)


@pytest.mark.parametrize("count", [2, 3, 12, 40, 41, 100, 200])
def test_maps_hold_every_class_and_labels_do_not_collide(count: int) -> None:
    values, names = np.random.default_rng(0).uniform(0, 1, (count, count)), [f"class number {i}" for i in range(count)]
    drawn = similarity_map("Title", values, names, 0.2, 0.8)
    strength = pixels(drawn.svg)[..., 3] / 255 / OPAQUE
    np.testing.assert_allclose(strength, ((values - 0.2) / 0.6).clip(0, 1), atol=0.005)
    places = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="end"', drawn.svg)]
    assert len(places) >= min(count, 20)
    assert min(np.diff(places)) >= 12
    side = float(re.findall(r'<rect [^>]*width="([\d.]+)"', drawn.svg)[0])
    assert 100 < side <= 520
    written = re.findall(r'text-anchor="middle"[^>]*>([\d.]+)<', drawn.svg)
    assert written == ([f"{value:.2f}" for value in values.flat] if count <= 12 else [])


def test_differences_are_told_by_hue_and_strength() -> None:
    values = np.array([[-1e-9, -0.5, 0.25], [-0.5, 0.0, 0.5], [0.25, 0.5, 0.0]])
    drawn = difference_map("Title", values, ["a", "b", "c"])
    picture = pixels(drawn.svg)
    assert (drawn.low, drawn.high, drawn.signed) == (-0.5, 0.5, True)
    np.testing.assert_allclose(picture[..., 3] / 255 / OPAQUE, np.abs(values) / 0.5, atol=0.005)
    redder = picture[..., 0] > picture[..., 2]
    assert redder[values > 0].all()
    assert not redder[values < -0.1].any()
    assert ">−0.50<" in drawn.svg
    assert ">+0.25<" in drawn.svg
    assert drawn.svg.count(">+0.00<") == 3


# --- a real browser -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [4, 200])
def test_in_a_browser_nothing_overflows_and_nothing_is_asked_for(
    browser: Any, tmp_path: Path, scheme: str, count: int
) -> None:
    file = tmp_path / "page.html"
    names = tuple(f"an unusually long name of class {i}" for i in range(count))
    reading = nearest_words(moved("coop"))
    file.write_text(prompt_page("A title " * 9, reading, similar(count, names), {"fingerprint": "ab" * 64}))
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert page.locator("svg").count() == 3
    assert page.locator("svg image").first.bounding_box()["width"] > 200
    ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert text == ink
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (brightness[0] > brightness[1]) == (scheme == "dark")
    assert wrong == []
    page.close()
