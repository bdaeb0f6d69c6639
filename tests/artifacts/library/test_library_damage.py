"""Whatever happens to the files of a library is named, and never read as another state."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.forgery import changes
from support.libraries import GATE, begun, entry_file, forge, passed

from vpt.artifacts.library import Library
from vpt.artifacts.library.content import place
from vpt.artifacts.library.entry import SCHEMA
from vpt.artifacts.library.store import store_of
from vpt.cli.library_reading import list_versions, log, show
from vpt.errors import ArtifactError, VptError


@pytest.fixture
def library(tmp_path: Path, saved: list[Path]) -> Library:
    """Two versions, of which the first is current."""
    made = begun(tmp_path / "library", saved[:2])
    made.approve("flowers", 1)
    return made


def refused(library: Library, said: str) -> None:
    """Every reading names the fault, and so does `verify`."""
    asks: list[Callable[[Library], object]] = [
        Library.tasks, Library.head, Library.log, Library.orphans,
        lambda lib: lib.current("flowers"), lambda lib: lib.approve("flowers", 2),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(ArtifactError, match=said):
            ask(Library(library.url))
    assert any(said in fault for fault in Library(library.url).verify())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_truncated_and_empty_entries_are_named(library: Library, number: int) -> None:
    path = entry_file(library, number)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"[]", b"\xff"):
        path.write_bytes(content)
        refused(library, path.name)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), number=st.sampled_from([1, 2, 3]))
def test_any_flipped_bit_of_an_entry_is_named(library: Library, data: st.DataObject, number: int) -> None:
    path = entry_file(library, number)
    whole = path.read_bytes()
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    try:
        same = json.loads(bytes(content)) == json.loads(whole)
    except ValueError:
        same = False
    faults = Library(library.url).verify()
    path.write_bytes(whole)
    assert same or any(path.name in fault for fault in faults)


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_entry_is_named(library: Library, number: int) -> None:
    entry_file(library, number).unlink()
    refused(library, f"{entry_file(library, number).name} is missing")


def test_a_log_that_got_shorter_is_noticed_by_who_knew_it(library: Library) -> None:
    entry_file(library, 3).unlink()
    with pytest.raises(ArtifactError, match="had 3 entries, and has 2 now"):
        library.current("flowers")


def test_an_entry_that_was_exchanged_breaks_the_chain(library: Library) -> None:
    forge(library, 2, {"by": "mallory"})
    refused(library, "00000003.json does not follow")


def test_who_knows_another_end_of_the_log_writes_nothing_after_it(library: Library) -> None:
    entry_file(library, 3).unlink()
    Library(library.url).approve("flowers", 2)
    with pytest.raises(ArtifactError, match=r"00000003.json is another entry than it was"):
        library.retire("flowers", 1, why="old")
    assert Library(library.url).head() == 3
    assert Library(library.url).verify() == []


def test_a_version_that_the_log_has_forgotten_is_named_and_kept(library: Library, saved: list[Path]) -> None:
    entry_file(library, 3).unlink()
    entry_file(library, 2).unlink()
    shorter = Library(library.url)
    (fault,) = shorter.verify()
    assert "is a saved task that no entry names" in fault
    assert shorter.clean(older=0) == []
    assert shorter.add(saved[1], "flowers").number == 2
    assert shorter.verify() == shorter.orphans() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": SCHEMA + 1}, "from a later vpt"),
        ({"action": "burn"}, "unknown action 'burn'"),
        ({"number": 4}, "misplaced"),
        ({"version": 7}, "entry 3 of the log cannot be"),
        ({"version": "1"}, "version is '1'; accepted: int"),
        ({"task": "../flowers"}, "'../flowers' is no name of a task"),
        ({"facts": {}}, "facts.checks is missing"),
        ({"facts": {"checks": "good"}}, "facts.checks cannot be 'good'"),
        ({"facts": {"checks": {"gate": 3, "failed": []}}}, "checks.digest is missing"),
        ({"action": "gate", "facts": {"gate": {**GATE, "images": "30"}}}, "gate.images cannot be '30'"),
        ({"action": "rollback", "facts": {"to": None}}, "facts.to cannot be None"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(library: Library, change: dict[str, object], said: str) -> None:
    forge(library, 3, change)
    refused(library, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"../../README.md": {"sha256": "0" * 64, "bytes": 1}}, "facts.files are"),
        ({"README.md": {"sha256": "../" * 8, "bytes": 1}}, "README.md has no SHA-256"),
        ({"README.md": {"sha256": "0" * 64}}, "README.md.bytes is missing"),
        ({"README.md": {"sha256": "0" * 64, "bytes": 1}}, "digest is not that of"),
    ],
)
def test_files_that_no_version_has_are_refused(library: Library, change: dict[str, object], said: str) -> None:
    facts = library.log()[1].facts
    forge(library, 2, {"facts": {**facts, "files": {**facts["files"], **change}}})
    refused(library, said)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), number=st.integers(2, 6))
def test_whatever_an_entry_says_no_reader_breaks(library: Library, data: st.DataObject, number: int) -> None:
    if library.head() == 3:
        library.set_gate("flowers", {**GATE, "not_worse": 0.1})
        library.approve("flowers", 2, checks=passed(library, 2, against={"accuracy": 0.9}))
        library.rollback("flowers", why="worse")
    path = entry_file(library, number)
    whole = path.read_bytes()
    path.write_text(json.dumps(data.draw(changes(json.loads(whole)))))
    try:
        Library(library.url).standing()
        for tell in (list_versions, log, lambda url: show(url, "flowers")):
            tell(library.url)
    except VptError:
        return
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["vpt_config.json", "vpt_model.safetensors", "README.md"])
def test_a_damaged_or_missing_file_of_a_version_is_named_and_not_opened(
    library: Library, saved: list[Path], name: str
) -> None:
    file = library.open("flowers", 2) / name
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    for damage in (lambda: file.write_bytes(bytes(content)), file.unlink):
        damage()
        assert [fault for fault in library.verify() if "flowers 2: " in fault and name in fault]
        with pytest.raises(ArtifactError, match=name):
            library.open("flowers", 2)
    assert library.open("flowers", 1)
    assert library.add(saved[1], "flowers").number == 2  # mends it
    assert library.verify() == []
    assert library.head() == 3


def test_all_faults_are_listed(library: Library) -> None:
    for file in library.open("flowers", 1).iterdir():
        file.unlink()
    entry_file(library, 3).write_bytes(b"")
    assert len(library.verify()) == 4


def test_what_no_entry_names_is_an_orphan_and_deleted_when_it_is_old(library: Library) -> None:
    stray = Path(library.url) / "versions" / "flowers" / "00" / "README.md"
    stray.parent.mkdir()
    stray.write_text("half added")
    assert library.orphans() == ["versions/flowers/00/README.md"]
    assert library.verify() == library.clean() == []
    assert stray.exists()
    assert library.clean(older=0) == ["versions/flowers/00/README.md"]
    assert library.orphans() == library.verify() == []
    assert library.open("flowers", 2)


class Later(datetime):
    """The clock, two hours later."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(hours=2)


