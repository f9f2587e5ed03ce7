"""What no reader of a tree read: told as facts in its source's own terms, without anything that looks secret. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping

from kubeferry.model import SourceFact
from kubeferry.sources.facts.xml_tree import Node, walk

MAX_CHARACTERS = 200
MAX_PATH = 1000
HIDDEN = "(not shown: it may be a secret)"

_SECRET = re.compile(
    r"passw|secret|cookie|token|credential|private|api-?key|\bquery=|qemu:env"
    # what a guest sets itself up by, with passwords in it
    r"|guestinfo\.|(user|vendor)[-_]?data|meta[-_]data|ignition|coreos\.config|cloud-?(init|config)|vminit"
    r"|fw_?cfg|\bstring=|sysinfo(\[\d+\])?/entry",  # what a guest's firmware is given may be anything
    re.IGNORECASE,
)


def told(root: Node, words: Mapping[str, Callable[[Node], str]] = {}) -> list[SourceFact]:
    """Everything in a tree that nobody read, by its path; addresses last, as the least surprising. `words`, by tag,
    says an element in one value where its attributes alone would not be understood."""
    facts = []
    for path, node in itertools.chain([(root.tag, root)], walk(root)):
        if (left := node.unread()) is not None:
            value = words[node.tag](node) if node.tag in words else left
            facts.append(SourceFact(path=cut(path), value=shown(path, value)))
    return sorted(facts, key=lambda fact: fact.path.endswith("/address"))


def shown(path: str, value: str) -> str:
    """A value as it may stand in a document: not too long, on one line, and not if it looks like a secret. One whose
    path is too long to be searched for every value counts as one."""
    if len(path) > MAX_PATH:
        return HIDDEN
    return HIDDEN if _SECRET.search(path) or _SECRET.search(value) else cut(" ".join(value.split()))


def cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
