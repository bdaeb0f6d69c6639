"""Reading a learned context: the words nearest to each of its tokens, and how far it moved the classes.

Both tell little of why a prompt works. A token need not lie near any word, and often does not (CoOp, arXiv:2109.01134);
so beside every distance stands how far words lie from each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vpt.errors import OptionError
from vpt.methods.clip.fixed_texts import PHOTO
from vpt.methods.clip.nearest import nearest
from vpt.methods.clip.tuned_clip import TunedClip
from vpt.methods.method import describe, names
from vpt.prompts.class_texts import with_templates
from vpt.prompts.context import ConditionalContext, Context

SAMPLE = 512
"""So many words at most, evenly spaced over the vocabulary, are asked for their own nearest neighbour."""


@dataclass(frozen=True)
class NearWord:
    """A row of the vocabulary near a learned token: what its token says (None where the tokenizer does not tell), and
    the Euclidean distance and the cosine between the two.
    """

    id: int
    text: str | None
    distance: float
    cosine: float

    def __str__(self) -> str:
        return self.text or f"#{self.id}"


@dataclass(frozen=True)
class ReadToken:
    """A learned token: its length as a vector, and the words nearest to it, nearest first."""

    norm: float
    words: tuple[NearWord, ...]


@dataclass(frozen=True)
class ReadContext:
    """A context of M tokens, in their order; `of` is the class that it belongs to, None where all classes share it."""

    of: str | None
    tokens: tuple[ReadToken, ...]


@dataclass(frozen=True)
class Reading:
    """What `nearest_words` found, and what to hold it against.

    vocabulary: rows that were compared with. norm: the median of their lengths.
    apart, alike: how far a word is from the word nearest to it, and the cosine between the two, medians over `sampled`
    words.
    remarks: what of the prompt and of the vocabulary is not in here.
    """

    contexts: tuple[ReadContext, ...]
    vocabulary: int
    norm: float
    apart: float
    alike: float
    sampled: int
    remarks: tuple[str, ...]

    @property
    def distances(self) -> list[float]:
        """Of every token the distance to its nearest word."""
        return [token.words[0].distance for context in self.contexts for token in context.tokens]

    def near(self, word: NearWord) -> bool:
        """Whether a word is as near to its token as words are to each other, in distance and in direction.

        The distance alone would call every token that lies close to the origin near to whichever word is short.
        """
        return word.distance <= self.apart and word.cosine >= self.alike - 1e-9  # which a cosine of 1 may miss by less

    @property
    def near_a_word(self) -> int:
        """The number of tokens that are near to a word."""
        return sum(self.near(token.words[0]) for context in self.contexts for token in context.tokens)


@dataclass(frozen=True)
class Similarity:
    """Cosines between class features: `before` and `after` learning `[C, C]`, and of each class between its two `[C]`.

    template: the sentences of `before`. remarks: what `after` leaves out.
    """

    classnames: tuple[str, ...]
    before: Tensor
    after: Tensor
    kept: Tensor
    templates: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def difference(self) -> Tensor:
        """What learning added to each cosine `[C, C]`."""
        return self.after - self.before


@torch.no_grad()
def nearest_words(model: TunedClip, k: int = 5, *, among: Tensor | None = None) -> Reading:
    """The k vocabulary words nearest to each token of the context that `model` learned, by Euclidean distance.

    Of a context in several layers the first is read, of one that images shift what it is before that; remarks say so.
    among: ids of the rows that are words to the model, where not all of its vocabulary is.
    Exact, in float64, on the CPU; of words equally near the lower id comes first. Raises `OptionError`.
    """
    context = _context(model)
    site = model.site
    rows = site.token_embedding(torch.arange(site.vocabulary, device=site.device)).cpu()  # NLLB's scales its rows
    _check(k, among, len(rows))
    ids = torch.arange(len(rows)) if among is None else among.cpu().sort().values
    table = rows if among is None else rows[ids]
    tokens = context.tokens.detach().cpu().double()
    if not tokens.isfinite().all():
        raise OptionError(f"the context of this {model.method!r} holds NaN or infinity, which is near no word")
    distances, places = nearest(tokens.flatten(0, -2), table, k)
    found = iter(_read(model, tokens.flatten(0, -2), table, ids, distances, places))
    owners = model.classnames if context.per_class else (None,)
    read = tuple(ReadContext(of, tuple(next(found) for _ in range(context.length))) for of in owners)
    sample = table[torch.linspace(0, len(table) - 1, min(len(table), SAMPLE), dtype=torch.float64).round().long()]
    far, near = (found[:, -1] for found in nearest(sample, table, min(2, len(table))))  # in front is the word itself
    alike = F.cosine_similarity(sample.double(), table[near].double(), dim=1)
    norm = table.double().norm(dim=1).median()
    remarks = () if among is None else (f"Only {len(ids):,} of the vocabulary's {len(rows):,} rows count as words.",)
    unread = (*remarks, *_unread(model, context))
    return Reading(read, len(table), float(norm), float(far.median()), float(alike.median()), len(sample), unread)


def _read(
    model: TunedClip, tokens: Tensor, table: Tensor, ids: Tensor, distances: Tensor, places: Tensor
) -> Iterator[ReadToken]:
    for token, far, near in zip(tokens, distances.tolist(), places, strict=True):
        cosines = F.cosine_similarity(token[None], table[near].double(), dim=1).tolist()
        columns = zip(ids[near].tolist(), far, cosines, strict=True)
        yield ReadToken(float(token.norm()), tuple(NearWord(i, model.words.read(i), d, c) for i, d, c in columns))


def _context(model: TunedClip) -> Context | ConditionalContext:
    """The learned context, the text tower's first layer of it in front. Raises `OptionError` where there is none."""
    parts = () if model.prompts is None else model.prompts.modules()
    for part in parts:
        if isinstance(part, Context | ConditionalContext):
            return part
    raise no_words(model.method)


