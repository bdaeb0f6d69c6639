#!/usr/bin/env python
"""Train the embedded CLIP on the images, labels and class names of Tiny-ImageNet-200; its image tower starts as the
embedded ViT.

    python scripts/pretrain_embedded_clip.py --data PATH/tiny-imagenet-200 --out runs/embedded-clip

`PATH` is as for `pretrain_embedded.py`, with `classnames.json` beside: a list of 200 names, synonyms separated by
commas. Each step pairs augmented images with one caption per class, a random synonym in a random sentence, and
classifies the images among these. The run resumes from `--out` by itself, with the recipe it had. At the end
`--out` holds `embedded_clip.safetensors` and `embedded_clip.json` (SHA-256, recipe, history), which belong in
`vpt/backbones/`.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pretraining
import torch
import torch.nn.functional as F
from pretraining import asked, top1, train, write
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from vpt.backbones.embedded import embedded
from vpt.backbones.embedded_clip import CONFIG, ROWS, TABLE, build

SENTENCES = (
    "a photo of a {}.", "a photo of the {}.", "a picture of a {}.", "a {}.", "the {}.", "{}.", "one {}.",
    "a small photo of a {}.", "a blurry picture of the {}.", "a low resolution photo of a {}.",
    "a cropped photo of one {}.", "this is a photo of a {}.", "an image of a {}, one of many.",
    "there is a {} in this picture.", "in the middle of this small picture one can see a {}.",
    "this is a small and somewhat blurry picture, taken from the side, of a single {}.",
    "one of many small pictures that were made smaller still, and in the middle of it there is a {}.",
)  # fmt: skip
JUDGED = "a photo of a {}."


@dataclass
class Recipe:
    """What decides the result; every field can be given on the command line as `--field value`."""

    epochs: int = 12
    batch: int = 256
    lr: float = 1e-3
    image_lr: float = 0.5  # share of the rate that the image tower, which is trained already, gets
    weight_decay: float = 0.05
    warmup: int = 1
    smoothing: float = 0.1
    crop: float = 0.35
    colour: float = 0.3
    patch_drop: float = 0.5  # share of patches left out of a training step
    full_epochs: int = 1  # last epochs, with all patches
    ema: float = 0.998
    bf16: bool = False


def image_tower_from_vit(model: nn.Module) -> None:
    """Fill the image tower with the embedded ViT: the same function, up to the projection and its epsilon."""
    vit, visual, width = embedded(), model.visual, CONFIG["vision_cfg"]["width"]
    with torch.no_grad():
        visual.conv1.weight.copy_(vit.patch_embed.proj.weight)
        visual.class_embedding.copy_(vit.cls_token.view(-1))
        visual.positional_embedding.copy_(vit.pos_embed[0])
        visual.positional_embedding[1:] += vit.patch_embed.proj.bias  # open_clip's patches have none
        visual.ln_post.load_state_dict(vit.norm.state_dict())
        visual.proj.normal_(0, width**-0.5)
    for mine, theirs in zip(visual.transformer.resblocks, vit.blocks, strict=True):
        mine.ln_1.load_state_dict(theirs.norm1.state_dict())
        mine.ln_2.load_state_dict(theirs.norm2.state_dict())
        mine.attn.load_state_dict(
            dict(in_proj_weight=theirs.attn.qkv.weight, in_proj_bias=theirs.attn.qkv.bias)
            | {f"out_proj.{name}": t for name, t in theirs.attn.proj.state_dict().items()}
        )
        mine.mlp.c_fc.load_state_dict(theirs.mlp.fc1.state_dict())
        mine.mlp.c_proj.load_state_dict(theirs.mlp.fc2.state_dict())


class Captions:
    """Texts of the classes as ids."""

    def __init__(self, classnames: list[str]) -> None:
        self.names = [[part.strip() for part in line.split(",")] for line in classnames]

    def every(self) -> list[str]:
        """All captions there can be."""
        return [sentence.format(name) for names in self.names for name in names for sentence in SENTENCES]

    def drawn(self, chance: random.Random) -> Tensor:
        """One caption per class: half of them by its first name, the others by any."""
        names = [own[0] if chance.random() < 0.5 else chance.choice(own) for own in self.names]
        return open_clip.tokenize([chance.choice(SENTENCES).format(name) for name in names])

    def judged(self) -> Tensor:
        """The caption of each class that accuracy is measured with."""
        return open_clip.tokenize([JUDGED.format(own[0]) for own in self.names])


def text_features(model: nn.Module, ids: Tensor) -> Tensor:
    """Normalised features of texts, computed up to the end of the longest."""
    cut = int(ids.argmax(1).max()) + 1
    x = model.token_embedding(ids[:, :cut]) + model.positional_embedding[:cut]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:cut, :cut]))
    return F.normalize(x[torch.arange(len(ids)), ids.argmax(1)] @ model.text_projection, dim=-1)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, ids: Tensor) -> float:
    """Zero-shot top-1 accuracy, in [0, 1]."""
    with torch.inference_mode():
        texts = model.eval().encode_text(ids, normalize=True)
        return top1(lambda x: model.encode_image(x) @ texts.T, images, labels)


class Pretraining(pretraining.Pretraining):
    """Classifies images among one drawn caption of every class."""

    def __init__(
        self, recipe: Recipe, captions: Captions, out: Path, device: str, seed: int = 0, go_on: bool = False
    ) -> None:
        torch.manual_seed(seed)
        self.captions = captions
        model = build(patch_dropout=recipe.patch_drop)
        image_tower_from_vit(model)
        optimizer = create_optimizer_v2(groups(model.to(device), recipe), opt="adamw", lr=recipe.lr, weight_decay=0.0)
        super().__init__(model, optimizer, recipe, out, device, seed, go_on)

    @property
    def patch_dropout(self) -> nn.Module:
        """open_clip's."""
        return self.model.visual.patch_dropout

    def loss(self, images: Tensor, labels: Tensor, chance: random.Random) -> Tensor:
        """Cross-entropy among the captions."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.bf16):
            texts = text_features(self.model, self.captions.drawn(chance).to(self.device))
            logits = self.model.logit_scale.exp() * self.model.encode_image(images, normalize=True) @ texts.T
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.smoothing)

    def stepped(self, step: int, steps: int, loss: float) -> None:
        """Bounds the scale of logits, and tells of every fiftieth step."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=4.6052)  # 100, as in CLIP
        if step % 50 == 0:
            print(f"  {self.epoch} {step}/{steps} {loss:.3f}", flush=True)


def groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """What the optimiser is told: the image tower learns slower, vectors and token embeddings do not decay."""
    found = [
        dict(params=[p for n, p in model.named_parameters() if inside(n) and (p.ndim > 1) == heavy],
             lr_scale=recipe.image_lr if image else 1.0, weight_decay=recipe.weight_decay if heavy else 0.0)
        for image in (True, False) for heavy in (True, False)
        for inside in [lambda name, image=image: name.startswith("visual.") == image and name != TABLE]
    ]  # fmt: skip
    return [*found, dict(params=[model.token_embedding.weight], lr_scale=1.0, weight_decay=0.0)]


def main() -> None:
    args, recipe = asked(__doc__, "runs/embedded-clip", {"cpu": Recipe()})
    args.out.mkdir(parents=True, exist_ok=True)
    captions = Captions(json.loads((args.data / "classnames.json").read_text()))
    run = Pretraining(recipe, captions, args.out, args.device, go_on=args.go_on)
    images = train(run, args.data, partial(accuracy, ids=captions.judged().to(args.device)))
    used = torch.unique(open_clip.tokenize(captions.every()))
    state = {name: t.cpu() for name, t in run.ema.module.state_dict().items() if name != "attn_mask"}
    state[TABLE] = state[TABLE][used]
    tensors = {name: t.half().contiguous() for name, t in state.items()} | {ROWS: used}  # read as float32
    versions = {"torch": torch.__version__, "open_clip": open_clip.__version__}
    write(
        run, "embedded_clip", tensors, CONFIG, images=images, tokens=len(used), sentences=SENTENCES, versions=versions
    )


if __name__ == "__main__":
    main()
