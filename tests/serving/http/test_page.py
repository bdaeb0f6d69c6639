"""The server's page in a real browser: pictures in, the predictor's own answers out, whatever the names and errors."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image
from support.served import served
from support.small_server import picture
from timm.models.vision_transformer import VisionTransformer

import vpt
from vpt.data.decode import decode_bytes
from vpt.serving import Predictor

pytest.importorskip("fastapi", reason="needs an extra: pip install 'vpt[serve]'")

ODD = '<img src="x" onerror="document.title=1">'
"""A name that must stay text."""


@dataclass
class Visit:
    """A tab on the page. wrong: what its console said; asked: the requests that it made."""

    page: Any
    url: str
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(f"{request.method} {request.url}"))
        self.page.goto(self.url)

    def choose(self, *names: str) -> None:
        for name in names:
            self.page.get_by_role("checkbox", name=name).check()

    def give(self, *files: tuple[str, bytes]) -> None:
        described = [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
        self.page.set_input_files("#files", described)

    def article(self, name: str) -> Any:
        return self.page.get_by_role("article", name=name)

    def card(self, name: str, task: str) -> Any:
        return self.article(name).get_by_role("region", name=task)

    def answer(self, name: str, task: str) -> list[tuple[str, str]]:
        """Labels with percentages, once they are there."""
        card = self.card(name, task)
        card.wait_for()
        return list(
            zip(card.locator(".label").all_inner_texts(), card.locator(".percent").all_inner_texts(), strict=True)
        )

    @property
    def predictions(self) -> int:
        return sum(line.startswith("POST ") for line in self.asked)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """`visit(predictor, width=..., **settings)` starts a server and opens its page; neither outlives the test."""
    from vpt.serving.http import Settings

    with ExitStack() as stack:

        def start(predictor: Predictor, width: int = 1000, **settings: Any) -> Visit:
            url = stack.enter_context(served(predictor, Settings(**settings)))
            page = browser.new_page(viewport={"width": width, "height": 700})
            stack.callback(page.close)
            return Visit(page, url)

        yield start


def percentages(predictor: Predictor, content: bytes, task: str) -> list[tuple[str, str]]:
    """What the page should say, without a server."""
    return [(label, f"{100 * p:.1f}%") for label, p in predictor([decode_bytes(content, "alone")], task)[0].top(5)]


def small(**more: Any) -> VisionTransformer:
    """4 x 4 patches; what looks, looks at some of them more than at others."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = dict(img_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2, num_classes=0)
    model = VisionTransformer(**sizes, **more).eval()
    with torch.no_grad():
        model.blocks[0].attn.qkv.weight.mul_(15)
    return model


def tuned(folder: Path, names: dict[str, int], classes: tuple[str, ...], **more: Any) -> Predictor:
    """A predictor of tasks by name, each of a seed, with these classes."""
    predictor, taken = Predictor(small(**more)), vpt.Preprocessing((16, 16))
    for name, seed in names.items():
        model = vpt.tune(small(**more), "shallow", num_classes=len(classes), length=3, seed=seed)
        predictor.add(vpt.save(model, folder / str(seed), classes=classes, preprocessing=taken), name=name)
    return predictor


def drop(visit: Visit, name: str, content: bytes, event: str = "drop") -> None:
    """Drops or pastes a file, as a browser tells it."""
    visit.page.evaluate(
        """([event, name, content]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: "image/png" }));
            const more = { bubbles: true, cancelable: true };
            const made = event === "paste" ? new ClipboardEvent(event, { ...more, clipboardData: data })
                : new DragEvent(event, { ...more, dataTransfer: data });
            document.body.dispatchEvent(made);
        }""",
        [event, name, base64.b64encode(content).decode()],
    )


def test_a_picture_gets_the_predictors_own_answers_however_it_comes(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor)
    there.choose("flowers", "team-cars")
    contents = {"dropped": picture(0), "pasted": picture(1), "chosen": picture(2), "second": picture(3)}
    drop(there, "dropped", contents["dropped"])
    drop(there, "pasted", contents["pasted"], "paste")
    there.give(("chosen", contents["chosen"]), ("second", contents["second"]))
    for name, content in contents.items():
        for task in ("flowers", "team-cars"):
            assert there.answer(name, task) == percentages(predictor, content, task)
    titles = there.page.locator("article h2").all_inner_texts()
    assert titles == ["chosen", "second", "pasted", "dropped"]
    assert there.predictions == 4
    assert re.fullmatch(r"2 answers in \d+ ms", there.article("pasted").locator("p.soft").first.inner_text())
    assert there.wrong == []
    assert all(there.url in line or "blob:" in line or "data:," in line for line in there.asked)


