"""`VtabTask`: everything that decides one of VTAB-1K's 19 tasks, whichever way its images come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vpt.data.decode import Pixels
from vpt.data.vtab.slices import Slice

TRAIN = Slice("train", 0, 800)
"""The 800 training images of every task."""

WHOLE_TEST = Slice("test")


def plain_label(example: Mapping[str, Any]) -> int:
    """The feature `label` as it stands."""
    return int(example["label"])


@dataclass(frozen=True)
class VtabTask:
    """One task of VTAB-1K. `train` and `val` together are the 1000 images of the final run."""

    name: str
    """Its folder in the usual layout, such as `clevr_dist`."""

    title: str
    group: str
    """natural, specialized or structured."""

    classes: int

    tfds: str
    """The protocol's TFDS dataset, as `name:version` or `name/config:version`."""

    sizes: Mapping[str, tuple[int, ...]]
    """Examples in each TFDS split used; more than one number where TFDS itself gives different ones."""

    published: str
    """The column of published results."""

    val: Slice
    test: Slice = WHOLE_TEST
    train: Slice = TRAIN

    label: Callable[[Mapping[str, Any]], int] = plain_label
    """From an example's features, as TFDS hands them out, to its class. Reads only those in `reads`."""

    reads: tuple[str, ...] = ("label",)
    """The features that `label` needs."""

    image: Callable[[Pixels], Pixels] | None = None
    """What is done to a decoded image `uint8 [H, W, 3]`; None for nothing. Grey is three equal channels already."""

    lossless: bool = False
    """The original pixels were never compressed with loss, so that JPEG files of the task are worse than they."""

    manual: str = ""
    """What has to be downloaded by hand, from where to where; empty where TFDS fetches all by itself."""

    caveats: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """Other versions with the same examples in the same order -> in what they differ."""

    torchvision: str = ""
    """The class of torchvision.datasets whose files give exactly these images; empty where none does."""

    why: str = ""
    """How that class' files determine keys, labels and pixels of TFDS, or why torchvision cannot."""

    aliases: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        """TFDS' name without configuration and version."""
        return self.tfds.partition(":")[0].partition("/")[0]

    @property
    def config(self) -> str:
        """TFDS' configuration, or an empty string."""
        return self.tfds.partition(":")[0].partition("/")[2]

    @property
    def version(self) -> str:
        """The protocol's version of the dataset."""
        return self.tfds.partition(":")[2]

    @property
    def accepted_versions(self) -> tuple[str, ...]:
        """The protocol's version, then the others that hold the same examples."""
        return self.version, *self.versions

    @property
    def test_images(self) -> int:
        """Images in the test set."""
        return self.counts("test")[0]

    def counts(self, part: str) -> tuple[int, ...]:
        """The numbers of images that `part` (train, val or test) may have, the protocol's first."""
        piece = self.slices()[part]
        return tuple(dict.fromkeys(len(piece.positions(size)) for size in self.sizes[piece.split]))

    def slices(self) -> dict[str, Slice]:
        """The slices by the names of a `Task`'s sets."""
        return {"train": self.train, "val": self.val, "test": self.test}
