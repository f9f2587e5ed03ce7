"""Names of machines that are theirs alone, where a source lets several have one. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from kubeferry.model import Machine


def named(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    """The machines with names that are theirs alone: where several have one name, each gets its id behind it. A name
    that looks like one that was made so gets its id, too. Machines of one id keep one name: they are told as problems
    by who takes them."""
    listed = tuple(machines)
    for _ in listed:  # what was made may be another one's name, so again; no more often than there are machines
        owners: defaultdict[str, set[str]] = defaultdict(set)
        for machine in listed:
            owners[machine.name].add(machine.id)
        if all(len(ids) == 1 for ids in owners.values()):
            break
        listed = tuple(
            one.model_copy(update={"name": f"{one.name}-{one.id}"}) if len(owners[one.name]) > 1 else one
            for one in listed
        )
    return listed
