"""`Predictor`: one frozen backbone in memory, many tasks, chosen image by image."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpt.artifacts.find import ARTIFACT, find_artifact
from vpt.attach import check_free
from vpt.attach.mixture import Mixture
from vpt.data.decode import Pixels
from vpt.errors import OptionError
from vpt.serving.images import as_inputs, check_finite, listed
from vpt.serving.result import Result
from vpt.serving.shared import SharedBackbone
from vpt.serving.shared_clip import SharedClip
from vpt.serving.shared_vit import SharedViT
from vpt.serving.shelf import Shelf
from vpt.serving.task import Task
from vpt.sites.clip_text import is_open_clip


class Predictor:
    """Saved tasks on one stock timm or open_clip model, which is put in eval and otherwise left as it is.

    A batch is one forward pass whatever the tasks of its images are, and each image's answer that of its task alone.
    Tasks may be added, replaced and removed from any thread while others predict; a pass ends with what it began with.

    tokenizer: of an open_clip model, what `open_clip.get_tokenizer` answers for it; None is CLIP's own.
    resident: most tasks on the backbone's device, the least recently used others wait in host memory; None for all.
    Raises `OptionError` for a backbone in use by a tuned model, `UnsupportedBackbone` for one that cannot be shared.
    """

    def __init__(
        self, backbone: nn.Module, *, tokenizer: Callable[..., Tensor] | None = None, resident: int | None = None
    ) -> None:
        clip = is_open_clip(backbone)
        if tokenizer is not None and not clip:
            raise OptionError("tokenizer given; a timm model takes none")
        self._shared: SharedBackbone = SharedClip(backbone, tokenizer) if clip else SharedViT(backbone)
        self._shelf = Shelf(self._shared.device, resident)
        self._pass = threading.Lock()  # one at a time; and a CLIP's texts are encoded between passes

    # --- tasks --------------------------------------------------------------------------------------

    def add(self, folder: Path | str, *, name: str | None = None, force: bool = False) -> str:
        """Add the task saved in `folder` (an artefact's or a run's), in the place of one of that name, if any.

        name: by default that of the folder. Answers with the name. Raises as `vpt.load` does, which also says what
        `force` is; `OptionError` for no saved task, and for methods that change the backbone itself. After an error all
        is as before.
        """
        place = find_artifact(Path(folder)).resolve()
        chosen = name or (place.parent if place.name == ARTIFACT else place).name
        if isinstance(self._shared, SharedClip):
            with self._pass:
                task = self._shared.load(place, chosen, force=force)
        else:
            task = self._shared.load(place, chosen, force=force)
        self._shelf.put(chosen, task)
        return chosen

    def remove(self, name: str) -> None:
        """Forget a task. Raises `OptionError` for an unknown name."""
        self._shelf.drop(name)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order in which they were added."""
        return self._shelf.names

    @property
    def resident(self) -> list[str]:
        """Names of the tasks on the backbone's device, least recently used first."""
        return self._shelf.resident

    def task(self, name: str | None) -> Task:
        """A loaded task: classes, preprocessing, manifest, bytes; None is the backbone alone. Raises `OptionError`."""
        return self._shared.base if name is None else self._shelf.get(name)

    # --- predictions --------------------------------------------------------------------------------

    def __call__(self, images: Any, tasks: str | Sequence[str | None] | None) -> list[Result]:
        """One `Result` per image, in order, from one forward pass.

        images: `[B, 3, H, W]` as the model takes them, or a sequence of any of: such tensors `[3, H, W]`; decoded
            pixels `uint8 [H, W, 3]`; Pillow images; files. What is not a tensor goes through its task's preprocessing.
        tasks: a name per image, or one for all; None is the backbone without prompts.
        Raises `OptionError` for unknown tasks, other numbers or shapes than these; `DataError` for unreadable images
        and for NaN or infinity.
        """
        batch, names, loaded = self._asked(images, tasks)
        if not names:
            return []
        with self._running():
            found = self._logits(batch, names, loaded)
        self._shelf.make_room()
        return [self._result(loaded[name], logits) for name, logits in zip(names, found, strict=True)]

    def attention(self, images: Any, tasks: str | Sequence[str | None] | None) -> Tensor | None:
        """Where the class token looks in the last block, mean over heads, `[B, H', W']`; arguments as for a call.

        A map sums to at most 1, since prompts are looked at too. None without a class token, and for no images.
        """
        batch, names, loaded = self._asked(images, tasks)
        if not names:
            return None
        with self._running():
            found = self._shared.looking(batch, self._mixture(names, loaded))
        self._shelf.make_room()
        return None if found is None else found.float().cpu()

    def prepare(self, pixels: Pixels, name: str | None) -> Tensor:
        """A decoded image `uint8 [H, W, 3]` as the model takes it for that task, `[3, H', W']`."""
        return self.task(name).preprocessing(pixels)

    def _asked(
        self, images: Any, tasks: str | Sequence[str | None] | None
    ) -> tuple[Tensor, list[str | None], dict[str | None, Task]]:
        """The batch on the device, the task of each image, and the tasks themselves."""
        images = listed(images)
        one_for_all = tasks is None or isinstance(tasks, str)
        asked = [tasks] if tasks is None or isinstance(tasks, str) else list(tasks)
        names = asked * len(images) if one_for_all else asked
        if len(names) != len(images):
            raise OptionError(
                f"{len(images)} images and {len(names)} tasks; accepted: a task per image, or one for all"
            )
        known = [name for name in dict.fromkeys(asked) if name is not None]
        loaded: dict[str | None, Task] = dict(zip(known, self._shelf.take(known), strict=True))
        loaded[None] = self._shared.base
        batch = as_inputs(images, [loaded[name].preprocessing for name in names])
        batch = batch.to(self._shared.device, self._shared.dtype)
        if names:
            self._shared.check_size(*batch.shape[2:])
            check_finite(batch)
        return batch, names, loaded

    @contextmanager
    def _running(self) -> Iterator[None]:
        """One pass. Raises `OptionError` where the backbone is in use by a tuned model."""
        with self._pass, torch.no_grad():
            check_free(self._shared.backbone)
            yield

    def _mixture(self, names: Sequence[str | None], loaded: dict[str | None, Task]) -> Mixture:
        distinct = {id(task.entering): task.entering for name, task in loaded.items() if name in names}
        numbers = {key: number for number, key in enumerate(distinct)}
        index = torch.tensor([numbers[id(loaded[name].entering)] for name in names], device=self._shared.device)
        return Mixture(list(distinct.values()), index)

    def _logits(self, batch: Tensor, names: Sequence[str | None], loaded: dict[str | None, Task]) -> list[Tensor]:
        """Of each image, `[C]` on the CPU; each task's answer reads the rows that are its own."""
        features = self._shared.features(batch, self._mixture(names, loaded))
        rows: dict[str | None, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        found: list[Tensor] = [torch.empty(0)] * len(names)
        for name, own in rows.items():
            alone = len(own) == len(names)
            answers = loaded[name].answer(*(f if alone else f[own] for f in features)).cpu()
            for row, logits in zip(own, answers, strict=True):
                found[row] = logits
        return found

    @staticmethod
    def _result(task: Task, logits: Tensor) -> Result:
        probabilities = logits.softmax(0) if task.classes else logits[:0]
        return Result(task.name, task.digest, task.classes, probabilities, logits)
