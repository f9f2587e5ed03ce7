"""A VirtualMachine manifest (kubevirt.io/v1) as a QEMU command line: pure.

The proof of a machine rests on what its manifest asks for, never on what its source was: a wrong bus or firmware in the
manifest must fail here. The PCI layout follows libvirt's (one root port a device, network cards first, virtio without
its legacy half), so that a guest sees the device names that it will see in the cluster.

What the manifest asks for and a local machine cannot show is listed in `Command.not_shown`, by its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kubeferry.errors import TargetRefused
from kubeferry.targets.directory import devices
from kubeferry.targets.directory.devices import Layer, Slots, joined
from kubeferry.targets.directory.shown import unshown

PROGRAM = "qemu-system-x86_64"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
HOST_MODELS = {"host-model", "host-passthrough"}

FirmwareNeed = Literal["bios", "uefi", "uefi-secure"]

ENLIGHTENMENTS = {
    "relaxed": "hv-relaxed",
    "vapic": "hv-vapic",
    "vpindex": "hv-vpindex",
    "runtime": "hv-runtime",
    "synic": "hv-synic",
    "synictimer": "hv-stimer",
    "reset": "hv-reset",
    "frequencies": "hv-frequencies",
    "reenlightenment": "hv-reenlightenment",
    "tlbflush": "hv-tlbflush",
    "ipi": "hv-ipi",
    "evmcs": "hv-evmcs",
}

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What the place decides and the manifest does not. `firmware` is UEFI code and this run's variables;
    `forward_ports` are guest ports that get a port on 127.0.0.1; `now` is when the clock of the machine starts; at
    `tpm_socket` swtpm answers, None where the machine gets no TPM; into the folder `captures` goes what network cards
    send, None where nobody asks for it; `wires` join each card to those of other machines."""

    accelerator: Literal["kvm", "tcg"]
    qmp_socket: Path
    agent_socket: Path
    serial_log: Path
    now: datetime
    firmware: tuple[Path, Path] | None = None
    forward_ports: tuple[int, ...] = ()
    tpm_socket: Path | None = None
    captures: Path | None = None
    wires: tuple[devices.Wire, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """The program to start, and what of the manifest it does not show."""

    argv: tuple[str, ...]
    not_shown: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """One translation under way: the parts of the manifest, the PCI slots used so far, and what is left out."""

    name: str
    spec: dict[str, Any]
    options: Options
    slots: Slots = field(default_factory=Slots)
    not_shown: list[str] = field(default_factory=list)

    @property
    def domain(self) -> dict[str, Any]:
        return mapping(self.spec.get("domain"))

    @property
    def kvm(self) -> bool:
        return self.options.accelerator == "kvm"


def command(vm: Mapping[str, Any], layers: Mapping[str, Layer], options: Options) -> Command:
    """The QEMU command of a manifest. `layers` holds the throw-away layer of each claim, by claim name.

    Raises TargetRefused where the manifest cannot be read, or asks for something that no such machine can have.
    """
    try:
        return _translated(vm, layers, options)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TargetRefused(
            f"the manifest of {machine_name(vm)} cannot be read",
            why=f"{type(error).__name__}: {error}",
            fix="Make the plan again with `kubeferry plan`.",
            machine=machine_name(vm),
        ) from error


def _translated(vm: Mapping[str, Any], layers: Mapping[str, Layer], options: Options) -> Command:
    draft = _Draft(machine_name(vm), template(vm), options)
    _refuse_foreign(draft)
    secure = firmware_need(vm) == "uefi-secure"
    argv = [
        PROGRAM,
        *("-name", joined(f"guest={draft.name}")),
        *("-nodefaults", "-no-user-config", "-display", "none", "-sandbox", SANDBOX),
        *_machine(draft, secure=secure),
        *_cpu(draft),
        *("-m", f"size={memory_bytes(vm) // 1024}K"),
        *_firmware(draft, secure=secure),
        *_smbios(draft),
        *_clock(draft),
        *("-boot", "strict=on"),
        *_control(options),
        *devices.networks(
            draft.spec, draft.slots, options.forward_ports, options.captures, options.wires, draft.not_shown
        ),
        *devices.disks(draft.spec, layers, draft.slots, draft.not_shown),
        *devices.others(draft.spec, draft.slots, options.serial_log, draft.not_shown),
        *devices.tpm(draft.spec, options.tpm_socket),
    ]
    draft.not_shown += [*_named(vm), *unshown(draft.spec, kvm=draft.kvm, tpm=options.tpm_socket is not None)]
    return Command(tuple(argv), tuple(dict.fromkeys(draft.not_shown)))


def _named(vm: Mapping[str, Any]) -> Iterator[str]:
    """The instance type and the preference, of which a folder knows no more than the plan."""
    spec = mapping(vm.get("spec"))
    sized = "processors and memory as the plan knows them stand in"
    for kind, stands_in in (("instancetype", sized), ("preference", "")):
        name = mapping(spec.get(kind)).get("name")
        if name:
            yield f"{kind}: {name}" + (f" ({stands_in})" if stands_in else "")


def virtual_machine(manifests: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The one VirtualMachine among a plan's manifests. Raises TargetRefused unless there is exactly one."""
    found = [manifest for manifest in manifests if manifest.get("kind") == "VirtualMachine"]
    if len(found) != 1:
        raise TargetRefused(
            f"the plan holds {len(found)} VirtualMachine manifests for one machine",
            fix="Make the plan again with `kubeferry plan`.",
        )
    return found[0]


def machine_name(vm: Mapping[str, Any]) -> str:
    return str(mapping(vm.get("metadata")).get("name", ""))


def template(vm: Mapping[str, Any]) -> dict[str, Any]:
    """`spec.template.spec` of the manifest, empty where it has none."""
    return mapping(mapping(mapping(vm.get("spec")).get("template")).get("spec"))


def devices_of(vm: Mapping[str, Any]) -> dict[str, Any]:
    """`domain.devices` of the manifest, empty where it has none."""
    return mapping(_at(template(vm), "domain.devices"))


def firmware_need(vm: Mapping[str, Any]) -> FirmwareNeed:
    """The firmware that the manifest asks for. KubeVirt's UEFI checks signatures unless told otherwise."""
    bootloader = mapping(_at(template(vm), "domain.firmware.bootloader"))
    if "efi" not in bootloader:
        return "bios"
    return "uefi-secure" if mapping(bootloader["efi"]).get("secureBoot", True) else "uefi"


def memory_bytes(vm: Mapping[str, Any]) -> int:
    """The guest's memory in bytes: `memory.guest`, else the request for memory. Raises TargetRefused without either."""
    domain = mapping(template(vm).get("domain"))
    asked = _at(domain, "memory.guest") or _at(domain, "resources.requests.memory")
    if asked is None:
        raise TargetRefused(f"the manifest of {machine_name(vm)} names no memory", fix="Make the plan again.")
    return quantity(asked)


def quantity(text: object) -> int:
    """A Kubernetes quantity in bytes, as `512Mi`, `1.5G` or `1048576`. Raises TargetRefused for anything else."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P|)", str(text))
    if not match:
        raise TargetRefused(f"{str(text)[:40]!r} is not an amount of memory", fix="Write it as 512Mi or 4Gi.")
    return int(Decimal(match[1]) * UNITS[match[2]])


def mapping(value: object) -> dict[str, Any]:
    """The mapping, an empty one for a part that is absent. Raises TargetRefused for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TargetRefused(
            f"a manifest has {str(value)[:40]!r} where a mapping belongs",
            fix="Make the plan again with `kubeferry plan`.",
        )
    return value


def _at(tree: object, path: str) -> Any:
    for part in path.split("."):
        tree = mapping(tree).get(part)
    return tree


def _enabled(feature: object) -> bool:
    """A feature that is named is on unless it says otherwise."""
    return isinstance(feature, dict) and feature.get("enabled", True) is not False


def _refuse_foreign(draft: _Draft) -> None:
    arch = draft.spec.get("architecture", "amd64")
    machine = str(_at(draft.domain, "machine.type") or "q35")
    if arch != "amd64" or not re.fullmatch(r"(pc-)?q35.*", machine):
        raise TargetRefused(
            f"a machine of type {machine} for {arch} cannot be shown here",
            why="the local proof runs machines of type q35 for amd64",
            fix="Let the plan map it to q35, or prove it in a cluster.",
            machine=draft.name,
        )
    if machine != "q35":
        draft.not_shown.append(f"domain.machine.type: {machine} (the local QEMU's own q35 stands in)")


def _machine(draft: _Draft, *, secure: bool) -> Iterator[str]:
    features = mapping(draft.domain.get("features"))
    smm = secure or _enabled(features.get("smm"))
    parts = ["q35", f"accel={draft.options.accelerator}", f"smm={'on' if smm else 'off'}", "usb=off", "vmport=off"]
    if "acpi" in features and not _enabled(features["acpi"]):
        parts.append("acpi=off")
    if _at(draft.domain, "clock.timer.hpet.present") is False:
        parts.append("hpet=off")
    if draft.options.firmware:
        parts += ["pflash0=firmware-code", "pflash1=firmware-variables"]
    yield from ("-machine", joined(*parts))


def _cpu(draft: _Draft) -> Iterator[str]:
    cpu = mapping(draft.domain.get("cpu"))
    model = str(cpu.get("model") or "host-model")
    flags = ["host" if draft.kvm else "max"] if model in HOST_MODELS else [model]
    if model in HOST_MODELS and not draft.kvm:
        draft.not_shown.append(f"domain.cpu.model: {model} (an emulated processor with all features stands in)")
    for feature in cpu.get("features") or ():
        wanted = feature.get("policy", "require") not in {"disable", "forbid"}
        flags.append(f"{feature['name']}={'on' if wanted else 'off'}")
    if draft.kvm:
        flags += _enlightenments(draft)
    yield from ("-cpu", joined(*flags))
    sockets, cores, threads = (int(cpu.get(part) or 1) for part in ("sockets", "cores", "threads"))
    yield from ("-smp", f"cpus={sockets * cores * threads},sockets={sockets},cores={cores},threads={threads}")


def _enlightenments(draft: _Draft) -> Iterator[str]:
    features = mapping(draft.domain.get("features"))
    hyperv = mapping(features.get("hyperv"))
    yield from (f"{flag}=on" for name, flag in ENLIGHTENMENTS.items() if name in hyperv and _enabled(hyperv[name]))
    if "spinlocks" in hyperv and _enabled(hyperv["spinlocks"]):
        yield f"hv-spinlocks={int(hyperv['spinlocks'].get('spinlocks', 4096))}"
    if "vendorid" in hyperv and _enabled(hyperv["vendorid"]):
        yield f"hv-vendor-id={hyperv['vendorid'].get('vendorid', '')}"
    if _at(draft.domain, "clock.timer.hyperv.present"):
        yield "hv-time=on"
    if _at(features, "kvm.hidden"):
        yield "kvm=off"


def _firmware(draft: _Draft, *, secure: bool) -> Iterator[str]:
    if draft.options.firmware is None:
        return
    code, variables = draft.options.firmware
    yield from ("-blockdev", devices.flash("firmware-code", code, read_only=True))
    yield from ("-blockdev", devices.flash("firmware-variables", variables, read_only=False))
    if secure:
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
        yield from ("-global", "ICH9-LPC.disable_s3=1")


def _smbios(draft: _Draft) -> Iterator[str]:
    firmware = mapping(draft.domain.get("firmware"))
    if firmware.get("uuid"):
        yield from ("-uuid", str(firmware["uuid"]))
    if firmware.get("serial"):
        yield from ("-smbios", joined("type=1", f"serial={firmware['serial']}"))
    chassis = [f"{name}={value}" for name, value in sorted(mapping(draft.domain.get("chassis")).items()) if value]
    if chassis:
        yield from ("-smbios", joined("type=3", *chassis))


def _clock(draft: _Draft) -> Iterator[str]:
    clock = mapping(draft.domain.get("clock"))
    fix = ["driftfix=slew"] if _at(clock, "timer.rtc.tickPolicy") == "catchup" else []
    yield from ("-rtc", joined(f"base={_clock_base(draft, clock)}", *fix))


def _clock_base(draft: _Draft, clock: dict[str, Any]) -> str:
    """`utc`, or the local time of the manifest's zone: QEMU itself knows only the zone of its host."""
    if zone := clock.get("timezone"):
        try:
            return draft.options.now.astimezone(ZoneInfo(str(zone))).strftime("%Y-%m-%dT%H:%M:%S")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise TargetRefused(
                f"{str(zone)[:60]!r} is not a time zone that this machine knows",
                fix="Use a name of the IANA list, such as Europe/Berlin; Debian's tzdata package brings them.",
                machine=draft.name,
            ) from error
    if offset := _at(clock, "utc.offsetSeconds"):
        return (draft.options.now + timedelta(seconds=int(offset))).strftime("%Y-%m-%dT%H:%M:%S")
    return "utc"


def _control(options: Options) -> Iterator[str]:
    yield from ("-chardev", joined("socket,id=qmp", f"path={options.qmp_socket}", "server=on", "wait=off"))
    yield from ("-mon", "chardev=qmp,mode=control")
    yield from ("-chardev", joined("socket,id=agent", f"path={options.agent_socket}", "server=on", "wait=off"))
