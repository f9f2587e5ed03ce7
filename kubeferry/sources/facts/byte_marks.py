"""The encoding that a file names by its first bytes, or that an XML declares, and bytes that are no text in it. Pure.

What a shell of Windows writes is UTF-16.
"""

from __future__ import annotations

import codecs
import re

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

_UNMARKED = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding=[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Of letters and nothing else: Python knows others, that pack or escape.
_LETTERS = re.compile(
    r"utf-?(8|8-sig|16|16-?[bl]e)|(us-)?ascii|(iso-?)?8859-\d{1,2}|(windows-|cp)\d{3,4}|koi8-[ru]|gb(k|2312|18030)|big5"
    r"|shift_jis|euc-(jp|kr)"
)


def marked(content: bytes) -> str | None:
    """The encoding of the byte order mark that the content begins with, by which it is decoded without the mark; None
    where it has none."""
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)


def of_xml(content: bytes) -> str:
    """The encoding of an XML's bytes: by their mark or its first letter, else as it declares, in small letters; it may
    be one that is not `known`."""
    if (found := marked(content) or _UNMARKED.get(content[:2])) is not None:
        return found
    declared = _DECLARED.match(content)
    name = declared[1].decode().lower() if declared else "utf-8"
    return "utf-8" if name.startswith("utf-16") else name  # it would not have been found in that


def known(encoding: str) -> bool:
    """Whether text can be in that encoding, and is read."""
    try:
        return _LETTERS.fullmatch(encoding) is not None and bool(codecs.lookup(encoding))
    except LookupError:
        return False


def no_text(error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that cannot be decoded, in words. Places are counted from 0."""
    encoding = error.encoding.upper().removesuffix("-LE").removesuffix("-BE")
    if error.end >= len(error.object):
        return f"it ends in the middle of a character of {encoding}, as a file does that was not written to its end"
    return f"it is no text in {encoding}: its byte {error.start} (0x{error.object[error.start]:02x}) is part of none"
