"""`PromptClassifier`: fit on labelled images, predict others, as every classifier of scikit-learn does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from torch import nn

from vpt.backbones import Tokenizer
from vpt.data import ImageDataset, ImageSet, Preprocessing
from vpt.data.for_methods import image_options
from vpt.errors import OptionError, nearest
from vpt.estimator.backbone import borrowed
from vpt.estimator.images import are_pictures, kept, pictures, rows_as_images
from vpt.estimator.task import attached, files_of, write_task
from vpt.methods import Tuned, TunedClip, describe, tune
from vpt.methods.method import Family, families
from vpt.sites.clip_text import is_open_clip
from vpt.training import FitConfig, fit, predict
from vpt.training.devices import accelerator_for

SETTLED = ("classnames", "num_classes", "seed", "tokenizer")
"""Arguments of `vpt.tune` that labels and parameters decide."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A method of visual prompt tuning on a frozen backbone, as a classifier of scikit-learn.

    Images X are paths, Pillow images or arrays of any sizes, one by one; or an array `[n, H, W]` or `[n, H, W, 3]`; or
    a table `[n, F]` whose rows are images of `image_shape`. Labels y `[n]` are of any kind; an open_clip model reads
    them as the names of the classes.

    Parameters
    ----------
    backbone: a name that `vpt backbones` lists, or a stock timm or open_clip model. All estimators of a process share
        the one of a name. A model is used as it is and given back unchanged; `clone` copies it, as it does with all.
    method: a name from `vpt.methods.names()`.
    options: further arguments of `vpt.tune`: the method's options, `path`, `head_init`.
    epochs, batch_size, lr, weight_decay: see `vpt.FitConfig`, whose other fields `fit_options` may give.
    augment: a key of `vpt.data.augment.PRESETS`, for training alone.
    checkpoint: a file with the weights of a backbone that is given by name.
    tokenizer: of an open_clip model, as for `vpt.tune`; None is the one of its name, else CLIP's own.
    image_shape: (H, W) or (H, W, 3), the image that is a row of a table; one of them may be -1, as in NumPy.
    value_range: (black, white), the numbers that stand for these; None takes `uint8` alone, as it is.
    random_state: a whole number from 0, the seed of all that is drawn. The global generators are left as they are.
    verbose: whether training shows its progress on standard error.

    Attributes
    ----------
    classes_: `[C]`, the labels in order. history_: a row of metrics per epoch.
    task_: the files of the saved task, by name; they alone are pickled besides the parameters.
    n_features_in_, feature_names_in_: of tables, as scikit-learn has them.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "embedded",
        method: str = "deep",
        *,
        options: Mapping[str, Any] | None = None,
        epochs: int = 100,
        batch_size: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        augment: str = "none",
        fit_options: Mapping[str, Any] | None = None,
        checkpoint: Path | str | None = None,
        tokenizer: Tokenizer | None = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.backbone = backbone
        self.method = method
        self.options = options
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.augment = augment
        self.fit_options = fit_options
        self.checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.image_shape = image_shape
        self.value_range = value_range
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.image_shape is not None
        tags.input_tags.three_d_array = True
        return tags

    # --- learning -----------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any) -> PromptClassifier:  # noqa: N803 - as scikit-learn calls it
        """Learn from images X `[n]` with labels y `[n]`; every image is decoded once before the first step.

        Raises `OptionError` for wrong parameters, `DataError` for images that cannot be used, and what `vpt.tune` and
        `vpt.fit` raise; of tables and labels ValueError and TypeError, as scikit-learn does. What an earlier call
        learned is then kept.
        """
        learner = copy.copy(self)
        learner._learn(X, y)
        self.__dict__ = learner.__dict__
        return self

    def _learn(self, X: Any, y: Any) -> None:  # noqa: N803
        """`fit`, where an error leaves half of what is to be learned."""
        self.__dict__.pop("n_features_in_", None)  # of an earlier table
        config = self._config()
        labels = validate_data(self, y=y)
        check_classification_targets(labels)
        classes, numbers = np.unique(labels, return_inverse=True)
        names = [str(label) for label in classes]
        images = self._images(X, names, numbers)
        images.verify()
        device = accelerator_for(config.precision).device
        with borrowed(self.backbone, self.checkpoint, device) as (backbone, tokenizer):
            model = self._tuned(backbone, images, self.tokenizer or tokenizer, config.seed)
            try:
                history = self._train(model, images, config)
                task = files_of(model, classes=names, provenance=self._provenance(config))
            finally:
                model.detach()
        self.classes_, self.history_, self.task_ = classes, history, task

    def _config(self) -> FitConfig:
        own = {name: getattr(self, name) for name in ("epochs", "batch_size", "lr", "weight_decay")}
        own["seed"] = self.random_state
        further, accepted = _mapping(self, "fit_options"), [f.name for f in fields(FitConfig) if f.name not in own]
        if wrong := [f"{name!r}{nearest(str(name), accepted)}" for name in further if name not in accepted]:
            raise OptionError(f"fit_options has {', '.join(wrong)}; accepted: {', '.join(accepted)}")
        given = {**own, **further}  # from a grid they come as NumPy's numbers
        config = FitConfig(**{k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()})
        config.validate()
        return config

    def _tuned(
        self, backbone: nn.Module, images: ImageSet, tokenizer: Tokenizer | None, seed: int
    ) -> Tuned | TunedClip:
        options, names, clip = _mapping(self, "options"), list(images.classes), is_open_clip(backbone)
        if settled := [name for name in SETTLED if name in options]:
            raise OptionError(f"options has {', '.join(settled)}, which labels and other parameters decide")
        family: Family = "open_clip" if clip else "timm"
        if family in families(self.method):  # else `tune` says what is wrong
            method, preprocessing = describe(self.method, family), Preprocessing.of(backbone)
            options = image_options(method, options, backbone, preprocessing, train=images, kept=images) | options
        options |= {"classnames": names} if clip else {"num_classes": len(names)}
        model: Tuned | TunedClip = tune(backbone, self.method, seed=seed, tokenizer=tokenizer, **options)
        return model

    def _train(self, model: Tuned | TunedClip, images: ImageSet, config: FitConfig) -> list[dict[str, Any]]:
        dataset = ImageDataset(images, Preprocessing.of(model), augment=self.augment, seed=config.seed)
        return fit(model, dataset, config=config, quiet=not self.verbose).history if model.trainable() else []

    def _provenance(self, config: FitConfig) -> dict[str, Any]:
        """What a saved task says of its making, in the words of `vpt train`, whose readers then know its backbone."""
        named = {"name": self.backbone, "checkpoint": self.checkpoint}
        return {"train": config.to_dict(), **({"backbone": named} if isinstance(self.backbone, str) else {})}

    # --- answering ----------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities `[n, C]` of images X, in the order of `classes_`.

        The task is put on its backbone for the length of the call: many images in one call are the fast way.
        Raises as `fit` does for images, `BackboneMismatch` for another backbone than at `fit`, and scikit-learn's
        `NotFittedError`.
        """
        check_is_fitted(self)
        images, config = self._images(X, [str(label) for label in self.classes_]), self._config()
        images.verify()
        device = accelerator_for(config.precision).device
        with (
            borrowed(self.backbone, self.checkpoint, device) as (backbone, tokenizer),
            attached(backbone, self.task_, self.tokenizer or tokenizer) as model,
        ):
            dataset = ImageDataset(images, Preprocessing.of(model))
            logits, _ = predict(model, dataset, batch_size=config.batch_size, workers=config.workers)
        found: NDArray[np.float64] = torch.from_numpy(logits).softmax(1).numpy()
        return found

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likeliest label of each image, `[n]`; raises as `predict_proba`."""
        likeliest = self.predict_proba(X).argmax(1)
        chosen: NDArray[Any] = self.classes_[likeliest]
        return chosen

    def save(self, folder: Path | str) -> Path:
        """Write what was learned into `folder`, as `vpt.save` does, and answer with it."""
        check_is_fitted(self)
        return write_task(self.task_, Path(folder))

    def _images(self, given: Any, classes: list[str], numbers: NDArray[np.int64] | None = None) -> ImageSet:
        """X with labels where it is to be learned from."""
        given, fitting = kept(given), numbers is not None
        if not are_pictures(given):
            given = rows_as_images(validate_data(self, given, reset=fitting), self.image_shape)
        found = pictures(given, self.value_range)
        labels = np.zeros(len(found), np.int64) if numbers is None else numbers
        check_consistent_length(found, labels)
        return ImageSet("X", classes, labels, found, "estimator")


def _mapping(estimator: PromptClassifier, name: str) -> dict[str, Any]:
    """A parameter that is a dict or None. Raises `OptionError` for others."""
    given = getattr(estimator, name)
    if not (given is None or isinstance(given, Mapping)):
        raise OptionError(f"{name} is {given!r}; accepted: a dict, or None")
    return dict(given or {})
