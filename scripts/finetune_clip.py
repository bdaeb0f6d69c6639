#!/usr/bin/env python
"""Learn prompts for a CLIP: `vpt train`, whose model and method are here `embedded-clip` and `coop` by default.

python scripts/finetune_clip.py configs/clip_coop.yaml
python scripts/finetune_clip.py --data digits --epochs 20
python scripts/finetune_clip.py --data folder --root PATH --backbone open_clip/ViT-B-16.openai --method maple
python scripts/finetune_clip.py --help
"""

from __future__ import annotations

import sys

from typer.main import get_command

from vpt.cli.main import app, main
from vpt.cli.train import split

DEFAULTS = ("--backbone", "embedded-clip", "--method", "coop")


def arguments(given: list[str]) -> list[str]:
    """The arguments of `vpt`; a configuration file says itself which model and method it is for."""
    parsed = get_command(app).commands["train"].make_context("train", list(given), resilient_parsing=True)
    file, _ = split(list(parsed.params["items"] or ()))
    return ["train", *(DEFAULTS if file is None else ()), *given]  # of an option that is given twice, the later counts


if __name__ == "__main__":
    main(arguments(sys.argv[1:]))
