"""Plain data as YAML, byte for byte as PyYAML writes it in block style, without asking it for each line.

A line that is the same in every YAML is put together here; what needs quotes, folds or another form is asked of PyYAML,
once for each text and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import yaml

WIDTH = 120

# Begins with a letter, so that it is no number and no indicator; nothing in it ends a plain scalar.
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./()+,;='-]|:(?=[A-Za-z0-9_./()+,;='-])| (?=[A-Za-z0-9_./()+,;='-]))*")
# What is, or was, no string, in any case.
_WORDS = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])
_LONGEST_KEY = 100


def to_yaml(content: Any) -> str:
    """Plain data as YAML, in its own order."""
    return "".join(pieces(content))


def pieces(content: Any) -> Iterator[str]:
    """The same, in pieces of whole lines."""
    if not content or not isinstance(content, dict):
        yield _by_pyyaml(content)
        return
    for key, value in content.items():
        if isinstance(value, list) and value and simple(key):
            yield f"{key}:\n"
            for one in value:
                yield "".join(f"{line}\n" for line in _item(one, 0))
        else:
            yield "".join(f"{line}\n" for line in _pair(key, value, 0))


def _pair(key: Any, value: Any, depth: int) -> Iterator[str]:
    """A key with its value, at so many columns."""
    if not simple(key):
        yield from _nested({key: value}, depth)
    elif isinstance(value, dict) and value:
        yield f"{' ' * depth}{key}:"
        for inner, one in value.items():
            yield from _pair(inner, one, depth + 2)
    elif isinstance(value, list) and value:
        yield f"{' ' * depth}{key}:"
        for one in value:
            yield from _item(one, depth)
    elif (text := _on_one_line(value, depth + len(key) + 2)) is not None:
        yield f"{' ' * depth}{key}: {text}"
    elif isinstance(value, str):
        yield from _folded_pair(key, value, depth)
    else:
        yield from _nested({key: value}, depth)


def _item(value: Any, depth: int) -> Iterator[str]:
    """One item of a list, at so many columns."""
    if isinstance(value, dict) and value:
        dash = True
        for key, one in value.items():
            for line in _pair(key, one, depth + 2):
                yield f"{line[:depth]}- {line[depth + 2 :]}" if dash else line
                dash = False
    elif (text := _on_one_line(value, depth + 2)) is not None:
        yield f"{' ' * depth}- {text}"
    else:
        yield from _nested([value], depth)


def _on_one_line(value: Any, column: int) -> str | None:
    """A value in the form that it has everywhere; None where PyYAML has to be asked."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value if column + len(value) <= WIDTH and is_plain(value) else None
    return {"{}": "{}", "[]": "[]"}.get(repr(value))


def is_plain(text: str) -> bool:
    """Whether a text stands on one line as it is, and is a text in every YAML."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


def simple(key: Any) -> bool:
    """Whether it is a key that stands on its line, as a string."""
    return isinstance(key, str) and len(key) <= _LONGEST_KEY and is_plain(key)


@lru_cache(maxsize=50_000)  # reasons and rules say the same of each machine
def _folded_pair(key: str, text: str, depth: int) -> tuple[str, ...]:
    return tuple(_nested({key: text}, depth))


def _nested(value: Any, depth: int) -> list[str]:
    """By PyYAML, as deep as it stands: where it folds depends on that. A list stands below the key that has it."""
    around = depth // 2 + isinstance(value, list)
    for _ in range(around):
        value = {"a": value}
    return _by_pyyaml(value).splitlines()[around:]


class _Dumper(yaml.CSafeDumper):
    """Without anchors: a document repeats itself rather than pointing at itself."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _by_pyyaml(content: Any) -> str:
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH))
