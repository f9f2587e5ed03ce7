"""Inventory exports in tabs, as RVTools writes them: rows of vInfo and of what lies beside it to machines. Pure.

A row becomes the properties that the API would have told, and one parser reads both. What a tab does not hold is
unknown: snapshots without their tab; without vDisk and vNetwork there are as many disks and cards as vInfo counts, of
which nothing is known.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kubeferry.errors import InputInvalid
from kubeferry.model import Concern, DiskBus, Machine, Severity, SourceFact
from kubeferry.sources.facts.readings import Reading, shown
from kubeferry.sources.vsphere.disks import CONTROLLERS, place_of
from kubeferry.sources.vsphere.machine import parse_machine
from kubeferry.sources.vsphere.plain import Plain
from kubeferry.words import first_of

Row = Mapping[str, str]
Tabs = dict[str, Sequence[Row]]
Joined = tuple[str, dict[tuple[str, str], list[Row]]]  # by what says whose a row is, and the column that does
TABS = ("vInfo", "vDisk", "vNetwork", "vCPU", "vMemory", "vSnapshot")
KEYS = ("VM UUID", "VM ID", "VM")
SHOWN = 12
AGAIN = "Export the inventory again, as CSV, without changing it in a spreadsheet."
# A whole number, thousands set apart or not, with decimals that are none.
_NUMBER = re.compile(r"(?P<whole>\d+|\d{1,3}(?:[.,'’\s]\d{3})+)(?:[.,]0{1,2})?")  # noqa: RUF001
_TRUE = {"true", "yes", "1", "wahr", "ja"}
_POWER = {"poweredon": "poweredOn", "poweredoff": "poweredOff", "suspended": "suspended"}
# Words of the controller's kind, or of its name where no kind is told; the first that is in it counts.
_CONTROLLERS = {
    "paravirtual": "ParaVirtualSCSIController",
    "lsi logic sas": "VirtualLsiLogicSASController",
    "lsi logic": "VirtualLsiLogicController",
    "buslogic": "VirtualBusLogicController",
    "scsi": "VirtualSCSIController",
    "ahci": "VirtualAHCIController",
    "sata": "VirtualAHCIController",
    "ide": "VirtualIDEController",
    "nvme": "VirtualNVMEController",
}
# The key that vCenter gives to the first controller of a bus; the others follow by number.
_FIRST_KEYS = {DiskBus.IDE: 200, DiskBus.SCSI: 1000, DiskBus.SATA: 15000, DiskBus.NVME: 31000}
_FIRST_OTHER = 40000
_TEMPLATE = "machine.template"
_CARDS = {
    "vmxnet3": "VirtualVmxnet3",
    "vmxnet2": "VirtualVmxnet2",
    "e1000": "VirtualE1000",
    "e1000e": "VirtualE1000e",
    "pcnet32": "VirtualPCNet32",
    "sriov": "VirtualSriovEthernetCard",
}
_MAPPED = {"virtualmode": "virtualMode", "physicalmode": "physicalMode"}


def machines_of(tabs: Tabs, *, source: str, where: Path, reading: Reading) -> None:
    """The machines of an export. Rows that are no machine are told, and how many templates and placeholders there are:
    they are left out."""
    joined = {tab: _by_machine(tabs["vInfo"], tabs.get(tab, ())) for tab in TABS[1:]}
    _tell_of_no_machine(tabs["vInfo"], joined, where, reading)
    templates = 0
    for number, row in enumerate(tabs["vInfo"], start=2):
        if not any(row.values()):
            continue
        if _is_true(row.get("Template")) or _is_true(row.get("SRM Placeholder")):
            templates += 1
            continue
        try:
            reading.machines.append((where, _machine(row, number, joined, tabs, source)))
        except (ValueError, InputInvalid) as error:
            problem = error.problems[0] if isinstance(error, InputInvalid) else None
            place = f"{shown(where)}:{number}: {row.get('VM', '')[:80]}"
            reading.left_out(place, problem.what if problem else str(error), problem.fix if problem else AGAIN)
    if templates:
        what = f"{shown(where)}: {templates} of its rows are templates or placeholders, which are not moved"
        reading.told.append(Concern(id=_TEMPLATE, severity=Severity.INFO, what=what, fix=""))


def _by_machine(machines: Sequence[Row], rows: Sequence[Row]) -> Joined:
    """The rows of a tab by their machine, and the column that says which one: the surest that both tabs have."""
    column = next((key for key in KEYS if all(any(row.get(key) for row in tab) for tab in (machines, rows))), "VM")
    times = Counter(row.get("VM", "") for row in machines)
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        kind, told = _keys(row, column)[0]
        found[(kind if kind == column or times[told] < 2 else "", told)].append(row)  # else whose it is, nobody knows
    return column, found


def _keys(row: Row, column: str) -> list[tuple[str, str]]:
    """What a row's machine is known by, the surest first: a cell that is empty is nobody's, and the name is then."""
    return [(key, told) for key in (column, "VM") if (told := row.get(key))] or [("VM", "")]


def _own(row: Row, joined: Joined) -> list[Row]:
    column, rows = joined
    return [one for key in dict.fromkeys(_keys(row, column)) for one in rows.get(key, ())]


def _tell_of_no_machine(machines: Sequence[Row], joined: Mapping[str, Joined], where: Path, reading: Reading) -> None:
    for tab, (column, rows) in joined.items():
        known = {key for row in machines for key in _keys(row, column)}
        names = sorted(
            {row.get("VM", "")[:80] for key in rows.keys() - known for row in rows[key] if any(row.values())}
        )
        if names:
            what = f"rows of {tab} are of no machine that can be told from vInfo: {first_of(names, SHOWN)}"
            reading.doubtful(where, what, "Export all tabs at one time, of the same machines.")


def _machine(
    row: Row,
    number: int,
    joined: Mapping[str, Joined],
    tabs: Mapping[str, Sequence[Row]],
    source: str,
) -> Machine:
    own = {tab: _own(row, rows) for tab, rows in joined.items()}
    stores = sorted({name for one in own["vDisk"] if (name := _store(one))})
    devices = [
        *(_unknown_disks(row) if "vDisk" not in tabs else _known_disks(own["vDisk"])),
        *(_unknown_cards(row) if "vNetwork" not in tabs else _cards(own["vNetwork"])),
    ]
    props: Plain = {
        "_ref": f"VirtualMachine:{row.get('VM ID') or number}",
        "name": row.get("VM", ""),
        "config.uuid": row.get("SMBIOS UUID"),
        "config.instanceUuid": row.get("VM UUID"),
        "config.annotation": row.get("Annotation"),
        "config.firmware": (row.get("Firmware") or "").lower() or None,
        "config.guestFullName": row.get("OS according to the configuration file"),
        "config.version": f"vmx-{row['HW version']}" if row.get("HW version") else None,
        "config.changeTrackingEnabled": _is_true(row.get("CBT")) if row.get("CBT") else None,
        "config.hardware.numCPU": number_of(row, "CPUs"),
        "config.hardware.numCoresPerSocket": next((number_of(one, "Cores p/s") for one in own["vCPU"]), None),
        "config.hardware.memoryMB": number_of(row, "Memory"),
        "config.hardware.device": devices,
        "config.cpuHotAddEnabled": any(_is_true(one.get("Hot Add")) for one in own["vCPU"]),
        "config.memoryHotAddEnabled": any(_is_true(one.get("Hot Add")) for one in own["vMemory"]),
        "config.bootOptions": _boot_options(row),
        "config.latencySensitivity": {"level": (row.get("Latency Sensitivity") or "normal").lower()},
        "config.extraConfig": [{"key": "disk.EnableUUID", "value": row.get("EnableUUID", "")}],
        "runtime.powerState": _POWER.get((row.get("Powerstate") or "").lower()),
        "runtime.faultToleranceState": row.get("FT State") or None,
        "runtime.connectionState": row.get("Connection state") or None,
        "runtime.consolidationNeeded": _is_true(row.get("Consolidation Needed")),
        "guest.guestFullName": row.get("OS according to the VMware Tools"),
        "guest.hostName": row.get("DNS Name"),
        "guest.ipAddress": row.get("Primary IP Address"),
        "guest.toolsRunningStatus": _tools(row.get("Guest state")),
        "datastore": [f"Datastore:{name}" for name in stores],
    }
    around = {f"Datastore:{name}": {"name": name} for name in stores}
    known = {key: value for key, value in props.items() if value is not None and value != ""}
    machine = parse_machine(known, around, source=source)
    places = {name.lower(): row[name] for name in ("Datacenter", "Cluster", "Host", "Folder") if row.get(name)}
    if row.get("Resource pool"):
        places["resourcePool"] = row["Resource pool"]
    snapshots = len(own["vSnapshot"]) if "vSnapshot" in tabs else None
    facts: dict[str, object] = {"metadata": machine.metadata | places, "snapshots": snapshots}
    if "vDisk" not in tabs and (size := number_of(row, "Total disk capacity MiB", "Total disk capacity MB")):
        told = SourceFact(path="disks", value=f"{size} MiB together, in a tab that is not here")
        facts |= {"unmodelled": (*machine.unmodelled, told)}
    return machine.model_copy(update=facts)


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in _TRUE


def number_of(row: Row, *columns: str) -> int | None:
    """The whole number of the first of these columns that is there; thousands may be set apart. Raises ValueError."""
    for column in columns:
        text = row.get(column, "").strip()
        if text:
            if (found := _NUMBER.fullmatch(text)) is None:
                raise ValueError(f"{column} is {text[:40]!r}, which is no whole number")
            return int(re.sub(r"\D", "", found["whole"]))
    return None


def _boot_options(row: Row) -> Plain | None:
    secure = row.get("EFI Secure boot")
    return {"efiSecureBootEnabled": _is_true(secure)} if secure else None


def _tools(state: str | None) -> str | None:
    told = (state or "").lower()
    return {"running": "guestToolsRunning", "notrunning": "guestToolsNotRunning"}.get(told)


def _store(row: Row) -> str:
    return place_of(_path(row))[0]


def _path(row: Row) -> str:
    """The disk's file, `[STORE] FOLDER/FILE`. In newer exports `Disk Path` is where the guest has mounted it."""
    told = [row.get("Path") or "", row.get("Disk Path") or ""]
    return next((one for one in told if one.startswith("[")), "")


