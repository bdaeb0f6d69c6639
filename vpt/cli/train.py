"""`vpt train`: a run from a configuration file, from overrides, or from both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpt.errors import OptionError
from vpt.runs.console import facts, note, notes

if TYPE_CHECKING:
    from vpt.runs.config import RunConfig

Text = str | None


def train(
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG.yaml] [NAME=VALUE]...", help="A file, then overrides like train.lr=0.001."),
    ] = None,
    backbone: Annotated[
        Text, typer.Option(help="embedded, embedded-clip, or a name of `vpt backbones` (backbone.name).")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Its weights, from a file (backbone.checkpoint).")] = None,
    data: Annotated[
        Text, typer.Option(help="An embedded task, a source, or SOURCE:NAME (data.source, data.name).")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where the images lie (data.root).")] = None,
    method: Annotated[Text, typer.Option(help="One of `vpt methods` (method.name).")] = None,
    epochs: Annotated[int | None, typer.Option(help="train.epochs")] = None,
    lr: Annotated[
        Text, typer.Option(help="train.lr, or several, with commas, to be searched on val (search.lr).")
    ] = None,
    seeds: Annotated[Text, typer.Option(help="Repetitions, e.g. 0,1,2.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default runs/TASK-METHOD.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result alone.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the full configuration and stop.")] = False,
) -> None:
    """Train a method on a task, measure it on the test images, and leave a folder of record.

    \b
    vpt train --data digits --method deep --epochs 20
    vpt train configs/digits.yaml method.options.length=5 seeds=[0,1,2]
    vpt train --data digits --backbone embedded-clip --method coop

    Run again, an interrupted run goes on and a finished one is left alone.
    """
    from vpt.runs.config import to_yaml
    from vpt.runs.reading import load_config

    shorthands = overrides(
        {"backbone.name": backbone, "backbone.checkpoint": checkpoint, "data.root": root, "method.name": method,
         "train.epochs": epochs, "out": out}, data=data, lr=lr, seeds=seeds,
    )  # fmt: skip
    file, given = split(items or [])
    config = load_config(file, [*shorthands, *given])
    if show:
        print(to_yaml(config), end="")
        return
    _run(config, quiet=quiet)


def _run(config: RunConfig, *, quiet: bool) -> None:
    from vpt.runs.run import default_folder, run

    try:
        with notes(quiet=quiet):
            result = run(config, quiet=quiet)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on from the last finished epoch")
        raise typer.Exit(130) from None
    _print(result, config.out or default_folder(config))


def split(items: list[str]) -> tuple[Path | None, list[str]]:
    """The configuration file, if the first item is none of the overrides, and the overrides."""
    if items and "=" not in items[0]:
        return Path(items[0]), items[1:]
    return None, items


def overrides(fields: dict[str, Any], *, data: Text = None, lr: Text = None, seeds: Text = None) -> list[str]:
    """The command's options as `a.b=c` overrides; texts and paths are quoted, so that YAML takes them as they are."""
    found = fields if data is None else fields | _data_fields(data)
    found = {name: _quoted(value) for name, value in found.items() if value is not None}
    if lr is not None:
        found |= {"search.lr": f"[{lr}]"} if "," in lr else {"train.lr": lr}
    if seeds is not None:
        found["seeds"] = f"[{seeds}]"
    return [f"{name}={value}" for name, value in found.items()]


def _quoted(value: Any) -> str:
    """A value as YAML: `data #1`, `2024` and `on` stay the texts that they are."""
    from json import dumps

    return dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _data_fields(data: str) -> dict[str, Any]:
    from vpt.data.embedded import TASKS
    from vpt.data.sources import names
    from vpt.errors import nearest

    source, _, name = data.partition(":")
    if not name and data in TASKS:
        return {"data.source": "embedded", "data.name": data}
    if source not in names():
        accepted = f"{', '.join(TASKS)}, or SOURCE:NAME with a source of {', '.join(names())}"
        raise OptionError(f"--data {data!r}{nearest(source, [*TASKS, *names()])}; accepted: {accepted}")
    return {"data.source": source, **({"data.name": name} if name else {})}


def _print(result: dict[str, Any], folder: Path) -> None:
    summary, parameters = result["summary"], result["parameters"]
    several = len(summary["accuracy"]["values"]) > 1
    measured = {
        name.replace("_", " "): f"{v['mean']:.2%}" + (f" ± {v['std']:.2%}" if several else "")
        for name, v in summary.items()
    }
    trained = f"{parameters['trained']:,} ({parameters['trained'] / parameters['all']:.3%} of {parameters['all']:,})"
    where = {"test images": str(result["data"]["sizes"]["test"]), "trained parameters": trained, "folder": str(folder)}
    facts(
        f"{result['config']['method']['name']} on {result['data']['name']}",
        {**measured, **_found(result["search"]), **where},
    )


def _found(search: dict[str, Any] | None) -> dict[str, str]:
    """What a search chose; the weight decay where it was searched too."""
    if not search:
        return {}
    decays = {trial["weight_decay"] for trial in search["trials"]}
    names = {"lr": "learning rate"} | ({"weight_decay": "weight decay"} if len(decays) > 1 else {})
    return {words: f"{search[name]:g} (chosen on val)" for name, words in names.items()}
