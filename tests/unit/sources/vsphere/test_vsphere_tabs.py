"""Inventory exports in tabs: read as the API's properties would be, or refused with all their problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.model import DiskBus, DiskDevice, FirmwareKind, Power
from kubeferry.sources.exported import read_exported

GIB = 1 << 30
INFO = (
    "VM,Powerstate,Template,DNS Name,CPUs,Memory,Firmware,HW version,CBT,EnableUUID,EFI Secure boot,Annotation,"
    "OS according to the configuration file,Guest state,Primary IP Address,Datacenter,Cluster,Host,Folder,"
    "VM ID,SMBIOS UUID,VM UUID,Consolidation Needed\n"
    'web,poweredOn,False,web.example.com,4,"8,192",efi,19,True,True,True,"Owner: Jürgen, ""shop""",'
    "Red Hat Enterprise Linux 9 (64-bit),running,10.0.0.5,DC1,prod,esx1,/DC1/vm/Shop,vm-12,"
    "423a1b2c-0001-4002-8003-00000000abcd,503a1b2c-0001-4002-8003-00000000abcd,False\n"
    "gold,poweredOff,True,,2,2048,bios,13,False,False,False,,Other,notRunning,,DC1,prod,esx1,/,vm-13,u,v,False\n"
    "Größe 1,poweredOff,False,,1,512,bios,13,False,False,False,,Other,notRunning,,DC1,prod,esx1,/,vm-14,"
    "423a1b2c-0001-4002-8003-00000000abce,503a1b2c-0001-4002-8003-00000000abce,True\n"
)
DISK = (
    "VM,Disk,Disk Key,Disk UUID,Disk Path,Capacity MiB,Raw,Disk Mode,Sharing mode,Controller,Unit #,Shared Bus,"
    "Raw Comp. Mode,VM UUID\n"
    "web,Hard disk 1,2000,6000C298-a,[gold] web/web.vmdk,20480,False,persistent,sharingNone,SCSI controller 0,0,"
    "noSharing,,503a1b2c-0001-4002-8003-00000000abcd\n"
    "web,Hard disk 2,2016,6000C298-b,[gold] web/q.vmdk,1024,True,independent_persistent,sharingNone,"
    "SCSI controller 1,0,physicalSharing,physicalMode,503a1b2c-0001-4002-8003-00000000abcd\n"
)
NETWORK = (
    "VM,NIC label,Adapter,Network,Switch,Connected,Starts Connected,Mac Address,VM UUID\n"
    "web,Network adapter 1,Vmxnet3,prod-web,dvs,True,True,00:50:56:aa:00:01,503a1b2c-0001-4002-8003-00000000abcd\n"
    "web,Network adapter 2,E1000e,dmz,dvs,False,True,00:50:56:aa:00:02,503a1b2c-0001-4002-8003-00000000abcd\n"
)
SNAPSHOT = "VM,Name,VM UUID\nweb,before,503a1b2c-0001-4002-8003-00000000abcd\n"


