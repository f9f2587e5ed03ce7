"""What becomes of processors, memory, clock and the features of the platform."""

from __future__ import annotations

from kubeferry.model import CpuFeature, Fate, Timer
from mappings.cpu import HUGEPAGES
from mappings.fates.carried import Leaf, Mapping, Rule, Verdict, equal
from mappings.fates.kinds import kept
from mappings.firmware import HYPERV, TIMERS, hyperv_path, is_on
from mappings.quantities import human_bytes


def unless_sized(rule: Rule) -> Rule:
    """The rule, but for what the machine's instance type decides in its place."""

    def found(mapping: Mapping, leaf: Leaf) -> Verdict:
        types = mapping.choices.types
        if types.instancetype is None:
            return rule(mapping, leaf)
        given = {"cpu.vcpus": types.given.vcpus, "memory.size_bytes": types.given.memory_bytes} if types.given else {}
        now, name = given.get(leaf.path), types.instancetype.name
        if now == leaf.value:
            return Fate.CARRIED, "spec.instancetype", f"instance type {name} gives as much"
        told = "" if now is None else f"now {human_bytes(now) if leaf.path == 'memory.size_bytes' else now}: "
        return Fate.CHANGED, "spec.instancetype", f"{told}instance type {name} decides"

    return found


def vcpus(sockets: str) -> Rule:
    def rule(mapping: Mapping, leaf: Leaf) -> Verdict:
        cpu = mapping.find("domain.cpu")
        total = cpu[sockets] * cpu["cores"] * cpu["threads"]
        place = f"domain.cpu.{sockets}"
        return (Fate.CARRIED, place, "") if total == leaf.value else (Fate.CHANGED, place, f"now {total}")

    return rule


def memory(mapping: Mapping, leaf: Leaf) -> Verdict:
    """Nothing stands for what nobody told, which refuses the machine."""
    place = "domain.memory.guest"
    if not leaf.value:
        return Fate.LOST, "", "its size is not known"
    return kept(place)(mapping, leaf)


def cpu_mode(mapping: Mapping, leaf: Leaf) -> Verdict:
    model = mapping.find("domain.cpu.model")
    named = model not in {"host-model", "host-passthrough"}
    if model == leaf.value or (leaf.value == "custom" and named):
        return Fate.CARRIED, "domain.cpu.model", ""
    return Fate.CHANGED, "domain.cpu.model", f"now {model}: nodes offer no such mode or model"


def cpu_feature(mapping: Mapping, leaf: Leaf) -> Verdict:
    wanted: CpuFeature = leaf.value
    place = f"domain.cpu.features[{wanted.name}].policy"
    if equal(wanted.policy, mapping.find(place)):
        return Fate.CARRIED, place, ""
    return Fate.LOST, "", "its policy is none that KubeVirt knows"


def nested(mapping: Mapping, _leaf: Leaf) -> Verdict:
    cpu = mapping.find("domain.cpu") or {}
    features = {one["name"] for one in cpu.get("features", []) if one["policy"] in {"force", "require"}}
    if cpu.get("model") == "host-passthrough" or features & {"vmx", "svm"}:
        return Fate.CARRIED, "domain.cpu", "if the nodes allow it"
    return Fate.LOST, "", "the nodes decide whether a guest may run guests"


def hugepages(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.memory.hugepages.pageSize"
    if mapping.find(place) == HUGEPAGES.get(leaf.value, ""):
        return Fate.CARRIED, place, ""
    return Fate.LOST, "", "KubeVirt has pages of 2 MiB and 1 GiB, and memory must be a multiple of them"


def clock_offset(mapping: Mapping, leaf: Leaf) -> Verdict:
    zone = mapping.find("domain.clock.timezone")
    place = "domain.clock.timezone" if zone else "domain.clock.utc"
    if (leaf.value == "utc") == (zone is None) and leaf.value in {"utc", "timezone", "localtime"}:
        return Fate.CARRIED, place, ""
    return Fate.CHANGED, place, f"now {zone or 'UTC'}"


def timer(mapping: Mapping, leaf: Leaf) -> Verdict:
    had: Timer = leaf.value
    place = f"domain.clock.timer.{TIMERS.get(had.name, had.name)}"
    made = mapping.find(place)
    if made is None:
        return Fate.LOST, "", "KubeVirt has no such timer"
    asked = {"tickPolicy": had.tickpolicy, "track": had.track}
    dropped = [name for name, value in asked.items() if value is not None and made.get(name) != value]
    if dropped:
        return Fate.CHANGED, place, f"without its {' and '.join(dropped)}: KubeVirt has none or not this one"
    return Fate.CARRIED, place, ""


def numa(mapping: Mapping, _leaf: Leaf) -> Verdict:
    """One cell is what every machine has: all its memory and processors."""
    if len(mapping.machine.cpu.numa) == 1:
        return Fate.CARRIED, "", "one cell is the whole machine"
    return Fate.LOST, "", "a guest's NUMA cells follow the node's, with dedicated processors and huge pages only"


def hyperv(mapping: Mapping, leaf: Leaf) -> Verdict:
    if mapping.find("domain.features.hypervPassthrough") is not None:
        return Fate.CARRIED, "domain.features.hypervPassthrough", ""
    if leaf.key == "mode":
        return Fate.CARRIED, "", "each enlightenment is named"
    place = f"domain.features.hyperv.{hyperv_path(leaf.key)}"
    if mapping.find(place) is not None:
        return Fate.CARRIED, place, ""
    if not is_on(leaf.value):
        return Fate.CARRIED, "", "off here and there"
    known = leaf.key in HYPERV
    return Fate.LOST, "", "what it builds on is off" if known else "KubeVirt has no such enlightenment"


def feature(mapping: Mapping, leaf: Leaf) -> Verdict:
    place = "domain.features.kvm.hidden" if leaf.key == "kvm.hidden" else f"domain.features.{leaf.key}.enabled"
    found = mapping.find(place)
    if found is not None:
        same_state = found is is_on(leaf.value)
        return (Fate.CARRIED, place, "") if same_state else (Fate.CHANGED, place, "Q35 and a clean stop need it")
    if not is_on(leaf.value):
        return Fate.CARRIED, "", "off here and there"
    return Fate.LOST, "", "KubeVirt has no such feature"
