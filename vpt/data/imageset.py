"""`ImageSet`: n labelled images, decoded when asked for. Nothing in it is ever dropped or replaced in silence."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vpt.data.ahead import ahead
from vpt.data.decode import Pixels
from vpt.data.pictures import Arrays, Joined, Pictures, decode_content, fingerprint, portable, resized
from vpt.errors import DataError, some

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)`."""


class ImageSet:
    """Labelled images in a fixed order.

    `labels` is `int64 [n]`, each an index into `classes`; `route` says how the images came here (e.g. "vtab-folder").
    Raises `DataError` where there are no images, labels do not fit images and classes, or a class name is no text of
    UTF-8, as a folder's need not be.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        labels: ArrayLike,
        pictures: Pictures,
        route: str,
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.route = route
        self._pictures = pictures
        self._positions = np.arange(len(pictures)) if positions is None else positions
        self.labels = self._checked(np.array(labels))
        self._check_names()
        self._digest: str | None = None

    @classmethod
    def from_arrays(
        cls,
        images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        labels: ArrayLike,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> ImageSet:
        """Images in memory, `uint8 [n, H, W]` or `[n, H, W, 3]`; classes default to the numbers 0 .. max(labels)."""
        wrong = [i for i, image in enumerate(images) if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,))]
        if wrong:
            raise DataError(f"{name}: images must be uint8 [H, W] or [H, W, 3]; wrong at {some(wrong)}")
        if classes is None:
            classes = [str(c) for c in range(int(np.max(np.array(labels), initial=-1)) + 1)]
        return cls(name, classes, labels, Arrays(name, images), "arrays")

    def _checked(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        if not len(self._positions):
            raise DataError(f"{self.name}: holds no images")
        if labels.shape != self._positions.shape or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"{self.name}: {len(self._positions)} images need as many whole-number labels; "
                f"got {labels.dtype} {list(labels.shape)}"
            )
        outside = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(outside):
            raise DataError(
                f"{self.name}: labels must be 0 .. {len(self.classes) - 1} ({len(self.classes)} classes); outside are "
                + some([f"{self.describe(int(i))}: {labels[i]}" for i in outside])
            )
        labels = labels.astype(np.int64)
        labels.setflags(write=False)
        return labels

    def _check_names(self) -> None:
        names = [str(name) for name in self.classes]
        if wrong := [repr(name) for name in names if name.encode(errors="replace").decode() != name]:
            raise DataError(f"{self.name}: class names that are no text of UTF-8: {some(wrong)}")

    def __len__(self) -> int:
        return len(self._positions)

    def __repr__(self) -> str:
        return f"ImageSet({self.name!r}, {len(self)} images, {len(self.classes)} classes, route={self.route!r})"

    def __getstate__(self) -> dict[str, Any]:
        # Files may change while a pickle lies on disk: the digest is taken anew.
        return {**self.__dict__, "_digest": None}

    def decode(self, i: int) -> Pixels:
        """Image i as RGB `uint8 [H, W, 3]`. Raises `DataError` naming the image."""
        return self._pictures.decode(int(self._positions[i]))

    def describe(self, i: int) -> str:
        """What image i is called: its path, or something like `digits[17]`."""
        return self._pictures.describe(int(self._positions[i]))

    def digest(self) -> str:
        """SHA-256 (hex) over the bytes and label of every image, in order. Reads everything once, then remembers."""
        if self._digest is None:
            self._digest = digest((self.fingerprint(i) for i in range(len(self))), self.labels)
        return self._digest

    def fingerprint(self, i: int, content: bytes | None = None) -> bytes:
        """SHA-256 (32 bytes) of `content(i)`, which is not read where it is given, or the answer known beforehand."""
        with self._readable(i):
            return fingerprint(self._pictures, int(self._positions[i]), content)

    def content(self, i: int) -> bytes:
        """The bytes that image i is made of: those of its file, or its shape and pixels."""
        with self._readable(i):
            return self._pictures.content(int(self._positions[i]))

    def decode_content(self, i: int, content: bytes) -> Pixels | None:
        """Image i from its `content`, read before; None where its pictures do not know how."""
        return decode_content(self._pictures, int(self._positions[i]), content)

    def portable(self) -> bool:
        """Whether `decode_content` does no more than decode the content, an image file or `packed` pixels."""
        return portable(self._pictures)

    def resized(self) -> dict[str, Any] | None:
        """How the images were resized when they were prepared (`Preprocessing.resizing`); None where they were not."""
        return resized(self._pictures)

    @contextmanager
    def _readable(self, i: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.describe(i)}: cannot be read: {error}") from error

    def subset(self, indices: ArrayLike) -> ImageSet:
        """The images at `indices`, in that order; raises `DataError` for an index that does not exist."""
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or not (np.issubdtype(chosen.dtype, np.integer) or not len(chosen)):
            raise DataError(
                f"{self.name}: subset takes a list of whole numbers, got {chosen.dtype} {list(chosen.shape)}"
            )
        outside = [int(i) for i in chosen if not 0 <= i < len(self)]
        if outside:
            raise DataError(f"{self.name}: has images 0 .. {len(self) - 1}, asked for {some(outside)}")
        chosen = chosen.astype(np.int64)
        return ImageSet(
            self.name, self.classes, self.labels[chosen], self._pictures, self.route, self._positions[chosen]
        )

    def named(self, name: str) -> ImageSet:
        """The same images under another name."""
        other = copy.copy(self)
        other.name = name
        return other

    def with_classes(self, classes: Sequence[str]) -> ImageSet:
        """The same images and labels under other class names; raises `DataError` where a label has none."""
        return ImageSet(self.name, classes, self.labels, self._pictures, self.route, self._positions)

    def of_classes(self, chosen: Sequence[int]) -> ImageSet:
        """The images whose labels are `chosen`, which become 0, 1, ... in that order; the other classes are no more."""
        new = np.full(len(self.classes), -1)
        new[list(chosen)] = np.arange(len(chosen))
        kept = np.flatnonzero(new[self.labels] >= 0)
        labels = new[self.labels[kept]]
        classes = [self.classes[c] for c in chosen]
        return ImageSet(self.name, classes, labels, self._pictures, self.route, self._positions[kept])

    def join(self, other: ImageSet, name: str | None = None) -> ImageSet:
        """These images, then those of `other`, which must have the same classes."""
        if self.classes != other.classes:
            raise DataError(f"{self.name} and {other.name} have different classes and cannot be joined")
        if self.resized() != other.resized():
            raise DataError(f"{self.name} and {other.name} were resized in different ways and cannot be joined")
        return ImageSet(
            name or f"{self.name}+{other.name}",
            self.classes,
            np.concatenate([self.labels, other.labels]),
            Joined(self._pictures, other._pictures),
            self.route,
            np.concatenate([self._positions, len(self._pictures) + other._positions]),
        )

    def faults(self, progress: Progress | None = None) -> list[str]:
        """Decodes everything once; one line per image that cannot be, each naming it."""
        found: list[str] = []
        for done, fault in enumerate(ahead(self._fault, len(self)), 1):
            found += [fault] if fault else []
            if progress:
                progress(done, len(self))
        return found

    def _fault(self, i: int) -> str | None:
        try:
            self.decode(i)
        except DataError as error:
            return str(error)
        return None

    def verify(self, progress: Progress | None = None) -> None:
        """Decodes everything once. Raises `DataError` listing all bad images, so that training starts on good ones."""
        refuse(self.faults(progress), len(self), self.name)


def digest(fingerprints: Iterable[bytes], labels: NDArray[np.int64]) -> str:
    """The digest of images with these fingerprints and labels, in this order."""
    whole = hashlib.sha256()
    for one, label in zip(fingerprints, labels, strict=True):
        whole.update(one + int(label).to_bytes(8, "little"))
    return whole.hexdigest()


def refuse(faults: Sequence[str], total: int, name: str) -> None:
    """Raises `DataError` with every fault on its own line; does nothing where there is none."""
    if faults:
        raise DataError("\n  ".join([f"{name}: {len(faults)} of {total} images cannot be used:", *faults]))
