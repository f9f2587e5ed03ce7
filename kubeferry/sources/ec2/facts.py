"""An answer of the API as facts that remember which of them were read, so that nothing is lost without a word.

It may come from a file and is not trusted: a value of the wrong kind counts as not told, sizes are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeferry.model import SourceFact

TEXT_LIMIT = 1000
DEPTH_LIMIT = 6
_IDS = ("Key", "GroupId", "DeviceName", "NetworkInterfaceId", "AssociationId", "Name", "PrivateIpAddress", "Id")


class Facts:
    """One object. What is missing, empty or of another kind is None, or an empty one."""

    def __init__(self, content: object) -> None:
        self._content: dict[str, Any] = content if isinstance(content, dict) else {}
        self._seen: set[str] = set()
        self._children: dict[str, list[Facts]] = {}

    def __bool__(self) -> bool:
        return bool(self._content)

    def text(self, key: str) -> str | None:
        self._seen.add(key)
        value = self._content.get(key)
        return value[:TEXT_LIMIT] if isinstance(value, str) and value else None

    def number(self, key: str) -> int | None:
        """A whole number that is not negative."""
        self._seen.add(key)
        value = self._content.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
        return value if whole else None

    def flag(self, key: str) -> bool | None:
        self._seen.add(key)
        value = self._content.get(key)
        return value if isinstance(value, bool) else None

    def words(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        self._seen.add(key)
        value = self._content.get(key)
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()

    def child(self, key: str) -> Facts:
        return self._held(key, [self._content.get(key)])[0]

    def all(self, key: str) -> list[Facts]:
        value = self._content.get(key)
        return self._held(key, value if isinstance(value, list) else [])

    def skip(self, *keys: str) -> None:
        """These say nothing of the machine itself."""
        self._seen.update(keys)

    def _held(self, key: str, values: list[object]) -> list[Facts]:
        if key not in self._children:
            self._children[key] = [Facts(value) for value in values]
            self._seen.add(key)
        return self._children[key]

    def left(self, path: str) -> Iterator[SourceFact]:
        """What nobody has read."""
        for key in sorted(self._content):
            place = f"{path}/{key}"
            if key not in self._seen:
                yield from flattened(place, self._content[key])
            held = self._children.get(key, [])
            for position, one in enumerate(held):
                yield from one.left(place if len(held) == 1 else f"{place}[{position}]")


def flattened(path: str, value: object, depth: int = 0) -> Iterator[SourceFact]:
    """A value as facts: one a leaf. What is empty is none."""
    if value in (None, "", [], {}) or depth > DEPTH_LIMIT:
        return
    if isinstance(value, dict):
        for key in sorted(map(str, value)):
            yield from flattened(f"{path}/{key}", value.get(key), depth + 1)
    elif isinstance(value, list) and all(isinstance(one, (str, int)) for one in value):
        yield SourceFact(path=path, value=", ".join(map(str, value))[:TEXT_LIMIT])
    elif isinstance(value, list):
        for position, one in enumerate(value):
            name = next((one[key] for key in _IDS if isinstance(one, dict) and one.get(key)), position)
            yield from flattened(f"{path}[{name}]", one, depth + 1)
    else:
        text = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else str(value)
        yield SourceFact(path=path, value=(text or "")[:TEXT_LIMIT])
