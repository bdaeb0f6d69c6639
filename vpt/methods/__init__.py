"""What is learned, by name. A new method is one file in this folder with one function under `@method`."""

from vpt.methods.clip import TunedClip
from vpt.methods.method import Learned, Method, describe, method, names
from vpt.methods.tune import tune
from vpt.methods.tuned import Tuned

__all__ = ["Learned", "Method", "Tuned", "TunedClip", "describe", "method", "names", "tune"]
