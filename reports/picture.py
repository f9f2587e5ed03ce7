"""Screenshots for the page: embedded only if they are small, whole PNGs; pure."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

DATA_URI = "data:image/png;base64,"
LIMIT_BYTES = 3 * 1024 * 1024
LIMIT_CHARACTERS = len(DATA_URI) + LIMIT_BYTES // 3 * 4
LIMIT_PIXELS = 16 * 1024 * 1024
_HEAD = struct.Struct(">8s4x4sII")
_TAIL = b"IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG as a data URI, and its size in pixels."""

    data_uri: str
    width: int
    height: int


def shown(told: str | None) -> str | None:
    """A picture as it was told; it is kept whole or not at all."""
    if not told or not told.startswith(DATA_URI) or len(told) > LIMIT_CHARACTERS:
        return None
    return told if told.isascii() and told.isprintable() else None


def embed(screenshot: str | None) -> Picture | None:
    """The picture of a PNG data URI; None for what is none, no PNG, cut off, or too large to embed."""
    if not screenshot or not screenshot.startswith(DATA_URI) or len(screenshot) > LIMIT_CHARACTERS:
        return None
    try:
        content = base64.b64decode(screenshot.removeprefix(DATA_URI), validate=True)
    except ValueError:  # of base64, or of text that is not ASCII
        return None
    if len(content) < _HEAD.size or not content.endswith(_TAIL):
        return None
    magic, chunk, width, height = _HEAD.unpack_from(content)
    if magic != b"\x89PNG\r\n\x1a\n" or chunk != b"IHDR" or not 0 < width * height <= LIMIT_PIXELS:
        return None
    return Picture(screenshot, width, height)
