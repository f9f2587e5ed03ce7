"""The encoding that a file names by its first bytes, and bytes that are no text in it. Pure.

What a shell of Windows writes is UTF-16.
"""

from __future__ import annotations

import codecs

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def marked(content: bytes) -> str | None:
    """The encoding of the byte order mark that the content begins with, by which it is decoded without the mark; None
    where it has none."""
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)


def no_text(error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that cannot be decoded, in words. Places are counted from 0."""
    encoding = error.encoding.upper().removesuffix("-LE").removesuffix("-BE")
    if error.end >= len(error.object):
        return f"it ends in the middle of a character of {encoding}, as a file does that was not written to its end"
    return f"it is no text in {encoding}: its byte {error.start} (0x{error.object[error.start]:02x}) is part of none"
