"""Processors and memory: model, topology and size as the source has them, with hot-plug room only where it had some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubeferry.model import Cpu, Machine, Memory
from mappings.quantities import MIB, format_bytes

GIB = 1 << 30
POLICIES = ("force", "require", "optional", "disable", "forbid")
HUGEPAGES = {2 * MIB: "2Mi", GIB: "1Gi"}

# Models that nodes offer under this name, as libvirt calls them. Those that KubeVirt counts as obsolete (qemu64, kvm64,
# core2duo, …) are left out: no node carries a label for them, and the machine would wait for one for ever.
_FAMILIES = {
    "": "Nehalem Westmere SandyBridge IvyBridge Haswell Haswell-noTSX Broadwell Broadwell-noTSX Skylake-Client "
    "Skylake-Server Cascadelake-Server Cooperlake Icelake-Server SapphireRapids GraniteRapids SierraForest Snowridge "
    "Opteron_G3 Opteron_G4 Opteron_G5 EPYC EPYC-Rome EPYC-Milan EPYC-Genoa Dhyana Penryn",
    "-IBRS": "Nehalem Westmere SandyBridge IvyBridge Haswell Haswell-noTSX Broadwell Broadwell-noTSX Skylake-Client "
    "Skylake-Server",
    "-noTSX": "Cascadelake-Server Icelake-Server",
    "-noTSX-IBRS": "Skylake-Client Skylake-Server",
    "-IBPB": "EPYC",
}
MODELS = frozenset(name + suffix for suffix, names in _FAMILIES.items() for name in names.split())


@dataclass(frozen=True, slots=True)
class Topology:
    """`max_sockets` is what hot-plug may reach. `exact` says that the guest sees the source's sockets and cores."""

    sockets: int
    cores: int
    threads: int
    max_sockets: int
    exact: bool


def target_model(cpu: Cpu) -> str:
    """The CPU model at the target: a named one where nodes offer it, else the node's own."""
    if cpu.mode == "host-passthrough":
        return "host-passthrough"
    return cpu.model if cpu.model in MODELS and cpu.mode in {None, "custom"} else "host-model"


def topology(cpu: Cpu) -> Topology:
    """The source's sockets, cores and threads (licences count them); sockets only where they do not add up."""
    cores, threads = cpu.cores or 1, cpu.threads or 1
    told = cpu.sockets is not None or cpu.cores is not None or cpu.threads is not None
    room = max(cpu.max_vcpus or cpu.vcpus, cpu.vcpus)
    if cpu.vcpus % (cores * threads) == 0 and room % (cores * threads) == 0:
        whole = cpu.sockets is None or cpu.sockets * cores * threads == room
        return Topology(cpu.vcpus // (cores * threads), cores, threads, room // (cores * threads), whole)
    return Topology(cpu.vcpus, 1, 1, room, not told)


def cpu_domain(cpu: Cpu) -> dict[str, Any]:
    """`domain.cpu`. `maxSockets` is written, or KubeVirt makes it four times the sockets."""
    shape = topology(cpu)
    domain: dict[str, Any] = {
        "model": target_model(cpu),
        "sockets": shape.sockets,
        "cores": shape.cores,
        "threads": shape.threads,
        "maxSockets": shape.max_sockets,
    }
    features = [{"name": one.name, "policy": one.policy} for one in cpu.features if one.policy in POLICIES]
    return domain | ({"features": features} if features else {})


def hotplug_step(page: str | None) -> int:
    """The step in which KubeVirt lets memory grow, for a size of huge pages; maxGuest is a multiple of it."""
    return GIB if page == HUGEPAGES[GIB] else 2 * MIB


def target_max_guest(memory: Memory) -> int | None:
    """What memory may grow to; None where KubeVirt refuses to be told (hot-plug is off there anyway)."""
    step = hotplug_step(target_hugepages(memory))
    if memory.size_bytes < GIB or memory.size_bytes % step:
        return None
    grown = memory.max_bytes or memory.size_bytes
    return grown if grown > memory.size_bytes and grown % step == 0 else memory.size_bytes


def target_hugepages(memory: Memory) -> str | None:
    """The page size at the target; None where the source had none, or memory is not a multiple of it."""
    size = memory.hugepage_bytes
    if size is None or size not in HUGEPAGES or memory.size_bytes % size:
        return None
    return HUGEPAGES[size]


def memory_domain(machine: Machine) -> dict[str, Any]:
    """`domain.memory`."""
    memory = machine.memory
    domain: dict[str, Any] = {"guest": format_bytes(memory.size_bytes)}
    grown, pages = target_max_guest(memory), target_hugepages(memory)
    if grown is not None:
        domain["maxGuest"] = format_bytes(grown)
    if pages is not None:
        domain["hugepages"] = {"pageSize": pages}
    return domain
