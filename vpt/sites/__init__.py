"""Where: what a backbone must tell before prompts can enter it; one file per backbone family."""

from vpt.sites.clip_text import is_open_clip, text_site
from vpt.sites.clip_text_site import TextSite
from vpt.sites.find import find
from vpt.sites.fingerprint import fingerprint
from vpt.sites.site import Site

__all__ = ["Site", "TextSite", "find", "fingerprint", "is_open_clip", "text_site"]
