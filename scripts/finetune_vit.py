#!/usr/bin/env python
"""Tune a ViT: the same as `vpt train`, for those who look for a script.

python scripts/finetune_vit.py configs/digits.yaml
python scripts/finetune_vit.py --data digits --method deep --epochs 20
python scripts/finetune_vit.py --help
"""

from __future__ import annotations

import sys

from vpt.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
