"""The settings of a VMX as a machine: each key at its place, and no other one lost."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.model import ChainLink, Device, DiskBus, DiskDevice, FirmwareKind, Machine, Power
from kubeferry.sources.ovf.vmx.dictionary import read_dictionary
from kubeferry.sources.ovf.vmx.disks import Found
from kubeferry.sources.ovf.vmx.machine import parse_vmx
from lab import vmx as made

PLAIN = {key: value for key, value in made.USUAL.items() if not key.startswith("ethernet")} | {"displayName": "app"}


def located(name: str) -> Found:
    chain = (ChainLink(uri="file:below.vmdk", format="vmdk"),) if "-00000" in name else ()
    return Found(f"file:{name}", chain=chain, size=1 << 20, uuid="6000c29a", is_lun="rdm" in name)


def machine(**told: str) -> Machine:
    """The plain one with more settings; `__` stands for a full stop, `_u_` for a colon."""
    more = {key.replace("__", ".").replace("_u_", ":"): value for key, value in told.items()}
    vmx, _ = read_dictionary(made.settings(PLAIN | more).encode(), "app.vmx")
    return parse_vmx(vmx, source="lab", name="file", called="app.vmx", locate=located)


def facts(found: Machine) -> dict[str, str]:
    return {fact.path: fact.value for fact in found.unmodelled}


def test_what_every_machine_has_is_read_and_nothing_of_it_is_lost() -> None:
    found = machine(annotation="the first|0Aone", cpuid__coresPerSocket="2", numvcpus="4")
    assert (found.id, found.name, found.power, found.arch) == ("app.vmx#app", "app", Power.OFF, "x86_64")
    assert (found.description, found.machine_type) == ("the first\none", "vmx-19")
    assert (found.uuid, found.guest.os_id) == ("564d1f2c-3a4b-5c6d-7e8f-90a1b2c3d4e5", "otherlinux-64")
    assert (found.cpu.vcpus, found.cpu.sockets, found.cpu.cores) == (4, 2, 2)
    assert (found.memory.size_bytes, found.firmware.kind) == (256 << 20, FirmwareKind.BIOS)
    assert found.unmodelled == ()


def test_a_machine_without_a_name_has_that_of_its_file_and_one_without_memory_is_refused() -> None:
    assert machine(displayName="").name == "file"
    for wrong in ("", "much", "0"):
        with pytest.raises(InputInvalid, match="memsize"):
            machine(memSize=wrong)


@pytest.mark.parametrize(
    ("told", "kind", "secure"),
    [
        ({}, FirmwareKind.BIOS, None),
        ({"firmware": "EFI"}, FirmwareKind.UEFI, False),
        ({"firmware": "efi", "uefi__secureBoot__enabled": "TRUE"}, FirmwareKind.UEFI, True),
        ({"firmware": "coreboot"}, FirmwareKind.UNKNOWN, None),
    ],
)
def test_firmware_is_a_bios_where_nothing_is_said(
    told: dict[str, str], kind: FirmwareKind, secure: bool | None
) -> None:
    found = machine(**told)
    assert (found.firmware.kind, found.firmware.secure_boot) == (kind, secure)
    assert facts(found) == ({"firmware": "coreboot"} if kind is FirmwareKind.UNKNOWN else {})


def test_disks_come_by_controller_and_unit_under_their_own_names() -> None:
    told: dict[str, str] = {"disk__EnableUUID": "TRUE", "scsi1__virtualDev": "pvscsi", "scsi0__sharedBus": "physical"}
    for place in ("nvme0_u_0", "scsi1_u_10", "scsi1_u_2", "scsi0_u_0", "ide0_u_1"):
        told |= {f"{place}__present": "TRUE", f"{place}__fileName": f"{place}.vmdk"}
    told |= {"scsi1_u_2__mode": "independent-nonpersistent", "scsi1_u_10__sharing": "multi-writer"}
    found = machine(**told)
    assert [(one.id, one.bus, one.controller_model) for one in found.disks] == [
        ("ide0:1", DiskBus.IDE, None),
        ("scsi0:0", DiskBus.SCSI, "lsilogic"),
        ("scsi1:2", DiskBus.SCSI, "pvscsi"),
        ("scsi1:10", DiskBus.SCSI, "pvscsi"),
        ("nvme0:0", DiskBus.NVME, None),
    ]
    assert [one.id for one in found.disks if one.shareable] == ["scsi0:0", "scsi1:10"]
    assert [one.id for one in found.disks if one.transient] == ["scsi1:2"]
    assert {one.serial for one in found.disks} == {"6000c29a"}
    assert facts(found) == {}


def test_what_is_off_is_not_there_but_a_disk_of_it_is_told() -> None:
    off = {"scsi0_u_1__present": "FALSE", "scsi0_u_1__fileName": "old.vmdk", "floppy0__present": "FALSE"}
    found = machine(**off, floppy0__fileName="/dev/fd0", scsi0_u_2__fileName="unsaid.vmdk", ide1_u_0__present="false")
    assert found.disks == ()
    assert facts(found) == {"scsi0:1.fileName": "old.vmdk", "scsi0:2.fileName": "unsaid.vmdk"}


def test_drives_are_told_with_the_image_that_lies_in_them() -> None:
    kinds = {"cdrom-image": "/isos/a b.iso", "cdrom-raw": "auto detect", "atapi-cdrom": "emptyBackingString"}
    told = {"floppy0__present": "TRUE", "floppy0__fileType": "file", "floppy0__fileName": "boot.flp"}
    for unit, (kind, file) in enumerate(kinds.items()):
        one = {"present": "TRUE", "deviceType": kind, "fileName": file, "startConnected": "FALSE"}
        told |= {f"sata0_u_{unit}__{key}": value for key, value in one.items()}
    found = machine(**told)
    assert [(one.device, one.uri) for one in found.disks] == [
        (DiskDevice.CDROM, "file:/isos/a%20b.iso"),
        (DiskDevice.CDROM, None),
        (DiskDevice.CDROM, None),
        (DiskDevice.FLOPPY, "file:boot.flp"),
    ]
    assert facts(found) == {}


def test_disks_of_the_host_are_luns_or_its_devices() -> None:
    told = {"scsi0_u_0__present": "TRUE", "scsi0_u_0__fileName": "app-rdm.vmdk"}
    told |= {"scsi0_u_1__present": "TRUE", "scsi0_u_1__fileName": "part.vmdk", "scsi0_u_1__deviceType": "rawDisk"}
    told |= {"scsi0_u_2__present": "TRUE", "scsi0_u_2__fileName": "/dev/sg0", "scsi0_u_2__deviceType": "scsi-passthru"}
    found = machine(**told)
    assert [one.device for one in found.disks] == [DiskDevice.LUN, DiskDevice.LUN]
    assert Device(kind="hostdev", model="scsi", detail={"deviceName": "/dev/sg0"}) in found.devices


@pytest.mark.parametrize(
    ("told", "mac", "network"),
    [
        ({"addressType": "generated", "generatedAddress": "00:0c:29:00:00:01", "networkName": "VM Network"},
         "00:0c:29:00:00:01", "VM Network"),
        ({"addressType": "vpx", "generatedAddress": "00:50:56:00:00:02", "dvs.portgroupId": "dvportgroup-7"},
         "00:50:56:00:00:02", "dvportgroup-7"),
        ({"addressType": "static", "address": "00:50:56:00:00:03", "generatedAddress": "00:0c:29:00:00:09",
          "connectionType": "custom", "vnet": "VMnet8"}, "00:50:56:00:00:03", "VMnet8"),
        ({"address": "00:50:56:00:00:04", "connectionType": "nat"}, "00:50:56:00:00:04", "nat"),
        ({"addressType": "generated"}, None, None),
    ],
)  # fmt: skip
def test_a_card_has_the_address_that_its_kind_says(told: dict[str, str], mac: str | None, network: str | None) -> None:
    card = {f"ethernet1__{key.replace('.', '__')}": value for key, value in told.items()}
    found = machine(ethernet1__present="TRUE", ethernet1__virtualDev="VmxNet3", **card)
    (nic,) = found.nics
    assert (nic.id, nic.model, nic.mac, nic.network) == ("ethernet1", "vmxnet3", mac, network)
    assert facts(found) == {}


def test_a_card_that_is_not_plugged_in_stays_so() -> None:
    told = {"ethernet0__present": "TRUE", "ethernet0__startConnected": "FALSE", "ethernet1__networkName": "unsaid"}
    found = machine(**told, ethernet2__present="FALSE", ethernet2__networkName="gone")
    assert [(one.id, one.link_up) for one in found.nics] == [("ethernet0", False)]
    assert facts(found) == {"ethernet1.networkName": "unsaid"}


def test_the_boot_order_names_disks_cards_and_classes() -> None:
    disks = {"scsi0_u_0__present": "TRUE", "scsi0_u_0__fileName": "a.vmdk"}
    disks |= {"scsi0_u_1__present": "TRUE", "scsi0_u_1__fileName": "b.vmdk", "ethernet0__present": "TRUE"}
    found = machine(**disks, bios__bootOrder="ethernet0,hdd,CDROM", bios__hddOrder="scsi0:1,scsi0:0")
    orders = {one.id: one.boot_order for one in (*found.disks, *found.nics)}
    assert orders == {"ethernet0": 1, "scsi0:1": 2, "scsi0:0": 3}
    assert found.firmware.boot_order == ("hd", "cdrom")
    assert machine(bios__bootOrder="allow:hd").unmodelled[0].path == "bios.bootOrder"


def test_all_other_devices_have_their_kind() -> None:
    told = {
        "serial0.present": "TRUE", "serial0.fileType": "pipe", "serial0.fileName": "com1", "parallel0.present": "TRUE",
        "sound.present": "TRUE", "sound.virtualDev": "hdaudio", "usb.present": "TRUE", "usb_xhci.present": "TRUE",
        "usb:1.present": "TRUE", "usb:1.deviceType": "hub", "usb:0.present": "TRUE", "usb:0.deviceType": "hid",
        "usb_xhci:4.present": "TRUE", "usb_xhci:4.deviceType": "host-usb", "pciPassthru0.present": "TRUE",
        "pciPassthru0.deviceId": "0x1db6", "sharedFolder0.present": "TRUE", "sharedFolder0.hostPath": "/home",
        "vtpm.present": "TRUE", "vtpm.ekCSR": "MIIB", "pciBridge4.present": "TRUE",
        "pciBridge4.virtualDev": "pcieRootPort", "vmci0.present": "TRUE", "hpet0.present": "TRUE",
        "svga.vramSize": "8388608", "ehci.present": "FALSE",
    }  # fmt: skip
    found = machine(**{key.replace(".", "__").replace(":", "_u_"): value for key, value in told.items()})
    kinds = [(one.kind, one.model) for one in found.devices]
    assert kinds == [
        ("controller", "sata"), ("controller", "usb"), ("controller", "usb-xhci"), ("serial", None), ("parallel", None),
        ("sound", "hda"), ("hostdev", "usb"), ("hostdev", "pci"), ("filesystem", "hgfs"), ("video", "vmvga"),
    ]  # fmt: skip
    assert found.tpm is not None
    assert found.tpm.version == "2.0"
    assert facts(found) == {}


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ({"vcpu.hotadd": "TRUE"}, {"hotPlug/cpu": "on"}),
        ({"mem.hotadd": "true", "vcpu.hotadd": "FALSE"}, {"hotPlug/memory": "on"}),
        ({"sched.cpu.shares": "high", "sched.mem.min": "1024"}, {"sched.cpu.shares": "high", "sched.mem.min": "1024"}),
        (
            {
                "sched.cpu.shares": "normal",
                "sched.mem.min": "0",
                "sched.cpu.max": "unlimited",
                "tools.syncTime": "FALSE",
            },
            {},
        ),
        ({"tools.syncTime": "TRUE"}, {"tools.syncTime": "TRUE"}),
        ({"guestinfo.metadata": "c2VjcmV0"}, {"guestinfo.metadata": "(not shown: it may be a secret)"}),
        ({"RemoteDisplay.vnc.key": "abc"}, {"RemoteDisplay.vnc.key": "(not shown: it may be a secret)"}),
        ({"numa.nodeAffinity": "0"}, {"numa.nodeAffinity": "0"}),
        ({"isolation.tools.copy.disable": "TRUE", "nvram": "app.nvram", "checkpoint.vmState": ""}, {}),
        ({"checkpoint.vmState": "app.vmss"}, {"checkpoint.vmState": "app.vmss"}),
        ({"never.heard.of": "it"}, {"never.heard.of": "it"}),
        ({"templateVM": "TRUE"}, {"template": "yes"}),
    ],
)
def test_what_is_usual_is_no_loss_and_what_is_not_is_told(told: dict[str, str], left: dict[str, Any]) -> None:
    assert facts(machine(**{key.replace(".", "__"): value for key, value in told.items()})) == left


def test_what_tools_said_last_of_the_guest_is_kept() -> None:
    said = "architecture='X86' bitness='64' kernelVersion='5.15.0-91-generic' prettyName='Ubuntu 22.04.3 LTS'"
    guest = machine(guestOS__detailed__data=said, guestOS="ubuntu-64").guest
    assert (guest.os_id, guest.os_name, guest.kernel) == ("ubuntu-64", "Ubuntu 22.04.3 LTS", "5.15.0-91-generic")


def test_a_machine_that_is_encrypted_is_called_so() -> None:
    with pytest.raises(InputInvalid, match="encrypted") as refused:
        machine(encryption__data="AAAA", encryption__keySafe="vmware:key/list", memSize="")
    assert len(refused.value.problems) == 1


def test_pinning_nesting_and_locked_memory_are_read() -> None:
    found = machine(sched__cpu__affinity="0,1", vhv__enable="TRUE", sched__mem__pin="TRUE")
    assert (found.cpu.pinning, found.cpu.nested, found.memory.locked) == (((0, "0,1"),), True, True)
    assert facts(found) == {}


def test_names_are_told_without_vcenters_escapes_and_the_id_stays() -> None:
    card = {"ethernet0.present": "TRUE", "ethernet0.networkName": "VM%2fNet"}
    found = machine(displayName="b%2fc", **card)
    assert (found.name, found.id, found.nics[0].network) == ("b/c", "app.vmx#b%2fc", "VM/Net")
