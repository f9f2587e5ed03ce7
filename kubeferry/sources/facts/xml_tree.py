"""XML of a source as a tree that remembers what was read of it, so that nothing is lost without a word.

The text comes from elsewhere and is not trusted: no document type, no entities, bounded size, depth and count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from kubeferry.errors import InputInvalid, Problem

MAX_CHARACTERS = 4 << 20
MAX_ELEMENTS = 50_000
MAX_DEPTH = 256  # libvirt itself ends at chains of 200 images
MAX_NAME = 256  # of an element, with its namespace: paths are made of them

_WHOLE = re.compile(r"[0-9]{1,18}")
_YES = {"yes", "on"}
_NO = {"no", "off"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """Whose XML it is: `what` it should have been, how to get it `again`, how to get it without a `doctype`, and the
    prefix that paths use for each namespace; none for those of the elements themselves."""

    what: str
    again: str
    single: str
    doctype: str
    namespaces: dict[str, str] = field(default_factory=dict)


class Node:
    """One element. Paths are relative: `os/loader@type` is an attribute, `os/loader` a text; `.` the element itself.

    A path that leads nowhere ends in an empty node, whose values are None. Numbers that are none are collected as
    problems, so that all of them are told at once.
    """

    __slots__ = (
        "again",
        "attributes",
        "children",
        "label",
        "line",
        "present",
        "problems",
        "seen",
        "tag",
        "text",
        "where",
    )

    def __init__(
        self,
        tag: str,
        attributes: dict[str, str],
        *,
        line: int,
        where: str,
        problems: list[Problem],
        again: str,
    ) -> None:
        self.again = again
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""
        self.line = line
        self.where = where
        self.problems = problems
        self.present = True
        self.label = ""
        self.seen: set[str] = set()

    def child(self, path: str) -> Node:
        """The first element at a path."""
        here = self
        for tag in path.split("/"):
            if tag != ".":
                here = next((child for child in here.children if child.tag == tag), here._nowhere(tag))
                here.seen.add("")
        return here

    def all(self, path: str) -> list[Node]:
        """Every element at a path; its last part may be there many times."""
        parent, _, tag = path.rpartition("/")
        found = [child for child in self.child(parent or ".").children if child.tag == tag]
        for child in found:
            child.seen.add("")
        return found

    def has(self, path: str) -> bool:
        """Whether the element is there; it counts as read."""
        return self.child(path).present

    def peek(self, path: str) -> str | None:
        """A value that stays unread."""
        node, attribute = self._at(path)
        value = node.attributes.get(attribute) if attribute else node.text.strip()
        return value or None

    def value(self, path: str) -> str | None:
        """A text or attribute; None where it is missing or empty."""
        node, attribute = self._at(path)
        node.seen.add(f"@{attribute}" if attribute else "text")
        return self.peek(path)

    def word(self, path: str, known: frozenset[str] | set[str]) -> str | None:
        """A value of a closed list; one that is not on it stays unread and counts as unknown."""
        value = self.peek(path)
        return self.value(path) if value in known else None

    def flag(self, path: str) -> bool | None:
        """yes or on, no or off; anything else stays unread and counts as unknown."""
        value = self.word(path, _YES | _NO)
        return None if value is None else value in _YES

    def number(self, path: str) -> int | None:
        """A whole number, not negative."""
        value = self.value(path)
        if value is None:
            return None
        if _WHOLE.fullmatch(value):
            return int(value)
        self.refuse_value(path, f"{value[:80]!r} is not a whole number")
        return None

    def skip(self, *paths: str) -> None:
        """Count whole subtrees, or attributes, as read: they say nothing about the machine."""
        for path in paths:
            node, attribute = self._at(path)
            if attribute:
                node.seen.add(f"@{attribute}")
            else:
                node.skip_all()

    def skip_all(self) -> None:
        """Count this element and all below it as read."""
        self.seen |= {"", "text", *(f"@{name}" for name in self.attributes)}
        for child in self.children:
            child.skip_all()

    def refuse(self, what: str, fix: str) -> None:
        """Collect a problem at this element's line."""
        self.problems.append(Problem(f"{self.where}:{self.line}", what, fix))

    def unread(self) -> str | None:
        """What of this element itself was not read, as one line; None when nothing is left."""
        left = [f"{key}={value}" for key, value in self.attributes.items() if f"@{key}" not in self.seen]
        text = self.text.strip()
        if text and "text" not in self.seen:
            left.insert(0, text)
        if not left and not self.seen and not self.children:
            return "present"
        return " ".join(left) or None

    def refuse_value(self, path: str, what: str) -> None:
        """Collect a problem with the value at a path."""
        node, attribute = self._at(path)
        name = f"{node.tag}@{attribute}" if attribute else node.tag
        node.refuse(f"<{name}>: {what}", self.again)

    def _at(self, path: str) -> tuple[Node, str]:
        element, _, attribute = path.partition("@")
        return self.child(element or "."), attribute

    def _nowhere(self, tag: str) -> Node:
        node = Node(tag, {}, line=self.line, where=self.where, problems=self.problems, again=self.again)
        node.present = False
        return node


