"""Marks for tests of what an extra brings."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs Hugging Face peft: pip install 'vpt[peft]'")
