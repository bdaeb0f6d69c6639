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

import argparse
import hashlib
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from recipes import FLAG, recipes
from safetensors.torch import save
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from tiny_imagenet import augmented, decoded, normalised, write_atomically
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


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, ids: Tensor) -> float:
    """Zero-shot top-1 accuracy, in [0, 1]."""
    model.eval()
    texts = model.encode_text(ids, normalize=True)
    right = 0
    for x, y in zip(images.split(500), labels.split(500), strict=True):
        right += int(((model.encode_image(normalised(x)) @ texts.T).argmax(1) == y).sum())
    return right / len(labels)


class Pretraining:
    """Model, its moving average, optimiser and schedule, with one checkpoint per epoch."""

    def __init__(
        self, recipe: Recipe, captions: Captions, out: Path, device: str, seed: int = 0, go_on: bool = False
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.captions, self.out, self.device, self.seed = recipe, captions, out, device, seed
        self.model = build(patch_dropout=recipe.patch_drop)
        image_tower_from_vit(self.model)
        self.model.to(device)
        self.ema = ModelEmaV3(self.model, decay=recipe.ema, use_warmup=True)
        groups = [
            dict(params=[p for n, p in self.model.named_parameters() if inside(n) and (p.ndim > 1) == heavy],
                 lr_scale=recipe.image_lr if image else 1.0, weight_decay=recipe.weight_decay if heavy else 0.0)
            for image in (True, False) for heavy in (True, False)
            for inside in [lambda name, image=image: name.startswith("visual.") == image and name != TABLE]
        ]  # fmt: skip
        groups.append(dict(params=[self.model.token_embedding.weight], lr_scale=1.0, weight_decay=0.0))
        self.optimizer = create_optimizer_v2(groups, opt="adamw", lr=recipe.lr, weight_decay=0.0)
        self.epoch, self.history, self.recipes = 0, [], []
        if (out / "checkpoint.pt").exists():
            self.resume(torch.load(out / "checkpoint.pt", map_location=device, weights_only=True))
        self.recipes = recipes(self.recipes, asdict(recipe), self.epoch, go_on)

    def resume(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history, self.recipes = state["epoch"], state["history"], state.get("recipes", [])

    def checkpoint(self) -> None:
        state = dict(
            model=self.model.state_dict(), ema=self.ema.module.state_dict(), optimizer=self.optimizer.state_dict()
        )
        passed = dict(epoch=self.epoch, history=self.history, recipes=self.recipes)
        write_atomically(self.out / "checkpoint.pt", {**state, **passed})

    def run_epoch(self, images: Tensor, labels: Tensor) -> float:
        """One pass over the images; all chance in it depends on (seed, epoch) alone. Answers the mean loss."""
        start = self.seed * 100_003 + self.epoch
        torch.manual_seed(start)
        chance, g = random.Random(start), torch.Generator(self.device).manual_seed(start)
        recipe, steps = self.recipe, len(images) // self.recipe.batch
        self.model.visual.patch_dropout.prob = (
            recipe.patch_drop if self.epoch < recipe.epochs - recipe.full_epochs else 0.0
        )
        schedule = CosineLRScheduler(
            self.optimizer, t_initial=recipe.epochs * steps, lr_min=1e-6, warmup_t=recipe.warmup * steps,
            t_in_epochs=False,
        )  # fmt: skip
        total = 0.0
        self.model.train()
        for step, rows in enumerate(torch.randperm(len(images))[: steps * recipe.batch].view(steps, -1)):
            schedule.step_update(self.epoch * steps + step)
            x = augmented(images[rows].to(self.device), recipe.crop, recipe.colour, g)
            with torch.autocast(self.device, torch.bfloat16, enabled=recipe.bf16):
                texts = text_features(self.model, self.captions.drawn(chance).to(self.device))
                logits = self.model.logit_scale.exp() * self.model.encode_image(x, normalize=True) @ texts.T
            loss = F.cross_entropy(logits.float(), labels[rows].to(self.device), label_smoothing=recipe.smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(max=4.6052)  # 100, as in CLIP
            self.ema.update(self.model, step=self.epoch * steps + step)
            total += loss.item()
            if step % 50 == 0:
                print(f"  {self.epoch} {step}/{steps} {loss.item():.3f}", flush=True)
        self.epoch += 1
        return total / steps


def export(run: Pretraining, images: int) -> None:
    """Write the averaged weights, in half precision where they are read as float32, and the record of their SHA-256."""
    used = torch.unique(open_clip.tokenize(run.captions.every()))
    state = {name: t.cpu() for name, t in run.ema.module.state_dict().items() if name != "attn_mask"}
    state[TABLE] = state[TABLE][used]
    tensors = {name: t.half().contiguous() for name, t in state.items()} | {ROWS: used}
    content = save(tensors)
    (run.out / "embedded_clip.safetensors").write_bytes(content)
    record = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "architecture": CONFIG,
        "recipe": asdict(run.recipe),
        "recipes": run.recipes,
        "images": images,
        "tokens": len(used),
        "sentences": SENTENCES,
        "val_top1": run.history[-1]["val_top1"],
        "history": run.history,
        "versions": {"torch": torch.__version__, "open_clip": open_clip.__version__},
    }
    (run.out / "embedded_clip.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded-clip"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(FLAG, action="store_true", dest="go_on")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name}", type=type(value) if not isinstance(value, bool) else lambda s: s == "true")
    args = vars(parser.parse_args())
    recipe = Recipe(**{k: v if args[k] is None else args[k] for k, v in asdict(Recipe()).items()})
    out, started = args["out"], time.time()
    out.mkdir(parents=True, exist_ok=True)
    train, val = (decoded(args["data"], split, out) for split in ("train", "val"))
    captions = Captions(json.loads((args["data"] / "classnames.json").read_text()))
    run = Pretraining(recipe, captions, out, args["device"], go_on=args["go_on"])
    if args["device"] != "cpu":
        train, val = tuple(t.to(args["device"]) for t in train), tuple(t.to(args["device"]) for t in val)
    ids = captions.judged().to(args["device"])
    while run.epoch < recipe.epochs:
        loss = run.run_epoch(*train)
        row = dict(epoch=run.epoch, loss=round(loss, 4), val_top1=round(accuracy(run.ema.module, *val, ids), 4))
        run.history.append({**row, "seconds": round(time.time() - started, 1)})
        print(json.dumps(run.history[-1]), flush=True)
        run.checkpoint()
    export(run, len(train[0]))


if __name__ == "__main__":
    main()
