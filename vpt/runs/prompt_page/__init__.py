"""What a learned prompt says, as one self-contained HTML page."""

from vpt.runs.prompt_page.page import prompt_page
from vpt.runs.prompt_page.provenance import provenance

__all__ = ["prompt_page", "provenance"]
