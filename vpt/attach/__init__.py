"""How prompts meet a site, and how they part again without a trace."""

from vpt.attach import trunk
from vpt.attach.adapters import attach_adapters, original_name
from vpt.attach.attachment import Attachment, check_free
from vpt.attach.choose import choose
from vpt.attach.fused import Fused
from vpt.attach.fused import attach as attach_fused
from vpt.attach.hooks import attach
from vpt.attach.observe import patch_tokens

__all__ = [
    "Attachment",
    "Fused",
    "attach",
    "attach_adapters",
    "attach_fused",
    "check_free",
    "choose",
    "original_name",
    "patch_tokens",
    "trunk",
]
