"""Which parts of a VirtualMachine manifest the local proof shows; pure. Everything else is said not to be shown.

Paths start at `spec.template.spec`; `[]` stands for any item of a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_SHOWN = """
    architecture
    domain.chassis.asset domain.chassis.manufacturer domain.chassis.serial domain.chassis.sku domain.chassis.version
    domain.clock.timezone domain.clock.utc domain.clock.utc.offsetSeconds
    domain.clock.timer.hpet.present domain.clock.timer.rtc.tickPolicy domain.clock.timer.rtc.present
    domain.cpu.cores domain.cpu.sockets domain.cpu.threads domain.cpu.model
    domain.cpu.features[].name domain.cpu.features[].policy
    domain.features.acpi domain.features.acpi.enabled domain.features.apic
    domain.features.smm domain.features.smm.enabled domain.features.hyperv
    domain.firmware.uuid domain.firmware.serial
    domain.firmware.bootloader.bios domain.firmware.bootloader.efi domain.firmware.bootloader.efi.secureBoot
    domain.machine.type domain.memory.guest
    domain.devices.disks[].name domain.devices.disks[].bootOrder domain.devices.disks[].serial
    domain.devices.disks[].disk domain.devices.disks[].disk.bus domain.devices.disks[].disk.readonly
    domain.devices.disks[].cdrom domain.devices.disks[].cdrom.bus domain.devices.disks[].cdrom.readonly
    domain.devices.disks[].blockSize.custom.logical domain.devices.disks[].blockSize.custom.physical
    domain.devices.disks[].blockSize.custom.discardGranularity
    domain.devices.interfaces[].name domain.devices.interfaces[].model domain.devices.interfaces[].macAddress
    domain.devices.interfaces[].bootOrder domain.devices.interfaces[].masquerade domain.devices.interfaces[].bridge
    domain.devices.autoattachGraphicsDevice domain.devices.autoattachSerialConsole
    domain.devices.autoattachMemBalloon domain.devices.autoattachPodInterface
    domain.devices.useVirtioTransitional domain.devices.rng domain.devices.video.type
    domain.devices.watchdog.name domain.devices.watchdog.i6300esb domain.devices.watchdog.i6300esb.action
    domain.devices.inputs[].name domain.devices.inputs[].type domain.devices.inputs[].bus
    volumes[].name volumes[].persistentVolumeClaim.claimName volumes[].dataVolume.name
    networks[].name networks[].pod networks[].multus.networkName
"""
SHOWN = frozenset(_SHOWN.split())

# Enlightenments and a hidden hypervisor exist with hardware virtualization only.
SHOWN_BY_KVM = ("domain.features.hyperv.", "domain.features.kvm.hidden", "domain.clock.timer.hyperv.present")

SHOWN_BY_SWTPM = ("domain.devices.tpm", "domain.devices.tpm.enabled", "domain.devices.tpm.persistent")


def unshown(spec: Mapping[str, Any], *, kvm: bool, tpm: bool = False) -> list[str]:
    """The paths that end in a value and are not shown. Values are left out: one may be a secret."""
    shown = SHOWN.union(SHOWN_BY_SWTPM if tpm else ())
    paths = dict.fromkeys(_leaves(spec))
    return [path for path in paths if path and path not in shown and not (kvm and path.startswith(SHOWN_BY_KVM))]


def _leaves(tree: object, path: str = "") -> Iterator[str]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and tree:
        for value in tree:
            yield from _leaves(value, f"{path}[]")
    else:
        yield path
