"""The text of a VMX: lines of `key = "value"`, in the encoding that one of them names. Its VMSD is written alike. Pure.

Facts of VMware's products: keys count whatever their letters, `|22` in a value is a quotation mark, a key must not be
there twice.
"""

from __future__ import annotations

import re

from kubeferry.errors import InputInvalid, Problem
from kubeferry.images.vmdk.descriptor import codec_of
from kubeferry.model import SourceFact
from kubeferry.sources.facts.byte_marks import marked, no_text
from kubeferry.sources.facts.leftovers import shown
from kubeferry.sources.facts.settings import Settings

LIMIT_BYTES = 4 << 20
LIMIT_LINES = 20_000
NOTED_LINES = 20  # of those that are no settings
AGAIN = "Correct it, or copy the file again from where the machine ran."
_ENCODING = re.compile(rb"^[ \t]*\.encoding[ \t]*=[ \t]*\"?([^\"\r\n]{1,40})", re.IGNORECASE | re.MULTILINE)
_ESCAPED = re.compile(r"(?:\|[0-9A-Fa-f]{2})+")


def read_dictionary(content: bytes, where: str) -> tuple[Settings, list[SourceFact]]:
    """The settings of a file, and a fact for each line that is none. Raises InputInvalid where its letters cannot be
    told, or it has too many lines."""
    codec = _codec(content, where)
    lines = _text(content, codec, where).split("\n")
    if len(lines) > LIMIT_LINES:
        problem = Problem(where, f"it has {len(lines)} lines, at most {LIMIT_LINES} are read", AGAIN)
        raise InputInvalid(f"{where} cannot be read", [problem])
    settings, odd = Settings(where, AGAIN), []
    for number, line in enumerate(lines, 1):
        plain = line.strip(" \t\r\0")
        if not plain or plain.startswith("#"):
            continue
        if (found := _setting(plain)) is None:
            path = f"line[{number}]"
            odd.append(SourceFact(path=path, value=shown(path, plain)))
        else:
            settings.add(found[0], _unescaped(found[1], "utf-8" if codec.startswith("utf") else codec), number)
    more = [SourceFact(path="line[…]", value=f"{len(odd) - NOTED_LINES} more")] if len(odd) > NOTED_LINES else []
    return settings, [*odd[:NOTED_LINES], *more]


def _text(content: bytes, codec: str, where: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = no_text(error)
        fix = 'Write its encoding into its first line: `.encoding = "windows-1252"`, or which it is.'
        raise InputInvalid(f"{where} cannot be read", [Problem(f"{where}:{line}", what, fix)]) from error


def _codec(content: bytes, where: str) -> str:
    """By its first bytes, else as it says itself; where nothing is said, it has to be UTF-8."""
    if (mark := marked(content)) is not None:
        return mark
    told = _ENCODING.search(content)
    if told is None:
        return "utf-8"
    name = told[1].decode(errors="replace").strip()
    if (codec := codec_of(name)) is None:
        what = f"its encoding {name!r} is not known"
        problem = Problem(where, what, "Save it as UTF-8, and say so in its line `.encoding`.")
        raise InputInvalid(f"{where} cannot be read", [problem])
    return codec


def _setting(line: str) -> tuple[str, str] | None:
    """Key and value; None for a line that is no setting, such as one that is cut off."""
    key, found, told = (part.strip() for part in line.partition("="))
    if not found or not key or '"' in key or len(key.split()) > 1:
        return None
    if not told.startswith('"'):
        value = told.partition("#")[0].strip()
        return None if '"' in value else (key, value)
    value, closed, rest = told[1:].partition('"')
    return (key, value) if closed and (not rest.strip() or rest.lstrip().startswith("#")) else None


def _unescaped(value: str, codec: str) -> str:
    """A value with the characters that stand for themselves nowhere."""

    def letters(found: re.Match[str]) -> str:
        try:
            return bytes.fromhex(found[0].replace("|", "")).decode(codec)
        except UnicodeDecodeError:
            return found[0]

    return _ESCAPED.sub(letters, value)
