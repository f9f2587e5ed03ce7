"""Filters that a domain's cards name: what they let through, as their libvirt says."""

from __future__ import annotations

import libvirt

from kubeferry.model import Machine, Nic
from kubeferry.sources.libvirt.domain.filters import traffic_filter

_ABSENT = frozenset({libvirt.VIR_ERR_NO_NWFILTER, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_DENIED})


def resolved(connection: libvirt.virConnect, machine: Machine) -> Machine:
    """The machine with the lines of its cards' filters. One that libvirt has not, or does not show, stays a name."""
    if not any(nic.filters for nic in machine.nics):
        return machine
    return machine.model_copy(update={"nics": tuple(_resolved(connection, nic) for nic in machine.nics)})


def _resolved(connection: libvirt.virConnect, nic: Nic) -> Nic:
    def lookup(name: str) -> str | None:
        try:
            return str(connection.nwfilterLookupByName(name).XMLDesc(0))
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _ABSENT:
                raise
            return None

    filters = tuple(traffic_filter(one.name, lookup) for one in nic.filters or ())
    return nic.model_copy(update={"filters": filters}) if filters else nic
