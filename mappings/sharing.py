"""Disks that several machines have: found by what they are at the source, and moved as one where that can be right.

Machines that write one disk move as a set: one of them, the first, carries the disk, so that it is copied once and has
one claim; the others attach that claim. Whoever shares a disk with one of a set is of the set, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kubeferry.documents import AttachedDisk, Offer, Policy
from kubeferry.model import Disk, DiskDevice, Machine
from mappings.choices import choices_for
from mappings.names import Names
from mappings.storage import UNASKED, Storage

SHARED = "disk.shared"
"""The concern of a disk that several machines use; who accepts it gets a copy of its own."""

SEVERAL_NODES = "ReadWriteMany"

_Owner = tuple[Machine, Disk]


@dataclass(frozen=True, slots=True)
class Shared:
    """A disk of one machine that `others` have, too. `needs` is what is missing for one disk for all of them, nothing
    where nothing is; then `carrier` copies it, whose `claim` all attach."""

    others: tuple[str, ...]
    needs: tuple[str, ...] = ()
    carrier: str = ""
    carrier_target: str = ""
    claim: str = ""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What one machine has in common with others. `disks` by id; `moves_with` are the others of its set and what they
    are called at the target, in the order of the inventory."""

    machine: str = ""
    disks: Mapping[str, Shared] = field(default_factory=dict)
    moves_with: Mapping[str, str] = field(default_factory=dict)

    def is_one(self, disk: Disk) -> bool:
        """Whether the disk is one for all machines that have it."""
        found = self.disks.get(disk.id)
        return found is not None and bool(found.carrier)

    def attaches(self, disk: Disk) -> bool:
        """Whether another machine carries the disk, and this one attaches it."""
        return self.is_one(disk) and self.disks[disk.id].carrier != self.machine

    def named(self, names: Names) -> Names:
        """The names with those of claims that others carry."""
        theirs = {disk: shared.claim for disk, shared in self.disks.items() if shared.carrier not in {"", self.machine}}
        return replace(names, claims=names.claims | theirs) if theirs else names


ALONE = Sharing()


def sharings(
    machines: Iterable[Machine], policy: Policy, names: Mapping[str, Names], offer: Offer = UNASKED
) -> dict[str, Sharing]:
    """What each machine has in common with others, those that the policy leaves out among them, where any of them says
    that the disk is shared; who shares none is not named."""
    listed = list(machines)
    found: defaultdict[str, dict[str, Shared]] = defaultdict(dict)
    groups = [group for group in _same_disks(listed) if _said_to_be_shared(group)]
    sets = _Sets()
    for group in groups:
        needs = tuple(_needs(group, policy, offer))
        carrier, first = group[0]
        apart = needs or _wants_its_own(group, policy)
        for machine, disk in group:
            others = tuple(sorted({other.name for other, _ in group} - {machine.name}))
            found[machine.name][disk.id] = (
                Shared(others, needs)
                if apart
                else Shared(others, (), carrier.name, names[carrier.name].machine, names[carrier.name].claims[first.id])
            )
        if not apart:
            sets.join([machine.name for machine, _ in group])
    order = [machine.name for machine in listed]
    return {
        name: Sharing(
            name, disks, {other: names[other].machine for other in order if other in sets.of(name) and other != name}
        )
        for name, disks in found.items()
    }


def attached_disks(machine: Machine, sharing: Sharing, names: Names) -> tuple[AttachedDisk, ...]:
    """The disks that others of the set carry, as the plan holds them."""
    return tuple(
        AttachedDisk(
            disk=disk.id,
            claim=names.claims[disk.id],
            volume=names.volumes[disk.id],
            size_bytes=disk.capacity_bytes or 0,
            carrier=sharing.disks[disk.id].carrier,
            carrier_target=sharing.disks[disk.id].carrier_target,
        )
        for disk in machine.data_disks
        if sharing.attaches(disk)
    )


def takes_several_nodes(storage: Storage) -> bool:
    """Whether such volumes can be written by machines on several nodes: the policy says so, or the class does."""
    if storage.access_mode == SEVERAL_NODES:
        return True
    sets = storage.offered.sets if storage.offered else ()
    return any(one.volume_mode == storage.volume_mode and SEVERAL_NODES in one.access_modes for one in sets)


# --- which disk is which ---------------------------------------------------------------------------------------------