def export(folder: Path, prefix: str = "RVTools_tab", **tabs: str) -> Path:
    for name, text in tabs.items():
        (folder / f"{prefix}{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_machines_come_with_their_disks_cards_and_what_is_around_them(tmp_path: Path) -> None:
    found = read_exported(export(tmp_path, vInfo=INFO, vDisk=DISK, vNetwork=NETWORK, vSnapshot=SNAPSHOT), "vc")
    assert found.source_kind == "vmware-export"
    assert [one.name for one in found.machines] == ["web", "Größe 1"]  # the template is left out
    web, other = found.machines
    assert (web.power, web.cpu.vcpus, web.memory.size_bytes) == (Power.RUNNING, 4, 8 * GIB)
    assert (web.firmware.kind, web.firmware.secure_boot) == (FirmwareKind.UEFI, True)
    assert (web.id, web.uuid) == ("503a1b2c-0001-4002-8003-00000000abcd", "423a1b2c-0001-4002-8003-00000000abcd")
    assert [(disk.id, disk.capacity_bytes, disk.device) for disk in web.disks] == [
        ("2000", 20 * GIB, DiskDevice.DISK),
        ("2016", GIB, DiskDevice.LUN),
    ]
    assert {(disk.bus, disk.controller_model) for disk in web.disks} == {(DiskBus.SCSI, None)}
    assert [disk.shareable for disk in web.disks] == [False, True]
    assert web.disks[0].serial == "6000c298a"
    assert [(nic.network, nic.model, nic.mac, nic.link_up) for nic in web.nics] == [
        ("prod-web", "vmxnet3", "00:50:56:aa:00:01", True),
        ("dmz", "e1000e", "00:50:56:aa:00:02", False),
    ]
    assert web.description == 'Owner: Jürgen, "shop"'
    assert web.metadata["folder"] == "/DC1/vm/Shop"
    assert web.metadata["cluster"] == "prod"
    assert (web.snapshots, other.snapshots) == (1, 0)
    assert {fact.path for fact in other.unmodelled} >= {"consolidationNeeded"}


def test_what_a_missing_tab_would_say_is_unknown(tmp_path: Path) -> None:
    found = read_exported(export(tmp_path, prefix="", vInfo=INFO), "vc")
    assert [(one.disks, one.nics, one.snapshots) for one in found.machines] == [((), (), None), ((), (), None)]


def test_other_delimiters_and_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "vInfo.csv").write_bytes("VM;CPUs;Memory\r\nwéb;2;1.024\r\n".encode("utf-16"))
    machine = read_exported(tmp_path, "vc").machines[0]
    assert (machine.name, machine.memory.size_bytes, machine.power) == ("wéb", GIB, Power.UNKNOWN)


def test_machines_of_one_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    rows = "VM,CPUs,Memory,Folder,VM UUID\nweb,2,2048,/a,503a\nweb,4,1024,/b,503b\ndb,1,1024,/a,503c\n"
    disks = "VM,Disk Key,Disk Path,Capacity MiB,VM UUID\nweb,2000,[gold] web/w.vmdk,10,503b\n"
    found = read_exported(export(tmp_path, vInfo=rows, vDisk=disks), "vc").machines
    assert [(one.name, len(one.disks)) for one in found] == [("web-503a", 0), ("web-503b", 1), ("db", 0)]


@pytest.mark.parametrize("mark", ["\u2028", "\x0b", "\x0c", "\x1e", "\x85"])
def test_what_is_a_new_line_to_unicode_alone_ends_no_row(tmp_path: Path, mark: str) -> None:
    export(tmp_path, vInfo=f"VM,CPUs,Memory,Annotation,Firmware\nweb,2,2048,up{mark}down,efi\ndb,1,1024,,bios\n")
    found = read_exported(tmp_path, "vc").machines
    assert [(one.name, one.firmware.kind) for one in found] == [("web", FirmwareKind.UEFI), ("db", FirmwareKind.BIOS)]
    assert found[0].description == f"up{mark}down"


@pytest.mark.parametrize(
    ("tabs", "said"),
    [
        ({"vInfo": "VM,CPUs\nweb,2\n"}, "the columns Memory are missing"),
        ({"vDisk": DISK}, "there is no vInfo tab beside it"),
        ({"vHost": "Host\nesx1\n"}, "its name ends in none of the known tabs"),
        ({"vInfo": "VM,CPUs,Memory\nweb,two,1\ndb,2,lots\n"}, "CPUs is 'two'"),
        ({"vInfo": "VM,CPUs,Memory\nweb,2,\n"}, "it has no configuration"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path, tabs: dict[str, str], said: str) -> None:
    with pytest.raises(InputInvalid) as told:
        read_exported(export(tmp_path, **tabs), "vc")
    assert said in str(told.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid) as told:
        read_exported(export(tmp_path, vInfo="VM,CPUs,Memory\nweb,two,1\ndb,2,lots\n"), "vc")
    assert [problem.where.rpartition("vInfo.csv")[2] for problem in told.value.problems] == [":2: web", ":3: db"]
