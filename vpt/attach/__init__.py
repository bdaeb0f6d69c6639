"""How prompts meet a site, and how they part again without a trace."""

from vpt.attach.attachment import Attachment
from vpt.attach.choose import choose
from vpt.attach.hooks import attach
from vpt.attach.observe import patch_tokens

__all__ = ["Attachment", "attach", "choose", "patch_tokens"]
