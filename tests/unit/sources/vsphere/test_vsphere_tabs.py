"""Inventory exports in tabs: read as the API's properties would be, or refused with all their problems."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from kubeferry.documents import Policy
from kubeferry.errors import InputInvalid
from kubeferry.model import DiskBus, DiskDevice, FirmwareKind, Power, Severity
from kubeferry.sources.exported import read_exported
from kubeferry.sources.vsphere import tab_files
from mappings.assessment import assess

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


def test_rows_without_an_id_go_to_nobody_else_and_rows_of_no_machine_are_told(tmp_path: Path) -> None:
    info = "VM,Powerstate,CPUs,Memory,VM UUID\n" + "".join(
        f"{name},poweredOff,1,512,{uuid}\n"
        for name, uuid in (("b", ""), ("a", "503a"), ("c", ""), ("twin", "503t"), ("twin", "503u"))
    )
    rows = (
        ("a", 1, "503a"),
        ("a", 2, ""),
        ("b", 3, ""),
        ("c", 4, ""),
        ("gone", 5, ""),
        ("gone", 6, "503z"),
        ("twin", 7, ""),
    )
    disk = "VM,Disk,Disk Key,Capacity MiB,VM UUID\n" + "".join(
        f"{name},Hard disk {size},{2000 + size},{size},{uuid}\n" for name, size, uuid in rows
    )
    found = read_exported(export(tmp_path, vInfo=info, vDisk=disk), "vc")
    sizes = {one.name: [(disk.capacity_bytes or 0) >> 20 for disk in one.disks] for one in found.machines}
    assert sizes == {"a": [1, 2], "b": [3], "c": [4], "twin-503t": [], "twin-503u": []}
    (told,) = found.unreadable
    assert (told.id, told.severity) == ("file.doubtful", Severity.WARNING)
    assert told.what.endswith("rows of vDisk are of no machine that can be told from vInfo: gone, twin")


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
    assert [disk.label for disk in web.disks] == ["Hard disk 1", "Hard disk 2"]
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
    counted = "VM,CPUs,Memory,Disks,NICs,Total disk capacity MiB,Network #1\nweb,2,2048,2,1,81920,prod\n"
    found = read_exported(export(tmp_path, prefix="", vInfo=counted), "vc").machines[0]
    assert [(one.capacity_bytes, one.uri, one.bus) for one in found.disks] == [(None, None, DiskBus.UNKNOWN)] * 2
    assert {one.source_kind for one in found.disks} == {"unknown"}
    assert [(one.network, one.mac, one.model) for one in found.nics] == [("prod", None, None)]
    assert found.snapshots is None
    assert [one.value[:9] for one in found.unmodelled if one.path == "disks"] == ["81920 MiB"]


def test_disks_that_nobody_counts_are_not_none(tmp_path: Path) -> None:
    found = read_exported(export(tmp_path, prefix="", vInfo=INFO), "vc")
    assert [len(one.disks) for one in found.machines] == [1, 1]
    assert {disk.capacity_bytes for one in found.machines for disk in one.disks} == {None}


def test_other_delimiters_and_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "vInfo.csv").write_bytes("VM;CPUs;Memory\r\nwéb;2;1.024\r\n".encode("utf-16"))
    machine = read_exported(tmp_path, "vc").machines[0]
    assert (machine.name, machine.memory.size_bytes, machine.power) == ("wéb", GIB, Power.UNKNOWN)


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_line_that_tells_excel_the_delimiter_is_no_header(tmp_path: Path, first: str) -> None:
    (tmp_path / "vInfo.csv").write_text(f'{first}\r\nVM;CPUs;Memory;Folder\r\nweb;2;1024;"a, b, c, d, e"\r\n')
    (machine,) = read_exported(tmp_path, "vc").machines
    assert (machine.name, machine.memory.size_bytes) == ("web", GIB)


@pytest.mark.parametrize("first", [",,,,\n", "\n\n", "sep=\t\n", "sep=,,,,\n"])
def test_lines_before_the_header_that_hold_nothing_cost_no_machine(tmp_path: Path, first: str) -> None:
    apart = "\t" if "\t" in first else ","
    rows = "VM,CPUs,Memory\nweb,2,1024\n".replace(",", apart)
    (tmp_path / "vInfo.csv").write_text(first + rows)
    assert [one.name for one in read_exported(tmp_path, "vc").machines] == ["web"]


def test_rows_of_machines_that_share_an_id_go_to_the_one_of_their_name(tmp_path: Path) -> None:
    """Two vCenters in one export; and a machine of which the export says one key for two disks."""
    info = "VM,CPUs,Memory,VM UUID\na,2,1024,503a\nb,2,1024,503a\n"
    disks = "VM,Disk,Disk Key,Capacity MiB,VM UUID\na,one,2000,100,503a\nb,two,2000,900,503a\nb,three,2000,50,503a\n"
    found = read_exported(export(tmp_path, vInfo=info, vDisk=disks), "vc")
    sizes = {one.name: [(disk.id, (disk.capacity_bytes or 0) >> 20) for disk in one.disks] for one in found.machines}
    assert sizes == {"a": [("2000", 100)], "b": [("2000", 900), ("2001", 50)]}
    assert any("Disk Key 2000 is that of several disks" in one.what for one in found.unreadable)


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
        ({"vHost": "Host\nesx1\n"}, "nothing of a machine is taken from these tabs"),
        ({"people": "name\nbob\n"}, "its name has none of the tabs"),
        ({"vInfo": "VM,CPUs,Memory\nweb,two,1\ndb,2,lots\n"}, "CPUs is 'two'"),
        ({"vInfo": "VM,CPUs,Memory\nweb,2,\n"}, "its cell Memory is empty"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path, tabs: dict[str, str], said: str) -> None:
    with pytest.raises(InputInvalid) as told:
        read_exported(export(tmp_path, **tabs), "vc")
    assert said in str(told.value)


ROWS = "VM,CPUs,Memory,Template\nweb,two,1,\ndb,2,lots,\n,,,\nok,2,1024,False\ngold,1,1024,True\n"


def test_rows_that_cannot_be_read_cost_no_other_one(tmp_path: Path) -> None:
    found = read_exported(export(tmp_path, vInfo=ROWS, vHost="Host\nesx1\n"), "vc")
    assert [one.name for one in found.machines] == ["ok"]
    lines = {one.what.rpartition("vInfo.csv")[2].partition(": ")[0]: one.id for one in found.unreadable}
    assert {":2": "machine.unreadable", ":3": "machine.unreadable"}.items() <= lines.items()
    assert [one.id for one in found.unreadable if one.severity is Severity.INFO] == [
        "file.passed-over",
        "machine.template",
    ]


def test_templates_alone_are_no_machines_and_counted(tmp_path: Path) -> None:
    found = read_exported(export(tmp_path, vInfo="VM,CPUs,Memory,Template\ngold,1,1024,True\n"), "vc")
    assert found.machines == ()
    assert "1 of its rows are templates" in found.unreadable[0].what


@pytest.mark.parametrize(
    ("told", "expected"),
    [("8192,00", 8192), ("8192.0", 8192), ("8.192", 8192), ("8.192,00", 8192), ("8192", 8192), ("1 024", 1024)],
)
def test_numbers_as_spreadsheets_write_them(tmp_path: Path, told: str, expected: int) -> None:
    export(tmp_path, vInfo=f"VM;CPUs;Memory\nweb;2;{told}\n")
    assert read_exported(tmp_path, "vc").machines[0].memory.size_bytes == expected << 20


def test_a_code_page_of_windows_is_read_and_told(tmp_path: Path) -> None:
    (tmp_path / "vInfo.csv").write_bytes("VM;CPUs;Memory\r\nBüro€1;2;1024\r\n".encode("windows-1252"))
    found = read_exported(tmp_path, "vc")
    assert [one.name for one in found.machines] == ["Büro€1"]
    assert "Windows-1252" in found.unreadable[0].what


@pytest.mark.parametrize(
    ("controller", "label", "bus", "model"),
    [
        ("LSI Logic SAS", "SCSI controller 1", DiskBus.SCSI, "lsisas1068"),
        ("LSI Logic", "SCSI controller 0", DiskBus.SCSI, "lsilogic"),
        ("VMware paravirtual SCSI", "SCSI controller 0", DiskBus.SCSI, "pvscsi"),
        ("BusLogic", "SCSI controller 0", DiskBus.SCSI, "buslogic"),
        ("AHCI", "SATA controller 0", DiskBus.SATA, "ahci"),
        ("NVMe", "NVME controller 0", DiskBus.NVME, None),
        ("IDE 0", "", DiskBus.IDE, None),
        ("SCSI controller 1", "", DiskBus.SCSI, None),
        ("", "SATA controller 2", DiskBus.SATA, "ahci"),
    ],
)
def test_controllers_by_their_words(
    tmp_path: Path, controller: str, label: str, bus: DiskBus, model: str | None
) -> None:
    head = "VM,Controller,Label,Unit #,Path,Disk Path,Capacity MiB"
    disks = f"{head}\nweb,{controller},{label},0,[ds 1] a.vmdk,C:\\,10\n"
    export(tmp_path, vInfo="VM,CPUs,Memory\nweb,2,1024\n", vDisk=disks)
    (disk,) = read_exported(tmp_path, "vc").machines[0].disks
    assert (disk.bus, disk.controller_model, disk.uri) == (bus, model, "datastore:///ds%201/a.vmdk")


@pytest.mark.parametrize(
    "rows",
    [
        (
            "Hard disk 1,2000,LSI Logic SAS,SCSI controller 0,0",
            "Hard disk 2,2016,VMware paravirtual SCSI,SCSI controller 1,0",
        ),
        ("Hard disk 1,2000,VMware paravirtual SCSI,SCSI controller 0,0", "Hard disk 2,16000,AHCI,SATA controller 0,0"),
        ("Hard disk 1,2016,LSI Logic,SCSI controller 2,0", "Hard disk 2,2160,BusLogic,SCSI controller 10,0"),
        ("Hard disk 1,3000,IDE,IDE 0,0", "Hard disk 2,2000,VMware paravirtual SCSI,SCSI controller 0,0"),
        ("Hard disk 1,2000,VMware paravirtual SCSI,,0", "Hard disk 2,2016,LSI Logic,,0"),
        ("Hard disk 1,,VMware paravirtual SCSI,,0", "Hard disk 2,,LSI Logic,,0"),
        ("Hard disk 1,16000,SATA,SATA controller 0,0", "Hard disk 2,32000,NVMe,NVME controller 0,0"),
    ],
)
def test_disks_come_by_the_number_of_their_controller(tmp_path: Path, rows: tuple[str, str]) -> None:
    """The first one boots: neither the controller's kind nor the order of the rows decides which one it is."""
    table = "".join(
        f"db01,{row},{name}\n" for row, name in zip(rows, ("[s] a/one.vmdk", "[s] a/two.vmdk"), strict=True)
    )
    text = f"VM,Disk,Disk Key,Controller,Label,Unit #,Path\n{table}"
    export(tmp_path, vInfo="VM,CPUs,Memory\ndb01,2,1024\n", vDisk=text)
    disks = read_exported(tmp_path, "vc").machines[0].disks
    assert [disk.label for disk in disks] == ["Hard disk 1", "Hard disk 2"]
    assert all(disk.bus.value != "unknown" for disk in disks)


