"""Which paths compute what is learned in the two towers of a CLIP, and why."""

from __future__ import annotations

from dataclasses import dataclass

from vpt.attach import choose
from vpt.attach.text_choose import TEXT_PATHS, choose_text
from vpt.errors import OptionError, unknown
from vpt.methods.clip.learned import ClipLearned, ClipTask


@dataclass(frozen=True)
class Paths:
    """text: "plain" or "fused", None where no text is encoded; visual: "hooks" or "fused", None where nothing enters
    the image tower.

    shares: whether what all texts have in front is computed once. reason: why these paths, tower by tower.
    """

    text: str | None
    visual: str | None
    shares: bool
    reason: str

    @property
    def name(self) -> str:
        """ "fused" where either tower takes the fast path, else "plain"."""
        return "fused" if "fused" in (self.text, self.visual) else "plain"


def choose_paths(path: str, task: ClipTask, learned: ClipLearned) -> Paths:
    """The paths for what was asked: "auto", "plain" or "fused".

    Raises `OptionError` for an unknown path, and for "fused" where it is not exact, with the reason.
    """
    if path not in TEXT_PATHS:
        raise unknown("path", path, TEXT_PATHS)
    text, of_text, shares = _text(path, task, learned)
    visual, of_image = _visual(path, task, learned)
    if text is None and visual is None:
        reason = f"{of_text}, and {of_image}"
        if path == "fused":
            raise OptionError(f"path='fused' is not possible here: {reason}; accepted: 'auto', 'plain'")
    elif visual is None:
        reason = of_text
    else:
        reason = f"image {visual}: {of_image}"
        reason = reason if text is None else f"text {text}: {of_text}; {reason}"
    return Paths(text, visual, shares, reason)


def _text(path: str, task: ClipTask, learned: ClipLearned) -> tuple[str | None, str, bool]:
    """The text tower's path, why, and whether a common start is computed once."""
    if not learned.context and not learned.templates:
        return None, "no text is encoded", False
    deeper = getattr(learned.prompts, "deeper", None)
    return choose_text(path, task.site, _apart(learned), deeper is not None and len(deeper) > 0)


def _visual(path: str, task: ClipTask, learned: ClipLearned) -> tuple[str | None, str]:
    """The image tower's path, and why."""
    if learned.visual is None:
        return None, "nothing enters the image tower"
    return choose("hooks" if path == "plain" else path, learned.visual, task.visual)


def _apart(learned: ClipLearned) -> str | None:
    """Why the texts of a method share nothing in front, or None where they do."""
    if learned.context and learned.per_class:
        return "every class has a context of its own"
    if learned.context and learned.position != "end":
        return f"names stand at the {learned.position} of the context"
    return None
