"""A CLIP on which a method learns: an `nn.Module` from images to the logits of named classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach import Attachment, attach_adapters, original_name
from vpt.attach.adapters import BASE
from vpt.attach.text_plain import Insert, Replace
from vpt.errors import OptionError
from vpt.methods.clip.ensemble import cosines, ensemble, normalised
from vpt.methods.clip.image_encoder import ImageEncoder
from vpt.methods.clip.learned import ClipLearned, ClipTask, Pass
from vpt.methods.clip.paths import choose_paths
from vpt.methods.clip.remembered import Remembered
from vpt.methods.clip.text_encoder import TextEncoder
from vpt.methods.tuned_model import Before, TunedModel
from vpt.prompts.class_texts import ClassTexts, with_context, with_templates
from vpt.sites.clip_visual import image_dtype


class TunedClip(TunedModel):
    """What `vpt.tune` answers for an open_clip model: images `[B, 3, H, W]` in, logits `[B, C]` out.

    Logits are exp(logit_scale) times the cosine of image and class features, plus the model's logit_bias where it has
    one. `backbone` is the stock model, frozen and in eval throughout, `prompts` the learned module or None. Gradients
    exist on exactly `trainable()`.
    """

    def __init__(
        self, task: ClipTask, learned: ClipLearned, *, method: str, options: Mapping[str, Any], path: str
    ) -> None:
        super().__init__()
        self.site, self.learned, self.method, self.options = task.site, learned, method, dict(options)
        self.words, self._insert, self._paths = task.words, Insert(), choose_paths(path, task, learned)
        self.path, self.reason = self._paths.name, self._paths.reason
        self._texts, self._templates = Remembered(), Remembered()
        self._frozen: Tensor | None = None
        self._last: Pass | None = None
        named, templated = self._encoders(task.classnames)
        self._before = Before(task.site.model)
        self._attachment = Attachment(task.site.model)
        self.backbone: nn.Module = task.site.model
        self.prompts = learned.prompts
        self.classnames, self.named, self.templated = task.classnames, named, templated
        try:
            self._join()
        except BaseException:
            self.detach()
            raise
        self.train(self.training)

    def _encoders(self, classnames: Sequence[str]) -> tuple[TextEncoder | None, TextEncoder | None]:
        """What encodes the names with a context, and the names in templates. Raises `OptionError` for faulty names."""
        learned, length = self.learned, self.site.context_length
        named = templated = None
        if learned.context:
            texts = with_context(self.words, classnames, length, learned.context, learned.position, learned.after)
            named = self.encoder(texts)
        if learned.templates:
            texts = with_templates(self.words, classnames, learned.templates, length)
            templated = self.encoder(texts)
        return named, templated

    def encoder(self, texts: ClassTexts) -> TextEncoder:
        """What encodes texts with the text tower, by this model's path."""
        paths = self._paths
        return TextEncoder(self.site, texts, self._insert, paths.text or "plain", paths.shares).to(self.site.device)

    def _join(self) -> None:
        self.backbone.requires_grad_(False)
        attach_adapters(self.learned.adapters, self._attachment, self.backbone)
        if self._paths.text == "plain":
            self._attachment.after(self.site.token_embedding, self._insert)
            for layer in range(1, 1 + len(() if self._deeper is None else self._deeper)):
                self._attachment.before(self.site.blocks[layer], Replace(self._insert, layer))
        if self.prompts is not None:
            precision = torch.promote_types(self.site.dtype, torch.float32)
            self.prompts.requires_grad_(True).to(self.site.device, precision)
        visual = self._paths.visual or "hooks"
        self._images = ImageEncoder(self.backbone, self.learned.visual, visual, self._attachment)

    def _precise(self) -> Iterable[nn.Module]:
        return self.learned.adapters.values()

    @property
    def _deeper(self) -> Tensor | None:
        """What takes the context's places in text blocks after the first, `[J - 1, M, D]`."""
        return getattr(self.prompts, "deeper", None)

    # --- from images and names to logits ------------------------------------------------------------

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, C]` of images `[B, 3, H, W]`, in float32 at least."""
        if self.training and self.learned.wants_frozen:
            self._frozen = self.frozen_image_features(images)
        return self.compare(self.image_features(images))

    def compare(self, seen: Tensor) -> Tensor:
        """Logits `[B, C]` of images with normalised features `[B, F]`."""
        self._check_attached()
        classes = self._class_features(seen)
        own = self.learned.compare
        logits = self.cosines(seen, classes) if own is None else own(self, seen, classes)
        if self.training and (self.learned.penalty or self.learned.guide):
            self._last, self._frozen = Pass(seen, self._frozen, classes, logits), None
        return logits

    def cosines(self, seen: Tensor, classes: Tensor) -> Tensor:
        """CLIP's own logits `[B, C]` of normalised features: `[B, F]`, and `[C, F]` or `[B, C, F]`."""
        return cosines(self.backbone, seen, classes)

    def zero_shot_logits(self, seen: Tensor) -> Tensor:
        """Logits `[B, C]` of images with normalised features `[B, F]`, for the names in the templates alone."""
        return self.cosines(seen, self.template_features().to(seen.dtype))

    def image_features(self, images: Tensor) -> Tensor:
        """Normalised features `[B, F]` of images `[B, 3, H, W]`, by the image tower and what is learned in it."""
        self._check_attached()
        return normalised(self._images(images))

    def frozen_image_features(self, images: Tensor) -> Tensor:
        """Normalised features `[B, F]` of images `[B, 3, H, W]`, by the image tower alone; without gradients.

        Raises `OptionError` where adapters stand inside that tower: it runs with them alone.
        """
        self._check_attached()
        if any(name.startswith("visual.") for name in self.learned.adapters):
            raise OptionError(f"the image tower holds the adapters of {self.method!r}; detach() gives it back without")
        return normalised(self._images.frozen(images))

    def text_features(self, images: Tensor | None = None) -> Tensor:
        """Normalised class features `[C, F]`; `[B, C, F]` where they depend on the image, which then must be given.

        In eval and without gradients they are computed once, and again when a tensor changed that they come from.
        Raises `OptionError` for a method that has none.
        """
        self._check_attached()
        if self.learned.features is None:
            raise OptionError(f"{self.method!r} has no class features; what it learned is in trained_state()")
        if images is None and self.learned.per_image:
            raise OptionError(f"the class features of {self.method!r} depend on the image; give images [B, 3, H, W]")
        if images is not None and self.learned.per_image:
            return self._class_features(self.image_features(images))
        return self._class_features(torch.empty(0, self.site.features, device=self.site.device))

    def _class_features(self, seen: Tensor) -> Tensor:
        features = self.learned.features
        if features is None:
            return seen.new_empty(0, seen.shape[1])
        if self.training or torch.is_grad_enabled() or self.learned.per_image:
            return normalised(features(self, seen))
        own = () if self.prompts is None else self.prompts.parameters()
        return self._texts(lambda: normalised(features(self, seen)), (*own, *self._tower_tensors()))

    def learned_tensors(self, *args: Tensor) -> Tensor:
        """What the module of learned tensors answers: contexts, residuals."""
        if self.prompts is None:
            raise OptionError(f"method {self.method!r} learns nothing")
        found: Tensor = self.prompts(*args)
        return found

    def encode(self, contexts: Tensor) -> Tensor:
        """Features `[K, C, F]`, not normalised, of the class names with contexts `[K, 1 or C, M, D]`."""
        if self.named is None:
            raise OptionError(f"method {self.method!r} has no room for a context in its texts")
        found: Tensor = self.named(contexts, self._deeper)
        return found

    def template_features(self) -> Tensor:
        """Normalised features `[C, F]` of the names in the templates, averaged over these; computed once."""
        return self._templates(self.encode_templates, self._tower_tensors())

    def encode_templates(self) -> Tensor:
        """As `template_features`, but computed anew, with gradients for what learns within the text tower."""
        if self.templated is None:
            raise OptionError(f"method {self.method!r} has no templates")
        return ensemble(self.templated, len(self.classnames))

    def _tower_tensors(self) -> list[Tensor]:
        tower = self.site.tower
        flat = tower is self.backbone
        own = [p for name, p in tower.named_parameters() if not (flat and name.startswith("visual."))]
        return [*own, *tower.buffers()]

    def regulariser(self) -> Tensor | None:
        """What training adds to the cross-entropy of the last forward pass: a scalar, or None for most methods."""
        penalty = self.learned.penalty
        return None if penalty is None else penalty(self, self._last_pass(keep=self.learned.guide is not None))

    def guide(self) -> Tensor | None:
        """A loss of the last forward pass that a step may not oppose: a scalar, or None for most methods."""
        return None if self.learned.guide is None else self.learned.guide(self, self._last_pass())

    def _last_pass(self, keep: bool = False) -> Pass:
        """The last pass of training, so that texts are encoded once per step; let go of unless kept."""
        last, self._last = self._last, self._last if keep else None
        if last is None:
            raise OptionError(f"the loss of {self.method!r} needs a forward pass in training mode before it")
        return last

    def epoch_ended(self, epoch: int, epochs: int) -> None:
        """Told by training after each of its epochs, counted from 1: some methods end with an average over them."""
        if self.learned.average is not None:
            self.learned.average.add(self.trainable(), epoch, epochs)

    def kept_state(self) -> dict[str, Tensor]:
        """What training keeps besides `trained_state()`, to go on with after an interruption."""
        return {} if self.learned.average is None else self.learned.average.state()

    def load_kept_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `kept_state()`."""
        if self.learned.average is not None:
            self.learned.average.load(state)

    def rebind(self, classnames: Sequence[str]) -> TunedClip:
        """Change the classes and keep what was learned. Raises `OptionError` where that belongs to its own classes."""
        self._check_attached()
        if self.learned.per_class:
            raise OptionError(f"what {self.method!r} learned here belongs to its own {len(self.classnames)} classes")
        self.named, self.templated = self._encoders(classnames)
        self.classnames = tuple(classnames)
        self.options["classnames"] = list(classnames)
        self._unfold()
        return self

    # --- what is trained, what is frozen ------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """Classes C of the logits."""
        return len(self.classnames)

    @property
    def input_dtype(self) -> torch.dtype:
        """The floating type of the images that the image tower takes."""
        return image_dtype(self.backbone)

    def train(self, mode: bool = True) -> TunedClip:
        """As `nn.Module.train`, but the CLIP stays in eval."""
        super().train(mode)
        if not self._before.undone:
            self.backbone.eval()
            for adapter in self.learned.adapters.values():
                adapter.train(mode).get_submodule(BASE).eval()
        return self

    def trained_state(self) -> dict[str, Tensor]:
        """All that was learned: the trained parameters, and what the module of learned tensors keeps besides them."""
        own = set(self.trainable()) | {name for name, _ in self.named_buffers() if name.startswith("prompts.")}
        return {name: tensor for name, tensor in self.state_dict().items() if name in own}

    def tokens(self) -> dict[str, Tensor]:
        """What the tokenizer made of the class names: ids, and the places where a context enters them."""
        texts = {"named": self.named, "templated": self.templated}
        found = {name: encoder.texts for name, encoder in texts.items() if encoder is not None}
        return {f"{name}.{key}": tensor for name, text in found.items() for key, tensor in text.named_buffers()}

    def frozen_state(self) -> dict[str, Tensor]:
        """The tensors of the CLIP, all of which training leaves alone, by the names in its own `state_dict()`."""
        self._check_attached()
        named = {original_name(name, self.learned.adapters): t for name, t in self.backbone.state_dict().items()}
        return {name: tensor for name, tensor in named.items() if name is not None}

    def summary(self) -> str:
        """Method, model and path, then the counts of trained and of all parameters."""
        self._check_attached()
        tower = f"text tower of {self.site.depth} blocks of width {self.site.width}"
        model = f"{type(self.backbone).__name__}, {tower}, {self.num_classes} classes"
        return f"{self.method} on {model} | path: {self.path} ({self.reason})\n{self._counts()}"

    def detach(self) -> nn.Module:
        """Take everything off and answer with the CLIP, bit for bit as it was given to `vpt.tune`."""
        self._attachment.undo()
        self._before.restore()
        self._unfold()
        return self.backbone

    def __getstate__(self) -> dict[str, Any]:
        """Of copies and pickles; without the last pass, whose tensors are part of a graph of this model's."""
        return {**self.__dict__, "_frozen": None, "_last": None}

    def _unfold(self) -> None:
        self._texts.forget()
        self._templates.forget()
        self._frozen = self._last = None
