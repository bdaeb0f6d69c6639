"""Visual prompt tuning as a scikit-learn classifier."""

from __future__ import annotations

from vpt.estimator.classifier import PromptClassifier

__all__ = ["PromptClassifier"]
