"""Whether an image file was compressed with loss, by its first bytes."""

from __future__ import annotations

HEAD = 4096
"""Bytes that `is_lossy` wants to see: the first block of a file on disk, and more than a usual colour profile."""


def is_lossy(head: bytes) -> bool:
    """Whether a file that begins with `head` is a JPEG or a lossy WebP; False for what cannot be told from it."""
    if head.startswith(b"\xff\xd8\xff"):
        return True
    if not (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        return False
    at = 12
    while kind := head[at : at + 4]:  # WebP is a list of chunks: their kind, their size, their content
        if kind in (b"VP8 ", b"ALPH", b"VP8L"):  # an extra plane of opacity comes with lossy colours alone
            return kind != b"VP8L"
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 24 if kind == b"ANMF" else 8 + size + size % 2  # a frame has its chunks after 16 bytes of its own
    return False
