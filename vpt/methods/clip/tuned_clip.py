"""A CLIP on which a method learns: an `nn.Module` from images to the logits of named classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpt.attach import Attachment
from vpt.attach.text_choose import choose_text
from vpt.attach.text_plain import Insert
from vpt.errors import OptionError
from vpt.methods.clip.learned import ClipLearned, ClipTask
from vpt.methods.clip.remembered import Remembered
from vpt.methods.clip.text_encoder import TextEncoder
from vpt.methods.tuned_model import Before, TunedModel
from vpt.prompts.class_texts import with_context, with_templates


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
        self._words, self._insert = task.words, Insert()
        self.path, self.reason, self._shares = choose_text(path, task.site, self._apart())
        self._texts, self._templates = Remembered(), Remembered()
        self._classes: Tensor | None = None
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

    def _apart(self) -> str | None:
        """Why the texts of this method share nothing in front, or None where they do."""
        if self.learned.context and self.learned.per_class:
            return "every class has a context of its own"
        if self.learned.context and self.learned.position != "end":
            return f"names stand at the {self.learned.position} of the context"
        return None

    def _encoders(self, classnames: Sequence[str]) -> tuple[TextEncoder | None, TextEncoder | None]:
        """What encodes the names with a context, and the names in templates. Raises `OptionError` for faulty names."""
        learned, length = self.learned, self.site.context_length
        named = templated = None
        if learned.context:
            texts = with_context(self._words, classnames, length, learned.context, learned.position)
            named = TextEncoder(self.site, texts, self._insert, self.path, self._shares).to(self.site.device)
        if learned.templates:
            texts = with_templates(self._words, classnames, learned.templates, length)
            templated = TextEncoder(self.site, texts, self._insert, self.path, self._shares).to(self.site.device)
        return named, templated

    def _join(self) -> None:
        self.backbone.requires_grad_(False)
        if self.path == "plain":
            self._attachment.after(self.site.tower.token_embedding, self._insert)
        if self.prompts is not None:
            precision = torch.promote_types(self.site.dtype, torch.float32)
            self.prompts.requires_grad_(True).to(self.site.device, precision)

    # --- from images and names to logits ------------------------------------------------------------

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, C]` of images `[B, 3, H, W]`, in float32 at least."""
        return self.compare(self.image_features(images))

    def compare(self, seen: Tensor) -> Tensor:
        """Logits `[B, C]` of images with normalised features `[B, F]`."""
        self._check_attached()
        classes = self._class_features(seen)
        if self.learned.penalty is not None and self.training:
            self._classes = classes
        backbone: Any = self.backbone
        with torch.autocast(seen.device.type, enabled=False):  # a hundred times a cosine needs float32
            cosine = torch.einsum("bf,bcf->bc" if classes.dim() == 3 else "bf,cf->bc", seen, classes)
            logits: Tensor = backbone.logit_scale.to(seen.dtype).exp() * cosine
            bias = getattr(backbone, "logit_bias", None)
            return logits if bias is None else logits + bias

    def image_features(self, images: Tensor) -> Tensor:
        """Normalised features `[B, F]` of images `[B, 3, H, W]`, by the image tower as it is."""
        self._check_attached()
        backbone: Any = self.backbone
        return _normalised(backbone.encode_image(images, normalize=False))

    def text_features(self, images: Tensor | None = None) -> Tensor:
        """Normalised class features `[C, F]`; `[B, C, F]` where they depend on the image, which then must be given.

        In eval and without gradients they are computed once, and again when a tensor changed that they come from.
        """
        self._check_attached()
        if images is None and self.learned.per_image:
            raise OptionError(f"the class features of {self.method!r} depend on the image; give images [B, 3, H, W]")
        if images is not None and self.learned.per_image:
            return self._class_features(self.image_features(images))
        return self._class_features(torch.empty(0, self.site.features, device=self.site.device))

    def _class_features(self, seen: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled() or self.learned.per_image:
            return _normalised(self.learned.features(self, seen))
        own = () if self.prompts is None else self.prompts.parameters()
        return self._texts(lambda: _normalised(self.learned.features(self, seen)), (*own, *self._tower_tensors()))

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
        found: Tensor = self.named(contexts)
        return found

    def template_features(self) -> Tensor:
        """Normalised features `[C, F]` of the names in the templates, averaged over these; computed once."""
        if self.templated is None:
            raise OptionError(f"method {self.method!r} has no templates")
        return self._templates(partial(_ensemble, self.templated, len(self.classnames)), self._tower_tensors())

    def _tower_tensors(self) -> list[Tensor]:
        tower = self.site.tower
        flat = tower is self.backbone
        own = [p for name, p in tower.named_parameters() if not (flat and name.startswith("visual."))]
        return [*own, *tower.buffers()]

    def regulariser(self) -> Tensor | None:
        """What training adds to the cross-entropy of the last forward pass: a scalar, or None for most methods."""
        if self.learned.penalty is None:
            return None
        classes, self._classes = self._classes, None  # the pass's own, so that texts are encoded once per step
        return self.learned.penalty(self, self.text_features() if classes is None else classes)

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

    def train(self, mode: bool = True) -> TunedClip:
        """As `nn.Module.train`, but the CLIP stays in eval."""
        super().train(mode)
        if not self._before.undone:
            self.backbone.eval()
        return self

    def tokens(self) -> dict[str, Tensor]:
        """What the tokenizer made of the class names: ids, and the places where a context enters them."""
        texts = {"named": self.named, "templated": self.templated}
        found = {name: encoder.texts for name, encoder in texts.items() if encoder is not None}
        return {f"{name}.{key}": tensor for name, text in found.items() for key, tensor in text.named_buffers()}

    def frozen_state(self) -> dict[str, Tensor]:
        """The tensors of the CLIP, all of which training leaves alone, by the names in its own `state_dict()`."""
        self._check_attached()
        return dict(self.backbone.state_dict())

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

    def _unfold(self) -> None:
        self._texts.forget()
        self._templates.forget()
        self._classes = None


def _ensemble(templated: TextEncoder, classes: int) -> Tensor:
    """Features `[C, F]`: of each class the mean over its templates' normalised features, normalised again."""
    each = _normalised(templated.fixed()).unflatten(0, (classes, -1))
    return F.normalize(each.mean(1), dim=-1)


def _normalised(features: Tensor) -> Tensor:
    """Features of length 1 along the last dimension, in float32 at least."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
