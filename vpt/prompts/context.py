"""Learned contexts of class names, for text towers: one for all classes, one per class, or one shifted by each image.

Letters: C classes, M context tokens, D width of the text tower, B images, F width of the features, and K contexts that
are each put before every class: 1, or one per image.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from vpt.prompts.init import Initializer, normal, uniform
from vpt.prompts.prompts import Prompts


class Context(Prompts):
    """M tokens for every class name (CoOp, arXiv:2109.01134): `[M, D]`, or `[C, M, D]` with a context per class.

    classes: C where each class has a context of its own, None for one that all share.
    """

    def __init__(
        self, width: int, length: int, init: Initializer, *, classes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        shape = (length, width) if classes is None else (classes, length, width)
        self.length, self.per_class = length, classes is not None
        self.tokens = nn.Parameter(init(shape, generator))
        self.deeper: Tensor | None
        self.register_parameter("deeper", None)  # of text blocks after the first

    def forward(self) -> Tensor:
        """The context as `[K, 1 or C, M, D]`; K is 1."""
        return self.tokens[None] if self.per_class else self.tokens[None, None]


class LayeredContext(Context):
    """M tokens for every class name, and M others that take their places before each of the next blocks.

    depth: blocks J that get tokens of their own, the first one included; `deeper` is `[J - 1, M, D]`, N(0, 0.02²), or
        None for J = 1.
    """

    def __init__(
        self, width: int, length: int, depth: int, init: Initializer, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(width, length, init, generator=generator)
        self.depth = depth
        if depth > 1:
            self.deeper = nn.Parameter(normal(0.02)((depth - 1, length, width), generator))

    def at(self, layer: int) -> Tensor:
        """The tokens `[M, D]` that enter block `layer`."""
        return self.tokens if not layer or self.deeper is None else self.deeper[layer - 1]


class ConditionalContext(Prompts):
    """M tokens, shifted for each image by a small network on its feature (CoCoOp, arXiv:2203.05557).

    features: width F of an image feature; the network goes from F to F / 16, ReLU, and on to D.
    """

    per_class = False
    deeper: Tensor | None = None  # of text blocks after the first

    def __init__(
        self, width: int, length: int, features: int, init: Initializer, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.length = length
        self.tokens = nn.Parameter(init((length, width), generator))
        hidden = max(1, features // 16)
        steps = {"linear1": linear(features, hidden, generator), "relu": nn.ReLU()}
        self.meta_net = nn.Sequential(OrderedDict(steps | {"linear2": linear(hidden, width, generator)}))

    def forward(self, images: Tensor) -> Tensor:
        """The contexts `[B, 1, M, D]` of images with normalised features `[B, F]`."""
        shifts: Tensor = self.meta_net(images.to(self.tokens.dtype))
        return (self.tokens + shifts.unsqueeze(1)).unsqueeze(1)


class Residuals(Prompts):
    """A vector per class that is added to its fixed text feature (TaskRes, arXiv:2211.10277): `[C, F]`, zero at start.

    scale: by which the vectors are multiplied.
    """

    per_class = True

    def __init__(self, classes: int, features: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.tokens = nn.Parameter(torch.zeros(classes, features))

    def forward(self) -> Tensor:
        """What is added to the text features `[C, F]`."""
        return self.scale * self.tokens


def linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """torch's own start of a linear layer, U(±1 / sqrt(inputs)), from `generator`, not from the global state."""
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    start = uniform(inputs**-0.5)
    linear.weight, linear.bias = (nn.Parameter(start(shape, generator)) for shape in ((outputs, inputs), (outputs,)))
    return linear
