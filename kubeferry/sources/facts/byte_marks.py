"""The encoding that a file names by its first bytes. What a shell of Windows writes is UTF-16. Pure."""

from __future__ import annotations

import codecs

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def marked(content: bytes) -> str | None:
    """The encoding of the byte order mark that the content begins with, by which it is decoded without the mark; None
    where it has none."""
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
