"""A tuned CLIP: what it learns, what it leaves alone, what it remembers, and how it trains."""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import Any

import pytest

pytest.importorskip("open_clip", reason="needs open_clip: pip install 'vpt[clip]'")

import open_clip
import timm
import torch
import torch.nn.functional as F
from support.small_tokenizer import SmallTokenizer
from support.text_towers import images, small_clip
from torch import Tensor, nn

import vpt
from vpt.errors import ArtifactError, OptionError, UnsupportedBackbone
from vpt.methods import names
from vpt.methods.clip import ClipLearned, ClipTask, clip_method
from vpt.training import FitConfig

NAMES = ["cat", "sea lion", "go-kart", "tomi"]
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "zero_shot": {},
    "coop": {"tokens": (16, 12)},
    "cocoop": {
        "tokens": (4, 12), "meta_net.linear1.weight": (4, 64), "meta_net.linear1.bias": (4,),
        "meta_net.linear2.weight": (12, 4), "meta_net.linear2.bias": (12,),
    },
    "kgcoop": {"tokens": (4, 12)},
    "taskres": {"tokens": (4, 64)},
}  # fmt: skip
LEARNING = [name for name in SHAPES if name != "zero_shot"]


def tune(method: str, clip: Any = None, classnames: list[str] | None = None, **options: Any) -> Any:
    clip = small_clip("flat", context_length=40) if clip is None else clip
    return vpt.tune(clip, method, classnames=classnames or NAMES, tokenizer=SmallTokenizer(), **options)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class Pictures:
    """12 images of the classes in `NAMES`, as `fit` reads them."""

    def __init__(self) -> None:
        self.pixels = images(12).float()

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.pixels[index], "label": index % 4, "index": index}


def test_methods_are_listed_with_the_others() -> None:
    assert set(SHAPES) <= set(names("open_clip"))
    assert set(names("open_clip")) & set(names("timm")) == {"linear", "lora"}
    assert set(names()) == {*names("open_clip"), *names("timm")}


@pytest.mark.parametrize("method", SHAPES)
def test_what_is_learned_and_only_that(method: str) -> None:
    clip = small_clip("flat", context_length=40)
    before, flags = state(clip), [p.requires_grad for p in clip.parameters()]
    clip.train()
    tuned = tune(method, clip)
    assert {name.removeprefix("prompts."): tuple(p.shape) for name, p in tuned.trainable().items()} == SHAPES[method]
    assert not any(module.training for module in tuned.train().backbone.modules())
    logits = tuned(images())
    assert logits.shape == (3, 4)
    assert set(tuned.trained_state()) == set(tuned.trainable())
    count = sum(p.numel() for p in tuned.trainable().values())
    assert f"{method} on CLIP, text tower of 3 blocks of width 12, 4 classes" in tuned.summary()
    assert f"trainable params: {count:,} ||" in tuned.summary()
    if method != "zero_shot":
        logits.pow(2).sum().backward()
        assert all(p.grad is not None for p in tuned.trainable().values())
    assert {name for name, p in tuned.named_parameters() if p.grad is not None} == set(tuned.trainable())
    assert tuned.frozen_state().keys() == before.keys()
    assert tuned.detach() is clip
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())
    assert [p.requires_grad for p in clip.parameters()] == flags
    assert all(module.training for module in clip.modules())
    assert not clip.token_embedding._forward_hooks
    with pytest.raises(OptionError, match="detached"):
        tuned(images())


@pytest.mark.parametrize("path", ["plain", "fused"])
@pytest.mark.parametrize("method", SHAPES)
def test_other_class_names_with_what_was_learned(method: str, path: str) -> None:
    tuned, others = tune(method, path=path), ["vezi", "no", "a sea"]
    with torch.no_grad():
        for parameter in tuned.trainable().values():
            parameter.add_(0.1)
    if method == "taskres":
        with pytest.raises(OptionError, match="'taskres' learned here belongs to its own 4 classes"):
            tuned.rebind(others)
        return
    tuned.eval()(images())
    with pytest.raises(OptionError, match="'no' stands twice"):
        tuned.rebind(["no", "no"])
    assert tuned(images()).shape == (3, 4), "as it was"
    assert tuned.rebind(others) is tuned
    fresh = tune(method, copy.deepcopy(tuned).detach(), others, path=path)
    fresh.load_trained_state(tuned.trained_state())
    assert tuned.num_classes == 3
    with torch.no_grad():
        torch.testing.assert_close(tuned(images()), fresh(images()))
    assert tuned.options["classnames"] == others


