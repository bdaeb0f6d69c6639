"""What a linear probe need not do again: where only heads learn, the backbone sees each image once per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vpt.methods import Tuned
from vpt.training.batches import Labelled, Shard, epoch_batches, load_batches
from vpt.training.config import FitConfig
from vpt.training.devices import place
from vpt.training.modes import evaluating

if TYPE_CHECKING:
    from accelerate import Accelerator


class Heads(nn.Module):
    """The heads of a tuned model (the very same modules) on what they read, `[B, K, D]`; K heads are averaged."""

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(dict(heads))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits `[B, C]`."""
        return torch.stack([head(inputs[:, k]) for k, head in enumerate(self.heads.values())]).mean(0)


@dataclass(frozen=True)
class HeadInputs:
    """A dataset whose images are what the heads read of them, `[K, D]`; everything else is the dataset's own."""

    dataset: Any
    inputs: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.inputs[index], "label": int(self.images.labels[index]), "index": index}

    @property
    def images(self) -> Any:
        """The labelled images behind the inputs."""
        return self.dataset.images


def needed_part(model: nn.Module, train: Labelled, val: Labelled | None) -> nn.Module:
    """What every epoch must go through: the `Heads` of the model where that is exact, else the model.

    Exact where nothing before the head learns and no image is augmented: every epoch would compute the same inputs.
    """
    sets = [train] if val is None else [train, val]
    if not (isinstance(model, Tuned) and _learns_heads_alone(model) and all(map(_never_changes, sets))):
        return model
    return Heads({name: model.backbone.get_submodule(name) for name in model.head_names})


def as_read_by(
    net: nn.Module, model: nn.Module, dataset: Labelled, config: FitConfig, accelerator: Accelerator
) -> Labelled:
    """`dataset` as `net`, the `needed_part` of `model`, reads it. For heads that takes a pass over all images."""
    if not isinstance(net, Heads):
        return dataset
    return HeadInputs(dataset, head_inputs(model, net.heads, dataset, config, accelerator))


@torch.no_grad()
def head_inputs(
    model: nn.Module, heads: nn.ModuleDict, dataset: Labelled, config: FitConfig, accelerator: Accelerator
) -> Tensor:
    """What each head reads of every image, `[n, K, D]`, on the CPU."""
    batches = Shard(epoch_batches(len(dataset), config.batch_size, shuffle=False))
    device, dtype = place(model)
    caught: dict[str, Tensor] = {}
    handles = [head.register_forward_pre_hook(_Catch(caught, name)) for name, head in heads.items()]
    rows = []
    try:
        with evaluating(model), accelerator.autocast():
            for batch in load_batches(dataset, batches, workers=config.workers):
                model(batch["image"].to(device, dtype))
                rows.append(torch.stack([caught[name] for name in heads], 1).cpu())
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(rows)


class _Catch:
    def __init__(self, caught: dict[str, Tensor], name: str) -> None:
        self.caught, self.name = caught, name

    def __call__(self, head: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.caught[self.name] = args[0]


def _learns_heads_alone(model: Tuned) -> bool:
    learned = model.learned
    return bool(model.head_names) and not (learned.prompts or learned.parameters or learned.modules)


def _never_changes(dataset: Any) -> bool:
    """Whether every epoch sees the same images; only a dataset that says so is believed."""
    return getattr(getattr(dataset, "augment", None), "preset", None) == "none"
