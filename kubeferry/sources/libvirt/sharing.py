"""Other machines of the hypervisor that run with a disk of this one, whether or not it is called shared: not every
image is locked. Those of another hypervisor are not seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import libvirt

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.disks import drift, writers
from kubeferry.sources.libvirt.guest import is_lost

Read = Callable[[libvirt.virDomain], Machine]
"""What a domain is now, as a machine."""


def running(planned: Machine, current: Machine, domain: libvirt.virDomain, read: Read) -> Iterator[Problem]:
    """The disks that are taken along and that another machine may write to at this moment."""
    disks = drift.wanted(planned, current.data_disks).values()
    shared = {disk.uri: disk.id for disk in disks if disk.uri is not None}
    if not shared:
        return
    own = domain.UUIDString()
    for other in domain.connect().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        if other.UUIDString() != own:
            for uri in sorted(_written(other, read) & shared.keys()):
                yield writers.problem(shared[uri], uri, other.name(), "running")


def _written(domain: libvirt.virDomain, read: Read) -> set[str]:
    """Where the disks are that a domain may write to; none of one that is gone meanwhile, or that nobody can read."""
    with contextlib.suppress(InputInvalid):
        try:
            return {disk.uri for disk in read(domain).data_disks if disk.uri is not None and not disk.readonly}
        except libvirt.libvirtError as error:
            if is_lost(error):
                raise
    return set()
