"""Tasks inside the package: one real (handwritten digits), three rendered from seeds in the spirit of dSprites."""

from vpt.data.embedded.tasks import TASKS

__all__ = ["TASKS"]