def test_a_context_per_class_belongs_to_its_classes() -> None:
    with pytest.raises(OptionError, match="belongs to its own 4 classes"):
        tune("coop", class_specific=True).rebind(["a", "b"])


@pytest.mark.parametrize("method", LEARNING)
def test_trained_state_round_trips_and_names_misfits(method: str) -> None:
    a, b = (tune(method, seed=seed) for seed in (0, 1))
    with torch.no_grad():
        for parameter in a.trainable().values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
        b.eval()(images())
        b.load_trained_state(a.trained_state())
        assert torch.equal(a.eval()(images()), b(images()))
    wrong = {**a.trained_state(), "prompts.tokens": torch.zeros(1, 2), "prompts.more": torch.zeros(1)}
    with pytest.raises(ArtifactError, match=r"prompts.tokens is \(1, 2\), expected .*unknown prompts.more"):
        b.load_trained_state(wrong)


def test_starts_from_words_from_a_seed_and_from_nothing_else() -> None:
    tokenizer, clip = SmallTokenizer(), small_clip("flat", context_length=40)
    rng = torch.random.get_rng_state()
    tuned = tune("coop", clip, words="no sea")
    ids = torch.tensor(tokenizer.encode("no sea"))
    assert torch.equal(tuned.prompts.tokens, clip.token_embedding.weight[ids])
    a, b, c = (tune("cocoop", seed=seed).trained_state() for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)
    assert abs(float(tune("coop").prompts.tokens.detach().std()) - 0.02) < 0.004
    assert torch.equal(torch.random.get_rng_state(), rng)


def test_taskres_starts_as_zero_shot_and_templates_are_averaged_as_open_clip_does() -> None:
    tokenizer, templates = partial(SmallTokenizer(), context_length=40), ["a {}.", "no {} at sea."]
    zero = tune("zero_shot", templates=templates)
    task = tune("taskres", templates=templates)
    assert torch.equal(zero(images()), task(images()))
    theirs = open_clip.build_zero_shot_classifier(
        zero.backbone,
        tokenizer,
        NAMES,
        [lambda name, t=t: t.format(name) for t in templates],
        num_classes_per_batch=None,
    )
    torch.testing.assert_close(zero.text_features(), theirs.T)
    with torch.no_grad():
        task.prompts.tokens.normal_()
    expected = F.normalize(zero.text_features() + 0.5 * task.prompts.tokens, dim=-1)
    torch.testing.assert_close(task.text_features(), expected)


def test_kgcoop_stays_near_the_templates() -> None:
    tuned, zero = tune("kgcoop", weight=2.0).train(), tune("zero_shot")
    runs = count_texts(tuned)
    tuned(images())
    extra = tuned.regulariser()
    learned = tuned.text_features()
    torch.testing.assert_close(extra, 2 * (1 - (learned * zero.text_features()).sum(1)).mean())
    extra.backward()
    assert tuned.prompts.tokens.grad.abs().max() > 0
    assert tune("coop").regulariser() is None
    assert len(runs) == 2, "the forward pass and text_features; the regulariser took the features of the pass"


def count_texts(tuned: Any) -> list[int]:
    """Grows by one with every encoding of the class names."""
    runs: list[int] = []
    tuned.named.register_forward_hook(lambda *_: runs.append(1))
    return runs


def test_class_features_are_computed_once_until_something_changes() -> None:
    tuned = tune("coop").eval()
    runs = count_texts(tuned)
    with torch.no_grad():
        first = tuned.text_features()
        assert torch.equal(tuned(images()), tuned(images()))
        assert len(runs) == 1
        tuned.prompts.tokens.add_(1)
        assert not torch.equal(tuned.text_features(), first)
        assert len(runs) == 2
        tuned.backbone.ln_final.bias.add_(1)
        tuned.text_features()
        assert len(runs) == 3
    with torch.inference_mode():
        tuned(images())
    tuned(images())  # with gradients
    tuned.train()
    with torch.no_grad():
        tuned(images())
    assert len(runs) == 5
    tuned.eval().float()
    with torch.no_grad():
        assert tuned.text_features().dtype == torch.float32
    assert len(runs) == 6