def test_hot_add_and_fault_tolerance_are_told(tmp_path: Path) -> None:
    export(
        tmp_path,
        vInfo="VM,CPUs,Memory,FT State\nweb,2,1024,running\n",
        vCPU="VM,CPUs,Hot Add\nweb,2,True\n",
        vMemory="VM,Hot Add\nweb,True\n",
    )
    facts = {one.path: one.value for one in read_exported(tmp_path, "vc").machines[0].unmodelled}
    assert facts.items() >= {"hotPlug/cpu": "on", "hotPlug/memory": "on", "faultTolerance": "running"}.items()


def test_what_vsphere_says_counts_without_a_column_about_its_tools(tmp_path: Path) -> None:
    """Which columns an export has is its maker's choice: none of them is what makes its machines vSphere's."""
    head = "VM,CPUs,Memory,Powerstate,FT State,Connection state,Consolidation Needed"
    export(tmp_path, vInfo=f"{head}\nweb,2,1024,poweredOn,running,disconnected,True\n")
    (row,) = assess(read_exported(tmp_path, "vc"), Policy(namespace="migrated"))
    found = {one.id for one in row.concerns if one.id.startswith("vmware.")}
    assert found == {"vmware.fault-tolerance", "vmware.host-lost", "vmware.consolidation"}, "and no word of its tools"


