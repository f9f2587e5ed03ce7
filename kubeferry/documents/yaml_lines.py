"""Plain data back from YAML in the form that `yaml_text` writes: line by line, many times as fast as by PyYAML.

    key: value        a mapping's pairs stand at one column, what lies in a pair two columns further
    key:
    - key: value      a list stands at the column of the key that has it
      key: value

What is no plain word, whole number or simple quoted text on one line is asked of PyYAML, once for each text and depth.
Everything else (comments, flow collections, aliases, tags, blank lines between, keys that stand there twice) is
Irregular: whoever reads it that way gets no answer, never another one than PyYAML's.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

import yaml

from kubeferry.documents.yaml_read import MERGE, mark_line, parse_yaml
from kubeferry.documents.yaml_text import is_plain, simple
from kubeferry.errors import InputInvalid

DEEPEST = 60  # columns; PyYAML's reader is asked about what is nested further
LONGEST = 1000  # lines of one text
KNOWN_LINES = 16_384  # that are remembered: machines are alike

_LINE = re.compile(r"( *)(- )?(?:([A-Za-z][^#]*?):(?: (.*))?|(.*))")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_QUOTED = re.compile(r"'((?:[ -&(-~]|'')*)'")
# No line breaks but our own, and nothing that YAML does not print: PyYAML decides what is made of those.
_UNUSUAL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_WORDS: dict[str, Any] = {"null": None, "true": True, "false": False, "{}": {}, "[]": []}


class Irregular(ValueError):
    """This is no YAML in our own form. It may be right all the same."""


class _Not(Enum):
    """What a line holds instead of a value."""

    HERE = "the value stands on the lines that follow"
    PLAIN = "PyYAML has to be asked for it"


class Line(NamedTuple):
    """One line: where what it says begins, whether it begins a list's item, and the pair or the value that it holds.
    `key` is None where it holds no simple pair."""

    column: int
    dash: bool
    key: str | None
    value: Any
    text: str


@lru_cache(maxsize=KNOWN_LINES)
def look(text: str) -> Line:
    """What a line holds. Raises Irregular for signs that no line of ours has."""
    if _UNUSUAL.search(text):
        raise Irregular("a sign that is not written so")
    if not text:
        return Line(DEEPEST + 2, False, None, _Not.PLAIN, text)  # it belongs to the text before it, or to nothing
    found = _LINE.fullmatch(text)
    if found is None:
        raise Irregular(text)
    spaces, dash, key, value, alone = found.groups()
    if key is None or not simple(key):
        return Line(len(spaces), bool(dash), None, _Not.PLAIN if alone is None else _value(alone), text)
    return Line(len(spaces), bool(dash), key, _Not.HERE if value is None else _value(value), text)


def _value(text: str) -> Any:
    if is_plain(text):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        return quoted[1].replace("''", "'")
    return _Not.PLAIN


def document(text: str) -> dict[str, Any]:
    """The mapping that a text is. Raises Irregular, of most other forms at the first line."""
    if not text.endswith("\n"):
        raise Irregular("a text at the end of a file may lack its line end")
    lines = text.removesuffix("\n").split("\n")
    if look(lines[0]).key is None:
        raise Irregular(lines[0])
    return mapping([look(line) for line in lines])


def mapping(lines: list[Line]) -> dict[str, Any]:
    """The mapping that these lines are. Raises Irregular."""
    return _all(lines, *_mapping(lines, 0, 0, dashed=False))


def item(lines: list[Line]) -> dict[str, Any]:
    """The mapping that is one item of a list. Raises Irregular."""
    return _all(lines, *_mapping(lines, 0, 2, dashed=True))


def _all(lines: list[Line], found: dict[str, Any], end: int) -> dict[str, Any]:
    if end != len(lines):
        raise Irregular(lines[end].text)
    return found


def _mapping(lines: list[Line], at: int, column: int, *, dashed: bool) -> tuple[dict[str, Any], int]:
    """Pairs from a line on, as long as they stand at this column; the first one behind a dash where it is `dashed`.
    Returns where it ends, too."""
    found: dict[str, Any] = {}
    if column > DEEPEST:
        raise Irregular("nested too deep")
    while at < len(lines):
        line = lines[at]
        if line.dash is not dashed or line.column != (column - 2 if dashed else column):
            break
        key, value, end = line.key, line.value, at + 1
        if key is None or value is _Not.PLAIN:
            key, value, end = _pair(lines, at, column)
        elif value is _Not.HERE:
            value, end = _below(lines, end, column)
        elif end < len(lines) and lines[end].column > column:
            key, value, end = _pair(lines, at, column)
        if key in found:
            raise Irregular(line.text)
        found[key] = value
        at, dashed = end, False
    if not found:
        raise Irregular("no pair where a mapping is meant")
    return found, at


def _below(lines: list[Line], at: int, column: int) -> tuple[Any, int]:
    """What stands below a key at this column."""
    if at == len(lines) or not lines[at].dash:
        return _mapping(lines, at, column + 2, dashed=False)
    found: list[Any] = []
    while at < len(lines) and lines[at].dash and lines[at].column == column:
        line, end = lines[at], at + 1
        if line.key is not None:
            value, end = _mapping(lines, at, column + 2, dashed=True)
        elif line.value is _Not.PLAIN or (end < len(lines) and lines[end].column > column):
            value, end = _alone(lines, at, column)
        else:
            value = line.value
        found.append(value)
        at = end
    if not found:
        raise Irregular(lines[at].text)
    return found, at


def _pair(lines: list[Line], at: int, column: int) -> tuple[str, Any, int]:
    """A pair, by PyYAML."""
    content, end = _by_pyyaml(lines, at, column, " " * column + lines[at].text[column:])
    if not isinstance(content, dict) or len(content) != 1:
        raise Irregular(lines[at].text)
    ((key, value),) = content.items()
    if not isinstance(key, str) or not _is_flat(value):
        raise Irregular(lines[at].text)
    return key, value, end


def _alone(lines: list[Line], at: int, column: int) -> tuple[Any, int]:
    """An item that is no mapping, by PyYAML."""
    content, end = _by_pyyaml(lines, at, column, lines[at].text)
    if not isinstance(content, list) or len(content) != 1 or not _is_flat(content[0]):
        raise Irregular(lines[at].text)
    return content[0], end


def _by_pyyaml(lines: list[Line], at: int, column: int, first: str) -> tuple[Any, int]:
    """A line, which is looked at as `first`, and all that belongs to it, by PyYAML."""
    end = at + 1
    while end < len(lines) and lines[end].column > column:
        end += 1
    if end - at > LONGEST:
        raise Irregular("that is more than one text")
    return _asked("".join(f"{text}\n" for text in (first, *(line.text for line in lines[at + 1 : end])))), end


@lru_cache(maxsize=KNOWN_LINES)
def _asked(text: str) -> Any:
    if MERGE in text:
        raise Irregular("a mapping may be merged into another one")
    try:
        content, _ = parse_yaml(text, "")
    except InputInvalid as error:
        raise Irregular(str(error)) from error
    events = list(yaml.parse(text, Loader=yaml.CSafeLoader))
    if any(getattr(event, "anchor", None) for event in events):
        raise Irregular("elsewhere the same anchor may stand again, which is refused")
    if not any(map(_begins_a_block, events)):
        raise Irregular("among other lines it would be something else than alone")
    return content


def _begins_a_block(event: yaml.Event) -> bool:
    """Whether a mapping or list begins so on the first line, in block style: neither braces, a comment above nor the
    mark of a document makes a pair."""
    blocks = isinstance(event, yaml.CollectionStartEvent) and not event.flow_style
    return blocks and mark_line(event.start_mark) == 1


def _is_flat(value: Any) -> bool:
    """Whether it is a text or a number, or a list of those: nothing in it can stand there twice, or be nested."""
    return all(isinstance(one, (str, int, float)) for one in (value if isinstance(value, list) else [value]))
