"""What each version of KubeVirt takes: its feature gates, and the fields of a VirtualMachine. Pure.

Gates are those of pkg/virt-config/featuregate (active.go, inactive.go), fields those of the schema in
pkg/virt-operator/resource/generate/components/validations_generated.go, both compared between the tags v1.5.3, v1.6.6,
v1.7.4, v1.8.4 and v1.9.0. What is older than v1.5 was not looked at; no field went away in between.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

Version = tuple[int, int]

OLDEST: Version = (1, 5)
NEWEST: Version = (1, 9)
"""The versions that manifests are made for; a newer one is taken for the newest of these."""

SUPPORTED = tuple(f"1.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1))


@dataclass(frozen=True, slots=True)
class Gate:
    """A feature gate: off unless switched on from `alpha`, on unless switched off from `beta`, always on from `ga`;
    refused before `alpha`. None: not in any of these versions; an `alpha` of `OLDEST` may be older."""

    name: str
    alpha: Version = OLDEST
    beta: Version | None = None
    ga: Version | None = None


GATES = {
    one.name: one
    for one in (
        Gate("DeclarativeHotplugVolumes", (1, 6), beta=(1, 9)),
        Gate("VideoConfig", (1, 6), beta=(1, 7), ga=(1, 9)),
        Gate("PanicDevices", (1, 6), beta=(1, 7), ga=(1, 9)),
        Gate("VMPersistentState", ga=(1, 6)),
        Gate("RebootPolicy", (1, 8), beta=(1, 9)),
        Gate("PasstBinding", (1, 8), beta=(1, 8)),
        Gate("HostDevices"),
        Gate("HostDisk"),
        Gate("Sidecar"),
        Gate("ExperimentalIgnitionSupport"),
        Gate("VSOCK"),
        Gate("DownwardMetrics"),
        Gate("EnableVirtioFsStorageVolumes"),
        Gate("EnableVirtioFsConfigVolumes"),
        Gate("ExperimentalVirtiofsSupport"),
        Gate("CPUManager"),
    )
}

_DOMAIN = "spec.template.spec.domain"
FIELDS: dict[str, Version] = {
    f"{_DOMAIN}.devices.video": (1, 6),
    f"{_DOMAIN}.devices.panicDevices": (1, 6),
    f"{_DOMAIN}.devices.gpus.claimName": (1, 6),
    f"{_DOMAIN}.devices.gpus.requestName": (1, 6),
    f"{_DOMAIN}.devices.hostDevices.claimName": (1, 6),
    f"{_DOMAIN}.devices.hostDevices.requestName": (1, 6),
    f"{_DOMAIN}.firmware.acpi.msdmNameRef": (1, 6),
    "spec.template.spec.resourceClaims": (1, 6),
    f"{_DOMAIN}.devices.disks.blockSize.custom.discardGranularity": (1, 7),
    f"{_DOMAIN}.devices.disks.changedBlockTracking": (1, 7),
    f"{_DOMAIN}.launchSecurity.snp": (1, 7),
    f"{_DOMAIN}.launchSecurity.tdx": (1, 7),
    f"{_DOMAIN}.devices.interfaces.passtBinding": (1, 8),
    f"{_DOMAIN}.features.hyperv.tlbflush.direct": (1, 8),
    f"{_DOMAIN}.features.hyperv.tlbflush.extended": (1, 8),
    f"{_DOMAIN}.memory.reservedOverhead": (1, 8),
    f"{_DOMAIN}.rebootPolicy": (1, 8),
    "spec.template.spec.utilityVolumes": (1, 8),
    "spec.template.spec.volumes.containerPath": (1, 8),
    f"{_DOMAIN}.devices.interfaces.portRanges": (1, 9),
    "spec.template.spec.networks.resourceClaim": (1, 9),
    "spec.template.spec.serviceAccountName": (1, 9),
}
"""Fields by their path, without the places in lists, and the version that knows them first; all others are older."""

GATED: dict[str, str] = {
    f"{_DOMAIN}.rebootPolicy": "RebootPolicy",
    f"{_DOMAIN}.devices.interfaces.passtBinding": "PasstBinding",
    f"{_DOMAIN}.devices.hostDevices": "HostDevices",
    f"{_DOMAIN}.devices.autoattachVSOCK": "VSOCK",
    "spec.template.spec.volumes.hostDisk": "HostDisk",
    "spec.template.spec.volumes.downwardMetrics": "DownwardMetrics",
}
"""Fields that only a user's own patch writes, and the gate without which the webhook refuses them."""


MEMORY_BESIDE_A_TYPE: Version = (1, 7)
"""From here on an instance type suffers a word on memory beside it that it does not say itself, such as huge pages
(pkg/instancetype/apply/memory.go). Instance types and preferences are `instancetype.kubevirt.io/v1beta1` in all of
these versions."""


def empty_drives(template: Mapping[str, Any]) -> list[str]:
    """CD-ROM drives without a medium, by name: disks without a volume. `template` is a machine's `spec.template.spec`.
    They need the gate DeclarativeHotplugVolumes."""
    volumes = {volume["name"] for volume in template.get("volumes") or []}
    disks = ((template.get("domain") or {}).get("devices") or {}).get("disks") or []
    return [disk["name"] for disk in disks if "cdrom" in disk and disk["name"] not in volumes]


def version_of(text: str) -> Version | None:
    """Major and minor of `v1.34.2`; None for a version that is not one, as of a build by hand."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", text)
    return (int(found[1]), int(found[2])) if found else None


def shown(version: Version) -> str:
    return ".".join(map(str, version))


def is_on(name: str, version: Version | None, on: Collection[str], off: Collection[str]) -> bool:
    """Whether a gate is on, with those switched on and off by hand. Of a build by hand, whose version nobody knows, the
    newest is assumed. Neither counts for a gate that is always on, or of which the version knows nothing; one that is
    switched both on and off is taken for off."""
    gate, here = GATES[name], version or NEWEST
    if gate.ga is not None and here >= gate.ga:
        return True
    if here < gate.alpha:
        return False
    if name in off:
        return False
    return name in on or (gate.beta is not None and here >= gate.beta)