def test_a_workbook_is_an_export(tmp_path: Path) -> None:
    info = [["VM", "CPUs", "Memory", "CBT", "VM UUID"], ["web", 2, 8192.0, True, "503a"], ["", "", "", "", ""]]
    disk = [["VM", "Capacity MiB", "Path", "VM UUID"], ["web", 10240, "[ds] web/w.vmdk", "503a"]]
    workbook(tmp_path / "all.XLSX", {"vInfo": info, "vDisk": disk, "vHost": [["Host"], ["esx"]]})
    workbook(tmp_path / "people.xlsx", {"Sheet1": [["name"], ["bob"]]})
    found = read_exported(tmp_path, "vc")
    assert found.source_kind == "vmware-export"
    (web,) = found.machines
    assert (web.cpu.vcpus, web.memory.size_bytes, web.disks[0].capacity_bytes) == (2, 8 * GIB, 10 * GIB)
    assert [one.id for one in found.unreadable] == ["file.passed-over"]
    assert "Sheet1" in found.unreadable[0].what


def test_sheets_are_known_by_the_tabs_that_end_their_names_and_a_note_of_excel_is_no_workbook(tmp_path: Path) -> None:
    info = [["VM", "CPUs", "Memory", "VM UUID"], ["web", 2, 8192, "503a"]]
    other = [["VM", "CPUs", "Memory", "VM UUID"], ["old", 2, 8192, "503b"]]
    disk = [["VM", "Capacity MiB", "Path", "VM UUID"], ["web", 10240, "[ds] web/w.vmdk", "503a"]]
    workbook(tmp_path / "all.xlsx", {"old_vInfo": other, "vInfo": info, "RVTools_tabvDisk": disk})
    (tmp_path / "~$all.xlsx").write_bytes(b"\x05alice" + bytes(159))
    found = read_exported(tmp_path, "vc")
    assert [(one.name, one.disks[0].capacity_bytes) for one in found.machines] == [("web", 10 * GIB)]
    twin, note = found.unreadable
    assert (twin.id, note.id) == ("machine.unreadable", "file.passed-over")
    assert twin.what.endswith("of several sheets for one tab one was read, and not old_vInfo")
    assert "Excel's note" in note.what


