"""Rules about processors, memory, clock and the platform that the guest sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kubeferry.documents.windows import zone_problem
from kubeferry.model import Machine
from mappings.cpu import POLICIES, target_hugepages, target_max_guest, target_model, topology
from mappings.firmware import (
    TIMERS,
    TIMEZONE,
    hyperv_domain,
    hyperv_path,
    is_on,
    passes_hyperv,
    target_timezone,
)
from mappings.quantities import human_bytes
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when


def unless_sized(find: Callable[[Case], Iterable[str]]) -> Callable[[Case], Iterable[str]]:
    """The rule, but for a machine whose instance type decides about what it looks at."""
    return lambda case: () if case.choices.types.sizes else find(case)


def _cpu_model(case: Case) -> Iterable[str]:
    cpu = case.machine.cpu
    named = cpu.model is not None and cpu.mode in {None, "custom"}
    return when(
        named and target_model(cpu) == "host-model",
        f"CPU model {cpu.model} is none that nodes offer; the guest gets the node's own.",
    )


def _cpu_mode(case: Case) -> Iterable[str]:
    cpu = case.machine.cpu
    if cpu.mode is None and cpu.model is None:
        return ("The CPU model is not known; the guest gets the node's own.",)
    other = cpu.mode not in {None, "custom", "host-model", "host-passthrough"}
    return when(other, f"CPU mode {cpu.mode} becomes host-model.")


def _cpu_named(case: Case) -> Iterable[str]:
    model = target_model(case.machine.cpu)
    return when(not model.startswith("host-"), f"The machine runs only on nodes that offer CPU model {model}.")


def _cpu_passthrough(case: Case) -> Iterable[str]:
    passed = target_model(case.machine.cpu) == "host-passthrough"
    return when(passed, "The guest sees the node's CPU as it is: it migrates live between equal nodes only.")


def _cpu_features(case: Case) -> Iterable[str]:
    needed = sorted(one.name for one in case.machine.cpu.features if one.policy in {"force", "require"})
    return when(bool(needed), f"The machine runs only on nodes with the CPU features {', '.join(needed)}.")


def _cpu_feature_policy(case: Case) -> Iterator[str]:
    for feature in case.machine.cpu.features:
        if feature.policy not in POLICIES:
            yield f"CPU feature {feature.name} has the policy {feature.policy}, which KubeVirt does not know."


def _topology(case: Case) -> Iterable[str]:
    shape = topology(case.machine.cpu)
    return when(
        not shape.exact,
        f"The CPU topology becomes {shape.sockets} sockets, {shape.cores} cores each, {shape.threads} threads each.",
    )


def _placement(case: Case) -> Iterable[str]:
    cpu = case.machine.cpu
    return when(bool(cpu.pinning or cpu.emulator_pin), "CPU pinning is not carried.")


def _numa(case: Case) -> Iterable[str]:
    return when(len(case.machine.cpu.numa) > 1, f"The guest's {len(case.machine.cpu.numa)} NUMA cells are not carried.")


def _nested(case: Case) -> Iterable[str]:
    return when(case.machine.cpu.nested is True, "The guest runs guests of its own.")


def _memory(case: Case) -> Iterable[str]:
    return when(case.machine.memory.size_bytes < 1_000_000, "The machine's memory is not known.")


# VMware's settings, those of its own file that stand in an OVF as extras, and VirtualBox's.
_HOT_ADD = {
    "cpu": (
        ("vmw:Config[cpuHotAddEnabled]", "vmw:ExtraConfig[vcpu.hotadd]", "vbox:Machine/Hardware/CPU"),
        ("value=true", "hotplug=true"),
    ),
    "memory": (("vmw:Config[memoryHotAddEnabled]", "vmw:ExtraConfig[mem.hotadd]"), ("value=true",)),
}


def hot_add(machine: Machine, what: str) -> bool:
    """Whether an OVF says that this (cpu, memory) may be added to the running machine; how much, it does not say."""
    places, words = _HOT_ADD[what]
    told = (fact.value.lower() for fact in machine.unmodelled if fact.path.endswith(places))
    return any(word in value for value in told for word in words)


def _memory_hotplug(case: Case) -> Iterable[str]:
    memory = case.machine.memory
    lost = bool(memory.max_bytes) and target_max_guest(memory) != memory.max_bytes
    lost = lost and (memory.max_bytes or 0) > memory.size_bytes
    if memory.max_bytes is None and hot_add(case.machine, "memory"):
        return ("Memory may be added while it runs, up to a limit that the source does not tell; not at the target.",)
    return when(lost, f"Memory cannot grow to {human_bytes(memory.max_bytes or 0)} at the target.")


def _hugepages(case: Case) -> Iterable[str]:
    size = case.machine.memory.hugepage_bytes
    if size is None:
        return ()
    if target_hugepages(case.machine.memory) is None:
        return (f"Huge pages of {human_bytes(size)} are not carried.",)
    return (f"The machine needs a node with free huge pages of {human_bytes(size)}.",)


def _locked(case: Case) -> Iterable[str]:
    return when(case.machine.memory.locked is True, "Locked memory is not carried.")


def _clock(case: Case) -> Iterable[str]:
    clock = case.machine.clock
    if target_timezone(clock, case.choices) or case.choices.timezone == "UTC" or clock.offset == "utc":
        return ()
    if clock.offset == "variable" and clock.adjustment:
        return ()
    return (f"The clock's offset is {clock.offset}, its time zone {clock.timezone or 'not known'}; it is set to UTC.",)


def _timezone(case: Case) -> Iterable[str]:
    zone = case.choices.timezone
    if zone is None:
        return ()
    problem = zone_problem(zone) or ("" if TIMEZONE.fullmatch(zone) else f"{zone!r} is no zone that KubeVirt takes.")
    return when(bool(problem), problem)


def _timers(case: Case) -> Iterable[str]:
    lost = sorted({timer.name for timer in case.machine.clock.timers if timer.name not in TIMERS})
    return when(bool(lost), f"Timers without a counterpart: {', '.join(lost)}.")


def _has(made: dict[str, Any], path: str) -> bool:
    owner, _, extra = path.partition(".")
    return owner in made and (not extra or extra in made[owner])


def _hyperv(case: Case) -> Iterable[str]:
    if passes_hyperv(case.machine.hyperv):
        return ()
    made = hyperv_domain(case.machine.hyperv)
    on = [name for name, value in case.machine.hyperv.items() if name != "mode" and is_on(value)]
    lost = sorted(name for name in on if not _has(made, hyperv_path(name)))
    return when(bool(lost), f"Hyper-V enlightenments that are not carried: {', '.join(lost)}.")


_TOLERATE = "Nothing, if the guest does not depend on it."

RULES = (
    Rule(
        "memory.unknown",
        CRITICAL,
        "no known size of memory",
        "Discover the machine again with its memory told (exported files of AWS: describe-instance-types beside them).",
        _memory,
        False,
    ),
    Rule(
        "clock.timezone-invalid",
        CRITICAL,
        "a time zone in the policy that is none",
        "Write a zone such as Europe/Berlin.",
        _timezone,
        False,
    ),
    Rule(
        "cpu.model-changed",
        WARNING,
        "a CPU model that nodes do not offer",
        "Rehearse it; set a model that your nodes offer at the source if it matters.",
        unless_sized(_cpu_model),
    ),
    Rule(
        "cpu.mode-changed", INFO, "a CPU mode that KubeVirt has not, or none told", _TOLERATE, unless_sized(_cpu_mode)
    ),
    Rule(
        "cpu.model-named",
        INFO,
        "a CPU model that binds the machine to nodes",
        "See that enough nodes carry the label cpu-model.node.kubevirt.io of this name.",
        unless_sized(_cpu_named),
    ),
    Rule(
        "cpu.host-passthrough",
        WARNING,
        "the node's CPU as it is",
        "Keep the nodes equal, or use a named model.",
        unless_sized(_cpu_passthrough),
    ),
    Rule(
        "cpu.features-required",
        INFO,
        "CPU features that bind the machine to nodes",
        "See that enough nodes carry the labels cpu-feature.node.kubevirt.io.",
        _cpu_features,
    ),
    Rule(
        "cpu.feature-policy",
        WARNING,
        "a policy of a CPU feature that KubeVirt does not know",
        "Use force, require, optional, disable or forbid at the source.",
        _cpu_feature_policy,
    ),
    Rule(
        "cpu.topology-changed",
        WARNING,
        "sockets, cores and threads that do not add up",
        "Check licences that count sockets or cores.",
        unless_sized(_topology),
    ),
    Rule(
        "cpu.pinning",
        WARNING,
        "pinned processors",
        "Ask for dedicated processors in the manifest if the load needs them.",
        _placement,
    ),
    Rule(
        "cpu.numa",
        WARNING,
        "NUMA cells",
        "Ask for dedicated processors and huge pages in the manifest if the load needs them.",
        _numa,
    ),
    Rule("cpu.nested", WARNING, "nested virtualisation", "Allow nested virtualisation on the nodes.", _nested),
    Rule("memory.hotplug-lost", INFO, "room to grow that cannot be kept", _TOLERATE, unless_sized(_memory_hotplug)),
    Rule(
        "memory.hugepages",
        WARNING,
        "huge pages",
        "Reserve huge pages on the nodes, or remove them at the source.",
        unless_sized(_hugepages),
    ),
    Rule("memory.locked", WARNING, "locked memory", _TOLERATE, _locked),
    Rule(
        "clock.offset",
        WARNING,
        "a clock that does not run in UTC or a known zone",
        "Set `timezone` for it in the policy, or UTC if the guest's clock is set by the network.",
        _clock,
    ),
    Rule("clock.timers", INFO, "timers without a counterpart", _TOLERATE, _timers),
    Rule(
        "hyperv.lost",
        WARNING,
        "Hyper-V enlightenments without a counterpart",
        "Rehearse it; the guest may be slower.",
        _hyperv,
    ),
)
