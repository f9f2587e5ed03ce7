"""Kinds and versions that a plan needs, KubeVirt and CDI as they are set up, and feature gates. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from kubeferry.documents import Entry
from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.facts import (
    Facts,
    Object,
    Request,
    domain_of,
    keeps_state,
    machine_of,
    networks_of,
    template_of,
)
from kubeferry.targets.kubevirt.checks.instancetypes import named
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.kinds import (
    DATA_VOLUME,
    INSTANCE,
    INSTANCE_TYPES,
    NETWORK_ATTACHMENT,
    UPLOAD_TOKEN_REQUEST,
    VIRTUAL_MACHINE,
    Kind,
)
from kubeferry.versions import GATES, empty_drives, is_on, shown, version_of
from kubeferry.versions import NEWEST as KUBEVIRT_NEWEST
from kubeferry.versions import OLDEST as KUBEVIRT_OLDEST

# Jobs with podReplacementPolicy: switched on from here on.
OLDEST = (1, 29)
INSTALL_KUBEVIRT = "Install KubeVirt with its operator."
INSTALL_CDI = "Install CDI with its operator."
MACHINE_TYPES = ("q35*", "pc-q35*")


@dataclass(frozen=True, slots=True)
class Need:
    """Feature gates, one of which must be on for a machine that `needs` it; the first is the one to switch on."""

    gates: tuple[str, ...]
    about: str
    needs: Callable[[Entry], bool]


def _device(*names: str) -> Callable[[Entry], bool]:
    return lambda entry: any((domain_of(entry).get("devices") or {}).get(name) for name in names)


def _volume(source: str) -> Callable[[Entry], bool]:
    return lambda entry: any(source in volume for volume in template_of(entry).get("volumes") or [])


def _annotation(name: str) -> Callable[[Entry], bool]:
    return lambda entry: name in (_template_metadata(entry).get("annotations") or {})


def _template_metadata(entry: Entry) -> Object:
    machine = machine_of(entry) or {}
    return dict(((machine.get("spec") or {}).get("template") or {}).get("metadata") or {})


def _dedicated(entry: Entry) -> bool:
    return bool((domain_of(entry).get("cpu") or {}).get("dedicatedCpuPlacement"))


def _empty_drive(entry: Entry) -> bool:
    return bool(empty_drives(template_of(entry)))


NEEDS = (
    Need(("DeclarativeHotplugVolumes",), "an empty CD-ROM drive", _empty_drive),
    Need(("VideoConfig",), "a graphics card of its own choice", _device("video")),
    Need(("PanicDevices",), "a panic device", _device("panicDevices")),
    Need(("VMPersistentState",), "UEFI variables or a TPM whose state is kept", keeps_state),
    Need(("HostDevices",), "devices of the host", _device("hostDevices", "gpus")),
    Need(("HostDisk",), "disks of the host", _volume("hostDisk")),
    Need(("Sidecar",), "hooks beside the machine", _annotation("hooks.kubevirt.io/hookSidecars")),
    Need(("ExperimentalIgnitionSupport",), "Ignition", _annotation("kubevirt.io/ignitiondata")),
    Need(("VSOCK",), "a VSOCK device", _device("autoattachVSOCK")),
    Need(("DownwardMetrics",), "metrics of the host", _volume("downwardMetrics")),
    Need(
        ("EnableVirtioFsStorageVolumes", "EnableVirtioFsConfigVolumes", "ExperimentalVirtiofsSupport"),
        "shared folders",
        _device("filesystems"),
    ),
    Need(("CPUManager",), "processors of its own", _dedicated),
)
"""What a machine may need that not every KubeVirt gives."""


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """Everything that is wrong with what the cluster serves."""
    yield from _versions(facts)
    missing = list(_kinds(facts, request))
    yield from missing
    if not any("kubevirt.io/v1," in one.what for one in missing):
        yield from _kubevirt(facts)
        for entry in request.entries:
            yield from _gates(facts, entry)
            yield from _settings(facts, entry)
    if _needs_cdi(request) and facts.cdis.known:
        yield from _cdi(facts)


def wanted(request: Request) -> Iterator[Kind]:
    """The kinds that must be served, beside those that every cluster has."""
    yield from (VIRTUAL_MACHINE, INSTANCE)
    if _needs_cdi(request):
        yield DATA_VOLUME
    if request.uploads:
        yield UPLOAD_TOKEN_REQUEST
    if any(True for entry in request.entries for _ in networks_of(entry)):
        yield NETWORK_ATTACHMENT
    yield from dict.fromkeys(kind for entry in request.entries for _word, kind, _name in named(entry))


def _needs_cdi(request: Request) -> bool:
    return request.uploads or request.has(DATA_VOLUME)


def _kinds(facts: Facts, request: Request) -> Iterator[Concern]:
    of_kubevirt = dict.fromkeys((VIRTUAL_MACHINE.group, INSTANCE_TYPES[0].group), INSTALL_KUBEVIRT)
    fixes = of_kubevirt | {NETWORK_ATTACHMENT.group: "Install Multus."}
    for kind in wanted(request):
        served = facts.served.get(kind.api_version)
        if served is None or kind.plural not in served:
            what = f"the cluster does not serve {kind.api_version}, {kind.name}"
            yield concern("cluster.kind-missing", what, fixes.get(kind.group, INSTALL_CDI))


def _versions(facts: Facts) -> Iterator[Concern]:
    found = version_of(facts.version)
    if found and found < OLDEST:
        what = f"the cluster is {facts.version}, and movers' Jobs need Kubernetes {OLDEST[0]}.{OLDEST[1]} or newer"
        yield concern("cluster.version-old", what, "Upgrade the cluster.")


def _kubevirt(facts: Facts) -> Iterator[Concern]:
    if not facts.kubevirts.known:
        yield not_checked("KubeVirt's settings", facts.kubevirts.why)
        return
    if not facts.kubevirts.objects:
        yield concern("kubevirt.missing", "the cluster has KubeVirt's kinds and no KubeVirt object", INSTALL_KUBEVIRT)
        return
    found = version_of(_observed(facts))
    if found and found < KUBEVIRT_OLDEST:
        what = f"KubeVirt is {_observed(facts)}, and machines are made for {shown(KUBEVIRT_OLDEST)} and newer"
        yield concern("kubevirt.version-old", what, "Upgrade it.")
    elif found and found > KUBEVIRT_NEWEST:
        what = (
            f"KubeVirt is {_observed(facts)}, newer than any that was tried: it is taken for {shown(KUBEVIRT_NEWEST)}"
        )
        yield concern("kubevirt.version-new", what, "Rehearse a machine; a newer kubeferry may know it.")
    status = facts.kubevirts.objects[0].get("status") or {}
    phase = status.get("phase")
    degraded = _condition(status, "Degraded")
    if phase != "Deployed":
        what = f"KubeVirt is {phase or 'without a phase'}" + (f": {degraded}" if degraded else "")
        yield concern("kubevirt.not-deployed", what, "Look at the KubeVirt object's conditions and at its operator.")
    elif degraded:
        yield concern("kubevirt.degraded", f"KubeVirt is degraded: {degraded}", "Look at the pods in its namespace.")


def _cdi(facts: Facts) -> Iterator[Concern]:
    phases = [str((one.get("status") or {}).get("phase")) for one in facts.cdis.objects]
    if "Deployed" not in phases:
        what = f"the plan needs CDI, which is {' and '.join(phases) or 'not there'}"
        yield concern("cdi.not-deployed", what, INSTALL_CDI)


def _condition(status: Object, kind: str) -> str:
    """The message of a condition that is true."""
    for one in status.get("conditions") or []:
        if one.get("type") == kind and one.get("status") == "True":
            return str(one.get("message") or one.get("reason") or kind)
    return ""


def _gates(facts: Facts, entry: Entry) -> Iterator[Concern]:
    """What the machine has and this KubeVirt, with its gates, does not take. A plan that was made when it was asked has
    none of it."""
    if not facts.kubevirts.objects:
        return
    developer = facts.kubevirt.get("developerConfiguration") or {}
    on, off = (frozenset(developer.get(name) or ()) for name in ("featureGates", "disabledFeatureGates"))
    observed = _observed(facts)
    found = version_of(observed)
    for need in NEEDS:
        first = GATES[need.gates[0]]
        if not need.needs(entry) or any(is_on(gate, found, on, off) for gate in need.gates):
            continue
        if found and found < first.alpha:
            what = f"{entry.name} has {need.about}, and KubeVirt {observed} knows none"
            fix = f"Upgrade KubeVirt to {shown(first.alpha)} or newer, or plan again with this cluster asked."
        else:
            what = f"{entry.name} has {need.about}, and KubeVirt's feature gate {first.name} is off"
            fix = f"Switch {first.name} on in the KubeVirt object, or plan again with this cluster asked."
        yield concern("kubevirt.gate-off", what, fix)


def _observed(facts: Facts) -> str:
    return str((facts.kubevirts.objects[0].get("status") or {}).get("observedKubeVirtVersion") or "")


def _settings(facts: Facts, entry: Entry) -> Iterator[Concern]:
    network = facts.kubevirt.get("network") or {}
    if network.get("permitBridgeInterfaceOnPodNetwork") is False and _bridges_pod_network(entry):
        what = f"{entry.name} is bridged to the pod network, which this KubeVirt does not permit"
        yield concern("kubevirt.bridge-forbidden", what, "Use the binding masquerade in the policy.")
    if facts.kubevirts.objects:
        yield from _plugins(network.get("binding") or {}, entry)
    own = (domain_of(entry).get("machine") or {}).get("type") or "q35"
    allowed = facts.kubevirt.get("emulatedMachines") or _machine_types(facts, template_of(entry)) or MACHINE_TYPES
    if not any(fnmatch(own, pattern) for pattern in allowed):
        what = f"{entry.name} is a {own}, and this KubeVirt takes {', '.join(allowed)}"
        yield concern("kubevirt.machine-type", what, "Add it to emulatedMachines in the KubeVirt object.")


def _plugins(registered: Object, entry: Entry) -> Iterator[Concern]:
    """KubeVirt takes a machine whose card is bound by a plugin that it does not know, and then makes it no pod."""
    interfaces = (domain_of(entry).get("devices") or {}).get("interfaces") or []
    wanted = {one["binding"]["name"] for one in interfaces if (one.get("binding") or {}).get("name")}
    for name in sorted(wanted - registered.keys()):
        has = ", ".join(sorted(registered)) or "none"
        what = f"{entry.name} has a card bound by the plugin {name}, and this KubeVirt has {has}"
        fix = "Register it in the KubeVirt object (configuration.network.binding), or choose another one in the policy."
        yield concern("kubevirt.binding-missing", what, fix)


def _machine_types(facts: Facts, template: Object) -> list[str]:
    by_architecture = facts.kubevirt.get("architectureConfiguration") or {}
    own = by_architecture.get(template.get("architecture") or "amd64") or {}
    return list(own.get("emulatedMachines") or ())


def _bridges_pod_network(entry: Entry) -> bool:
    pods = {one.get("name") for one in template_of(entry).get("networks") or [] if "pod" in one}
    interfaces = (domain_of(entry).get("devices") or {}).get("interfaces") or []
    return any("bridge" in one and one.get("name") in pods for one in interfaces)