@pytest.mark.parametrize("content", [b"", b"PK", b"VM,CPUs\n", b"PK\x05\x06" + bytes(18)])
def test_a_workbook_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "all.xlsx").write_bytes(content)
    with pytest.raises(InputInvalid, match="no workbook that can be read"):
        read_exported(tmp_path, "vc")


def told(folder: Path) -> list[tuple[str, str]]:
    """What a folder of exports has left out or doubts, by its kind."""
    try:
        found = read_exported(folder, "vc").unreadable
    except InputInvalid as error:
        return [(one.where, one.what.rpartition("/")[2]) for one in error.problems[1:]]
    return [(one.id, one.what.rpartition("/")[2]) for one in found]


def test_a_row_with_more_cells_than_columns_is_left_out_and_one_with_fewer_is_doubtful(tmp_path: Path) -> None:
    """A comma that nobody quoted shifts whatever stands behind it."""
    info = "VM,CPUs,Memory,Disks,VM ID\nweb,2,4096,00,1,vm-3\ndb,2,4096,1,vm-4\ncut,2,1024\n"
    disk = "VM,Disk,Capacity MiB,VM ID\ndb,Hard disk 1,40,960,vm-4\ndb,Hard disk 2,10,vm-4\n"
    export(tmp_path, vInfo=info, vDisk=disk)
    found = {one.name: one for one in read_exported(tmp_path, "vc").machines}
    assert sorted(found) == ["cut", "db"]
    assert [one.label for one in found["db"].disks] == ["Hard disk 2"]
    words = told(tmp_path)
    assert ("machine.unreadable", f"RVTools_tabvInfo.csv:2: web: {CELLS.format(6, 'vInfo', 5)}") in words
    assert ("machine.unreadable", f"RVTools_tabvDisk.csv:2: db: {CELLS.format(5, 'vDisk', 4)}") in words
    (doubt,) = (what for kind, what in words if kind == "file.doubtful" and "cells" in what)
    assert doubt.endswith("and may be read wrong: 4")


