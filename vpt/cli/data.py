"""`vpt data prepare | verify | tasks`: tasks written once for fast reading, checked, and listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vpt.errors import DataError, OptionError, VptError
from vpt.runs.console import note, notes, progress, table

if TYPE_CHECKING:
    from vpt.data import Preprocessing, Task

T = TypeVar("T")

OF_VTAB = ("prepared", "tfds", "vtab", "vtab-torchvision", "wds")
"""Sources whose tasks may be VTAB-1K's; what others call by the same names is something else."""

data = typer.Typer(name="data", help="Prepare tasks for fast reading, verify them, list those of VTAB-1K.")


@data.command()
def prepare(
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="The source's options (data.options).")
    ] = None,
    source: Annotated[str, typer.Option(help="Where tasks come from: vtab, tfds, wds, embedded, ...")] = "vtab",
    root: Annotated[Path | None, typer.Option(help="Where the images lie (data.root).")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Names with commas between, or all: those of the source, or found under the root."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Each task becomes a folder of its name in here.")] = Path("prepared"),
    size: Annotated[int | None, typer.Option(min=1, help="Resize once, to SIZE x SIZE; else nothing is lost.")] = None,
    interpolation: Annotated[str | None, typer.Option(help="With --size: bicubic (default) or bilinear.")] = None,
    antialias: Annotated[bool | None, typer.Option(help="With --size: smooth what is made smaller (default).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the table alone.")] = False,
) -> None:
    """Write tasks into folders that open at once, every image decoded on the way.

    \b
    vpt data prepare --source tfds --root ~/tensorflow_datasets --tasks all
    vpt train --data prepared:cifar --root prepared

    A finished task is left alone, and one that fails stops no other: all faults are told at the end.
    """
    from vpt.data import load_task

    given, preprocessing = _options(options or []), _preprocessing(size, interpolation, antialias)
    chosen = _chosen(source, root, tasks, given, quiet=quiet)
    rows = []

    def one(name: str | None) -> None:
        task = load_task(source, root, name, **given)
        rows.append(_prepare(task, out, preprocessing, quiet=quiet))

    with notes(quiet=quiet):
        faults = _each(chosen, one)
    if rows:
        table(["task", "route", "train, val, test", "bytes", "digests", ""], rows)
    _refuse(faults, len(chosen))


@data.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A prepared task, or a folder of such.")],
    tasks: Annotated[str | None, typer.Option(help="Names with commas between; by default all in FOLDER.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print faults alone.")] = False,
) -> None:
    """Check every byte of prepared tasks against the digests that were written with them."""
    from vpt.data.prepared import verify_prepared

    def one(path: Path) -> None:
        with progress(f"reading {path.name}", quiet=quiet) as report:
            verify_prepared(path, report)
        if not quiet:
            print(f"{path}: whole")

    chosen = _folders(folder, tasks)
    _refuse(_each(chosen, one), len(chosen))


@data.command("tasks")
def list_tasks() -> None:
    """List the 19 tasks of VTAB-1K."""
    from vpt.data.vtab import TASKS

    rows = [
        [t.name, t.group, str(t.classes), f"{t.test_images:,}", t.tfds, "yes" if t.manual else "no"]
        for t in TASKS.values()
    ]
    table(["task", "group", "classes", "test images", "TFDS dataset", "downloaded by hand"], rows)


def _prepare(task: Task, out: Path, preprocessing: Preprocessing | None, *, quiet: bool) -> list[str]:
    """Prepare one task; its row of the table."""
    from vpt.data.prepared import is_prepared, prepare, read_manifest

    if Path(task.name).name != task.name:
        raise OptionError(f"{task.name!r} is no name for a folder; name the task with --tasks")
    folder = out / task.name
    there = is_prepared(folder)
    with progress(f"preparing {task.name}", quiet=quiet) as report:
        prepare(task, folder, preprocessing, report)
    manifest = read_manifest(folder)
    for line in () if quiet else manifest.deviations:
        note(f"note: {task.name}: {line}")
    sets = [manifest.sets[part] for part in task.sets()]
    size = sum(file["bytes"] for file in manifest.files.values())
    counts, digests = ", ".join(f"{s['images']:,}" for s in sets), ", ".join(s["digest"][:12] for s in sets)
    return [task.name, task.route, counts, f"{size:,}", digests, "was there" if there else "written"]