def test_features_per_image_need_the_image() -> None:
    tuned = tune("cocoop")
    assert tuned.text_features(images()).shape == (3, 4, 64)
    with pytest.raises(OptionError, match="depend on the image"):
        tuned.text_features()


@pytest.mark.parametrize("method", SHAPES)
def test_a_copy_is_independent(method: str) -> None:
    tuned = tune(method, path="plain")
    other = copy.deepcopy(tuned)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(tuned(images()), other(images()))
    other.detach()
    assert tuned.text_features(images()).isfinite().all()


@pytest.mark.parametrize("method", LEARNING)
def test_fit_lowers_the_loss_and_leaves_the_clip_alone(method: str, tmp_path: Any) -> None:
    clip = small_clip("flat", context_length=40).float()
    before, tuned = state(clip), tune(method, clip)
    config = FitConfig(epochs=2, batch_size=4, lr=0.05, warmup_epochs=0, tensorboard=False)
    history = vpt.fit(tuned, Pictures(), Pictures(), config, out=tmp_path, quiet=True).history
    assert history[1]["train_loss"] < history[0]["train_loss"]
    assert vpt.evaluate(tuned, Pictures()).loss == pytest.approx(history[1]["val_loss"])
    again = tune(method, small_clip("flat", context_length=40).float())
    vpt.fit(again, Pictures(), Pictures(), config, out=tmp_path, quiet=True)  # resumes at the end
    assert all(torch.equal(again.trained_state()[name], tensor) for name, tensor in tuned.trained_state().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())


def test_fit_adds_the_regulariser() -> None:
    ends = []
    for weight in (1e-6, 100.0):
        tuned = tune("kgcoop", small_clip("flat", context_length=40).float(), weight=weight)
        vpt.fit(tuned, Pictures(), config=FitConfig(epochs=3, lr=0.02, tensorboard=False), quiet=True)
        with torch.no_grad():
            ends.append(float((tuned.text_features() * tuned.template_features()).sum(1).mean()))
    assert ends[1] > ends[0]


def test_a_new_method_is_one_function() -> None:
    @clip_method("nouns")
    def nouns(task: ClipTask, generator: torch.Generator, word: str = "no") -> ClipLearned:
        """Classes by one word and their names."""
        return ClipLearned(lambda model, images: model.template_features(), templates=(f"{word} {{}}",))

    assert "nouns" in names("open_clip")
    expected = tune("zero_shot", templates="a {}").text_features()
    assert torch.equal(tune("nouns", word="a").text_features(), expected)