@pytest.mark.parametrize("moment", ["age", "remove"])
def test_what_is_added_while_orphans_are_deleted_stays(
    tmp_path: Path, saved: list[Path], moment: str, url: str
) -> None:
    """An addition that was interrupted hours ago is done again just before its first file would be deleted."""
    library = begun(url, saved[:2])
    store = store_of(url)
    left = place("flowers", begun(tmp_path / "other", saved[2:]).version("flowers", 1).digest)
    for name in ("README.md", "vpt_config.json"):
        store.put(f"{left}/{name}", b"half")
    original = getattr(type(store), moment)
    with pytest.MonkeyPatch.context() as patch:

        def late(*arguments: object) -> object:
            patch.undo()
            Library(url).add(saved[2], "flowers")
            return original(*arguments)

        patch.setattr("vpt.artifacts.library.store.datetime", Later)
        patch.setattr(type(store), moment, late)
        assert library.clean(older=0 if moment == "age" else 3600) == []
    assert library.verify() == library.orphans() == []


def test_nothing_is_cleaned_by_a_damaged_log(library: Library) -> None:
    entry_file(library, 2).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"00000002.json"):
        Library(library.url).clean(older=0)
    assert sum(file.is_file() for file in (Path(library.url) / "versions").rglob("*")) == 6