def _chosen(
    source: str, root: Path | None, tasks: str | None, options: dict[str, Any], *, quiet: bool
) -> list[str | None]:
    """The names asked for. Raises `OptionError` where the source or its options would do for none of them."""
    from vpt.data.sources import faults

    given: list[str | None] = [None] if tasks is None else [*_listed(tasks)]
    names = _all(source, root, quiet=quiet) if given == ["all"] else given
    wrong = {name: found for name in names if (found := faults(source, name, options))}
    if len(wrong) == len(names):
        raise OptionError("\n  ".join(dict.fromkeys(line for found in wrong.values() for line in found)))
    if given != ["all"]:
        return names  # what is wrong with some is told with the rest, when their turn comes
    for found in () if quiet else wrong.values():
        note(f"left out: {'; '.join(found)}")
    return [name for name in names if name not in wrong]


def _all(source: str, root: Path | None, *, quiet: bool) -> list[str | None]:
    """All tasks of the source; says which of VTAB-1K's are not among them, where any is."""
    from vpt.data.sources import tasks_of
    from vpt.data.vtab import TASKS

    names = tasks_of(source, root)
    if not names:
        raise DataError(f"{root}: holds no task of source {source!r}")
    missing = [name for name in TASKS if name not in names]
    if source in OF_VTAB and 0 < len(missing) < len(TASKS) and not quiet:
        note(f"of VTAB-1K's {len(TASKS)} tasks, {len(missing)} are not in {root}: {', '.join(missing)}")
    return [*names]


def _folders(folder: Path, tasks: str | None) -> list[Path]:
    """The prepared tasks meant, damaged ones too: folders with any file of a prepared task."""
    from vpt.data.prepared import has_traces

    if tasks is not None:
        return [folder / name for name in _listed(tasks)]
    if has_traces(folder):
        return [folder]
    found = [path for path in sorted(folder.glob("*")) if has_traces(path) and not path.name.startswith(".")]
    if not found:
        raise DataError(f"{folder}: holds no prepared task; vpt data prepare --out {folder} makes some")
    return found


def _listed(names: str) -> list[str]:
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise OptionError(f"--tasks {names!r}: names nothing; accepted: names with commas between")
    return list(dict.fromkeys(found))


def _options(items: list[str]) -> dict[str, Any]:
    """`["val_fraction=0.1"]` as `{"val_fraction": 0.1}`, values read as YAML."""
    from omegaconf import OmegaConf

    if wrong := [item for item in items if "=" not in item or item.startswith("=")]:
        raise OptionError(f"no options of a source: {', '.join(map(repr, wrong))}; accepted: NAME=VALUE")
    try:
        found = OmegaConf.to_container(OmegaConf.from_dotlist(items))
    except Exception as error:  # OmegaConf lets the YAML parser's own errors through
        raise OptionError(f"{' '.join(items)}: cannot be read: {error}") from error
    return {str(name): value for name, value in dict(found).items()}  # type: ignore[arg-type]


def _preprocessing(size: int | None, interpolation: str | None, antialias: bool | None) -> Preprocessing | None:
    from vpt.data import Preprocessing

    asked = {"interpolation": interpolation, "antialias": antialias}
    further: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if size is None and further:
        raise OptionError(f"{', '.join(f'--{name}' for name in further)} without --size: nothing is resized")
    return None if size is None else Preprocessing((size, size), **further)


def _each(things: Sequence[T], do: Callable[[T], None]) -> list[str]:
    """`do` each thing, and answer what went wrong with any, be it a disk that refuses to be read or written."""
    faults = []
    try:
        for thing in things:
            try:
                do(thing)
            except (VptError, OSError) as error:
                faults.append(str(error))
    except KeyboardInterrupt:
        note("interrupted; what was finished stays, and the same command goes on after it")
        raise typer.Exit(130) from None
    return faults


def _refuse(faults: list[str], total: int) -> None:
    if faults:
        raise DataError("\n".join([f"{len(faults)} of {total} tasks failed:", *faults]))
