"""Domains after each other in one text, as a loop over `virsh dumpxml` writes them, or in one element around all. Pure.

Where a root element ends the next text begins; where one does not end, at the next line that begins like a domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat

from kubeferry.sources.facts.xml_tree import MAX_DEPTH, MAX_ELEMENTS

MAX_TEXTS = 5000
_CHUNK = 16 << 10
_TIMES = 8  # so often, on the whole, is a text parsed to find the ends in it
# Nothing in these is looked at twice: the text is not trusted.
_COMMENT = r"<!--(?:(?!-->).){0,4000}+-->"
_DECLARATION = r"<\?xml[^>]{0,200}\?>"
_PROLOG = rf"\s*+(?:{_DECLARATION})?(?:\s++|{_COMMENT})*+"
_BEFORE = re.compile(_PROLOG.encode(), re.DOTALL)
_WRAPPED = re.compile(rf"{_PROLOG}<(?P<name>\w{{1,40}})>(?={_PROLOG}<domain[\s>])", re.DOTALL)
_START = re.compile(rb"^<(?:\?xml\s|domain[\s>])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Text:
    """One of several, and the line of the file on which it begins."""

    content: str
    line: int


def apart(text: str) -> list[Text]:
    """The texts in a text: itself where it is one, well-formed or not. All that comes after MAX_TEXTS is one more."""
    data = (inside := _unwrapped(text)).encode()
    ends = list(_ends(data))
    if len(ends) < 2 and inside is text:
        return [Text(text, 1)]
    found, at, line = [], 0, 1
    for end in ends:
        begin = at + len(data[at:end]) - len(data[at:end].lstrip())
        line += data.count(b"\n", at, begin)
        found.append(Text(data[begin:end].decode(), line))
        line += data.count(b"\n", begin, end)
        at = end
    return found


def _unwrapped(text: str) -> str:
    """Without the element around all domains; spaces stand for it."""
    if (found := _WRAPPED.match(text)) is None:
        return text
    inside, closing, after = text[found.end() :].rpartition(f"</{found['name']}>")
    lines = "\n" * text.count("\n", 0, found.end())
    return lines + (inside + after if closing else after)


def _ends(data: bytes) -> Iterator[int]:
    """Where each text ends, the last one's last."""
    at, rest, parsed = 0, len(data.rstrip()), 0
    for _ in range(MAX_TEXTS):
        end, seen = _end_of_root(data, at)
        parsed += seen
        at = end or _next_start(data, at)
        if at >= rest or parsed > _TIMES * len(data):
            break
        yield at
    yield len(data)


def _end_of_root(data: bytes, at: int) -> tuple[int | None, int]:
    """Where what is no part of the document begins that begins here, None where the document is not well-formed; and
    how many bytes were looked at."""
    parser = expat.ParserCreate("utf-8")
    depth, count, ended = 0, 0, False

    def start(_name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > MAX_DEPTH or count > MAX_ELEMENTS:  # no tree is made of it, either
            raise ValueError

    def end(_name: str) -> None:
        nonlocal depth, ended
        depth -= 1
        ended = depth == 0

    def doctype(*_declared: object) -> None:  # through which entities come
        raise ValueError

    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    try:
        for place in range(at, len(data), _CHUNK):
            parser.Parse(data[place : place + _CHUNK], False)
    except expat.ExpatError:
        return (at + parser.ErrorByteIndex if ended else None), parser.ErrorByteIndex
    except ValueError:
        return None, parser.CurrentByteIndex
    return (len(data) if ended else None), len(data) - at


def _next_start(data: bytes, at: int) -> int:
    """Where the next document may begin: at a line's begin, behind the start of the one that begins here."""
    before = _BEFORE.match(data, at)
    found = _START.search(data, (before.end() if before else at) + 1)
    if found and before and data.startswith(b"<!DOCTYPE", before.end()):  # its own root
        found = _START.search(data, found.end())
    return found.start() if found else len(data)
