"""Versions are added, approved, retired and rolled back, in a folder and elsewhere, and the log says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from support.libraries import GATE, begun, passed
from support.places import backbone

from vpt.artifacts import load
from vpt.artifacts.library import Library, compare
from vpt.artifacts.library.store import store_of
from vpt.errors import ArtifactError, OptionError


def states(library: Library, task: str = "flowers") -> list[str]:
    return [version.state for version in library.versions(task)]


def test_a_version_knows_what_it_is(url: str, saved: list[Path]) -> None:
    library = Library(url)
    version = library.add(saved[0], "flowers", why="first", by="ann@home")
    assert (version.task, version.number, version.state, version.by, version.why) == (
        "flowers", 1, "draft", "ann@home", "first",
    )  # fmt: skip
    assert (version.method, version.classes, version.metrics) == ("deep", ["a", "b"], {"accuracy": 0.5})
    assert version.bytes == sum(file.stat().st_size for file in saved[0].iterdir())
    assert version.fingerprint == json.loads((saved[0] / "vpt_config.json").read_text())["fingerprint"]["digest"]
    assert datetime.fromisoformat(version.added).utcoffset() == timedelta(0)
    assert Library(url).version("flowers", 1) == version
    assert Library(url).tasks() == ["flowers"]
    json.dumps(version.to_dict())


def test_what_is_opened_is_what_was_added(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for number, folder in enumerate(saved, 1):
        opened = library.open("flowers", number)
        assert {f.name: f.read_bytes() for f in opened.iterdir()} == {f.name: f.read_bytes() for f in folder.iterdir()}
        assert torch.equal(load(backbone(), opened)(images), load(backbone(), folder)(images))


def test_approving_and_rolling_back_change_what_is_current(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    assert library.current("flowers") is None
    for number in (1, 3):
        assert library.approve("flowers", number).state == "approved"
        assert library.current("flowers") == library.version("flowers", number)
    assert library.rollback("flowers", why="worse on Mondays").number == 1
    assert library.current("flowers") == library.version("flowers", 1)
    assert states(library) == ["approved", "draft", "retired"]
    with pytest.raises(OptionError, match="has 1 approved versions"):
        library.rollback("flowers", why="again")
    assert library.approve("flowers", 3, why="it was the camera") == library.current("flowers")
    assert [(e.action, e.version) for e in library.log()[3:]] == [
        ("approve", 1), ("approve", 3), ("rollback", 3), ("approve", 3),
    ]  # fmt: skip


def test_after_the_current_version_is_retired_the_one_approved_before_it_is_current(
    url: str, saved: list[Path]
) -> None:
    library = begun(url, saved)
    for number in (2, 1, 3):
        library.approve("flowers", number)
    seen = []
    for number in (3, 1, 2):
        library.retire("flowers", number, why="old")
        seen.append(library.current("flowers"))
    assert [version and version.number for version in seen] == [1, 2, None]
    assert states(library) == ["retired"] * 3


def test_a_version_that_is_approved_again_is_current_again(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    for number in (1, 2, 1):
        library.approve("flowers", number)
    assert library.rollback("flowers", why="no").number == 2


def test_every_change_moves_the_head_and_reading_does_not(url: str, saved: list[Path]) -> None:
    library, other = begun(url, saved), Library(url)
    heads = [other.head()]
    library.approve("flowers", 1)
    heads.append(other.head())
    library.retire("flowers", 1, why="old")
    heads.append(other.head())
    library.set_gate("flowers", GATE)
    heads += [other.head(), other.head()]
    assert heads == [3, 4, 5, 6, 6]


def test_the_log_says_who_when_why_and_chains(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    library.approve("flowers", 2, why="passed the walk", by="bob")
    library.add(saved[0], "pets")
    entries = library.log()
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in entries] == ["", *(entry.sha256 for entry in entries[:-1])]
    assert (entries[3].by, entries[3].why, entries[3].facts) == ("bob", "passed the walk", {"checks": None})
    assert "@" in entries[4].by
    assert library.log("pets") == entries[4:]


def test_what_is_there_already_is_not_added_again(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    library.retire("flowers", 2, why="old")
    assert library.add(saved[1], "flowers", why="again") == library.version("flowers", 2)
    assert library.head() == 4
    assert library.add(saved[1], "pets").number == 1


def test_an_approval_needs_the_checks_of_the_gate_that_is_set(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    library.set_gate("flowers", GATE)
    found = passed(library, 1)
    for checks, said in (
        (None, "has a gate"),
        (found | {"gate": 3}, "has a gate"),
        (passed(library, 2), "flowers 1 was not checked"),
        (found | {"figures": {"macro_f1": 0.9}}, "accuracy not measured"),
        (found | {"failed": ["accuracy is too low"]}, "too low"),
        ({"gate": 4, "failed": []}, "checks.digest is missing; .*checks.figures is missing"),
    ):
        with pytest.raises(OptionError, match=said):
            library.approve("flowers", 1, checks=checks)
    assert library.head() == 4
    library.approve("flowers", 1, checks=found)
    assert library.log()[-1].facts["checks"] == found
    library.approve("flowers", 2, why="now", checks=passed(library, 2, failed=["accuracy is too low"], forced=True))
    library.set_gate("flowers", None)
    assert library.gate("flowers") is None
    assert library.approve("flowers", 3).state == "approved"


def test_a_comparison_holds_as_long_as_what_it_was_made_with_is_current(tmp_path: Path, saved: list[Path]) -> None:
    library = begun(tmp_path / "library", saved)
    library.set_gate("flowers", {**GATE, "not_worse": 0.0})
    late = passed(library, 2)
    library.approve("flowers", 1, checks=passed(library, 1))
    with pytest.raises(OptionError, match="compared with none, which was current, and now 1 is: measure again"):
        library.approve("flowers", 2, checks=late)
    assert library.approve("flowers", 2, checks=passed(library, 2)).state == "approved"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda lib: lib.versions("flower"), "did you mean 'flowers'"),
        (lambda lib: lib.approve("flower", 1), "did you mean 'flowers'"),
        (lambda lib: lib.set_gate("flower", {}), "did you mean 'flowers'"),
        (lambda lib: lib.version("flowers", 4), "no version 4; accepted: 1 to 3"),
        (lambda lib: lib.open("flowers", 0), "no version 0"),
        (lambda lib: lib.approve("flowers", 9), "no version 9"),
        (lambda lib: lib.approve("flowers", 1), "approved already"),
        (lambda lib: lib.retire("flowers", 2, why="x"), "retired already"),
        (lambda lib: lib.retire("flowers", 1, why=" "), "say why"),
        (lambda lib: lib.rollback("flowers", why="x"), "takes two"),
        (lambda lib: lib.approve("flowers", 3, why=None), "why is None; accepted: str"),
        (lambda lib: lib.approve("flowers", 3, by=7), "by is 7; accepted: str"),
        (lambda lib: lib.approve("flowers", 3, why="caf\udce9"), "why cannot be printed"),
        (lambda lib: lib.approve("flowers", True), "version is True; accepted: int"),
        (lambda lib: lib.version("flowers", "1"), "no version '1'"),
        (lambda lib: lib.set_gate("flowers", {"require": {}}), "gate.data is missing"),
    ],
)
def test_what_the_rules_forbid_is_explained_and_not_written(
    tmp_path: Path, saved: list[Path], ask: Callable[[Library], object], said: str
) -> None:
    library = begun(str(tmp_path / "library"), saved)
    library.approve("flowers", 1)
    library.retire("flowers", 2, why="old")
    with pytest.raises(OptionError, match=said):
        ask(library)
    assert library.head() == 5


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "blüte", "a b", "x" * 101, "a\n"])
def test_task_names_are_safe_file_names(tmp_path: Path, saved: list[Path], name: str) -> None:
    with pytest.raises(OptionError, match="task name"):
        Library(tmp_path / "library").add(saved[0], name)
    assert not (tmp_path / "library").exists()


def test_damaged_artefacts_are_not_added(tmp_path: Path, another: Callable[[str], Path]) -> None:
    folder = another("damaged")
    content = bytearray((folder / "vpt_model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "vpt_model.safetensors").write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="damaged"):
        Library(tmp_path / "library").add(folder, "flowers")
    with pytest.raises(ArtifactError, match="is not a saved task"):
        Library(tmp_path / "library").add(tmp_path, "flowers")
    assert not (tmp_path / "library").exists()


def test_what_is_no_library_is_said(url: str, saved: list[Path], tmp_path: Path) -> None:
    asks: list[Callable[[Library], object]] = [
        Library.tasks, Library.head, Library.log, Library.verify, Library.orphans,
        lambda lib: lib.current("flowers"), lambda lib: lib.approve("flowers", 1),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(ArtifactError, match="is no library"):
            ask(Library(url))
    with pytest.raises(ArtifactError, match=r"other things: .*vpt_config.json"):
        Library(saved[0]).add(saved[1], "flowers")
    with pytest.raises(OptionError, match="Protocol not known"):
        Library("nothing://at/all")


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    library = begun(str(tmp_path / "library"), saved)
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ArtifactError, match=r"library/log/00000004.json: .*Permission denied"):
        library.approve("flowers", 1)
    monkeypatch.undo()
    assert library.approve("flowers", 1).state == "approved"


def test_a_folder_without_hard_links_will_do(
    tmp_path: Path, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    library = begun(str(tmp_path / "library"), saved)
    library.approve("flowers", 1)
    assert library.verify() == library.orphans() == []
    assert not store_of(library.url).create("log/00000001.json", b"other")
    assert Library(tmp_path / "library").head() == 4


def test_a_file_system_that_cannot_exclude_says_so_once(
    tmp_path: Path, saved: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(f"memory://{tmp_path.name}/a", saved)
    assert not caplog.messages
    begun(f"forgetless://{tmp_path.name}/a", saved)
    assert len(caplog.messages) == 1
    assert "let no two change the library at once" in caplog.messages[0]


def test_a_file_system_that_promises_to_exclude_is_tried_once(
    tmp_path: Path, saved: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun(f"memory://{tmp_path.name}/exclusive", saved).orphans() == []  # nothing of the trial stays
    assert not caplog.messages
    original = MemoryFileSystem.pipe_file
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda fs, path, value, mode="": original(fs, path, value))
    assert begun(f"memory://{tmp_path.name}/careless", saved).orphans() == []
    assert len(caplog.messages) == 1
    assert "let no two change the library at once" in caplog.messages[0]


def test_names_with_signs_of_patterns_are_names(url: str, saved: list[Path]) -> None:
    for name in ("[1]", "a*", "b?"):
        library = begun(f"{url}/{name}", saved[:1])
        library.approve("flowers", 1)
        assert library.open("flowers", 1).joinpath("vpt_config.json").is_file()
        assert library.verify() == library.orphans() == []


def test_a_cache_before_another_file_system_is_no_folder(tmp_path: Path, saved: list[Path]) -> None:
    place = f"memory://{tmp_path.name}/cached"
    assert store_of(f"filecache::{place}").folder is None
    begun(f"filecache::{place}", saved).approve("flowers", 1)
    assert Library(place).state("flowers").current_number == 1
    assert Library(place).verify() == []


def test_a_new_folder_is_on_disk_before_what_is_in_it(
    tmp_path: Path, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("vpt.artifacts.library.store.sync_folder", synced.append)
    begun(tmp_path / "a" / "library", saved[:1])
    (version,) = (tmp_path / "a" / "library" / "versions" / "flowers").iterdir()
    assert synced[:6] == [tmp_path, tmp_path / "a", *reversed(version.parents[:3]), version]
    assert tmp_path / "a" / "library" in synced[6:]  # the folder of the log


def test_the_copy_of_a_remote_version_is_checked_each_time(
    tmp_path: Path, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library = begun(f"memory://{tmp_path.name}/b", saved)
    copy = library.open("flowers", 1)
    assert copy.is_relative_to(tmp_path / "cache")
    (copy / "vpt_model.safetensors").write_bytes(b"rot")
    assert library.open("flowers", 1) == copy
    assert load(backbone(), copy).options["length"] == 1


def test_versions_are_compared(url: str, saved: list[Path]) -> None:
    library = begun(url, saved)
    assert compare(library, "flowers", 1, 1) == []
    moved = {d.name: d for d in compare(library, "flowers", 1, 2)}
    assert {n for n, d in moved.items() if d.distance is None} == {"metrics.accuracy"}
    assert moved["tensors.prompts.tokens"].distance == pytest.approx(0.5)  # all ones, then all twos
    assert (moved["metrics.accuracy"].a, moved["metrics.accuracy"].b) == (0.5, 0.6)
    longer = {d.name: (d.a, d.b, d.distance) for d in compare(library, "flowers", 1, 3)}
    assert longer["options.length"] == (1, 2, None)
    assert longer["tensors.prompts.tokens"] == ([1, 1, 8], [1, 2, 8], None)
