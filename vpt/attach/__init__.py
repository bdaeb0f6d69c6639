"""How prompts meet a site, and how they part again without a trace."""

from vpt.attach import trunk
from vpt.attach.attachment import Attachment
from vpt.attach.choose import choose
from vpt.attach.fused import Fused
from vpt.attach.fused import attach as attach_fused
from vpt.attach.hooks import attach
from vpt.attach.observe import patch_tokens

__all__ = ["Attachment", "Fused", "attach", "attach_fused", "choose", "patch_tokens", "trunk"]
