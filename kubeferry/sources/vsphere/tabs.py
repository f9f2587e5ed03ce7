"""Inventory exports in tabs, as RVTools writes them: rows of vInfo, vDisk, vNetwork, vCPU, vSnapshot to machines. Pure.

A row becomes the properties that the API would have told, and one parser reads both. What a tab does not hold is
unknown: the model of a SCSI controller, snapshots without their tab, sizes without vDisk.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.facts.single_names import named
from kubeferry.sources.vsphere.machine import parse_machine
from kubeferry.sources.vsphere.plain import Plain

Row = Mapping[str, str]
TABS = ("vInfo", "vDisk", "vNetwork", "vCPU", "vSnapshot")
KEYS = ("VM UUID", "VM ID", "VM")
AGAIN = "Export the inventory again, as CSV, without changing it in a spreadsheet."
_NUMBER = re.compile(r"\d+|\d{1,3}(?:[.,'’\s]\d{3})+")  # noqa: RUF001 (a separator of thousands)
_TRUE = {"true", "yes", "1", "wahr", "ja"}
_POWER = {"poweredon": "poweredOn", "poweredoff": "poweredOff", "suspended": "suspended"}
_CONTROLLERS = {
    "scsi": "VirtualSCSIController",
    "sata": "VirtualAHCIController",
    "ide": "VirtualIDEController",
    "nvme": "VirtualNVMEController",
}
_CARDS = {
    "vmxnet3": "VirtualVmxnet3",
    "vmxnet2": "VirtualVmxnet2",
    "e1000": "VirtualE1000",
    "e1000e": "VirtualE1000e",
    "pcnet32": "VirtualPCNet32",
    "sriov": "VirtualSriovEthernetCard",
}
_MAPPED = {"virtualmode": "virtualMode", "physicalmode": "physicalMode"}


def machines_of(tabs: Mapping[str, Sequence[Row]], *, source: str, where: str) -> list[Machine]:
    """The machines of an export; templates and placeholders are left out. Raises InputInvalid with all problems."""
    problems: list[Problem] = []
    found = []
    joined = {tab: _by_machine(tabs["vInfo"], tabs.get(tab, ())) for tab in TABS[1:]}
    for number, row in enumerate(tabs["vInfo"], start=2):
        if _is_true(row.get("Template")) or _is_true(row.get("SRM Placeholder")):
            continue
        try:
            found.append(_machine(row, number, joined, tabs, source))
        except (ValueError, InputInvalid) as error:
            told = error.problems[0].what if isinstance(error, InputInvalid) else str(error)
            problems.append(Problem(f"{where}:{number}: {row.get('VM', '')[:80]}", told, AGAIN))
    if problems:
        raise InputInvalid(f"{where} cannot be read as an inventory", problems)
    return list(named(found))


def _by_machine(machines: Sequence[Row], rows: Sequence[Row]) -> tuple[str, dict[str, list[Row]]]:
    """The rows of a tab by their machine, and the column that says which one: the surest that both tabs have."""
    column = next((key for key in KEYS if machines and rows and machines[0].get(key) and rows[0].get(key)), "VM")
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.get(column, "")].append(row)
    return column, found


def _machine(
    row: Row,
    number: int,
    joined: Mapping[str, tuple[str, dict[str, list[Row]]]],
    tabs: Mapping[str, Sequence[Row]],
    source: str,
) -> Machine:
    own = {tab: rows.get(row.get(column, ""), []) for tab, (column, rows) in joined.items()}
    stores = sorted({name for one in own["vDisk"] if (name := _store(one))})
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
        "config.hardware.device": [*_controllers(own["vDisk"]), *_disks(own["vDisk"]), *_cards(own["vNetwork"])],
        "config.bootOptions": _boot_options(row),
        "config.latencySensitivity": {"level": (row.get("Latency Sensitivity") or "normal").lower()},
        "config.extraConfig": [{"key": "disk.EnableUUID", "value": row.get("EnableUUID", "")}],
        "runtime.powerState": _POWER.get((row.get("Powerstate") or "").lower()),
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
    return machine.model_copy(update={"metadata": machine.metadata | places, "snapshots": snapshots})


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in _TRUE


def number_of(row: Row, *columns: str) -> int | None:
    """The whole number of the first of these columns that is there; thousands may be set apart. Raises ValueError."""
    for column in columns:
        text = row.get(column, "").strip()
        if text:
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"{column} is {text[:40]!r}, which is no whole number")
            return int(re.sub(r"\D", "", text))
    return None


def _boot_options(row: Row) -> Plain | None:
    secure = row.get("EFI Secure boot")
    return {"efiSecureBootEnabled": _is_true(secure)} if secure else None


def _tools(state: str | None) -> str | None:
    told = (state or "").lower()
    return {"running": "guestToolsRunning", "notrunning": "guestToolsNotRunning"}.get(told)


def _store(row: Row) -> str:
    path = _path(row)
    return path.removeprefix("[").partition("]")[0] if path.startswith("[") else ""


def _path(row: Row) -> str:
    return row.get("Disk Path") or row.get("Path") or ""


def _controller(row: Row) -> tuple[str, int]:
    """Type and number of `SCSI controller 1`, `IDE 0`, `SATA controller 0`."""
    told = row.get("Controller", "")
    kind = next((name for word, name in _CONTROLLERS.items() if word in told.lower()), "unknown")
    digits = re.findall(r"\d+", told)
    return kind, int(digits[-1]) if digits else 0


def _controllers(rows: Iterable[Row]) -> list[Plain]:
    shared = {_controller(row): row.get("Shared Bus") or "noSharing" for row in rows}
    places = sorted(shared)
    return [
        {"_type": kind, "key": 1000 + place, "busNumber": bus, "sharedBus": shared[kind, bus]}
        for place, (kind, bus) in enumerate(places)
    ]


def _disks(rows: Sequence[Row]) -> list[Plain]:
    places = sorted({_controller(row) for row in rows})
    return [_disk(row, 1000 + places.index(_controller(row)), 2000 + place) for place, row in enumerate(rows)]


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
    device |= {"unitNumber": number_of(row, "SCSI Unit #", "Unit #") or 0, "backing": backing}
    device |= {"deviceInfo": {"label": row["Disk"]}} if row.get("Disk") else {}
    return device | ({} if size is None else {"capacityInBytes": size << 20})


def _cards(rows: Sequence[Row]) -> list[Plain]:
    found = []
    for place, row in enumerate(rows):
        told = (row.get("Adapter") or "").lower()
        plug = {
            name: _is_true(row[column])
            for name, column in (("connected", "Connected"), ("startConnected", "Starts Connected"))
            if row.get(column)
        }
        backing = {"_type": "VirtualEthernetCardNetworkBackingInfo", "deviceName": row.get("Network", "")}
        found.append(
            {
                "_type": next((kind for word, kind in reversed(_CARDS.items()) if word in told), "VirtualEthernetCard"),
                "key": 4000 + place,
                "macAddress": row.get("Mac Address", ""),
                "backing": backing,
                "connectable": plug,
            }
        )
    return found