def test_the_map_is_the_chosen_tasks_attention(visit: Any, tmp_path: Path) -> None:
    predictor, content = tuned(tmp_path, {"one": 1, "two": 2}, ("a", "b")), picture(4)
    there = visit(predictor)
    there.choose("one", "two")
    there.give(("a.png", content))
    there.answer("a.png", "two")
    for task in ("one", "two"):
        there.card("a.png", task).get_by_role("radio").check()
        expected = predictor.attention([decode_bytes(content, "alone")], task)[0]
        height, width, *colours = there.page.eval_on_selector(
            "canvas.map",
            "(map) => [map.height, map.width, ...map.getContext('2d').getImageData(0, 0, map.width, map.height).data]",
        )
        assert [height, width] == list(expected.shape)
        light = torch.tensor(colours).reshape(-1, 4)[:, :3].sum(-1)
        assert light[expected.argmax()] > 600
        assert light.unique().numel() > 8
        assert light[expected.flatten().argsort()].diff().min() >= -1  # the more is looked there, the lighter
        caption = there.article("a.png").locator("figcaption").inner_text()
        assert f"by {task}: {100 * expected.sum():.1f}% at the picture" in caption
        assert f"{100 * expected.max():.1f}% a patch" in caption
    there.page.get_by_label("Map").fill("0")
    assert there.page.eval_on_selector("canvas.map", "(map) => getComputedStyle(map).opacity") == "0"


def test_only_what_is_missing_is_asked_for_and_the_choice_is_remembered(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor)
    there.give(("a.png", picture()))
    there.article("a.png").get_by_text("Choose a task.").wait_for()
    assert there.predictions == 0
    for name in ("flowers", "pets"):
        there.choose(name)
        there.answer("a.png", name)
    there.page.get_by_role("checkbox", name="flowers").uncheck()
    assert there.article("a.png").locator("h3").all_inner_texts() == ["pets"]
    there.choose("flowers")
    assert there.article("a.png").locator("h3").all_inner_texts() == ["flowers", "pets"]
    assert there.predictions == 2
    there.page.reload()
    there.page.get_by_role("checkbox", name="flowers").wait_for()
    chosen = there.page.get_by_role("checkbox", checked=True)
    assert [box.get_attribute("value") for box in chosen.all()] == ["flowers", "pets"]


def test_more_tasks_than_a_request_takes_are_asked_for_in_portions(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor, max_tasks=2)
    there.choose("flowers", "pets", "team-cars")
    there.give(("a.png", picture()))
    for task in ("flowers", "pets", "team-cars"):
        assert there.answer("a.png", task) == percentages(predictor, picture(), task)
    assert there.predictions == 2
    assert there.wrong == []


def test_what_the_server_refuses_is_said_as_it_says_it_and_the_page_goes_on(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor, max_upload=20_000)
    there.choose("pets")
    there.give(("note.txt", b"no picture"), ("large.png", picture(size=200)), ("good.png", picture()))
    assert there.answer("good.png", "pets") == percentages(predictor, picture(), "pets")
    assert "note.txt: not an image in a known format" in there.article("note.txt").inner_text()
    assert "the body is larger than 20,000 bytes" in there.article("large.png").inner_text()
    there.page.get_by_role("button", name="Remove note.txt").click()
    assert there.page.locator("article").count() == 2


def test_a_task_that_vanishes_is_named_and_the_others_answer(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor)
    there.choose("flowers", "pets")
    assert httpx.delete(f"{there.url}/v1/tasks/flowers").status_code == 204
    there.give(("a.png", picture()))
    assert there.answer("a.png", "pets") == percentages(predictor, picture(), "pets")
    assert there.page.get_by_text("No longer served: flowers").is_visible()
    assert there.page.get_by_role("checkbox").count() == 2


def test_reload_asks_again_for_another_version_and_lists_what_does_not_load(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor)
    there.choose("flowers", "pets")
    there.give(("a.png", picture()))
    there.answer("a.png", "pets")

    def newer(route: Any) -> None:
        told = route.fetch().json()
        next(task for task in told["tasks"] if task["name"] == "pets")["version"] = 2
        route.fulfill(json={**told, "problems": [{"name": "cars", "message": f"damaged {ODD}"}]})

    there.page.route("**/v1/tasks", newer)
    with there.page.expect_request("**/v1/predict") as asked:
        there.page.get_by_role("button", name="Reload").click()
    sent = asked.value.post_data_buffer
    assert b"pets" in sent
    assert b"flowers" not in sent
    assert "version 2" in there.page.get_by_role("listitem").filter(has_text="pets").first.inner_text()
    there.page.get_by_text("1 task cannot be served").click()
    assert there.page.get_by_text(f"damaged {ODD}").is_visible()


