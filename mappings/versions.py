"""A VirtualMachine for the KubeVirt that is there: what that version or its gates would refuse is left out, and told.

Everything else of the mapping is made for the newest version. So a machine gets more after an upgrade, when it is
planned again, and a plan for an old version holds nothing that the cluster would refuse when a source is already off.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kubeferry.documents import Platform
from kubeferry.model import Concern, Severity
from kubeferry.versions import FIELDS, GATED, GATES, MEMORY_BESIDE_A_TYPE, OLDEST, empty_drives, shown

Object = dict[str, Any]
_DOMAIN = "spec.template.spec.domain"


@dataclass(frozen=True, slots=True)
class Part:
    """Something that needs a gate: what it is for people, where it is in a VirtualMachine, and how it goes."""

    gate: str
    about: str
    find: Callable[[Object], list[str]]
    drop: Callable[[Object], None]


def fitted(vm: Object, platform: Platform | None) -> tuple[Object, tuple[Concern, ...]]:
    """The machine without what this KubeVirt refuses, and a word on each part that is left out. Nobody asked: as it
    is."""
    if platform is None:
        return vm, ()
    if platform.number is not None and platform.number < OLDEST:
        what = f"KubeVirt {platform.version} is older than {shown(OLDEST)}, the oldest that machines are made for."
        fix = f"Upgrade it to {shown(OLDEST)} or newer, and plan again."
        return vm, (Concern(id="kubevirt.too-old", severity=Severity.CRITICAL, what=what, fix=fix),)
    made = copy.deepcopy(vm)
    told = [_without(made, part, platform) for part in PARTS if part.find(made) and not _taken(part.gate, platform)]
    told += [_unknown(made, path, platform) for path in unknown_fields(made, platform)]
    return made, tuple(told)


def unknown_fields(vm: Object, platform: Platform) -> list[str]:
    """Paths of fields that this version does not know, as `FIELDS` has them."""
    version = platform.number
    if version is None:
        return []
    return [path for path, since in FIELDS.items() if version < since and any(_at(vm, path))]


def refused(vm: Object, platform: Platform) -> Iterator[tuple[str, str]]:
    """What of a machine this KubeVirt would refuse: where, and why."""
    for path in unknown_fields(vm, platform):
        yield path, f"KubeVirt {platform.version} does not know it"
    memory = any(_at(vm, "spec.instancetype")) and any(_at(vm, f"{_DOMAIN}.memory"))
    if memory and platform.number is not None and platform.number < MEMORY_BESIDE_A_TYPE:
        yield f"{_DOMAIN}.memory", f"KubeVirt {platform.version} refuses any memory beside an instance type"
    for path, gate in GATED.items():
        if any(_at(vm, path)) and not _taken(gate, platform):
            yield path, f"it needs the feature gate {gate}"
    for part in PARTS:
        if not _taken(part.gate, platform):
            for where in part.find(vm):
                yield where, f"{part.about} needs the feature gate {part.gate}"


def _taken(gate: str, platform: Platform) -> bool:
    return platform.takes(gate)


def _without(vm: Object, part: Part, platform: Platform) -> Concern:
    found = ", ".join(part.find(vm))
    part.drop(vm)
    since = GATES[part.gate].alpha
    if platform.number is not None and platform.number < since:
        return _left_out(
            f"KubeVirt {platform.version} does not know {part.about}: {found}", f"Upgrade to {shown(since)}"
        )
    what = f"KubeVirt takes {part.about} ({found}) only with its feature gate {part.gate}, which is not on"
    return _left_out(what, f"Switch {part.gate} on in the KubeVirt object")


def _unknown(vm: Object, path: str, platform: Platform) -> Concern:
    for owner, name in list(_owners(vm, path)):
        owner.pop(name, None)
    what = f"KubeVirt {platform.version} does not know the field {path.removeprefix('spec.template.spec.')}"
    return _left_out(what, f"Upgrade to {shown(FIELDS[path])}")


def _left_out(what: str, way: str) -> Concern:
    fix = f"{way} and plan again, if it is needed."
    return Concern(id="kubevirt.left-out", severity=Severity.WARNING, what=f"{what}. It is left out.", fix=fix)


# --- places in a manifest --------------------------------------------------------------------------------------------


def _owners(vm: Object, path: str) -> Iterator[tuple[Object, str]]:
    """Each mapping that has the field at the end of a path, through every item of the lists on the way."""
    *above, name = path.split(".")
    here: list[Any] = [vm]
    for key in above:
        found = [one.get(key) for one in here if isinstance(one, dict)]
        here = [item for one in found for item in (one if isinstance(one, list) else [one])]
    yield from ((one, name) for one in here if isinstance(one, dict) and name in one)


def _at(vm: Object, path: str) -> Iterator[Any]:
    return (owner[name] for owner, name in _owners(vm, path))


def _devices(vm: Object) -> Object:
    return next(_at(vm, "spec.template.spec.domain.devices"), {})


def _device(name: str) -> tuple[Callable[[Object], list[str]], Callable[[Object], None]]:
    return (
        lambda vm: [f"domain.devices.{name}"] if _devices(vm).get(name) else [],
        lambda vm: _devices(vm).pop(name, None),
    )


def _empty(vm: Object) -> list[str]:
    return empty_drives(next(_at(vm, "spec.template.spec"), {}))


def _drop_empty_drives(vm: Object) -> None:
    empty, devices = _empty(vm), _devices(vm)
    devices["disks"] = [disk for disk in devices["disks"] if disk["name"] not in empty]


_STATE = ("firmware.bootloader.efi.persistent", "devices.tpm.persistent")


def _kept(vm: Object) -> list[str]:
    return [f"domain.{path}" for path in _STATE if any(_at(vm, f"spec.template.spec.domain.{path}"))]


def _keep_nothing(vm: Object) -> None:
    for path in _STATE:
        for owner, name in _owners(vm, f"spec.template.spec.domain.{path}"):
            owner[name] = False


PARTS = (
    Part(
        "DeclarativeHotplugVolumes",
        "an empty CD-ROM drive",
        lambda vm: [f"drive {name}" for name in _empty(vm)],
        _drop_empty_drives,
    ),
    Part("VideoConfig", "a graphics card of its own choice", *_device("video")),
    Part("PanicDevices", "a panic device", *_device("panicDevices")),
    Part("VMPersistentState", "UEFI variables or a TPM that are kept", _kept, _keep_nothing),
)
"""What the mapping writes and not every KubeVirt takes."""
