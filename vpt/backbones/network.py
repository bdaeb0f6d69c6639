"""Whether something can be fetched at all: asked once, and answered within seconds."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

PROBE_SECONDS = 5.0


def hub() -> str:
    """The address of the Hugging Face hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def out_of_reach(host: str) -> str | None:
    """Why nothing can be fetched from `host`, or None where it answers."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        return "HF_HUB_OFFLINE is set"
    try:
        urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return None  # it answered
    except (OSError, ValueError) as error:
        return f"{host} does not answer: {getattr(error, 'reason', error)}"
    return None
