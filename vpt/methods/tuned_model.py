"""What all tuned models have in common: a frozen backbone, a declared set of trained tensors, and a way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vpt.attach.adapters import own_tensors
from vpt.errors import ArtifactError, OptionError
from vpt.prompts import master_precision


class TunedModel(nn.Module, ABC):
    """A backbone on which a method learns. `_before` is how the backbone was, `_unfold` forgets what was remembered."""

    method: str
    backbone: nn.Module
    _before: Before

    @abstractmethod
    def frozen_state(self) -> dict[str, Tensor]:
        """The backbone's tensors that training leaves alone, by the names in its own `state_dict()`."""

    def _check_attached(self) -> None:
        if self._before.undone:
            raise OptionError("this model was detached; call vpt.tune again")

    def _unfold(self) -> None:
        """Called before trained tensors change."""

    def _precise(self) -> Iterable[nn.Module]:
        """The adapters that keep float32 at least, as prompts do."""
        return ()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._unfold()
        masters, kept = own_tensors(self._precise()), master_precision(fn)
        known = {id(tensor) for tensor in masters}
        return super()._apply(lambda tensor: kept(tensor) if id(tensor) in known else fn(tensor), recurse)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As `nn.Module.load_state_dict`; a folded model is unfolded."""
        self._unfold()
        return super().load_state_dict(*args, **kwargs)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The trained parameters by their names in `named_parameters()`."""
        self._check_attached()
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def trained_state(self) -> dict[str, Tensor]:
        """All that training changes."""
        own = self.trainable()
        return {name: tensor for name, tensor in self.state_dict().items() if name in own}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a `trained_state()`. Raises `ArtifactError` naming missing, unknown and misshapen tensors."""
        own = self.trained_state()
        faults = [f"missing {name}" for name in own.keys() - state.keys()]
        faults += [f"unknown {name}" for name in state.keys() - own.keys()]
        faults += [
            f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own.keys() & state.keys()
            if state[name].shape != own[name].shape
        ]
        if faults:
            raise ArtifactError(f"these tensors do not fit method {self.method!r}: " + "; ".join(sorted(faults)))
        self._unfold()
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def _counts(self) -> str:
        """The counts of trained and of all parameters, as peft writes them."""
        trained = sum(p.numel() for p in self.trainable().values())
        total = sum(p.numel() for p in self.parameters())
        return f"trainable params: {trained:,} || all params: {total:,} || trainable%: {100 * trained / total:.4f}"


class Before:
    """How a backbone was: gradient flags, modes, and the values of tensors that a method trains in place.

    parameters: names of the parameters that are trained; modules: names of those whose buffers may change.
    """

    def __init__(self, backbone: nn.Module, parameters: Collection[str] = (), modules: Collection[str] = ()) -> None:
        self.undone = False
        self._backbone = (backbone,)
        self._modes = [(module, module.training) for module in backbone.modules()]
        self._flags = [(parameter, parameter.requires_grad) for parameter in backbone.parameters()]
        active = tuple(f"{name}." if name else "" for name in modules)
        names = {n for n, _ in backbone.named_buffers() if active and n.startswith(active)} | set(parameters)
        self._values = {n: tensor.detach().clone() for n, tensor in _tensors(backbone).items() if n in names}

    def restore(self) -> None:
        """Put all back; a second call does nothing."""
        if self.undone:
            return
        self.undone = True
        current = _tensors(self._backbone[0])  # by name: moving a model replaces its buffers
        with torch.no_grad():
            for name, value in self._values.items():
                current[name].copy_(value)
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
        for module, mode in self._modes:
            module.training = mode
        self._values.clear()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