def no_words(method: str) -> OptionError:
    """The error for a method whose prompts stand where no word does, or that has none."""
    with_words = [name for name in names("open_clip") if "words" in describe(name, "open_clip").options]
    return OptionError(
        f"method {method!r} learns no tokens among words; these do, and can be read: {', '.join(with_words)}"
    )


def _check(k: int, among: Tensor | None, vocabulary: int) -> None:
    faults, most = [], vocabulary
    if among is not None:
        most = len(among)
        if among.dim() != 1 or among.is_floating_point() or not most or len(among.unique()) != most:
            faults.append(f"among is {among.dtype} {list(among.shape)}; accepted: distinct ids [n], one at least")
        elif not 0 <= int(among.min()) <= int(among.max()) < vocabulary:
            faults.append(f"among holds ids {int(among.min())} to {int(among.max())}; accepted: 0 to {vocabulary - 1}")
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= most:
        faults.append(f"k is {k!r}; accepted: 1 to {most}, the words there are")
    if faults:
        raise OptionError("; ".join(faults))


def _unread(model: TunedClip, context: Context | ConditionalContext) -> Iterator[str]:
    if context.deeper is not None and len(context.deeper):
        yield "Read are the tokens of the text tower's first layer; those of deeper layers stand where no word does."
    if isinstance(context, ConditionalContext):
        yield "The tokens are read as they are before an image shifts them."
    if model.learned.visual is not None:
        yield "The image tower's prompts are no words."
    if model.learned.after:
        fixed = " ".join(model.words.read(token) or f"#{token}" for token in model.learned.after)
        yield f"Between the tokens and the class name stand fixed words: {fixed}."


@torch.no_grad()
def class_similarity(model: TunedClip) -> Similarity:
    """Cosines between class features in float64, as the CLIP has them by itself and as learned.

    By itself means: in the templates of the method where it has some, else in "a photo of a {}.". Where class features
    depend on the image, those of the context that no image has shifted are taken; remarks say so.
    Raises `OptionError` for adapters within the towers, which no features of before can be had beside.
    """
    if model.learned.adapters:
        raise OptionError(
            f"{model.method!r} learns within the towers, so that this model cannot tell how classes were before; "
            "its text_features() can be compared with those of a 'zero_shot' model on the same CLIP"
        )
    templates = model.learned.templates or (PHOTO,)
    before, after = _fixed(model, templates).cpu().double(), _learned(model).cpu().double()
    before, after = F.normalize(before, dim=-1), F.normalize(after, dim=-1)
    remarks = ("The features after are those of the context before an image shifts it.",)
    return Similarity(
        model.classnames, before @ before.T, after @ after.T, (before * after).sum(1), templates,
        remarks if model.learned.per_image else (),
    )  # fmt: skip


def _fixed(model: TunedClip, templates: tuple[str, ...]) -> Tensor:
    """Class features `[C, F]` of fixed sentences."""
    if model.learned.templates:
        return model.template_features()
    texts = with_templates(model.words, model.classnames, templates, model.site.context_length)
    return model.encoder(texts).fixed()


def _learned(model: TunedClip) -> Tensor:
    """Class features `[C, F]` with what was learned, and without an image."""
    if not model.learned.per_image:
        return model.text_features()
    return model.encode(_context(model).tokens[None, None]).squeeze(0)
