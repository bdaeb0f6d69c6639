"""Marks for tests of what an extra brings."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs Hugging Face peft: pip install 'vpt[peft]'")
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs ONNX: pip install 'vpt[export]'",
)
needs_serve = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client")),
    reason="needs a server: pip install 'vpt[serve]'",
)
