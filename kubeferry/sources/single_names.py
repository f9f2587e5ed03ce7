"""Names of machines that are theirs alone, where a source lets several have one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kubeferry.model import Machine


def named(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    """The machines with names that are theirs alone: where several have one name, each gets its id behind it. Their ids
    are different ones. A name that looks like one that was made so gets its id, too."""
    listed = tuple(machines)
    while twice := {name for name, count in Counter(machine.name for machine in listed).items() if count > 1}:
        listed = tuple(
            one.model_copy(update={"name": f"{one.name}-{one.id}"}) if one.name in twice else one for one in listed
        )
    return listed