CELLS = "it has {} cells, and {} {} columns: a delimiter in a cell is not quoted"


def test_a_row_that_is_shifted_by_an_empty_cell_is_doubtful(tmp_path: Path) -> None:
    export(tmp_path, vInfo="VM,CPUs,Memory,Firmware\nweb,2,4096,00,\n")
    assert [kind for kind, _ in told(tmp_path)] == ["file.doubtful"]


@pytest.mark.parametrize("book", [False, True])
def test_of_two_columns_with_one_name_the_first_is_read_and_they_are_told(tmp_path: Path, book: bool) -> None:
    rows: list[list[object]] = [["VM", "CPUs", "Memory", "Owner", "Memory", "", ""], ["web", 2, 4096, "me", 16, "", ""]]
    if book:
        workbook(tmp_path / "all.xlsx", {"vInfo": rows})
    else:
        export(tmp_path, vInfo="".join(",".join(map(str, row)) + "\n" for row in rows))
    found = read_exported(tmp_path, "vc")
    assert found.machines[0].memory.size_bytes == 4 * GIB
    ((kind, what),) = told(tmp_path)
    assert kind == "file.doubtful"
    assert what.endswith("several columns of vInfo have one name, and the first of each was read: Memory")


@pytest.mark.parametrize("text", ["", "\n\n", "VM,CPUs,Memory\n", "VM,CPUs,Memory\n,,\n", "VM\n"])
def test_a_vinfo_without_a_machine_is_left_out(tmp_path: Path, text: str) -> None:
    export(tmp_path, vInfo=text, vDisk=DISK)
    assert told(tmp_path) == [("machine.unreadable", "RVTools_tabvInfo.csv: its vInfo has no row of a machine")]
    (tmp_path / "RVTools_tabvInfo.csv").unlink()
    (tmp_path / "RVTools_tabvDisk.csv").unlink()
    workbook(tmp_path / "all.xlsx", {"vInfo": [line.split(",") for line in text.splitlines() if line]})
    assert told(tmp_path) == [("machine.unreadable", "all.xlsx: its vInfo has no row of a machine")]


def test_lines_that_are_empty_before_the_header_are_none(tmp_path: Path) -> None:
    export(tmp_path, vInfo="\r\n\r\nVM;CPUs;Memory\r\nweb;2;1024\r\n")
    assert [one.name for one in read_exported(tmp_path, "vc").machines] == ["web"]


