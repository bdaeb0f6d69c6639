"""Whether loaded images are a VTAB-1K task's own."""

from __future__ import annotations

from collections.abc import Iterable

from vpt.data.lossy import is_lossy
from vpt.data.task import Task
from vpt.data.vtab.task import VtabTask
from vpt.errors import DataError

RE_ENCODED = (
    "images are JPEG re-encodings (or WebP with loss) of a lossless original: accuracies are lower (CLIP zero-shot on "
    "CIFAR-100 by about 20 points) and not comparable with those of the original pixels, as source 'tfds' gives them"
)


def deviations(task: Task, spec: VtabTask) -> list[str]:
    """One line per way in which the loaded `task` is not VTAB-1K's: sizes of its sets, number of classes.

    Empty where all agree. Which images a set holds cannot be told from it; that is up to the source.
    """
    wanted = {part: spec.counts(part) for part in spec.slices()}
    wanted["trainval"] = (wanted["train"][0] + wanted["val"][0],)
    found = {**task.sets(), "trainval": task.trainval}
    lines = [
        f"{part} has {len(found[part])} images, VTAB-1K's {' or '.join(map(str, counts))}"
        for part, counts in wanted.items()
        if len(found[part]) not in counts
    ]
    if len(task.classes) != spec.classes:
        lines.append(f"there are {len(task.classes)} classes, VTAB-1K has {spec.classes}")
    return lines


def require(task: Task, spec: VtabTask) -> None:
    """Raises `DataError` with every deviation; does nothing where there is none."""
    if lines := deviations(task, spec):
        raise DataError("\n  ".join([f"{task.name}: is not VTAB-1K's {spec.name} ({spec.title}):", *lines]))


def re_encoded(spec: VtabTask, heads: Iterable[bytes]) -> list[str]:
    """A line where image files that begin with `heads` lost what the original of `spec` has; else none.

    `heads` are not asked for where the original itself was compressed with loss.
    """
    if not spec.lossless:
        return []
    lossy = [is_lossy(head) for head in heads]
    if not any(lossy):
        return []
    return [RE_ENCODED if all(lossy) else f"{sum(lossy):,} of {len(lossy):,} {RE_ENCODED}"]


def missing_classes(task: Task, most: int = 10) -> list[str]:
    """A line where train has no image of some classes, naming the first `most` of them; else none."""
    seen = set(task.train.labels.tolist())
    missing = [name for number, name in enumerate(task.classes) if number not in seen]
    if not missing:
        return []
    named = ", ".join(missing[:most]) + (", ..." if len(missing) > most else "")
    return [f"train has no image of {len(missing)} of the {len(task.classes)} classes: {named}"]
