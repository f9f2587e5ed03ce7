"""Everything that vSphere says about its machines, in pages: first a few scalars of all, then the rest of those wanted.

One page of machines is held at a time; what is around them (folders, hosts, networks) is read once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pyVmomi import vim

from kubeferry.errors import InputInvalid
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources.facts.single_names import named
from kubeferry.sources.vsphere.client import Client
from kubeferry.sources.vsphere.machine import folder_path
from kubeferry.sources.vsphere.nics import Around
from kubeferry.sources.vsphere.plain import Plain

PAGE = 100
FRESH_SECONDS = 60.0
SCALARS = ("name", "parent", "config.template", "runtime.powerState")
DETAILS = (
    "name", "parent", "resourcePool", "datastore", "snapshot", "customValue",
    "config.template", "config.uuid", "config.instanceUuid", "config.guestId", "config.guestFullName",
    "config.version", "config.annotation", "config.firmware", "config.bootOptions", "config.changeTrackingEnabled",
    "config.cpuHotAddEnabled", "config.memoryHotAddEnabled", "config.hotPlugMemoryLimit", "config.cpuAffinity",
    "config.memoryAffinity", "config.latencySensitivity", "config.nestedHVEnabled", "config.vPMCEnabled",
    "config.memoryReservationLockedToMax", "config.keyId", "config.numaInfo", "config.managedBy",
    "config.swapPlacement", "config.cpuAllocation", "config.memoryAllocation", "config.extraConfig",
    "config.hardware.numCPU", "config.hardware.numCoresPerSocket", "config.hardware.memoryMB",
    "config.hardware.device", "config.files.vmPathName",
    "runtime.powerState", "runtime.connectionState", "runtime.host", "runtime.faultToleranceState",
    "runtime.consolidationNeeded", "runtime.question",
    "guest.guestId", "guest.guestFullName", "guest.hostName", "guest.ipAddress", "guest.disk",
    "guest.toolsRunningStatus", "guest.toolsVersionStatus2",
)  # fmt: skip
AROUND = (
    (vim.Folder, ("name", "parent")),
    (vim.Datacenter, ("name", "parent")),
    (vim.ResourcePool, ("name", "parent")),
    (vim.HostSystem, ("name", "parent", "config.network.portgroup")),
    (vim.ClusterComputeResource, ("name", "parent", "configurationEx")),
    (vim.Datastore, ("name", "parent", "summary.type", "summary.accessible")),
    (vim.Network, ("name", "parent")),
    (vim.OpaqueNetwork, ("name", "parent", "summary")),
    (
        vim.dvs.DistributedVirtualPortgroup,
        ("name", "parent", "config.defaultPortConfig", "config.distributedVirtualSwitch"),
    ),
    (vim.DistributedVirtualSwitch, ("name", "parent", "uuid")),
)


class Collector:
    """Reads machines with one client; remembers for a minute what is around them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._around: dict[str, Plain] = {}
        self._read_at = 0.0

    def around(self, content: Any) -> Around:
        """Everything that is not a machine, by reference."""
        if not self._around or time.monotonic() - self._read_at > FRESH_SECONDS:
            found: dict[str, Plain] = {}
            for kind, paths in AROUND:
                found |= self._client.listed(kind, paths, content=content)
            root = content.rootFolder
            found[f"Folder:{root._moId}"] = {"name": "root"}
            found["CustomFields"] = self._fields(content)
            self._around, self._read_at = found, time.monotonic()
        return self._around

    def _fields(self, content: Any) -> Plain:
        if content.customFieldsManager is None:  # an ESXi host has none
            return {}
        told = self._client.properties(content.customFieldsManager, ("field",), content=content)
        return {str(one["key"]): str(one["name"]) for one in told.get("field", [])}

    def wanted(self, content: Any) -> list[str]:
        """The ids of all machines but templates and those outside the access's datacenter."""
        around = self.around(content)
        return [
            ref.partition(":")[2]
            for ref, told in self._client.listed(vim.VirtualMachine, SCALARS, content=content, page=1000)
            if not told.get("config.template") and self._is_wanted(told, around)
        ]

    def pages(self, ids: list[str], content: Any) -> Iterator[list[Plain]]:
        """These machines with all their properties, a page at a time; one that is gone meanwhile is left out."""
        for start in range(0, len(ids), PAGE):
            yield self._page(ids[start : start + PAGE], content)

    def _page(self, ids: list[str], content: Any) -> list[Plain]:
        found = self._client.detailed(vim.VirtualMachine, ids, DETAILS, content=content)
        return [told | {"_ref": ref} for ref, told in found.items()]

    def _is_wanted(self, told: Plain, around: Around) -> bool:
        wanted = self._client.access.datacenter
        if wanted is None:
            return True
        path = folder_path(told.get("parent", ""), around)
        return f"/{wanted.strip('/')}/" in f"{path}/"

    def one(self, managed: Any, content: Any) -> Plain:
        """All properties of one machine."""
        found = self._page([managed._moId], content)
        return found[0] if found else {}


# --- one thing each ----------------------------------------------------------------------------------------------


def as_unreadable(error: InputInvalid) -> Concern:
    """What could not be read of the machines, as a concern of the inventory."""
    problem = error.problems[0]
    what = f"{problem.where}: {problem.what}"
    return Concern(id="machine.unreadable", severity=Severity.WARNING, what=what, fix=problem.fix)


def told_apart(machines: list[Machine]) -> tuple[list[Machine], list[Concern]]:
    """Machines by names of their own: one name may be there in every folder. Those that share their instance UUID, as a
    copy does that was registered by hand, cannot be found again by it, and are left out."""
    count = Counter(machine.id for machine in machines)
    fix = "Answer that it was copied when vSphere asks, or register it anew, so that it gets a UUID of its own."
    doubled = [
        Concern(
            id="machine.unreadable",
            severity=Severity.WARNING,
            what=f"{machine.name}: its instance UUID {machine.id} is also that of another machine",
            fix=fix,
        )
        for machine in machines
        if count[machine.id] > 1
    ]
    return list(named(machine for machine in machines if count[machine.id] == 1)), doubled
