"""vpt: visual prompt tuning for frozen timm models. A task is a file of kilobytes."""

from vpt import errors, methods, prompts, sites
from vpt.methods import Tuned, tune

__all__ = ["Tuned", "errors", "methods", "prompts", "sites", "tune"]
