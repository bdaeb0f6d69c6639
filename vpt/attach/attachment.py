"""Everything that is done to a backbone, written down so that it can be undone in reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from vpt.errors import OptionError

_MISSING = "<missing>"
_MARK = "_vpt_attached"


def check_free(backbone: nn.Module) -> None:
    """Raise `OptionError` for a backbone that something is attached to."""
    if getattr(backbone, _MARK, False):
        raise OptionError("this backbone is already tuned by vpt; call .detach() on that model first")


class Attachment:
    """The changes made to one backbone: hooks, attributes of its modules, swapped children.

    Holds plain references and no closures, so that `copy.deepcopy` of a tuned model gives an independent one.
    """

    def __init__(self, backbone: nn.Module) -> None:
        check_free(backbone)
        self._backbone = backbone
        self._handles: list[RemovableHandle] = []
        self._attributes: list[tuple[nn.Module, str, Any]] = []
        self._children: list[tuple[nn.Module, str, nn.Module]] = []
        self.set(backbone, _MARK, True)

    def before(self, module: nn.Module, hook: Callable[..., Any]) -> None:
        """Register a forward pre-hook `hook(module, args, kwargs)`."""
        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def after(self, module: nn.Module, hook: Callable[..., Any]) -> None:
        """Register a forward hook `hook(module, args, output)`."""
        self._handles.append(module.register_forward_hook(hook))

    def set(self, module: nn.Module, name: str, value: Any) -> None:
        """Set a plain attribute on this one instance."""
        self._attributes.append((module, name, module.__dict__.get(name, _MISSING)))
        setattr(module, name, value)

    def swap(self, module: nn.Module, name: str, child: nn.Module) -> None:
        """Put `child` in the place of a child module."""
        self._children.append((module, name, getattr(module, name)))
        setattr(module, name, child)

    @contextmanager
    def own_attributes(self) -> Iterator[None]:
        """Inside, the attributes of modules are the backbone's own; hooks and swapped children stay."""
        ours = [(module, name, module.__dict__[name]) for module, name, _ in self._attributes]
        for change in reversed(self._attributes):
            _put(*change)
        try:
            yield
        finally:
            for change in ours:
                _put(*change)

    def undo(self) -> None:
        """Take everything back; a second call does nothing."""
        while self._handles:
            self._handles.pop().remove()
        while self._attributes:
            _put(*self._attributes.pop())
        reference = next(self._backbone.parameters(), None)
        while self._children:
            module, name, child = self._children.pop()
            within = any(held is child for held in getattr(module, name).modules())
            if reference is not None and not within:  # it missed whatever moved or cast the model meanwhile
                child.to(reference.device, reference.dtype)
            setattr(module, name, child)


def _put(module: nn.Module, name: str, value: Any) -> None:
    """Make `value` the attribute `name` of this one instance, or take that off."""
    if isinstance(value, str) and value == _MISSING:
        delattr(module, name)
    else:
        setattr(module, name, value)