@pytest.mark.parametrize("book", [False, True])
def test_a_tab_with_too_many_rows_is_left_out_and_never_cut(
    tmp_path: Path, book: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[list[object]] = [["VM", "CPUs", "Memory"], ["a", 1, 512], ["b", 1, 512], ["c", 1, 512]]
    if book:
        workbook(tmp_path / "all.xlsx", {"vInfo": rows})
    else:
        export(tmp_path, vInfo="".join(",".join(map(str, row)) + "\n" for row in rows))
    assert len(read_exported(tmp_path, "vc").machines) == 3
    monkeypatch.setattr(tab_files, "MAX_ROWS", 2)
    ((kind, what),) = told(tmp_path)
    assert kind == "machine.unreadable"
    assert what.endswith("it has more than 2 rows")


def test_disks_and_cards_that_a_tab_lacks_are_unknown_and_told(tmp_path: Path) -> None:
    info = (
        "VM,CPUs,Memory,Disks,NICs,Network #1,Network #2\nweb,2,1024,3,2,prod,dmz\ndb,2,1024,1,0,,\nold,2,1024,0,0,,\n"
    )
    disk = "VM,Disk,Disk Key,Capacity MiB,Controller,Label\nweb,Hard disk 2,2001,40960,SATA,SATA controller 0\n"
    export(tmp_path, vInfo=info, vDisk=disk, vNetwork="VM,Adapter,Network\nweb,Vmxnet3,prod\n")
    web, db, old = read_exported(tmp_path, "vc").machines
    assert [one.capacity_bytes for one in web.disks] == [40 * GIB, None, None], "what is known stands first"
    assert len({one.id for one in web.disks}) == 3
    assert [(one.network, one.model) for one in web.nics] == [("prod", "vmxnet3"), ("dmz", None)]
    assert [len(one.disks) for one in (db, old)] == [1, 0]
    assert told(tmp_path) == [
        ("file.doubtful", f"RVTools_tabvInfo.csv: {FEWER.format('vDisk')}: web (1 of 3), db (0 of 1)"),
        ("file.doubtful", f"RVTools_tabvInfo.csv: {FEWER.format('vNetwork')}: web (1 of 2)"),
    ]


FEWER = "{} has fewer rows than vInfo counts, and nothing is known of the others"


def test_tabs_of_headers_alone_are_like_none(tmp_path: Path) -> None:
    info = "VM,CPUs,Memory,Disks,NICs,Network #1\nweb,2,1024,1,1,prod\nnobody counts,2,1024,,,\n"
    export(tmp_path, vInfo=info, vDisk="VM,Disk,Capacity MiB\n", vNetwork="VM,Adapter,Network\n")
    found = read_exported(tmp_path, "vc").machines
    assert [[one.capacity_bytes for one in machine.disks] for machine in found] == [[None], [None]]
    assert [[one.network for one in machine.nics] for machine in found] == [["prod"], []]
    assert [what.rpartition(": ")[2] for _, what in told(tmp_path)] == ["web (0 of 1)"] * 2


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("4096.000000", 4096),
        ("40960.5", 40961),
        ("40960,5", 40961),
        ('"40,960.5"', 40961),
        ("1.234.567", 1234567),
        ("0.5", 1),
        ("40960.500.5", None),
        ("1.234.5", None),
        ("12x", None),
        ("-1", None),
        ("9" * 40, None),
        ("9" * 5000, None),
        ("9" * 16, None),
    ],
)
def test_sizes_of_disks_are_read_up_to_the_next_mib_and_a_bad_one_is_unknown(
    tmp_path: Path, size: str, expected: int | None
) -> None:
    text = size if size.startswith('"') else f'"{size}"'
    disk = f"VM,Disk,Disk Key,Capacity MiB\nweb,Hard disk 1,2000,10\nweb,Hard disk 2,2001,{text}\n"
    export(tmp_path, vInfo="VM,CPUs,Memory\nweb,2,1024\n", vDisk=disk)
    (web,) = read_exported(tmp_path, "vc").machines
    assert [one.capacity_bytes for one in web.disks] == [10 << 20, None if expected is None else expected << 20]
    doubts = [what for kind, what in told(tmp_path) if kind == "file.doubtful"]
    assert len(doubts) == (expected is None)
    assert all("RVTools_tabvInfo.csv:2: web: Capacity MiB is '" in what for what in doubts)
    assert all(what.endswith("of Hard disk 2, and is taken as unknown") for what in doubts)