def read_tree(xml: str, where: str, dialect: Dialect, *, first_line: int = 1) -> Node:
    """The tree of a document, which begins on `first_line` of its file. Raises InputInvalid, with file and line, when
    it is malformed or not to be trusted."""
    if len(xml) > MAX_CHARACTERS:
        raise _invalid(where, f"it is longer than {MAX_CHARACTERS >> 20} Mi characters", dialect.single, dialect)
    builder = _Builder(where, dialect, first_line - 1)
    try:
        builder.parser.Parse(xml, True)
    except expat.ExpatError as broken:
        what = f"it is not well-formed XML: {expat.ErrorString(broken.code)} (column {broken.offset + 1})"
        raise _invalid(f"{where}:{builder.before + broken.lineno}", what, dialect.again, dialect) from broken
    except UnicodeEncodeError as broken:
        fix = f"{dialect.again.rstrip('.')}, in UTF-8."
        raise _invalid(where, "it has characters that are none", fix, dialect) from broken
    return builder.root


def _invalid(where: str, what: str, fix: str, dialect: Dialect) -> InputInvalid:
    return InputInvalid(f"this is not {dialect.what}", [Problem(where, what, fix)])


class _Builder:
    """Takes what expat reads and hangs it together."""

    def __init__(self, where: str, dialect: Dialect, before: int) -> None:
        self.where = where
        self.before = before
        self.dialect = dialect
        self.problems: list[Problem] = []
        self.open: list[Node] = []
        self.count = 0
        self.parser = expat.ParserCreate(namespace_separator="}")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.root = self._node("", {}, 1)

    def _node(self, tag: str, attributes: dict[str, str], line: int) -> Node:
        again = self.dialect.again
        return Node(tag, attributes, line=line, where=self.where, problems=self.problems, again=again)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if self.count > MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            what = f"it has more than {MAX_ELEMENTS} elements or is {MAX_DEPTH} deep"
            raise _invalid(self._here(), what, self.dialect.again, self.dialect)
        own = {self._short(key): value for key, value in attributes.items()}
        tag = self._short(name)
        if len(tag) > MAX_NAME:
            what = f"an element's name is longer than {MAX_NAME} characters"
            raise _invalid(self._here(), what, self.dialect.again, self.dialect)
        node = self._node(tag, own, self.before + self.parser.CurrentLineNumber)
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node
        self.open.append(node)

    def _end(self, _name: str) -> None:
        self.open.pop()

    def _text(self, text: str) -> None:
        self.open[-1].text += text

    def _doctype(self, *_declared: object) -> None:
        what = "it declares a document type, through which entities come"
        raise _invalid(self._here(), what, self.dialect.doctype, self.dialect)

    def _here(self) -> str:
        return f"{self.where}:{self.before + self.parser.CurrentLineNumber}"

    def _short(self, name: str) -> str:
        """A name with the usual prefix of its namespace; the dialect's own elements have none."""
        namespace, found, local = name.rpartition("}")
        prefix = self.dialect.namespaces.get(namespace, namespace) if found else ""
        return f"{prefix}:{local}" if prefix else local


def walk(node: Node, above: str = "") -> Iterator[tuple[str, Node]]:
    """Every element below with its path: parts that repeat are numbered, or carry the label that they were given.
    `above` is put in front."""
    total = Counter(child.tag for child in node.children)
    counted: Counter[str] = Counter()
    for child in node.children:
        counted[child.tag] += 1
        mark = child.label[:MAX_NAME] or (str(counted[child.tag]) if total[child.tag] > 1 else "")
        path = f"{above}{child.tag}[{mark}]" if mark else f"{above}{child.tag}"
        yield path, child
        yield from walk(child, f"{path}/")
