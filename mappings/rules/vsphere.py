"""Rules about machines of vSphere: what their host does for them that nobody does at the target, and what keeps a
machine from being copied or stopped. They look at facts that the source tells under names of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from kubeferry.model import Machine, Power
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

_ONLY_HERE = {"tools/status", "changeTracking", "faultTolerance", "connection", "consolidationNeeded", "managedBy"}
_DATASTORE = ("datastore:", "datastore-device:")
_FREE_BYTES = 100 << 20
# Guests that no KubeVirt release supports, by the API's names without their suffix.
_UNSUPPORTED = re.compile(
    r"(dos|os2|netware|solaris|freeBSD|darwin|unixWare|openServer|eComStation|win31|win95|win98|winMe|winNT|win2000|"
    r"winXP|winNet|winLonghorn|winVista|windows7_|windows8_?G|rhel[2-5](_|G)|centos5|oracleLinux5|sles(8|9|10)?_|debian[4-7]_|"
    r"vmkernel|vmwarePhoton|crxPod|crxSys)",
    re.IGNORECASE,
)
_TOLERATE = "Nothing, if the guest does not depend on it."


def told(machine: Machine, path: str) -> list[str]:
    """The values of the facts with this path."""
    found = [fact.value for fact in machine.unmodelled if fact.path == path]
    return [*found, machine.metadata[path]] if path in machine.metadata else found


def of_disks(machine: Machine, name: str) -> list[tuple[str, str]]:
    """Disk and value of the facts that disks have under this name, but for those that are left out."""
    pattern = re.compile(rf"disk\[([^\]]+)\]/{name}")
    found = [(one[1], fact.value) for fact in machine.unmodelled if (one := pattern.fullmatch(fact.path))]
    return [(disk, value) for disk, value in found if disk not in (machine.left_out or ())]


def is_vsphere(machine: Machine) -> bool:
    """Whether the machine was read from vSphere, live or from an export: by any of what only vSphere tells, for an
    export may lack each."""
    facts = {*machine.metadata, *(fact.path for fact in machine.unmodelled)}
    return bool(facts & _ONLY_HERE) or any((disk.uri or "").startswith(_DATASTORE) for disk in machine.disks)


def _said(path: str, what: Callable[[str], str]) -> Callable[[Case], Iterator[str]]:
    """A rule that says a sentence about each value of a fact."""

    def rule(case: Case) -> Iterator[str]:
        if is_vsphere(case.machine):
            yield from (what(value) for value in told(case.machine, path))

    return rule


def _runs_tools(machine: Machine) -> bool:
    return "guestToolsRunning" in told(machine, "tools/status")


def _tracking(case: Case) -> Iterable[str]:
    off = "off" in told(case.machine, "changeTracking")
    return when(off, "Changed block tracking is off; a warm move turns it on, and off again afterwards.")


def _untracked(case: Case) -> Iterator[str]:
    for disk, _ in of_disks(case.machine, "changeTracking"):
        yield f"Disk {disk} is not tracked though its machine is: after the stop all of it is read."


def _independent(case: Case) -> Iterator[str]:
    for disk, mode in of_disks(case.machine, "diskMode"):
        if mode.startswith("independent"):
            yield f"Disk {disk} is {mode.replace('_', ' ')}: no snapshot holds it, so it is moved cold only."


def _mapped(case: Case) -> Iterator[str]:
    for disk, mode in of_disks(case.machine, "compatibilityMode"):
        kind = "virtual" if mode == "virtualMode" else "physical"
        yield f"Disk {disk} is a mapped LUN ({kind} mode), which vSphere does not hand out."


def _no_store(case: Case) -> Iterator[str]:
    for disk, store in of_disks(case.machine, "datastore"):
        yield f"Disk {disk} is on a datastore that is {store}."


def _tools(case: Case) -> Iterable[str]:
    machine = case.machine
    silent = bool(told(machine, "tools/status")) and machine.power == Power.RUNNING and not _runs_tools(machine)
    return when(silent, "VMware Tools do not run: the machine can be switched off, not shut down.")


def _agent(case: Case) -> Iterable[str]:
    return when(_runs_tools(case.machine), "The guest answers to VMware Tools; KubeVirt asks QEMU's guest agent.")


def _hostname(case: Case) -> Iterable[str]:
    name = (case.machine.guest.hostname or "").lower()
    unnamed = name in {"", "localhost", "localhost.localdomain"}
    return when(_runs_tools(case.machine) and unnamed, f"The guest calls itself {name or 'nothing at all'}.")


def _no_address(case: Case) -> Iterable[str]:
    machine = case.machine
    return when(_runs_tools(machine) and not told(machine, "guest/ip"), "The guest tells of no IP address.")


def _full(case: Case) -> Iterator[str]:
    for path, free in case.machine.metadata.items():
        if path.startswith("guest/freeSpace") and free.isdigit() and int(free) < _FREE_BYTES:
            name = path.removeprefix("guest/freeSpace")
            yield f"The guest's {name} has {int(free) >> 20} MiB left; a new initial ramdisk may not fit."


def _unsupported(case: Case) -> Iterable[str]:
    guest = case.machine.guest.os_id or ""
    return when(is_vsphere(case.machine) and bool(_UNSUPPORTED.match(guest)), f"KubeVirt does not support {guest}.")


def _usb(case: Case) -> Iterable[str]:
    buses = [one for one in case.machine.devices if one.kind == "controller" and (one.model or "").startswith("usb")]
    return when(is_vsphere(case.machine) and bool(buses), "The machine has a USB controller, which is not carried.")


def _resources(case: Case) -> Iterable[str]:
    names = [f"{part}/{name}" for part in ("cpu", "memory") for name in ("reservation", "limit", "shares")]
    found = [f"{name} {value}" for name in names for value in told(case.machine, name)]
    return when(is_vsphere(case.machine) and bool(found), f"Its share of the host is set ({', '.join(found)}).")


def _placement(case: Case) -> Iterable[str]:
    found = [name for name in ("drs", "dpm", "ha") if told(case.machine, f"cluster/{name}")]
    return when(bool(found), f"The cluster looks after it with {', '.join(one.upper() for one in found)}.")


def _hot_plug(case: Case) -> Iterable[str]:
    names = {"cpu": "Processors", "memory": "Memory"}
    found = [name for key, name in names.items() if told(case.machine, f"hotPlug/{key}")]
    what = f"{' and '.join(found)} may be added while it runs"
    return when(bool(found), f"{what}; at the target within what the policy makes room for.")


def _numa(case: Case) -> Iterator[str]:
    for path in ("numa/affinity", "numa/coresPerNode"):
        for value in told(case.machine, path):
            yield f"NUMA is set by hand ({path.partition('/')[2]} {value})."


_PLACES = "Write affinity rules for the target in the policy's overlay, or in the manifests."
RULES = (
    Rule(
        "vmware.datastore-missing",
        CRITICAL,
        "a disk on a datastore that cannot be reached",
        "Bring the datastore back in vSphere, and discover again.",
        _no_store,
        False,
    ),
    Rule(
        "vmware.raw-device",
        CRITICAL,
        "a mapped LUN of vSphere",
        "Make it a virtual disk by a storage vMotion, or name a reader of your own (vmware.reader).",
        _mapped,
    ),
    Rule(
        "vmware.independent-disk",
        WARNING,
        "a disk that snapshots leave out",
        "Move the machine cold, or make the disk dependent.",
        _independent,
    ),
    Rule(
        "vmware.tracking-off",
        INFO,
        "changed block tracking that is off",
        "Nothing; without it the last pass reads all of each disk.",
        _tracking,
    ),
    Rule(
        "vmware.disk-untracked",
        INFO,
        "a disk without change id on a machine with tracking",
        "Nothing; a snapshot or a restart of the machine begins it.",
        _untracked,
    ),
    Rule(
        "vmware.consolidation",
        WARNING,
        "disks that need consolidation",
        "Consolidate the machine's disks in vSphere first: until then the last pass reads all of them.",
        _said("consolidationNeeded", lambda _: "Its disks need consolidation."),
    ),
    Rule(
        "vmware.fault-tolerance",
        CRITICAL,
        "fault tolerance",
        "Turn fault tolerance off in vSphere: such a machine has no snapshots.",
        _said("faultTolerance", lambda state: f"Fault tolerance is {state}."),
    ),
    Rule(
        "vmware.host-lost",
        CRITICAL,
        "a machine whose host does not answer",
        "Bring its host back, or register the machine anew.",
        _said("connection", lambda state: f"The machine is {state}."),
    ),
    Rule(
        "vmware.question",
        CRITICAL,
        "a machine that waits for an answer",
        "Answer the question in vSphere.",
        _said("question", lambda _: "It waits for an answer to a question of its host."),
    ),
    Rule(
        "vmware.encrypted-home",
        CRITICAL,
        "a machine that vSphere encrypts",
        "Decrypt it in vSphere, or name a reader of your own (vmware.reader).",
        _said("encryption", lambda what: f"The machine is encrypted: {what}."),
    ),
    Rule(
        "vmware.managed",
        WARNING,
        "a machine that belongs to a product",
        "Ask the product that made it; it may make it anew, or stop to work.",
        _said("managedBy", lambda who: f"The machine is managed by {who}."),
    ),
    Rule(
        "vmware.tools-silent",
        WARNING,
        "a running machine without VMware Tools",
        "Start VMware Tools in it, shut it down by hand, or set stop.force in the policy.",
        _tools,
    ),
    Rule(
        "vmware.tools-only",
        INFO,
        "a guest with VMware Tools",
        "Install qemu-guest-agent in the guest before the move; remove VMware Tools after it.",
        _agent,
    ),
    Rule(
        "vmware.hostname",
        WARNING,
        "a guest without a name of its own",
        "Give the guest a host name, if others reach it by one.",
        _hostname,
    ),
    Rule(
        "vmware.no-address",
        WARNING,
        "a running guest without an IP address",
        "Look whether its network works; a probe that asks for an address would fail.",
        _no_address,
    ),
    Rule(
        "vmware.guest-full",
        WARNING,
        "a file system of the guest that is nearly full",
        "Make room in the guest first.",
        _full,
    ),
    Rule(
        "vmware.guest-unsupported",
        WARNING,
        "a guest that KubeVirt does not support",
        "Rehearse it, or upgrade the guest first.",
        _unsupported,
    ),
    Rule("vmware.usb-controller", INFO, "a USB controller", _TOLERATE, _usb),
    Rule(
        "vmware.latency",
        WARNING,
        "latency sensitivity",
        "Ask for dedicated processors in the policy if the guest needs them.",
        _said("latencySensitivity", lambda level: f"Latency sensitivity is {level}."),
    ),
    Rule(
        "vmware.resources",
        INFO,
        "reservations, limits and shares",
        "Set requests and limits in the policy if they matter.",
        _resources,
    ),
    Rule(
        "vmware.hot-plug",
        INFO,
        "processors or memory that may be added",
        "Make room for it in the policy if it is used.",
        _hot_plug,
    ),
    Rule("vmware.numa", WARNING, "NUMA settings by hand", _TOLERATE, _numa),
    Rule(
        "vmware.affinity",
        WARNING,
        "rules that keep machines together or apart",
        _PLACES,
        _said("cluster/affinity", lambda rule: f"The rule {rule!r} of its cluster speaks of it."),
    ),
    Rule(
        "vmware.host-affinity",
        WARNING,
        "rules that bind machines to hosts",
        _PLACES,
        _said("cluster/hostAffinity", lambda rule: f"The rule {rule!r} of its cluster binds it to hosts."),
    ),
    Rule(
        "vmware.cluster",
        INFO,
        "a cluster that places and restarts its machines",
        "Nothing: Kubernetes places and restarts them there.",
        _placement,
    ),
)
