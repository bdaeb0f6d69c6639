"""`vpt read`: the words near a learned context, as a table, and with how it moved the classes, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpt.errors import OptionError
from vpt.runs.console import note, notes, table

if TYPE_CHECKING:
    from torch import Tensor

    from vpt.methods.clip import Reading
    from vpt.runs.config import BackboneConfig


def read(
    run: Annotated[Path, typer.Argument(help="A run's folder, or an artefact's, of an open_clip model.")],
    out: Annotated[
        Path | None, typer.Option(help="Write a page (HTML) here, with similarities of the classes.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Words per token.")] = 5,
    backbone: Annotated[str | None, typer.Option(help="The backbone, where the artefact does not say.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Its weights, where they lie elsewhere now.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="The folder of its tokenizer's files, likewise.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Accept another backbone than the task's own.")] = False,
) -> None:
    """Name the words nearest to each learned token, and show how far learning moved the classes."""
    from vpt.methods.clip import TunedClip, class_similarity, nearest_words
    from vpt.methods.clip.reading import no_words
    from vpt.runs.prompt_page import prompt_page, provenance
    from vpt.runs.restore import restore
    from vpt.training import write_atomically

    if out is not None and out.is_dir():
        raise OptionError(f"--out {out} is a folder; accepted: a file, e.g. {out / 'prompt.html'}")
    with notes():
        saved = restore(run, backbone=backbone, checkpoint=checkpoint, tokenizer=tokenizer, force=force)
    if not isinstance(saved.model, TunedClip):
        raise no_words(saved.manifest.method)
    reading = nearest_words(saved.model, words, among=known_words(saved.config.backbone))
    show(reading)
    if out is not None:
        title = f"{saved.manifest.method} on {saved.config.backbone.name}, {len(saved.classes)} classes"
        write_atomically(out, prompt_page(title, reading, class_similarity(saved.model), provenance(saved)))
        note(f"the page is {out}")


def known_words(backbone: BackboneConfig) -> Tensor | None:
    """Ids of the tokens that a backbone's training saw, where not all of them; None for all."""
    from vpt.backbones.embedded_clip import NAME, known_tokens

    own = backbone.name == NAME and backbone.pretrained and backbone.checkpoint is None
    return known_tokens() if own else None


def show(reading: Reading) -> None:
    """A row per learned token: its nearest words with their distances."""
    count = len(reading.contexts[0].tokens[0].words)
    rows = [
        [
            str(place) if context.of is None else f"{context.of} {place}",
            *(f"{word} {word.distance:.3f}" for word in token.words),
        ]
        for context in reading.contexts
        for place, token in enumerate(context.tokens, 1)
    ]
    table(["token", *(f"{i + 1}." for i in range(count))], rows)
    note(
        f"a word is {reading.apart:.3f} from the word nearest to it, with a cosine of {reading.alike:.2f} (medians); "
        f"{reading.near_a_word} of {len(reading.distances)} tokens are as near to a word, and others tell little"
    )
    for remark in reading.remarks:
        note(remark)
