"""What a learned context reads as, and how far it moved the classes, against counting by hand."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import torch
import torch.nn.functional as F
from support.small_tokenizer import SmallTokenizer
from support.text_towers import small_clip
from support.tuned_clips import NAMES, moved, tuned_clip
from torch import Tensor

from vpt.errors import OptionError
from vpt.methods import TunedClip
from vpt.methods.clip import class_similarity, nearest_words, reading

WORDED: dict[str, dict[str, Any]] = {
    "coop": {"method": "coop", "context_length": 5},
    "plain": {"method": "coop", "context_length": 5, "path": "plain"},
    "specific": {"method": "coop", "context_length": 3, "class_specific": True},
    "cocoop": {"method": "cocoop"},
    "kgcoop": {"method": "kgcoop"},
    "maple": {"method": "maple", "words": "a no sea", "context_length": 2},
    "ivlp": {"method": "ivlp", "words": "a no sea", "context_length": 2, "path": "plain"},
}


def rows(model: TunedClip) -> Tensor:
    return model.backbone.get_parameter("token_embedding.weight").detach()


def context(model: TunedClip) -> Tensor:
    """The learned tokens of the first layer, `[n, D]`, by their name among all that is learned."""
    (tokens,) = [t for name, t in model.trained_state().items() if name in ("prompts.tokens", "prompts.text.tokens")]
    return tokens.flatten(0, -2)


def plant(model: TunedClip, ids: list[int]) -> None:
    """Make the context of rows of the vocabulary."""
    state = model.trained_state()
    (name,) = [name for name in state if name in ("prompts.tokens", "prompts.text.tokens")]
    state[name] = rows(model)[ids].view_as(state[name])
    model.load_trained_state(state)


@pytest.mark.parametrize("kind", WORDED)
def test_the_nearest_words_are_those_of_all_distances(kind: str) -> None:
    model = moved(**WORDED[kind])
    found = nearest_words(model, 4)
    distances = (context(model)[:, None] - rows(model)).norm(dim=-1)
    cosines = F.cosine_similarity(context(model)[:, None], rows(model), dim=-1)
    tokens = [token for one in found.contexts for token in one.tokens]
    assert len(tokens) == len(distances)
    for place, token in enumerate(tokens):
        ids = [word.id for word in token.words]
        assert ids == distances[place].argsort(stable=True)[:4].tolist()
        assert [word.distance for word in token.words] == pytest.approx(distances[place, ids].tolist(), rel=1e-12)
        assert [word.cosine for word in token.words] == pytest.approx(cosines[place, ids].tolist(), rel=1e-12)
        assert token.norm == pytest.approx(float(context(model)[place].norm()), rel=1e-12)
    assert found.distances == [token.words[0].distance for token in tokens]


@pytest.mark.parametrize("kind", WORDED)
def test_a_planted_word_is_read_as_itself(kind: str) -> None:
    model = tuned_clip(**WORDED[kind])
    ids = [17, 3, 98, 42, 42, 0, 64, 8, 9, 10, 11, 12][: len(context(model))]
    plant(model, ids)
    tokens = [token for one in nearest_words(model, 1).contexts for token in one.tokens]
    assert [token.words[0].id for token in tokens] == ids
    assert [token.words[0].distance for token in tokens] == [0.0] * len(ids)
    assert [token.words[0].cosine for token in tokens] == pytest.approx([1.0] * len(ids))


def test_words_are_decoded_where_the_tokenizer_can() -> None:
    class Telling(SmallTokenizer):
        def decode(self, ids: list[int]) -> str:
            return {i: token for token, i in self.ids.items()}[ids[0]]

    model = tuned_clip("coop", tokenizer=Telling(), words="no sea")
    assert [str(token.words[0]) for token in nearest_words(model).contexts[0].tokens] == ["no", "se", "a"]
    mute = tuned_clip("coop", words="no sea")
    (first, *_) = nearest_words(mute).contexts[0].tokens
    assert first.words[0].text is None
    assert str(first.words[0]) == f"#{SmallTokenizer().ids['no']}"


def test_contexts_belong_to_their_classes() -> None:
    shared, own = (nearest_words(moved("coop", context_length=3, class_specific=own)) for own in (False, True))
    assert [one.of for one in shared.contexts] == [None]
    assert [one.of for one in own.contexts] == NAMES
    assert {len(one.tokens) for one in own.contexts} == {3}


def test_only_some_rows_count_as_words() -> None:
    model = moved("coop", context_length=6)
    among = torch.tensor([70, 5, 31, 32])
    found = nearest_words(model, 4, among=among)
    ids = [[word.id for word in token.words] for token in found.contexts[0].tokens]
    assert all(sorted(row) == [5, 31, 32, 70] for row in ids)
    distances = (context(model)[:, None] - rows(model)[[5, 31, 32, 70]]).norm(dim=-1)
    assert [[5, 31, 32, 70].index(row[0]) for row in ids] == distances.argmin(1).tolist()
    assert found.vocabulary == 4
    assert "4 of the vocabulary's 100 rows" in " ".join(found.remarks)


def test_of_words_equally_near_the_lower_id_comes_first() -> None:
    clip = small_clip(context_length=40)
    with torch.no_grad():
        clip.token_embedding.weight[[60, 7, 33]] = clip.token_embedding.weight[50].clone()
    model = tuned_clip("coop", clip, context_length=1)
    plant(model, [50])
    for among in (None, torch.tensor([60, 33, 50, 7, 2])):
        (token,) = nearest_words(model, 4, among=among).contexts[0].tokens
        assert [word.id for word in token.words] == [7, 33, 50, 60]


@pytest.mark.parametrize("sample", [512, 5])
def test_the_yardstick_is_how_far_words_are_from_each_other(sample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SAMPLE", sample)
    model = moved("coop")
    found = nearest_words(model)
    distances = torch.cdist(rows(model), rows(model)).fill_diagonal_(float("inf")).min(dim=1).values
    asked = range(100) if sample > 100 else [0, 25, 50, 74, 99]
    assert found.sampled == len(asked)
    assert found.apart == pytest.approx(float(distances[list(asked)].median()), rel=1e-9)
    neighbour = rows(model)[torch.cdist(rows(model), rows(model)).fill_diagonal_(float("inf")).argmin(1)]
    alike = F.cosine_similarity(rows(model), neighbour, dim=1)
    assert found.alike == pytest.approx(float(alike[list(asked)].median()), rel=1e-9)
    assert found.norm == pytest.approx(float(rows(model).norm(dim=1).median()), rel=1e-12)
    assert nearest_words(model, 1, among=torch.tensor([4])).apart == 0, "of one word alone"


def test_noise_near_the_origin_is_near_no_word() -> None:
    generator = torch.Generator().manual_seed(0)
    clip = small_clip(context_length=40)
    with torch.no_grad():
        table = clip.token_embedding.weight
        directions = F.normalize(torch.randn(table.shape, generator=generator, dtype=table.dtype), dim=1)
        table[1::2] = directions[1::2]
        table[0::2] = F.normalize(0.8 * directions[1::2] + 0.6 * directions[0::2], dim=1)
        table[0] *= 0.1
    model = tuned_clip("coop", clip, context_length=30)
    found = nearest_words(model, 1)
    assert max(found.distances) < found.apart, "near by their distance: there is one short word"
    assert found.near_a_word <= 3
    plant(model, list(range(30)))
    assert nearest_words(model, 1).near_a_word == 30


def test_what_is_not_read_is_said() -> None:
    said = {kind: " ".join(nearest_words(moved(**WORDED[kind])).remarks) for kind in WORDED}
    assert not said["coop"] + said["specific"] + said["kgcoop"]
    assert "before an image shifts them" in said["cocoop"]
    assert "first layer" in said["ivlp"]
    assert "first layer" not in said["maple"], "whose image tower has one layer here, and so its context"
    for kind in ("maple", "ivlp"):
        assert "image tower's prompts are no words" in said[kind]
        assert "fixed words: #" in said[kind]


@pytest.mark.parametrize("method", ["zero_shot", "taskres", "clip_vpt"])
def test_methods_without_words_are_refused(method: str) -> None:
    with pytest.raises(OptionError, match=rf"{method!r} learns no tokens among words.*cocoop, coop, ivlp.*maple"):
        nearest_words(tuned_clip(method))


def test_all_that_is_wrong_is_told_at_once() -> None:
    model = tuned_clip("coop")
    with pytest.raises(OptionError, match="among holds ids -1 to 100; accepted: 0 to 99; k is 0; accepted: 1 to 2"):
        nearest_words(model, 0, among=torch.tensor([-1, 100]))
    for among in ([], [[1]], [1.0], [3, 3]):
        with pytest.raises(OptionError, match=r"among is .*; accepted: distinct ids \[n\], one at least"):
            nearest_words(model, 1, among=torch.tensor(among))
    for k in (101, True, 2.0):
        with pytest.raises(OptionError, match=f"k is {k}; accepted: 1 to 100"):
            nearest_words(model, k)  # type: ignore[arg-type]
    with torch.no_grad():
        model.get_parameter("prompts.tokens")[1, 2] = float("nan")
    with pytest.raises(OptionError, match="holds NaN or infinity"):
        nearest_words(model)


# --- classes ------------------------------------------------------------------------------------------------


def cosines(features: Tensor) -> Tensor:
    features = F.normalize(features.double(), dim=-1)
    return features @ features.T


@pytest.mark.parametrize("kind", WORDED)
def test_before_is_the_clip_by_itself_and_after_what_was_learned(kind: str) -> None:
    model = moved(**WORDED[kind])
    found = class_similarity(model)
    if model.learned.per_image:
        after = model.encode(model.get_parameter("prompts.tokens")[None, None]).squeeze(0).detach()
    else:
        with torch.no_grad():
            after = model.text_features()
    clip: Any = model.detach()
    texts = SmallTokenizer()([f"a photo of a {name}." for name in NAMES], 40)
    with torch.no_grad():
        before = clip.encode_text(texts)
    torch.testing.assert_close(found.before, cosines(before), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.after, cosines(after), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.kept, F.cosine_similarity(before, after, dim=-1), rtol=1e-10, atol=1e-12)
    assert torch.equal(found.difference, found.after - found.before)
    assert found.difference.abs().max() > 1e-3
    assert found.classnames == tuple(NAMES)
    assert found.templates == ("a photo of a {}.",)
    assert bool(found.remarks) == (kind == "cocoop")


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("zero_shot", {}),
        ("zero_shot", {"templates": ["a {}.", "no {} at sea."]}),
        ("taskres", {"templates": "a {} at sea."}),
        ("clip_vpt", {}),
        ("coop", {"words": "a photo of a"}),
        ("cocoop", {"words": "a photo of a"}),
        ("kgcoop", {"words": "a photo of a"}),
    ],
)
def test_nothing_has_moved_where_nothing_was_learned(method: str, options: dict[str, Any]) -> None:
    found = class_similarity(tuned_clip(method, **options))
    torch.testing.assert_close(found.after, found.before, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.kept, torch.ones(4, dtype=torch.float64))


def test_residuals_move_classes_from_the_templates() -> None:
    model = moved("taskres", templates=["a {}.", "no {} at sea."])
    found = class_similarity(model)
    assert found.templates == ("a {}.", "no {} at sea.")
    torch.testing.assert_close(found.before, cosines(model.template_features()), rtol=1e-10, atol=1e-12)
    assert (found.kept < 1 - 1e-6).all()


def test_what_changes_the_tower_itself_has_no_before() -> None:
    pytest.importorskip("peft", reason="needs peft: pip install 'vpt[peft]'")
    with pytest.raises(OptionError, match=r"'lora' learns within the towers.*'zero_shot' model on the same CLIP"):
        class_similarity(tuned_clip("lora"))


@pytest.mark.parametrize("training", [True, False])
def test_reading_changes_nothing(training: bool) -> None:
    model = moved("coop").train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    nearest_words(model)
    class_similarity(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training is training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_class_is_like_itself() -> None:
    found = class_similarity(moved("coop", names=["cat"]))
    torch.testing.assert_close(found.before, torch.ones(1, 1, dtype=torch.float64))
    assert found.kept.shape == (1,)