@pytest.mark.parametrize("column", ["Disk Key", "Unit #", "Cores p/s", "Disks", "NICs", "Total disk capacity MiB"])
def test_no_number_beside_processors_and_memory_costs_a_machine(tmp_path: Path, column: str) -> None:
    cells = {one: "x" if one == column else "" for one in ("Disks", "NICs", "Total disk capacity MiB")}
    export(
        tmp_path,
        vInfo=f"VM,CPUs,Memory,{','.join(cells)}\nweb,2,1024,{','.join(cells.values())}\n",
        vDisk="VM,Disk Key,Unit #,Capacity MiB\n" + f"web,{2000},0,10\nweb,{'x' if column == 'Disk Key' else 2001},"
        f"{'x' if column == 'Unit #' else 1},20\n",
        vCPU=f"VM,Cores p/s\nweb,{'x' if column == 'Cores p/s' else 1}\n",
    )
    (web,) = read_exported(tmp_path, "vc").machines
    assert {one.capacity_bytes for one in web.disks} == {10 << 20, 20 << 20}
    assert len({one.id for one in web.disks}) == 2
    ((kind, what),) = told(tmp_path)
    assert kind == "file.doubtful"
    assert f"{column.rpartition('/')[2]} is 'x', which is no whole number, and is taken as unknown" in what


@pytest.mark.parametrize(("cpus", "expected"), [("2.000", 2), ("2,00", 2), ("2", 2), ("2.500", None), ("2.0.0", None)])
def test_processors_are_never_counted_in_thousands(tmp_path: Path, cpus: str, expected: int | None) -> None:
    export(tmp_path, vInfo=f"VM;CPUs;Memory\nweb;{cpus};1024\nok;1;1024\n")
    found = {one.name: one.cpu.vcpus for one in read_exported(tmp_path, "vc").machines}
    assert found.get("web") == expected
    assert [kind for kind, _ in told(tmp_path)] == ([] if expected else ["machine.unreadable"])


@pytest.mark.parametrize(
    ("row", "said", "fix"),
    [
        (",2,1024,connected", "2: its cell VM is empty, its connection state connected", "export the inventory again"),
        ("web,0,1024,connected", "2: web: its cell CPUs is 0, its connection state connected", "export the inventory"),
        ("web,2,0.0,", "2: web: its cell Memory is 0.0", "export the inventory again"),
        ("web,,,orphaned", "2: web: its cell CPUs is empty, its connection state orphaned", "may be inaccessible"),
    ],
)
def test_a_row_without_what_a_machine_needs_says_which_cell_it_is(
    tmp_path: Path, row: str, said: str, fix: str
) -> None:
    export(tmp_path, vInfo=f"VM,CPUs,Memory,Connection state\n{row}\nok,1,1024,connected\n")
    (one,) = read_exported(tmp_path, "vc").unreadable
    assert one.what == f"{tmp_path}/RVTools_tabvInfo.csv:{said}"
    assert fix in one.fix


WEB = "VM,CPUs,Memory,VM UUID\nweb,2,2048,503a\n"
WEB_DISK = "VM,Disk,Capacity MiB,VM UUID\nweb,Hard disk 1,10240,503a\n"


