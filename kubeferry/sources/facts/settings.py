"""Settings of one level, a key and a value each, that remember what was read of them. Pure.

Like `xml_tree` for files that are no XML: what nobody read is told in the end, by its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubeferry.errors import Problem
from kubeferry.model import SourceFact
from kubeferry.sources.facts.leftovers import HIDDEN, cut, shown

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_YES = {"true", "yes", "on", "1"}
_NO = {"false", "no", "off", "0"}


class Settings:
    """Keys are found whatever their letters, and told as they are spelled. `where` names the file in problems, `again`
    is what to do about one. Numbers that are none, and keys with two values, are collected, to be told at once."""

    def __init__(self, where: str, again: str) -> None:
        self.problems: list[Problem] = []
        self._where = where
        self._again = again
        self._told: dict[str, tuple[str, str, int]] = {}
        self._seen: set[str] = set()

    def add(self, key: str, value: str, line: int) -> None:
        """One setting of the file. The same one twice is nothing; with another value nobody knows which one is so."""
        first = self._told.setdefault(key.lower(), (key, value, line))
        if first[1] != value:
            what = f"{key[:80]} is told twice, and otherwise on line {first[2]}"
            self.refuse(what, f"Remove the line that is not so. {self._again}", line)

    def __iter__(self) -> Iterator[str]:
        """All keys in small letters, in the order of the file."""
        yield from self._told

    def peek(self, key: str) -> str | None:
        """A value that stays unread; None where it is missing or empty."""
        found = self._told.get(key.lower())
        return (found[1].strip() or None) if found else None

    def value(self, key: str) -> str | None:
        """A value; None where it is missing or empty."""
        self._seen.add(key.lower())
        return self.peek(key)

    def flag(self, key: str) -> bool | None:
        """Yes or no in any of its words; anything else stays unread and counts as unknown."""
        told = (self.peek(key) or "").lower()
        if told not in _YES | _NO:
            return None
        self.value(key)
        return told in _YES

    def number(self, key: str) -> int | None:
        """A whole number, not negative."""
        told = self.value(key)
        if told is None or _WHOLE.fullmatch(told):
            return None if told is None else int(told)
        self.refuse(f"{key[:80]} is {told[:80]!r}, which is no whole number", self._again, self._told[key.lower()][2])
        return None

    def refuse(self, what: str, fix: str, line: int | None = None) -> None:
        """Collect a problem, with its line where it has one."""
        self.problems.append(Problem(self._where if line is None else f"{self._where}:{line}", what, fix))

    def left(self, secret: re.Pattern[str] | None = None) -> list[SourceFact]:
        """What nobody read, under its key; without what looks like a secret, or has a key like `secret`."""
        return [
            SourceFact(path=cut(key), value=HIDDEN if secret and secret.search(key) else shown(key, value))
            for name, (key, value, _) in self._told.items()
            if name not in self._seen
        ]
