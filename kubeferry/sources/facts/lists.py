"""How many facts a machine may have that the model has no word for, and which stay where there are more. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from kubeferry.model import SourceFact

MAX_FACTS = 1024
MAX_READ = 50_000
"""Beyond it nobody looks: what comes from a file may never end."""
MORE = "…"
"""The path of the fact that says how many are not listed."""


def bounded(facts: Iterable[SourceFact]) -> tuple[SourceFact, ...]:
    """The facts in their order. Of too many those stay that decide whether the machine can be moved: what is said once
    of all of it, and what a disk's bytes are; addresses go first. How many went is a fact, too."""
    listed = list(itertools.islice(facts, MAX_READ))
    if len(listed) <= MAX_FACTS:
        return tuple(listed)
    kept = sorted(sorted(range(len(listed)), key=lambda place: _rank(listed[place]))[:MAX_FACTS])
    at_least = "at least " if len(listed) == MAX_READ else ""
    more = SourceFact(path=MORE, value=f"{at_least}{len(listed) - MAX_FACTS} more facts are not listed")
    return (*(listed[place] for place in kept), more)


def _rank(fact: SourceFact) -> int:
    if fact.path.endswith("/address"):
        return 3
    # Of no thing that there are several of; arguments to the program are all one thing.
    if "[" not in fact.path or "commandline/" in fact.path:
        return 0
    return 1 if "/source/" in fact.path else 2
