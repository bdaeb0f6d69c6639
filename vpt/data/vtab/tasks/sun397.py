"""SUN397 in TFDS' own division."""

from __future__ import annotations

from vpt.data.vtab.slices import Slice
from vpt.data.vtab.task import VtabTask

SUN397 = VtabTask(
    name="sun397",
    title="SUN397",
    group="natural",
    classes=397,
    tfds="sun397/tfds:4.0.0",
    sizes={"train": (76128, 76127), "validation": (10875,), "test": (21750,)},
    published="sun397",
    val=Slice("validation", 0, 200),
    caveats=(
        "SUN397/c/church/outdoor/sun_bhenjvsvrtumjuri.jpg and SUN397/t/track/outdoor/sun_aophkoiosslinihb.jpg cannot "
        "be decoded alike everywhere; newer TFDS releases leave both out, and only the latter belongs to a split: "
        "number 66,481 of train, behind the 800 that are taken, so that train, val and test are the same either way",
    ),
    why="TFDS scales the images down to 120,000 pixels and encodes them anew, so that torchvision's files differ",
)
