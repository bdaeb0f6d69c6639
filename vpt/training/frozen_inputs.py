"""What the learned part of a model reads, computed once per image and kept in memory-mapped files.

A file's name is a digest of all that its content depends on: the frozen tensors, the preprocessing, the images, where
the learned part starts, the precision. So a stale file is never read, and runs that agree in these share one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vpt.data.arrays import forget_abandoned, open_rows, write_rows
from vpt.data.disk import is_full, unwritable
from vpt.methods.tuned_model import TunedModel
from vpt.sites import fingerprint
from vpt.sites.modes import evaluating
from vpt.training.batches import Labelled, Shard, epoch_batches, load_batches
from vpt.training.config import FitConfig
from vpt.training.devices import place
from vpt.training.log import Logger
from vpt.training.needed import Part, needed_part
from vpt.training.versions import versions

if TYPE_CHECKING:
    from accelerate import Accelerator

FORMAT = 1  # of the files; part of their names
SUFFIX = ".inputs.npy"
ABANDONED = 24 * 3600.0  # seconds after which a file that is not finished is taken for that of a killed process


@dataclass
class FrozenInputs:
    """A dataset whose images are what the learned part reads of them; everything else is the dataset's own."""

    dataset: Any
    path: Path
    _rows: NDArray[Any] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = torch.from_numpy(np.array(self.rows[index]))
        row = row.view(torch.bfloat16) if row.dtype == torch.int16 else row  # NumPy has no bfloat16
        return {"image": row, "label": int(self.images.labels[index]), "index": index}

    @property
    def rows(self) -> NDArray[Any]:
        """What is read of every image, `[n, ...]`, mapped: it stays readable where the file is deleted meanwhile."""
        if self._rows is None:
            self._rows = np.load(self.path, mmap_mode="r")
        return self._rows

    @property
    def images(self) -> Any:
        """The labelled images behind the inputs."""
        return self.dataset.images

    def __getstate__(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "path": self.path, "_rows": None}  # workers map the file themselves


@dataclass(frozen=True)
class Store:
    """A folder of such files, bounded: those used longest ago make room. shared: whether other processes see it."""

    folder: Path
    limit: float  # bytes
    shared: bool = True

    def as_read_by(
        self, net: nn.Module, model: nn.Module, dataset: Labelled, config: FitConfig, accelerator: Accelerator | None,
        log: Logger,
    ) -> Labelled | FrozenInputs:  # fmt: skip
        """`dataset` as `net`, all of `model` or an `affordable_part` of it, reads it."""
        if isinstance(net, Part) and isinstance(model, TunedModel):
            return self.inputs(net, model, dataset, config, accelerator, log)
        return dataset

    def inputs(
        self, part: Part, model: TunedModel, dataset: Labelled, config: FitConfig, accelerator: Accelerator | None,
        log: Logger,
    ) -> FrozenInputs:  # fmt: skip
        """`dataset` as `part` reads it, from a file where there is one, else by a pass over all images.

        Without an accelerator this process stands alone, and images are read in the model's own precision.
        Raises `DataError` where the disk is full.
        """
        path = self.folder / f"{key(part, model, dataset, config)}{SUFFIX}"
        with accelerator.main_process_first() if self.shared and accelerator is not None else nullcontext():
            while (rows := _kept(path, len(dataset))) is None:  # another process may delete what was just written
                started = time.perf_counter()
                _write(path, len(dataset), _rows(part, model, dataset, config, accelerator))
                seconds = time.perf_counter() - started
                log.note(f"what {part.where} reads of {len(dataset)} images: computed once, {seconds:.1f} s")
        self._make_room(keep=path)
        return FrozenInputs(dataset, path, rows)

    def _make_room(self, keep: Path) -> None:
        forget_abandoned(self.folder, keep.suffix, ABANDONED)
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):  # another process makes room at the same time
                found.append((path.stat(), path))
        found.sort(key=lambda item: (item[1] != keep, -item[0].st_mtime))
        total = 0.0
        for stat, path in found:
            total += stat.st_size
            if total > self.limit and path != keep:
                path.unlink(missing_ok=True)


def _kept(path: Path, count: int) -> NDArray[Any] | None:
    """The rows in `path`, mapped, which is marked as used now; None where there are none."""
    rows = open_rows(path, count)
    if rows is not None:
        try:
            os.utime(path)  # `Path.touch` would leave an empty file where it is gone by now
        except FileNotFoundError:
            return None
    return rows


def _write(path: Path, count: int, chunks: Iterator[NDArray[Any]]) -> None:
    try:
        write_rows(path, count, chunks)
    except OSError as error:
        if not is_full(error):  # of a dataset, perhaps
            raise
        raise unwritable(path, error) from error


def bytes_needed(part: Part, model: TunedModel, sets: list[Labelled]) -> int:
    """Bytes of the files for all of `sets`, by reading the first image."""
    device, dtype = place(model)
    with evaluating(model), torch.no_grad():
        row = part.read(model, torch.as_tensor(sets[0][0]["image"]).unsqueeze(0).to(device, dtype))
    return row.nbytes * sum(map(len, sets))


def key(part: Part, model: TunedModel, dataset: Any, config: FitConfig) -> str:
    """SHA-256 over all that the content depends on."""
    preprocessing = dataset.preprocessing.to_dict()
    facts = {
        "format": FORMAT,
        "start": part.start,
        "backbone": fingerprint(model.backbone, model.frozen_state(), preprocessing),
        "images": dataset.images.digest(),
        "precision": config.precision,
        "dtype": str(place(model)[1]),
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@torch.no_grad()
def _rows(
    part: Part, model: TunedModel, dataset: Labelled, config: FitConfig, accelerator: Accelerator | None
) -> Iterator[NDArray[Any]]:
    """What `part` reads of each batch, in order."""
    batches = Shard(epoch_batches(len(dataset), config.batch_size, shuffle=False))
    device, dtype = place(model)
    with evaluating(model), accelerator.autocast() if accelerator is not None else nullcontext():
        for batch in load_batches(dataset, batches, workers=config.workers):
            read: Tensor = part.read(model, batch["image"].to(device, dtype)).cpu()
            yield (read.view(torch.int16) if read.dtype == torch.bfloat16 else read).numpy()


@contextmanager
def store_in(folder: Path | str | None, config: FitConfig) -> Iterator[Store]:
    """The store of a run: in `folder`, or in a temporary one that goes when the run ends."""
    limit = config.frozen_cache_gb * 1e9
    if folder is not None:
        yield Store(Path(folder), limit)
        return
    with tempfile.TemporaryDirectory(prefix="vpt-inputs-") as temporary:
        yield Store(Path(temporary), limit, shared=False)


def affordable_part(
    model: nn.Module, train: Labelled, val: Labelled | None, config: FitConfig, log: Logger
) -> nn.Module:
    """The `needed_part` of the model, or all of it where its inputs would take more than `frozen_cache_gb`."""
    if not config.frozen_cache_gb:
        return model
    part = needed_part(model, train, val)
    if not (isinstance(part, Part) and isinstance(model, TunedModel)):
        return model
    wanted = bytes_needed(part, model, [train] if val is None else [train, val]) / 1e9
    if wanted <= config.frozen_cache_gb:
        return part
    reads = f"what {part.where} reads takes {wanted:.1f} GB"
    log.note(f"{reads}, more than frozen_cache_gb={config.frozen_cache_gb:g}: every epoch computes it anew")
    return model