def test_a_server_that_cannot_be_reached_may_be_asked_again(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor)
    there.choose("pets")
    there.page.route("**/v1/predict", lambda route: route.abort())
    there.give(("a.png", picture()))
    there.article("a.png").get_by_text("cannot be reached").wait_for()
    there.page.unroute("**/v1/predict")
    there.page.get_by_role("button", name="Try again").click()
    there.answer("a.png", "pets")
    assert there.page.get_by_text("cannot be reached").count() == 0


def test_a_token_is_asked_for_and_kept_in_the_tab_alone(visit: Any, predictor: Predictor) -> None:
    from vpt.serving.http import Tokens
    from vpt.serving.http.auth import Caller

    tokens = Tokens({sha256(b"open-sesame").hexdigest(): Caller("shop", ("pets",))})
    there = visit(predictor, tokens=tokens)
    page = there.page
    field = page.get_by_label("Token", exact=True)
    field.wait_for()
    there.give(("a.png", picture()))
    field.fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('token').value === ''")
    page.get_by_text("this server needs a token").wait_for()
    field.fill("open-sesame")
    page.keyboard.press("Enter")
    assert there.answer("a.png", "pets") == percentages(predictor, picture(), "pets")  # the only one: it is chosen
    assert not field.is_visible()
    assert page.get_by_role("checkbox").count() == 1
    assert page.evaluate("[localStorage.length, document.cookie, location.href]") == [0, "", f"{there.url}/"]
    assert "open-sesame" not in page.content()
    assert not any("open-sesame" in line for line in there.asked)
    page.get_by_role("button", name="Forget the token").click()
    field.wait_for()
    assert page.get_by_role("checkbox").count() == 0


def test_names_are_text_never_markup_and_a_missing_map_is_said(visit: Any, tmp_path: Path) -> None:
    there = visit(tuned(tmp_path, {ODD: 1}, (ODD, "b"), class_token=False, global_pool="avg"))
    name = f"{ODD}.png"
    there.give((name, picture()))
    assert {label for label, _ in there.answer(name, ODD)} == {ODD, "b"}
    there.page.get_by_text("about", exact=True).click()
    there.page.get_by_text(f"{ODD}, b").wait_for()
    assert "This model has no attention map." in there.article(name).inner_text()
    assert there.page.locator("canvas.map").is_hidden()
    assert there.page.locator("img").count() == 1  # the preview
    assert there.page.title() == "vpt"
    assert there.wrong == []


def test_many_tasks_have_a_filter_on_a_narrow_screen_too(visit: Any, predictor: Predictor, folder: Path) -> None:
    for number in range(12):
        predictor.add(folder / "pets", name=f"kennel-{number}-{'of-a-long-name-' * 4}")
    there = visit(predictor, width=375)
    boxes = there.page.get_by_role("checkbox")
    there.choose("flowers")
    there.page.get_by_label("Filter the tasks").fill("KENNEL-1")
    assert boxes.count() == 3  # 1, 10, 11
    boxes.first.check()
    there.page.get_by_text("2 of 15 chosen").wait_for()
    there.give(("a-picture-with-a-long-name" * 4, picture()))
    there.page.locator(".card").nth(1).wait_for()
    assert there.page.evaluate("document.documentElement.scrollWidth") == 375
    there.page.get_by_role("button", name="Choose none").click()
    assert there.page.locator(".card").count() == 0


def test_everything_can_be_reached_by_keyboard_and_has_a_name(visit: Any, predictor: Predictor) -> None:
    there = visit(predictor)
    there.page.get_by_role("checkbox", name="pets").wait_for()
    reached = set()
    for _ in range(12):
        there.page.keyboard.press("Tab")
        reached.add(
            there.page.evaluate(
                "document.activeElement.value || document.activeElement.id || document.activeElement.tagName"
            )
        )
    assert reached >= {"flowers", "pets", "team-cars", "reload", "files", "SUMMARY"}
    there.page.locator("[value=pets]").focus()
    there.page.keyboard.press("Space")
    there.give(("a.png", picture()))
    there.answer("a.png", "pets")
    nameless = there.page.evaluate(
        """[...document.querySelectorAll("input, button, summary")].filter((e) => e.checkVisibility())
            .filter((e) => !(e.labels?.length || e.ariaLabel || e.textContent.trim())).length"""
    )
    assert nameless == 0
    assert "a.png: pets: " in there.page.locator("#said").inner_text()


def test_a_picture_that_the_browser_cannot_show_is_answered(visit: Any, predictor: Predictor) -> None:
    there, buffer = visit(predictor), io.BytesIO()
    Image.open(io.BytesIO(picture())).save(buffer, "TIFF")
    there.choose("pets")
    there.give(("a.tif", buffer.getvalue()))
    assert there.answer("a.tif", "pets") == percentages(predictor, picture(), "pets")
    assert there.article("a.tif").get_by_text("no preview").is_visible()
