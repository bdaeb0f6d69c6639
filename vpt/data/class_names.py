"""Class names: other ones for a task, and names that a text encoder can read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from vpt.data.task import Task
from vpt.errors import OptionError, nearest


def renamed(task: Task, names: Sequence[str] | Mapping[str, str]) -> Task:
    """The task with `names` for its classes, one per label; or, by a mapping, with other names for some of them.

    Raises one `OptionError` for a wrong number, for names that are empty or stand twice, and for keys of a mapping
    that are no class.
    """
    if isinstance(names, Mapping):
        new, faults = [names.get(name, name) for name in task.classes], list(_strange(task, names))
    else:
        new, faults = list(names), list(_miscounted(task, names))
    if faults := [*faults, *_unusable(new)]:
        raise OptionError(f"{task.name}: class_names: {'; '.join(faults)}")
    return task.with_sets(lambda images: images.with_classes(new))


def spoken(names: Sequence[str]) -> list[str]:
    """Class names as one says them: of synonyms with commas between the first, no underscores, no number in front.

    "goldfish, Carassius auratus" is "goldfish", "golden_retriever" is "golden retriever", "001.Black_footed_Albatross"
    is "Black footed Albatross". Names that would be the same keep as many synonyms as tell them apart.
    """
    synonyms = [[_blank(part) for part in name.split(",") if _blank(part)] or [name] for name in names]
    kept = [1] * len(names)
    while True:
        said = [", ".join(own[:k]) for own, k in zip(synonyms, kept, strict=True)]
        times = Counter(said)
        longer = [c for c, name in enumerate(said) if times[name] > 1 and kept[c] < len(synonyms[c])]
        if not longer:
            return said
        for c in longer:
            kept[c] += 1


def _blank(name: str) -> str:
    return " ".join(re.sub(r"^\s*\d+\.(?=\D)", "", name).replace("_", " ").split())


def _strange(task: Task, names: Mapping[str, str]) -> Iterator[str]:
    for key in names:
        if key not in task.classes:
            yield f"{key!r} is no class{nearest(str(key), task.classes)}"


def _miscounted(task: Task, names: Sequence[str]) -> Iterator[str]:
    if len(names) != len(task.classes):
        yield f"{len(names)} names given for {len(task.classes)} classes"


def _unusable(names: Sequence[str]) -> Iterator[str]:
    """A line per name that is no text or empty, and per name that stands more than once."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            yield f"name {place} is {name!r}"
        else:
            places[name].append(place)
    for name, own in places.items():
        if len(own) > 1:
            yield f"{name!r} stands {len(own)} times (names {', '.join(map(str, own))})"
