"""A tuned model for where vpt is not installed: by `torch.export`, as ONNX, or as a plain timm model."""

from vpt.export.onnx import to_onnx
from vpt.export.program import to_program
from vpt.export.timm_model import to_timm

__all__ = ["to_onnx", "to_program", "to_timm"]
