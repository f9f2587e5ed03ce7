"""Kinds and versions that a plan needs, KubeVirt and CDI as they are set up, and feature gates. Pure."""

from __future__ import annotations

import re
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
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.kinds import (
    DATA_VOLUME,
    INSTANCE,
    NETWORK_ATTACHMENT,
    UPLOAD_TOKEN_REQUEST,
    VIRTUAL_MACHINE,
    Kind,
)

# Jobs with podReplacementPolicy: switched on from here on.
OLDEST = (1, 29)
INSTALL_KUBEVIRT = "Install KubeVirt with its operator."
INSTALL_CDI = "Install CDI with its operator."
MACHINE_TYPES = ("q35*", "pc-q35*")


@dataclass(frozen=True, slots=True)
class Gate:
    """Feature gates, one of which must be on for a machine that `needs` it.

    `known_from` is the version of KubeVirt before which it is refused whatever is switched on, `on_from` the one from
    which it is on unless somebody switches it off; None where it is off unless somebody switches it on.
    """

    names: tuple[str, ...]
    about: str
    needs: Callable[[Entry], bool]
    known_from: tuple[int, int] | None = None
    on_from: tuple[int, int] | None = None


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
    """A CD-ROM drive without a medium: a disk without a volume."""
    volumes = {volume["name"] for volume in template_of(entry).get("volumes") or []}
    disks = (domain_of(entry).get("devices") or {}).get("disks") or []
    return any("cdrom" in disk and disk["name"] not in volumes for disk in disks)


# Alpha where they are known first, beta (on) later: pkg/virt-config/featuregate of the v1.6 to v1.9 lines.
STATE = Gate(("VMPersistentState",), "UEFI variables or a TPM to keep", keeps_state, None, (1, 6))
GATES = (
    Gate(("DeclarativeHotplugVolumes",), "an empty CD-ROM drive", _empty_drive, (1, 6), (1, 9)),
    Gate(("VideoConfig",), "a graphics card of its own choice", _device("video"), (1, 6), (1, 7)),
    Gate(("PanicDevices",), "a panic device", _device("panicDevices"), (1, 6), (1, 7)),
    Gate(("HostDevices",), "devices of the host", _device("hostDevices", "gpus")),
    Gate(("HostDisk",), "disks of the host", _volume("hostDisk")),
    Gate(("Sidecar",), "hooks beside the machine", _annotation("hooks.kubevirt.io/hookSidecars")),
    Gate(("ExperimentalIgnitionSupport",), "Ignition", _annotation("kubevirt.io/ignitiondata")),
    Gate(("VSOCK",), "a VSOCK device", _device("autoattachVSOCK")),
    Gate(("DownwardMetrics",), "metrics of the host", _volume("downwardMetrics")),
    Gate(
        ("EnableVirtioFsStorageVolumes", "EnableVirtioFsConfigVolumes", "ExperimentalVirtiofsSupport"),
        "shared folders",
        _device("filesystems"),
    ),
    Gate(("CPUManager",), "processors of its own", _dedicated),
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


def _needs_cdi(request: Request) -> bool:
    return request.uploads or request.has(DATA_VOLUME)


def _kinds(facts: Facts, request: Request) -> Iterator[Concern]:
    fixes = {VIRTUAL_MACHINE.group: INSTALL_KUBEVIRT, NETWORK_ATTACHMENT.group: "Install Multus."}
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


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor of `v1.34.2`; None for a version that is not one, as of a build by hand."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", text)
    return (int(found[1]), int(found[2])) if found else None


def _kubevirt(facts: Facts) -> Iterator[Concern]:
    if not facts.kubevirts.known:
        yield not_checked("KubeVirt's settings", facts.kubevirts.why)
        return
    if not facts.kubevirts.objects:
        yield concern("kubevirt.missing", "the cluster has KubeVirt's kinds and no KubeVirt object", INSTALL_KUBEVIRT)
        return
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
    if not facts.kubevirts.objects:
        return
    developer = facts.kubevirt.get("developerConfiguration") or {}
    off = frozenset(developer.get("disabledFeatureGates") or ())
    on = frozenset(developer.get("featureGates") or ()) - off
    observed = str((facts.kubevirts.objects[0].get("status") or {}).get("observedKubeVirtVersion") or "")
    found = version_of(observed)
    for gate in GATES:
        if not gate.needs(entry):
            continue
        if found and gate.known_from and found < gate.known_from:
            least = ".".join(map(str, gate.known_from))
            what = f"{entry.name} has {gate.about}, and KubeVirt {observed} knows none"
            yield concern(
                "kubevirt.gate-off", what, f"Upgrade KubeVirt to {least} or newer, or remove it at the source."
            )
        elif not _is_on(gate, on, off, found):
            what = f"{entry.name} has {gate.about}, and KubeVirt's feature gate {gate.names[0]} is off"
            yield concern("kubevirt.gate-off", what, f"Switch {gate.names[0]} on in the KubeVirt object.")
    if keeps_state(entry) and not keeps_state_of(facts.kubevirt, observed):
        what = f"{entry.name} keeps UEFI variables or a TPM, and KubeVirt {observed} may need VMPersistentState"
        yield concern("kubevirt.gate-unknown", what, "Switch VMPersistentState on in the KubeVirt object.")


def keeps_state_of(settings: Object, observed: str) -> bool:
    """Whether a KubeVirt with these settings, of this version, keeps UEFI variables and TPMs over a stop."""
    developer = settings.get("developerConfiguration") or {}
    off = frozenset(developer.get("disabledFeatureGates") or ())
    on = frozenset(developer.get("featureGates") or ()) - off
    return _is_on(STATE, on, off, version_of(observed))


def _is_on(gate: Gate, on: frozenset[str], off: frozenset[str], version: tuple[int, int] | None) -> bool:
    """Of a build by hand, whose version nobody knows, the newest is assumed."""
    by_default = gate.on_from is not None and (version is None or version >= gate.on_from)
    return bool(on & set(gate.names)) or (by_default and not off >= set(gate.names))


def _settings(facts: Facts, entry: Entry) -> Iterator[Concern]:
    network = facts.kubevirt.get("network") or {}
    if network.get("permitBridgeInterfaceOnPodNetwork") is False and _bridges_pod_network(entry):
        what = f"{entry.name} is bridged to the pod network, which this KubeVirt does not permit"
        yield concern("kubevirt.bridge-forbidden", what, "Use the binding masquerade in the policy.")
    own = (domain_of(entry).get("machine") or {}).get("type") or "q35"
    allowed = facts.kubevirt.get("emulatedMachines") or _machine_types(facts, template_of(entry)) or MACHINE_TYPES
    if not any(fnmatch(own, pattern) for pattern in allowed):
        what = f"{entry.name} is a {own}, and this KubeVirt takes {', '.join(allowed)}"
        yield concern("kubevirt.machine-type", what, "Add it to emulatedMachines in the KubeVirt object.")


def _machine_types(facts: Facts, template: Object) -> list[str]:
    by_architecture = facts.kubevirt.get("architectureConfiguration") or {}
    own = by_architecture.get(template.get("architecture") or "amd64") or {}
    return list(own.get("emulatedMachines") or ())


def _bridges_pod_network(entry: Entry) -> bool:
    pods = {one.get("name") for one in template_of(entry).get("networks") or [] if "pod" in one}
    interfaces = (domain_of(entry).get("devices") or {}).get("interfaces") or []
    return any("bridge" in one and one.get("name") in pods for one in interfaces)