@pytest.mark.parametrize(
    ("info", "disk"),
    [
        ("RVTools_tabvInfo.tsv", "RVTools_tabvDisk.tsv"),
        ("RVTools_tabvInfo_2024-01-01.csv", "RVTools_tabvDisk_2024-01-01.csv"),
        ("RVTools_tabvInfo (1).csv", "RVTools_tabvDisk (1).csv"),
        ("vInfo.2024.CSV", "vdisk.2024.csv"),
    ],
)
def test_tabs_are_known_by_their_names_whatever_stands_around_them(tmp_path: Path, info: str, disk: str) -> None:
    """They are an export of their own beside another one."""
    export(tmp_path, vInfo=INFO, vDisk=DISK)
    sign = "\t" if info.endswith("tsv") else ","
    (tmp_path / info).write_text(WEB.replace("web", "app").replace(",", sign))
    (tmp_path / disk).write_text(WEB_DISK.replace("web", "app").replace(",", sign))
    found = read_exported(tmp_path, "vc")
    sizes = {one.name: [disk.capacity_bytes for disk in one.disks] for one in found.machines}
    assert sizes == {"app": [10 * GIB], "web": [20 * GIB, GIB], "Größe 1": []}
    assert {one.id for one in found.unreadable} == {"machine.template"}


def test_of_names_that_differ_in_capitals_alone_one_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "vInfo.csv").write_text(WEB)
    (tmp_path / "vinfo.csv").write_text(WEB.replace("web", "app"))
    assert told(tmp_path) == [("machine.unreadable", "vinfo.csv: it is called like vInfo.csv, and that is read")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "windows-1252"])
def test_a_file_or_sheet_of_another_name_is_vinfo_by_its_columns(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "Büro machines.csv").write_text(WEB, encoding=encoding)
    (tmp_path / "CPUs.csv").write_text("VM,CPUs,Sockets\nweb,2,1\n")
    rows: list[list[object]] = [
        line.split(",") for line in WEB.replace("web", "app").replace("a\n", "b\n").splitlines()
    ]
    workbook(tmp_path / "all.xlsm", {"Notes": [["x"]], "Sheet2": rows, "vDisk": [["VM"], ["app"]]})
    workbook(tmp_path / "dated.xlsx", {"vInfo_2024": [rows[0], ["db", 1, 512, "503c"]]})
    found = read_exported(tmp_path, "vc")
    assert {one.name: len(one.disks) for one in found.machines} == {"web": 1, "app": 1, "db": 1}
    assert told(tmp_path) == [
        ("file.passed-over", "CPUs.csv: its name has none of the tabs of an inventory export"),
    ]


@pytest.mark.parametrize("end", ["xls", "XLSB", "ods"])
def test_workbooks_of_other_kinds_are_left_out_with_what_to_do(tmp_path: Path, end: str) -> None:
    (tmp_path / "vInfo.csv").write_text(WEB)
    (tmp_path / f"RVTools_export.{end}").write_bytes(b"\xd0\xcf\x11\xe0")
    (one,) = read_exported(tmp_path, "vc").unreadable
    assert (one.id, one.fix) == ("machine.unreadable", "Where it is an inventory export: save it as *.xlsx.")
    assert one.what.endswith(f"RVTools_export.{end}: a workbook *.{end.lower()} is not read")


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    """The least that a workbook is, with every value in its cell."""
    names, targets = "", ""
    with zipfile.ZipFile(path, "w") as packed:
        for at, (name, rows) in enumerate(sheets.items(), 1):
            lines = "".join(f"<row>{''.join(cell(one) for one in row)}</row>" for row in rows)
            sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData></worksheet>'
            packed.writestr(f"xl/worksheets/{at}.xml", sheet)
            names += f'<sheet name="{name}" sheetId="{at}" r:id="r{at}"/>'
            targets += related_one(f"r{at}", "worksheet", f"worksheets/{at}.xml")
        book = f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>'
        packed.writestr("xl/workbook.xml", book)
        packed.writestr("xl/_rels/workbook.xml.rels", related(targets))
        packed.writestr("_rels/.rels", related(related_one("r", "officeDocument", "xl/workbook.xml")))


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def related_one(name: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{name}" Type="{OFFICE}/{kind}" Target="{target}"/>'


def related(inside: str) -> str:
    return f'<Relationships xmlns="{PACKAGE}">{inside}</Relationships>'


def cell(value: object) -> str:
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'