def _controller(row: Row) -> tuple[str, int]:
    """Kind and number: `LSI Logic SAS` with the label `SCSI controller 1`, or one word for both."""
    told, label = row.get("Controller", ""), row.get("Label", "")
    words = (told.lower(), label.lower())
    kind = next((name for text in words for word, name in _CONTROLLERS.items() if word in text), "unknown")
    digits = re.findall(r"\d+", label) or re.findall(r"\d+", told)
    return kind, int(digits[-1]) if digits else 0


def _keys_of_controllers(rows: Iterable[Row]) -> dict[tuple[str, int], int]:
    """A key for each controller, as vCenter counts them: IDE, SCSI, SATA, NVMe, and each by its number, whatever its
    kind is called. The machine boots from the first one's disk. Those of one number follow their disks."""
    first: dict[tuple[str, int], tuple[int, int]] = {}
    for place, row in enumerate(rows):
        kind, bus = _controller(row)
        start = _FIRST_KEYS.get(CONTROLLERS.get(kind, (DiskBus.UNKNOWN, None))[0], _FIRST_OTHER)
        at = (start + bus, number_of(row, "Disk Key") or place)
        first[kind, bus] = min(at, first.get((kind, bus), at))
    keys: dict[tuple[str, int], int] = {}
    last = 0
    for one in sorted(first, key=lambda one: (first[one], one)):
        keys[one] = last = max(first[one][0], last + 1)
    return keys