@pytest.mark.parametrize("method", LEARNING)
def test_half_precision_gives_finite_steps(method: str) -> None:
    half = tune(method, small_clip("flat", context_length=40).bfloat16())
    assert {p.dtype for p in half.trainable().values()} == {torch.float32}
    auto = tune(method, small_clip("flat", context_length=40).float())
    for tuned, pixels in ((half, images().bfloat16()), (auto, images().float())):
        optimizer = torch.optim.AdamW(tuned.train().trainable().values(), lr=0.01)
        for _ in range(5):
            with torch.autocast("cpu", torch.bfloat16, enabled=tuned is auto):
                logits = tuned(pixels)
            assert logits.dtype == torch.float32
            loss = F.cross_entropy(logits, torch.tensor([0, 1, 2]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert all(p.isfinite().all() for p in tuned.trainable().values())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("coop", {"contextlength": 3}, "no option 'contextlength' (did you mean 'context_length'?)"),
        ("cop", {}, "unknown method 'cop' (did you mean 'coop'?)"),
        ("coop", {"context_length": 0}, "context_length is 0; accepted: a whole number, 1 or more"),
        ("coop", {"context_length": 38}, "context_length is 38; accepted: 1 to 37"),
        ("coop", {"position": "back"}, "unknown position 'back'"),
        ("coop", {"words": "no sea", "context_length": 4}, "context_length is 4, but words='no sea' are 3 tokens"),
        ("coop", {"words": ""}, "words is ''"),
        ("coop", {"words": "no", "init": torch.zeros(1, 12)}, "accepted: one of the two"),
        ("coop", {"init": "uniform"}, "unknown init 'uniform'"),
        ("coop", {"init": torch.zeros(3, 12)}, "init has shape (3, 12); these prompts have shape (16, 12)"),
        ("coop", {"path": "hooks"}, "unknown path 'hooks'"),
        ("coop", {"head_init": "zeros"}, "head_init given; an open_clip model takes no head_init"),
        ("coop", {"num_classes": 9}, "num_classes is 9; accepted: the 4 of classnames"),
        ("zero_shot", {"templates": ["a {}", "an x", 3]}, "templates 'an x', 3; accepted: texts with one {}"),
        ("zero_shot", {"templates": []}, "templates is []; accepted: a text with {} for the name"),
        ("zero_shot", {"templates": 3}, "templates is 3"),
        ("kgcoop", {"weight": -1}, "weight is -1; accepted: a number above 0"),
        ("taskres", {"alpha": "high"}, "alpha is 'high'"),
        ("deep", {}, "method 'deep' is for timm models; this is open_clip's CLIP, which takes: clip_adapter, clip_vpt"),
    ],
)  # fmt: skip
def test_wrong_options_are_named(method: str, options: dict[str, Any], message: str) -> None:
    clip = small_clip("flat", context_length=40)
    with pytest.raises(OptionError, match=re.escape(message)):
        tune(method, clip, **options)
    tune("coop", clip)  # the model is as it was: nothing half attached


def test_models_and_methods_that_do_not_meet() -> None:
    vit = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, depth=1, embed_dim=12, num_heads=2)
    with pytest.raises(OptionError, match=r"method 'coop' learns of class names.*VisionTransformer has none"):
        vpt.tune(vit, "coop", classnames=NAMES)
    with pytest.raises(OptionError, match="classnames given; a timm model takes no classnames"):
        vpt.tune(vit, "deep", classnames=NAMES)
    with pytest.raises(OptionError, match=r"needs the names of the classes: classnames=\[\.\.\.\]"):
        vpt.tune(small_clip(), "coop")
    with pytest.raises(OptionError, match="this text tower knows 100 tokens, CLIP's tokenizer 49408"):
        vpt.tune(small_clip(), "coop", classnames=NAMES)


def test_a_clip_is_tuned_once_at_a_time() -> None:
    clip = small_clip("flat", context_length=40)
    first = tune("coop", clip)
    with pytest.raises(OptionError, match=r"already tuned by vpt; call \.detach\(\)"):
        tune("zero_shot", clip)
    first.detach()
    tune("zero_shot", clip)


def test_towers_that_cannot_take_a_context_say_so() -> None:
    class Changed(open_clip.CLIP):
        def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
            return text.float()

    clip = small_clip()
    clip.__class__ = Changed
    with pytest.raises(UnsupportedBackbone, match=r"Changed: its text tower is not known\. Supported"):
        tune("coop", clip)
    custom = small_clip("text")
    custom.text = nn.Linear(1, 1)
    with pytest.raises(UnsupportedBackbone, match="its text tower is a Linear"):
        tune("coop", custom)
    pools = small_clip("text")
    pools.text.pool_type = "none"
    with pytest.raises(UnsupportedBackbone, match="pools by 'none'"):
        tune("coop", pools)
    with pytest.raises(UnsupportedBackbone, match="reads the first token"):
        tune("coop", small_clip("text, first", no_causal_mask=False))
    with pytest.raises(OptionError, match="reads the token of id 2, which this tokenizer does not put in"):
        tune("coop", small_clip("text", pool_type="eos", eos_id=2), context_length=3)
    with pytest.raises(OptionError, match="reads a token that stands before the context's end"):
        tune("coop", small_clip("text", pool_type="eos", eos_id=1), context_length=3)


@pytest.mark.parametrize("method", LEARNING)
def test_training_after_inference(method: str) -> None:
    tuned = tune(method).eval()
    with torch.inference_mode():
        tuned(images())
    tuned.train()(images()).sum().backward()
    assert all(p.grad is not None for p in tuned.trainable().values())
