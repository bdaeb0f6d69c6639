"""The recipes that a pretraining run has had: one, unless it was resumed with another on purpose."""

from __future__ import annotations

from typing import Any

FROM = "from_epoch"
FLAG = "--go-on-with-another-recipe"


def recipes(so_far: list[dict[str, Any]], recipe: dict[str, Any], epoch: int, go_on: bool) -> list[dict[str, Any]]:
    """`so_far`, with `recipe` behind it where that is another than the last; `from_epoch` says when each began.

    Ends the program where it is another and `go_on` is not set.
    """
    last = {name: value for name, value in so_far[-1].items() if name != FROM} if so_far else None
    if last == recipe:
        return so_far
    if last is not None and not go_on:
        changed = ", ".join(f"{k} ({last.get(k)!r}, now {recipe[k]!r})" for k in recipe if last.get(k) != recipe[k])
        raise SystemExit(
            f"the checkpoint after epoch {epoch} is of another recipe: {changed}. Give the same one, another --out, or "
            f"{FLAG}, and the record lists both"
        )
    return [*so_far, {FROM: epoch, **recipe}]
