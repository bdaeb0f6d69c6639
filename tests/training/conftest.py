import multiprocessing
import os
import sys

import pytest

from . import tiny


@pytest.fixture(scope="session")
def server():
    """Children fork from a clean process that has imported everything, so that each starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accelerate", "sklearn.metrics", "timm", "torch.distributed.run", tiny.__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the server imports before it is told our path
        context.Process(target=int).start()
    return context