class _Sets:
    """Names that belong together, whoever joined them."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}

    def join(self, names: Iterable[str]) -> None:
        whole = {one for name in names for one in {name} | self.of(name)}
        self._of |= dict.fromkeys(whole, whole)

    def of(self, name: str) -> set[str]:
        return self._of.get(name, set())


def _same_disks(machines: list[Machine]) -> list[list[_Owner]]:
    """Disks that several machines have: each as all who have it, in the order of the machines. A disk is known by its
    place at the source; a LUN by its own number, too, since each machine has a file of its own that leads there, and so
    one may lead to a third machine."""
    owners: defaultdict[tuple[str, str], list[_Owner]] = defaultdict(list)
    for machine in machines:
        for disk in machine.data_disks:
            for identity in _identities(disk):
                owners[machine.source, identity].append((machine, disk))
    same = _Sets()
    for have in owners.values():
        same.join(f"{machine.name}\0{disk.id}" for machine, disk in have)
    groups: dict[int, list[_Owner]] = {}
    for machine in machines:
        for disk in machine.data_disks:
            if whole := same.of(f"{machine.name}\0{disk.id}"):
                groups.setdefault(id(whole), []).append((machine, disk))
    return [group for group in groups.values() if len({machine.name for machine, _ in group}) > 1]


def _identities(disk: Disk) -> Iterator[str]:
    if disk.uri:
        yield disk.uri
    if disk.serial and disk.source_kind == "rdm":
        yield f"serial {disk.serial}"


def _said_to_be_shared(group: list[_Owner]) -> bool:
    return any(disk.shareable for _, disk in group)


def unsaid(machines: Iterable[Machine]) -> Iterator[tuple[Machine, Disk, tuple[Machine, ...]]]:
    """Disks that several machines have, one of them to write it, and that none of them calls shared: each machine that
    has it, with the others."""
    for group in _same_disks(list(machines)):
        if _said_to_be_shared(group) or all(disk.readonly for _, disk in group):
            continue
        for machine, disk in group:
            others = {other.name: other for other, _ in group if other.name != machine.name}
            yield machine, disk, tuple(others.values())


# --- whether it can be one -------------------------------------------------------------------------------------------


def _wants_its_own(group: list[_Owner], policy: Policy) -> bool:
    return any(SHARED in policy.of(machine.name).accept for machine, _ in group)


def _needs(group: list[_Owner], policy: Policy, offer: Offer) -> Iterator[str]:
    """What is missing for one disk for all of them."""
    choices = {machine.name: choices_for(machine, policy, offer) for machine, _ in group}
    if out := [machine.name for machine, _ in group if not policy.of(machine.name).include]:
        yield f"{_named(out)} to move, too: the policy leaves {'it' if len(out) == 1 else 'them'} out"
    if silent := [machine.name for machine, disk in group if not disk.shareable]:
        yield f"{_named(silent)} to call it shared at the source, too"
    if len({choice.namespace for choice in choices.values()}) > 1:
        yield "all of them in one namespace"
    if len(choices) < len(group):
        yield "it once in each machine"
    if len({(disk.capacity_bytes, disk.format) for _, disk in group}) > 1:
        yield "one size and format: they tell of several"
    if any(disk.device is DiskDevice.LUN or disk.source_kind == "rdm" for _, disk in group):
        yield "no SCSI reservations: it is a LUN, which they may fence each other with"
    elif any(_by_its_bus(machine, disk) for machine, disk in group):
        yield "no SCSI reservations: its bus is shared, as clusters have it that fence each other with them"
    carrier, first = group[0]
    storage = choices[carrier.name].storage_of(first.id)
    if not takes_several_nodes(storage):
        yield _volumes_needed(storage)


def _by_its_bus(machine: Machine, disk: Disk) -> bool:
    """Whether vSphere shares the bus of the disk, and does not say of the disk itself that several may write it."""
    told = {fact.path for fact in machine.unmodelled}
    return disk.format == "vmdk" and disk.shareable and f"disk[{disk.id}]/sharing" not in told


def _volumes_needed(storage: Storage) -> str:
    if storage.offered is None or not storage.offered.sets:
        return f"a volume that several nodes may write: say `storage: {{accessMode: {SEVERAL_NODES}}}` in the policy"
    name, mode = storage.offered.name, storage.volume_mode
    return f"a storage class with {mode} volumes of {SEVERAL_NODES}, and {name} has none"


def _named(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))