def _known_disks(rows: Sequence[Row]) -> list[Plain]:
    """The controllers that the disks are at, and the disks."""
    keys = _keys_of_controllers(rows)
    shared = {_controller(row): row.get("Shared Bus") or "noSharing" for row in rows}
    return [
        *(
            {"_type": kind, "key": key, "busNumber": bus, "sharedBus": shared[kind, bus]}
            for (kind, bus), key in keys.items()
        ),
        *(_disk(row, keys[_controller(row)], 2000 + place) for place, row in enumerate(rows)),
    ]


def _disk(row: Row, controller: int, spare: int) -> Plain:
    size = number_of(row, "Capacity MiB", "Capacity MB")
    mapped = _is_true(row.get("Raw"))
    backing: Plain = {
        "_type": "VirtualDiskRawDiskMappingVer1BackingInfo" if mapped else "VirtualDiskFlatVer2BackingInfo",
        "fileName": _path(row),
        "diskMode": row.get("Disk Mode") or "persistent",
        "uuid": row.get("Disk UUID", ""),
        "sharing": row.get("Sharing mode") or "sharingNone",
    }
    if mapped:
        mode = (row.get("Raw Comp. Mode") or "").lower()
        backing |= {"compatibilityMode": _MAPPED.get(mode, "unknown"), "lunUuid": row.get("Raw LUN ID", "")}
    device: Plain = {"_type": "VirtualDisk", "key": number_of(row, "Disk Key") or spare, "controllerKey": controller}
    device |= {"unitNumber": number_of(row, "Unit #", "SCSI Unit #") or 0, "backing": backing}
    device |= {"deviceInfo": {"label": row["Disk"]}} if row.get("Disk") else {}
    return device | ({} if size is None else {"capacityInBytes": size << 20})


def _unknown_disks(row: Row) -> list[Plain]:
    """As many as are counted; one where nobody counts, for a machine without any is rare."""
    count = number_of(row, "Disks")
    return [{"_type": "VirtualDisk", "key": 2000 + place} for place in range(1 if count is None else min(count, 256))]


def _unknown_cards(row: Row) -> list[Plain]:
    count = number_of(row, "NICs") or 0
    return [_card(4000 + place, {"Network": row.get(f"Network #{place + 1}", "")}) for place in range(min(count, 64))]


def _cards(rows: Sequence[Row]) -> list[Plain]:
    return [_card(4000 + place, row) for place, row in enumerate(rows)]


def _card(key: int, row: Row) -> Plain:
    told = (row.get("Adapter") or "").lower()
    plug = {
        name: _is_true(row[column])
        for name, column in (("connected", "Connected"), ("startConnected", "Starts Connected"))
        if row.get(column)
    }
    backing = {"_type": "VirtualEthernetCardNetworkBackingInfo", "deviceName": row.get("Network", "")}
    backing |= {"switchName": row["Switch"]} if row.get("Switch") else {}
    return {
        "_type": next((kind for word, kind in reversed(_CARDS.items()) if word in told), "VirtualEthernetCard"),
        "key": key,
        "macAddress": row.get("Mac Address", ""),
        "backing": backing,
        "connectable": plug,
    }
