"""What a few-shot trial draws and measures, as the `stage` of its `Trial`: `shots-4`, `base-to-new-16`, `transfer-16`.

shots        trained on so many images of every class, measured on the whole test set
base-to-new  trained on the first half of the classes, measured on each half among its own classes
transfer     trained on one task, measured on it and on others, whose class names take the place of its own
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vpt.errors import OptionError, unknown

SHOTS, BASE_TO_NEW, TRANSFER = "shots", "base-to-new", "transfer"
KINDS = (SHOTS, BASE_TO_NEW, TRANSFER)

NEW, HARMONIC = "new_accuracy", "harmonic"
"""Metrics of a base-to-new trial, beside its accuracy on base classes."""


@dataclass(frozen=True)
class Stage:
    """A kind of `KINDS`, and the images per class that are drawn; 0 for methods that see none."""

    kind: str
    shots: int

    @property
    def name(self) -> str:
        """As a trial has it."""
        return f"{self.kind}-{self.shots}"

    @classmethod
    def of(cls, name: str) -> Stage:
        """The stage of that name. Raises `OptionError` for another word."""
        found = re.fullmatch(r"(.+)-(\d+)", name)
        if found is None or found[1] not in KINDS:
            raise unknown("stage", name, [f"{kind}-16" for kind in KINDS])
        return cls(found[1], int(found[2]))

    @classmethod
    def is_name(cls, name: str) -> bool:
        """Whether a stage has that name."""
        try:
            cls.of(name)
        except OptionError:
            return False
        return True


def on(target: str) -> str:
    """The metric of a transfer trial that is its accuracy on another task."""
    return f"on.{target}"
