"""What the pod of a machine asks for: its guest, and what KubeVirt adds for what stands around it. Pure.

The figures are those of KubeVirt's v1.9 line (kv:pkg/hypervisor/kvm/hypervisorbackend.go), held to a pod that KubeVirt
made by `tests/cluster/test_preflight.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from kubeferry.documents import Entry
from kubeferry.targets.kubevirt.checks.facts import Object, domain_of
from kubeferry.targets.kubevirt.quantities import amount

MIB = Fraction(1 << 20)
FIXED = 240 * MIB
PAGE_TABLES = Fraction(1, 512)
EACH_PROCESSOR = 8 * MIB
IO_THREAD = 8 * MIB
GRAPHICS = 32 * MIB
TPM = 53 * MIB
DEDICATED = 100 * MIB
HOST_DEVICE = 1024 * MIB
CPU_RATIO = 10
EPHEMERAL = Fraction(50 * 10**6)
# The container that keeps the log of the serial console.
LOGS = {"cpu": Fraction(5, 1000), "memory": Fraction(35 * 10**6)}
LOG_LIMITS = {"cpu": Fraction(15, 1000), "memory": Fraction(60 * 10**6)}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a pod asks for, by the name that the scheduler and quotas have for it: `cpu`, `memory`, `hugepages-2Mi`,
    `ephemeral-storage`. Processors and bytes. `limits` holds only what is limited, `beside` the limits of containers
    beside the main one, which `limits` has in it already; `guest_cpus` are the processors that a guest in it sees."""

    requests: dict[str, Fraction] = field(default_factory=dict)
    limits: dict[str, Fraction] = field(default_factory=dict)
    guest_cpus: int = 0
    beside: dict[str, Fraction] = field(default_factory=dict)

    def of(self, resource: str) -> Fraction:
        return self.requests.get(resource, Fraction())


def footprint(entry: Entry, settings: Object) -> Footprint:
    """What the machine's pod asks for. `settings` is KubeVirt's configuration, empty where it is not known."""
    domain = domain_of(entry)
    asked = (domain.get("resources") or {}).get("requests") or {}
    limits = (domain.get("resources") or {}).get("limits") or {}
    guest = _guest(domain)
    pages = ((domain.get("memory") or {}).get("hugepages") or {}).get("pageSize")
    overhead = _overhead(domain, asked, settings)
    logs = LOGS if _logs(domain, settings) else {}
    requests = {
        "cpu": _processors(domain, asked, settings) + logs.get("cpu", 0),
        "memory": overhead + (0 if pages else _memory(guest, asked, settings)) + logs.get("memory", 0),
        "ephemeral-storage": EPHEMERAL,
    } | ({f"hugepages-{pages}": guest} if pages else {})
    bounds = LOG_LIMITS if logs else {}
    limited = {name: amount(value) + bounds.get(name, 0) for name, value in limits.items()}
    if "memory" in limited:
        limited["memory"] += overhead
    return Footprint(requests, limited, vcpus(domain), dict(bounds))


def console_log(entry: Entry, settings: Object) -> Footprint | None:
    """What the container asks for that keeps the log of the machine's serial console; None where there is none."""
    return Footprint(dict(LOGS), dict(LOG_LIMITS)) if _logs(domain_of(entry), settings) else None


def _logs(domain: Object, settings: Object) -> bool:
    """Whether a container beside the guest keeps its console's log."""
    devices = domain.get("devices") or {}
    told = devices.get("logSerialConsole")
    if told is None:
        told = "disableSerialConsoleLog" not in (settings.get("virtualMachineOptions") or {})
    return bool(told) and devices.get("autoattachSerialConsole") is not False


def vcpus(domain: Object) -> int:
    """The processors that the guest has."""
    cpu = domain.get("cpu") or {}
    return int(cpu.get("sockets") or 1) * int(cpu.get("cores") or 1) * int(cpu.get("threads") or 1)


def _guest(domain: Object) -> Fraction:
    """The memory that the guest has."""
    told = (domain.get("memory") or {}).get("guest")
    asked = ((domain.get("resources") or {}).get("requests") or {}).get("memory")
    return amount(told or asked or 0)


def _memory(guest: Fraction, asked: Object, settings: Object) -> Fraction:
    if "memory" in asked:
        return amount(asked["memory"])
    percent = (settings.get("developerConfiguration") or {}).get("memoryOvercommit") or 100
    return guest * 100 / amount(percent)


def _processors(domain: Object, asked: Object, settings: Object) -> Fraction:
    cpu = domain.get("cpu") or {}
    if cpu.get("dedicatedCpuPlacement"):
        return Fraction(vcpus(domain) + (1 if cpu.get("isolateEmulatorThread") else 0))
    if "cpu" in asked:
        return amount(asked["cpu"])
    ratio = (settings.get("developerConfiguration") or {}).get("cpuAllocationRatio") or CPU_RATIO
    return Fraction(vcpus(domain)) / amount(ratio)


def _overhead(domain: Object, asked: Object, settings: Object) -> Fraction:
    devices = domain.get("devices") or {}
    # KubeVirt counts page tables of what is asked for as a resource, not of what the guest is given.
    tables = amount(asked.get("memory") or 0) * PAGE_TABLES
    parts = [FIXED, tables, EACH_PROCESSOR * vcpus(domain), IO_THREAD]
    if devices.get("autoattachGraphicsDevice") is not False:
        parts.append(GRAPHICS)
    if (devices.get("tpm") or {"enabled": False}).get("enabled", True):
        parts.append(TPM)
    if (domain.get("cpu") or {}).get("dedicatedCpuPlacement"):
        parts.append(DEDICATED)
    if devices.get("hostDevices") or devices.get("gpus"):
        parts.append(HOST_DEVICE)
    ratio = settings.get("additionalGuestMemoryOverheadRatio") or 1
    return sum(parts, Fraction()) * amount(ratio)
