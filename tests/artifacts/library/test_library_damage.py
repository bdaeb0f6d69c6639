"""Whatever happens to the files of a library is named, and never read as another state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpt.artifacts.library import Library
from vpt.artifacts.library.entry import SCHEMA
from vpt.artifacts.schema import checksum
from vpt.errors import ArtifactError


@pytest.fixture
def library(tmp_path: Path, saved: list[Path]) -> Library:
    """Two versions, of which the first is current."""
    made = Library(tmp_path / "library")
    for folder in saved[:2]:
        made.add(folder, "flowers")
    made.approve("flowers", 1)
    return made


def entry_file(library: Library, number: int) -> Path:
    return Path(library.url) / "log" / f"{number:08d}.json"


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    path = entry_file(library, 2)
    content = json.loads(path.read_text()) | {"by": "mallory"}
    path.write_text(json.dumps(content | {"sha256": checksum(content)}))
    refused(library, "00000003.json does not follow")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": SCHEMA + 1}, "from a later vpt"),
        ({"action": "burn"}, "unknown action 'burn'"),
        ({"number": 4}, "misplaced"),
        ({"version": 7}, "entry 3 of the log cannot be"),
        ({"facts": {}}, "entry 3 of the log cannot be"),
        ({"version": "1"}, "missing or wrong are version"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(library: Library, change: dict[str, object], said: str) -> None:
    path = entry_file(library, 3)
    content = json.loads(path.read_text()) | change
    path.write_text(json.dumps(content | {"sha256": checksum(content)}))
    refused(library, said)


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


def test_nothing_is_cleaned_by_a_damaged_log(library: Library) -> None:
    entry_file(library, 2).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"00000002.json"):
        Library(library.url).clean(older=0)
    assert sum(file.is_file() for file in (Path(library.url) / "versions").rglob("*")) == 6
