"""Where a machine of an estate is now, by the power that each source that may have it tells of it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.model import UP, Disk, Machine, Power
from kubeferry.words import first_of

ROAMING = frozenset({"libvirt", "memory", "vmware"})
"""Kinds whose machines go from one source to another of the kind, and keep their identity."""
NAMED = 6
SPLIT = (
    "Look at once whether both write to the same disks, and stop the one that is not wanted. Where they are two "
    "machines, give one of them a UUID of its own. Then discover and plan again."
)
UNDEFINE = "Undefine it where it is not wanted any more (`virsh undefine` leaves its disks)"


@dataclass(slots=True)
class Looked:
    """What was told of one machine: its `power` at each source that has it, and why others were `silent`."""

    powers: dict[str, Power] = field(default_factory=dict)
    silent: dict[str, KubeferryError] = field(default_factory=dict)

    @property
    def up(self) -> list[str]:
        """Where it is not off."""
        return [name for name, power in self.powers.items() if power in UP]


def roams(kind: str, machine: Machine) -> bool:
    """Whether another source of this kind may have this very machine. A vCenter's own number for one, which stands for
    an identity where it has none, is another machine's elsewhere."""
    return kind.removesuffix("-export") in ROAMING and not machine.id.startswith("VirtualMachine:")


def may_be_one(one: Machine, other: Machine, kind: str) -> bool:
    """Whether two definitions of one identity may be one machine: some image of theirs lies at the same place. A clone
    that was made with its UUID has images of its own. At vSphere images are moved between datastores while it runs, and
    an instance UUID is given to one machine alone."""
    theirs = [{uri for disk in each.disks for uri in (disk.uri, *_below(disk)) if uri} for each in (one, other)]
    return kind.startswith("vmware") or not all(theirs) or not theirs[0].isdisjoint(theirs[1])


def _below(disk: Disk) -> tuple[str | None, ...]:
    return tuple(link.uri for link in disk.chain or ())


def chosen(machine: Machine, last: str, seen: Looked, marked: Collection[str], recorded: bool) -> str:
    """Where the machine is. `last` is where it was seen last, `recorded` that the journal says so, and `marked` are the
    sources that have it with a mark of ours. Where nobody has it, `last`, which says so itself.

    Raises SourceRefused where it runs at two of them, or is off at several and nobody knows which is the machine;
    SourceUnavailable where it is gone, and who may have it does not answer."""
    if len(seen.up) > 1:
        raise SourceRefused(
            f"it runs at {first_of(sorted(seen.up), NAMED)} at once",
            why=f"they have one identity ({machine.id}), so they are one machine that runs twice, or two",
            fix=SPLIT,
            machine=machine.name,
        )
    if seen.up:
        return seen.up[0]
    if last in seen.silent:
        return last
    if not seen.powers:
        if seen.silent:
            raise _perhaps_elsewhere(machine, last, seen.silent)
        return last
    if len(seen.powers) == 1:
        return next(iter(seen.powers))
    if len(marked) == 1:
        return next(iter(marked))
    if recorded and last in seen.powers:
        return last
    raise SourceRefused(
        f"it is off at {first_of(sorted(seen.powers), NAMED)}, and which of them is the machine is not known",
        why=f"each of them has a definition with its identity ({machine.id})",
        fix=f"{UNDEFINE}, and run the same command again.",
        machine=machine.name,
    )


def unsure(machine: Machine, place: str, silent: Mapping[str, KubeferryError]) -> SourceUnavailable:
    """The error of a machine that is off and that nobody was asked to stop: it may run where nobody answers."""
    return SourceUnavailable(
        f"it is off at {place}, and may run elsewhere",
        why=_told(silent),
        fix="Run the same command again once it answers; or take it out of the estate, where it is gone for good.",
        machine=machine.name,
    )


def _perhaps_elsewhere(machine: Machine, last: str, silent: Mapping[str, KubeferryError]) -> SourceUnavailable:
    return SourceUnavailable(
        f"it is not at {last} any more, and may be elsewhere",
        why=_told(silent),
        fix="Run the same command again once it answers.",
        machine=machine.name,
    )


def _told(silent: Mapping[str, KubeferryError]) -> str:
    named = [f"{name} does not answer ({error.what})" for name, error in sorted(silent.items())]
    return first_of(named, NAMED)
