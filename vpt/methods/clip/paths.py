"""Which paths compute what is learned in the two towers of a CLIP, and why."""

from __future__ import annotations

from dataclasses import dataclass

from vpt.attach import choose
from vpt.attach.text_choose import choose_text
from vpt.methods.clip.learned import ClipLearned, ClipTask


@dataclass(frozen=True)
class Paths:
    """text: "plain" or "fused"; visual: "hooks" or "fused", None where nothing enters the image tower.

    shares: whether what all texts have in front is computed once. reason: why these paths, tower by tower.
    """

    text: str
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
    deeper = getattr(learned.prompts, "deeper", None)
    text, why, shares = choose_text(path, task.site, _apart(learned), deeper is not None and len(deeper) > 0)
    if learned.visual is None:
        return Paths(text, None, shares, why)
    visual, why_visual = choose("hooks" if path == "plain" else path, learned.visual, task.visual)
    return Paths(text, visual, shares, f"text {text}: {why}; image {visual}: {why_visual}")


def _apart(learned: ClipLearned) -> str | None:
    """Why the texts of a method share nothing in front, or None where they do."""
    if learned.context and learned.per_class:
        return "every class has a context of its own"
    if learned.context and learned.position != "end":
        return f"names stand at the {learned.position} of the context"
    return None
