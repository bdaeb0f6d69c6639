"""What is learned on the features that a frozen image tower gives: a linear classifier, an adapter, a cache of images.

Letters: B images, F width of a feature, C classes, n images in the cache. Features are normalised: of length 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpt.prompts.init import uniform
from vpt.prompts.prompts import Prompts


class Classifier(Prompts):
    """A linear map from features `[B, F]` to logits `[B, C]`, with a bias.

    It reads features times sqrt(F): the F numbers of a vector of length 1 are about 1 / sqrt(F) each, and learning
    rates and weight decays that are known from elsewhere presume inputs of unit variance.
    weight: what it starts from, `[C, F]`; bias: `[C]`.
    """

    per_class = True

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, seen: Tensor) -> Tensor:
        """Logits `[B, C]` of features `[B, F]`, never in half precision."""
        with torch.autocast(seen.device.type, enabled=False):
            scaled = seen.to(self.weight.dtype) * self.weight.shape[1] ** 0.5
            return F.linear(scaled, self.weight, self.bias)


class Bottleneck(Prompts):
    """Two layers, F to F / reduction to F, whose answer is mixed into the feature (CLIP-Adapter, arXiv:2110.04544).

    The layers have no bias, so that what a feature's length is makes no difference once the mix is normalised.
    mix: the share of the layers' answer; the rest is the feature as it is.
    """

    per_class = False

    def __init__(self, features: int, reduction: int, mix: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        hidden, self.mix = max(1, features // reduction), mix
        self.down = nn.Parameter(uniform(features**-0.5)((hidden, features), generator))  # torch's start of a layer
        self.up = nn.Parameter(uniform(hidden**-0.5)((features, hidden), generator))

    def forward(self, seen: Tensor) -> Tensor:
        """Adapted features `[B, F]`, normalised."""
        found = F.relu(F.linear(F.relu(F.linear(seen.to(self.down.dtype), self.down)), self.up))
        return F.normalize(self.mix * found + (1 - self.mix) * seen, dim=-1)


class Cache(Prompts):
    """Labelled features with which others are compared (Tip-Adapter, arXiv:2111.03930).

    keys: normalised features `[n, F]` of n images; labels: their classes `[n]`, of C. beta: how sharply the votes fall
    off with the distance. trained: whether the keys are learned further; both are saved with a task in either case.
    """

    per_class = True
    keys: Tensor
    labels: Tensor

    def __init__(self, keys: Tensor, labels: Tensor, classes: int, beta: float, trained: bool) -> None:
        super().__init__()
        self.classes, self.beta = classes, beta
        if trained:
            self.keys = nn.Parameter(keys.clone())
        else:
            self.register_buffer("keys", keys)
        self.register_buffer("labels", labels.clone())

    def forward(self, seen: Tensor) -> Tensor:
        """Votes `[B, C]` for features `[B, F]`: every key's exp(-beta (1 - cosine)), summed over each class."""
        with torch.autocast(seen.device.type, enabled=False):
            weights = torch.exp(-self.beta * (1 - seen.to(self.keys.dtype) @ self.keys.T))
            return weights.new_zeros(seen.shape[0], self.classes).index_add(1, self.labels, weights)
