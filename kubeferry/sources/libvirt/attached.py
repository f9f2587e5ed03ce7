"""The disks of a machine as they are now: their chains and sizes, and where the running machine has others."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt

from kubeferry.errors import Problem
from kubeferry.model import Disk, Machine, SourceFact
from kubeferry.sources.disks import drift
from kubeferry.sources.libvirt.guest import is_lost


def as_it_runs(machine: Machine, live: Machine) -> Machine:
    """The machine of the definition with the chains that the running one uses, and facts about where both differ."""
    running = {disk.id: disk for disk in live.data_disks}
    disks, differing = [], []
    for disk in machine.disks:
        now = running.pop(disk.id, None)
        if now is not None and now.uri == disk.uri:
            disks.append(disk.model_copy(update={"chain": now.chain}))
            continue
        disks.append(disk)
        if now is not None:
            differing.append(SourceFact(path=f"running/disk/{disk.id}", value=f"is {now.uri} until the next start"))
    differing += [
        SourceFact(path=f"running/disk/{name}", value="attached until the next stop only") for name in running
    ]
    return machine.model_copy(update={"disks": tuple(disks), "unmodelled": (*machine.unmodelled, *differing)})


def with_size(domain: libvirt.virDomain, disk: Disk) -> Disk:
    """Capacity and allocation as libvirt tells them; unknown where it cannot."""
    if disk.uri is None:
        return disk
    try:
        capacity, allocation, _physical = domain.blockInfo(disk.id)
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
        return disk
    return disk.model_copy(update={"capacity_bytes": capacity or None, "allocated_bytes": allocation})


def others(machine: Machine, live: Machine) -> Iterator[Problem]:
    """Disks of the running machine that are not those of its definition: a round of it would be of others."""
    running = {name: disk.uri for name, disk in drift.wanted(machine, live.data_disks).items()}
    fix = "Make the definition and the running machine agree (`virsh attach-disk --persistent`), or copy it cold."
    for disk in machine.data_disks:
        if running.get(disk.id) != disk.uri:
            yield Problem(disk.id, f"it is {running.get(disk.id) or 'not attached'}, not {disk.uri}", fix)
    for name in sorted(running.keys() - {disk.id for disk in machine.data_disks}):
        yield Problem(name, "it is attached until the next stop only", fix)
