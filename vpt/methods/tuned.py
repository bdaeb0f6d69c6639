"""A backbone with one method attached: an `nn.Module` that knows what it learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach import Attachment, Fused, attach, attach_adapters, attach_fused, original_name, trunk
from vpt.attach.adapters import BASE
from vpt.methods.method import Learned
from vpt.methods.tuned_model import Before, TunedModel
from vpt.sites.site import Site


class Tuned(TunedModel):
    """What `vpt.tune` answers: images `[B, 3, H, W]` in, logits `[B, C]` out (features without a head).

    `backbone` is the stock model with hooks on it, `prompts` the learned module or None. Gradients exist on exactly
    `trainable()`. `train()` leaves frozen modules in eval, so that their dropout and statistics stay out of it.
    """

    def __init__(
        self, site: Site, learned: Learned, heads: Mapping[str, nn.Module], *, method: str, options: dict[str, Any],
        path: str, reason: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.site, self.learned, self.method, self.options = site, learned, method, options
        self.path, self.reason, self.head_names = path, reason, tuple(heads)
        self._before = Before(site.backbone, learned.parameters, learned.modules)
        self._attachment = Attachment(site.backbone)
        self._fused: list[Fused] = []
        self.backbone, self.prompts = site.backbone, learned.prompts
        try:
            self._join(heads)
        except BaseException:
            self.detach()
            raise
        self.train(self.training)

    def _join(self, heads: Mapping[str, nn.Module]) -> None:
        reference = next(self.backbone.parameters())
        self.backbone.requires_grad_(False)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in self.learned.parameters)
        for name, head in heads.items():
            self._attachment.swap(self.backbone, name, head.requires_grad_(True))
            classes = [m.out_features for m in head.modules() if isinstance(m, nn.Linear)][-1]
            self._attachment.set(self.backbone, "num_classes", classes)
        attach_adapters(self.learned.adapters, self._attachment, self.backbone)
        if self.prompts is not None:
            self.prompts.to(reference.device)
            if reference.dtype == torch.float64:
                self.prompts.double()
            if self.path == "fused":
                self._fused = attach_fused(self.prompts, self.site, self._attachment)
            else:
                attach(self.prompts, self.site, self._attachment, self.learned.pool)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, C]` of images `[B, 3, H, W]`."""
        self._check_attached()
        in_steps = self._fused and trunk.whole(self.site)
        out: Tensor = trunk.forward(self.site, images) if in_steps else self.backbone(images)
        return out

    def _precise(self) -> Iterable[nn.Module]:
        return self.learned.adapters.values() if self.learned.precise else ()

    def fold(self) -> Tuned:
        """Make the prompts constants of every pass without gradients, until training, loading or moving the model.

        A folded model costs the frozen backbone and a longer softmax. Without effect on the hooks path.
        """
        dtype = next(self.backbone.parameters()).dtype
        for block in self.eval()._fused:
            block.fold(dtype)
        return self

    def _unfold(self) -> None:
        for block in self._fused:
            block.unfold()

    def train(self, mode: bool = True) -> Tuned:
        """As `nn.Module.train`, but frozen modules of the backbone stay in eval."""
        if mode:
            self._unfold()
        self.training = mode
        if self.prompts is not None:
            self.prompts.train(mode)
        if not self._before.undone:
            self.backbone.eval()
            for name in (*self.learned.modules, *self.head_names):
                self.backbone.get_submodule(name).train(mode)
            for adapter in self.learned.adapters.values():
                adapter.get_submodule(BASE).eval()
        return self

    @property
    def num_classes(self) -> int:
        """Classes C of the logits; 0 where the model answers with features."""
        return int(self.site.num_classes)

    # --- what is trained, what is frozen ------------------------------------------------------------

    def trained_state(self) -> dict[str, Tensor]:
        """All that training changes: the trained parameters, and buffers of modules that follow `train()`."""
        active = tuple(f"backbone.{name}." if name else "backbone." for name in self.learned.modules)
        own = {name for name, _ in self.named_buffers() if active and name.startswith(active)} | set(self.trainable())
        return {name: tensor for name, tensor in self.state_dict().items() if name in own}

    def frozen_state(self) -> dict[str, Tensor]:
        """The backbone's tensors that training leaves alone, by the names in its own `state_dict()`; no head."""
        trained, left = set(self.trained_state()), tuple(f"{name}." for name in self.site.heads)
        frozen = {n: t for n, t in self.backbone.state_dict().items() if f"backbone.{n}" not in trained}
        own = {original_name(name, self.learned.adapters): tensor for name, tensor in frozen.items()}
        return {name: tensor for name, tensor in own.items() if name is not None and not name.startswith(left)}

    def summary(self) -> str:
        """Method, backbone and path, then the counts of trained and of all parameters."""
        model = f"{type(self.backbone).__name__}, {self.site.depth} blocks of width {self.site.width}"
        return f"{self.method} on {model} | path: {self.path} ({self.reason})\n{self._counts()}"

    def detach(self) -> nn.Module:
        """Take everything off and answer with the backbone, bit for bit as it was given to `vpt.tune`."""
        self._attachment.undo()
        self._fused = []
        self._before.restore()
        return self.backbone
