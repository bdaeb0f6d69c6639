"""The exceptions of vpt.

    VptError
    ├── OptionError          a wrong option, config field or argument          (also a ValueError)
    ├── UnsupportedBackbone  a model that cannot be prompted                   (also a TypeError)
    ├── WeightsUnavailable   weights that are not on this machine
    ├── DataError            an unreadable image, a bad label, a missing folder
    ├── TrainingError
    │   └── NonFiniteLoss    NaN or infinity: names step, learning rate, images
    └── ArtifactError        an artefact that is damaged or incomplete
        └── BackboneMismatch an artefact bound to another backbone

Every message names the thing, what was given and what is accepted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class VptError(Exception):
    """Base of every error that vpt raises on purpose."""


class OptionError(VptError, ValueError):
    """An option, config field or argument that does not exist or has a value that is not accepted."""


class UnsupportedBackbone(VptError, TypeError):  # noqa: N818 - reads as what it is
    """A model with no site for prompts."""


class WeightsUnavailable(VptError):  # noqa: N818
    """Pretrained weights that are neither on this machine nor reachable."""


class DataError(VptError):
    """Images or labels that cannot be used as they are."""


class TrainingError(VptError):
    """A run that cannot go on."""


class NonFiniteLoss(TrainingError):  # noqa: N818
    """The loss became NaN or infinite."""


class ArtifactError(VptError):
    """A saved task that is damaged, incomplete or of an unknown version."""


class BackboneMismatch(ArtifactError):  # noqa: N818
    """A saved task met a backbone other than its own."""


def some(things: Sequence[object], most: int = 5) -> str:
    """The first `most` of `things`, with commas between, and how many more there are."""
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return ", ".join(map(str, things[:most])) + more


def nearest(name: str, accepted: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the accepted name closest to `name`, or an empty string."""
    found = difflib.get_close_matches(name, list(accepted), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def unknown(kind: str, name: object, accepted: Iterable[str]) -> OptionError:
    """The error for a name outside `accepted`, e.g. `unknown("method", "depe", methods)`."""
    names = sorted(accepted)
    return OptionError(f"unknown {kind} {name!r}{nearest(str(name), names)}; accepted: {', '.join(names)}")
