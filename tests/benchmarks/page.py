"""A written page, read as a browser would."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """What a test asks of a page: ids, links, what would be loaded, and the cells of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.hrefs: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.cells: list[tuple[str, bool]] = []
        self.text = ""
        self.in_cell = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.hrefs.append(found["href"])
        self.loaded += [value for name, value in found.items() if name in ("src", "srcset", "data", "poster", "action")]
        self.loaded += [found["href"]] if tag in ("link", "image") else []
        if tag == "td":
            self.in_cell = True
            self.cells.append(("", False))
        if tag == "a" and self.in_cell:
            self.cells[-1] = (self.cells[-1][0], True)

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_cell:
            self.cells[-1] = (self.cells[-1][0] + data, self.cells[-1][1])
