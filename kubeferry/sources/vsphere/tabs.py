"""Inventory exports in tabs, as RVTools writes them: rows of vInfo and of what lies beside it to machines. Pure.

A row becomes the properties that the API would have told, and one parser reads both. What a tab does not hold is
unknown: snapshots without their tab; where vDisk and vNetwork are missing, or have fewer rows of a machine than vInfo
counts, the other disks and cards are there and nothing is known of them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, DiskBus, Machine, Severity, SourceFact
from kubeferry.sources.facts.readings import Reading, shown
from kubeferry.sources.vsphere.disks import CONTROLLERS, place_of
from kubeferry.sources.vsphere.machine import parse_machine
from kubeferry.sources.vsphere.plain import Plain
from kubeferry.words import first_of

Row = Mapping[str, str]
Tabs = dict[str, Sequence[Row]]
TABS = ("vInfo", "vDisk", "vNetwork", "vCPU", "vMemory", "vSnapshot")
KEYS = ("VM UUID", "VM ID", "VM")
SHOWN = 12
AGAIN = "Export the inventory again, as CSV, without changing it in a spreadsheet."
# A number, thousands set apart or not, and its decimals, which another sign sets apart than the thousands.
_NUMBER = re.compile(
    r"(?P<whole>\d{1,3}(?P<apart>[.,'’\s])\d{3}(?:(?P=apart)\d{3})*|\d+)"  # noqa: RUF001
    r"(?:(?!(?P=apart))[.,](?P<part>\d+))?"
)
# Of these no machine has a thousand: what looks like thousands set apart is decimals (`2.000`).
_FEW = re.compile(r"(?P<whole>\d+)(?:[.,](?P<part>\d+))?")
_COUNTS = {"CPUs", "Cores p/s", "Disks", "NICs", "Unit #", "SCSI Unit #"}
_SIZES = ("Capacity MiB", "Capacity MB")
_MOST = 1 << 43  # MiB that 63 bits of bytes have
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
_LAST = 1 << 30  # no controller's: a disk of which nothing is known stands behind the others
_MOST_DISKS, _MOST_CARDS = 256, 64
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


@dataclass(frozen=True, slots=True)
class Names:
    """What tells machines apart: `column` is the surest that two tabs have, `times` how many machines have a name."""

    column: str
    times: Counter[tuple[str, ...]]

    def of(self, row: Row) -> Iterator[tuple[str, ...]]:
        """What a row's machine alone is known by, the surest first."""
        return (name for name in _names(row, self.column) if self.times[name] < 2)


Joined = tuple[Names, dict[tuple[str, ...], list[Row]]]  # rows by what says whose they are


def machines_of(tabs: Tabs, *, source: str, where: Path, reading: Reading) -> None:
    """The machines of an export. Rows that are no machine are told, and how many templates and placeholders there are:
    they are left out."""
    tabs = {tab: rows if tab == "vInfo" else _with_cells(rows) for tab, rows in tabs.items()}
    joined = {tab: _by_machine(tabs["vInfo"], tabs.get(tab, ())) for tab in TABS[1:]}
    _tell_of_no_machine(tabs["vInfo"], joined, where, reading)
    templates = 0
    short: dict[str, list[str]] = {"vDisk": [], "vNetwork": []}
    for number, row in enumerate(tabs["vInfo"], start=2):
        if not any(row.values()):
            continue
        if _is_true(row.get("Template")) or _is_true(row.get("SRM Placeholder")):
            templates += 1
            continue
        place = place_in(where, number, row)
        doubts: list[str] = []
        try:
            reading.machines.append((where, _machine(row, number, joined, tabs, source, doubts)))
        except (ValueError, InputInvalid) as error:
            problem = error.problems[0] if isinstance(error, InputInvalid) else None
            reading.left_out(place, problem.what if problem else str(error), problem.fix if problem else AGAIN)
            continue
        if doubts:
            reading.doubtful(place, first_of(list(dict.fromkeys(doubts)), SHOWN), AGAIN)
        for tab, column in (("vDisk", "Disks"), ("vNetwork", "NICs")):
            there, counted = len(_own(row, joined[tab])), _doubtful_number(row, [], column) or 0
            if tab in tabs and there < counted:
                short[tab].append(f"{row['VM'][:80]} ({there} of {counted})")
    _tell_of_short(short, where, reading)
    if templates:
        what = f"{shown(where)}: {templates} of its rows are templates or placeholders, which are not moved"
        reading.told.append(Concern(id=_TEMPLATE, severity=Severity.INFO, what=what, fix=""))


def _with_cells(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows that say anything. A tab of headers alone has none, and is like one that is missing."""
    return [row for row in rows if any(row.values())]


def place_in(where: Path, number: int, row: Row) -> str:
    """A row of an export for people: its file, its number and its machine."""
    return f"{shown(where)}:{number}" + (f": {row['VM'][:80]}" if row.get("VM") else "")


def _tell_of_short(short: Mapping[str, Sequence[str]], where: Path, reading: Reading) -> None:
    for tab, names in short.items():
        if names:
            what = f"{tab} has fewer rows than vInfo counts, and nothing is known of the others"
            fix = f"Export the tab {tab} again, whole, at one time with vInfo."
            reading.doubtful(where, f"{what}: {first_of(names, SHOWN)}", fix)


def _by_machine(machines: Sequence[Row], rows: Sequence[Row]) -> Joined:
    """The rows of a tab by their machine."""
    column = next((key for key in KEYS if all(any(row.get(key) for row in tab) for tab in (machines, rows))), "VM")
    names = Names(column, Counter(name for row in machines for name in _names(row, column)))
    found: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[next(names.of(row), ("", row.get("VM", "")))].append(row)  # else whose it is, nobody knows
    return names, found


def _names(row: Row, column: str) -> list[tuple[str, ...]]:
    """A cell that is empty is nobody's, and the machine's name counts then; two vCenters may have one id for two."""
    told, name = row.get(column), row.get("VM", "")
    own = [(column, told), (column, told, name)] if told and column != "VM" else []
    return [*own, ("VM", name)] if name else own


def _own(row: Row, joined: Joined) -> list[Row]:
    names, rows = joined
    return [one for name in names.of(row) for one in rows.get(name, ())]


def _tell_of_no_machine(machines: Sequence[Row], joined: Mapping[str, Joined], where: Path, reading: Reading) -> None:
    for tab, (told, rows) in joined.items():
        known = {name for row in machines for name in told.of(row)}
        names = sorted({row.get("VM", "")[:80] or "(no name)" for key in rows.keys() - known for row in rows[key]})
        if names:
            what = f"rows of {tab} are of no machine that can be told from vInfo: {first_of(names, SHOWN)}"
            reading.doubtful(where, what, "Export all tabs at one time, of the same machines.")


def _machine(
    row: Row,
    number: int,
    joined: Mapping[str, Joined],
    tabs: Mapping[str, Sequence[Row]],
    source: str,
    doubts: list[str],
) -> Machine:
    """`doubts` gets what is said of it that cannot be read. Raises ValueError and InputInvalid."""
    _refuse_nothing(row)
    own = {tab: _own(row, rows) for tab, rows in joined.items()}
    stores = sorted({name for one in own["vDisk"] if (name := _store(one))})
    devices = [
        *_disks(row, own["vDisk"], doubts, there=bool(tabs.get("vDisk"))),
        *_cards(row, own["vNetwork"], doubts),
    ]
    props: Plain = {
        "_ref": f"VirtualMachine:{row.get('VM ID') or number}",
        "name": row.get("VM", ""),
        "config.uuid": row.get("SMBIOS UUID"),
        "config.instanceUuid": row.get("VM UUID"),
        "config.annotation": row.get("Annotation"),
        "config.firmware": (row.get("Firmware") or "").lower() or None,
        "config.guestFullName": row.get("OS according to the configuration file"),
        "config.version": f"vmx-{row['HW version'].removeprefix('vmx-')}" if row.get("HW version") else None,
        "config.changeTrackingEnabled": _is_true(row.get("CBT")) if row.get("CBT") else None,
        "config.hardware.numCPU": number_of(row, "CPUs"),
        "config.hardware.numCoresPerSocket": next(
            (_doubtful_number(one, doubts, "Cores p/s") for one in own["vCPU"]), None
        ),
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
    total = _doubtful_number(row, doubts, "Total disk capacity MiB", "Total disk capacity MB")
    if total and not tabs.get("vDisk"):
        told = SourceFact(path="disks", value=f"{total} MiB together, in a tab that is not here")
        facts |= {"unmodelled": (*machine.unmodelled, told)}
    return machine.model_copy(update=facts)


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in _TRUE


def _refuse_nothing(row: Row) -> None:
    """What a machine needs is there, and is not 0. Raises ValueError and InputInvalid."""
    state = row.get("Connection state", "")
    fix = "Look at it in vSphere: it may be inaccessible, orphaned, or still being made."
    if state.lower() in {"", "connected"}:
        fix = "Look at it in vSphere, and export the inventory again."
    for column in ("VM", "CPUs", "Memory"):
        text = row.get(column, "")
        if not text or (column != "VM" and number_of(row, column) == 0):
            what = f"its cell {column} is {text or 'empty'}" + (f", its connection state {state}" if state else "")
            raise InputInvalid("this is no machine that can be read", [Problem(row.get("VM", ""), what, fix)])


def number_of(row: Row, *columns: str) -> int | None:
    """The whole number of the first of these columns that is there; thousands may be set apart. Of a disk's size, part
    of a MiB counts as one. Raises ValueError."""
    for column in columns:
        text = row.get(column, "").strip()
        if text:
            found = (_FEW if column in _COUNTS else _NUMBER).fullmatch(text[:40])
            part = (found["part"] or "").strip("0") if found else ""
            if found is None or len(text) > 40 or (part and column not in _SIZES):
                raise ValueError(f"{column} is {text[:40]!r}, which is no whole number")
            number = int(re.sub(r"\D", "", found["whole"])) + bool(part)
            if number >= _MOST:
                raise ValueError(f"{column} is {text!r}, which is too much for a machine")
            return number
    return None


def _doubtful_number(row: Row, doubts: list[str], *columns: str) -> int | None:
    """The same; what is no number is unknown, and a doubt."""
    try:
        return number_of(row, *columns)
    except ValueError as error:
        of = f" of {row['Disk'][:80]}" if row.get("Disk") else ""
        doubts.append(f"{error}{of}, and is taken as unknown")
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


def _keys_of_controllers(places: Sequence[tuple[Row, int]]) -> dict[tuple[str, int], int]:
    """A key for each controller, as vCenter counts them: IDE, SCSI, SATA, NVMe, and each by its number, whatever its
    kind is called. The machine boots from the first one's disk. Those of one number follow their disks' keys."""
    first: dict[tuple[str, int], tuple[int, int]] = {}
    for row, key in places:
        kind, bus = _controller(row)
        start = _FIRST_KEYS.get(CONTROLLERS.get(kind, (DiskBus.UNKNOWN, None))[0], _FIRST_OTHER)
        first[kind, bus] = min((start + bus, key), first.get((kind, bus), (start + bus, key)))
    keys: dict[tuple[str, int], int] = {}
    last = 0
    for one in sorted(first, key=lambda one: (first[one], one)):
        keys[one] = last = max(first[one][0], last + 1)
    return keys


def _disks(row: Row, rows: Sequence[Row], doubts: list[str], *, there: bool) -> list[Plain]:
    """The controllers, the disks at them, and as many more disks as are counted. `there`: the tab of disks is; without
    it a machine that nobody counts the disks of has one, for one without any is rare."""
    told = _each_once([_doubtful_number(one, doubts, "Disk Key") or None for one in rows], doubts)
    free = _free(2000, told)
    places = [(one, next(free) if key is None else key) for one, key in zip(rows, told, strict=True)]
    controllers = _keys_of_controllers(places)
    shared = {_controller(one): one.get("Shared Bus") or "noSharing" for one in rows}
    counted = _doubtful_number(row, doubts, "Disks")
    missing = min(int(not there) if counted is None else counted, _MOST_DISKS) - len(rows)
    return [
        *(
            {"_type": kind, "key": key, "busNumber": bus, "sharedBus": shared[kind, bus]}
            for (kind, bus), key in controllers.items()
        ),
        *(_disk(one, key, controllers[_controller(one)], doubts) for one, key in places),
        *({"_type": "VirtualDisk", "key": key, "controllerKey": _LAST} for key in islice(free, max(missing, 0))),
    ]


def _each_once(keys: Sequence[int | None], doubts: list[str]) -> list[int | None]:
    """The keys of disks; one that came before is none of this disk's, and a doubt."""
    found: list[int | None] = []
    for key in keys:
        if key is not None and key in found:
            doubts.append(f"Disk Key {key} is that of several disks")
        found.append(None if key in found else key)
    return found


def _free(first: int, taken: Sequence[int | None]) -> Iterator[int]:
    """Keys from `first` on that no device has."""
    return (key for key in count(first) if key not in taken)


def _disk(row: Row, key: int, controller: int, doubts: list[str]) -> Plain:
    size = _doubtful_number(row, doubts, *_SIZES)
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
    device: Plain = {"_type": "VirtualDisk", "key": key, "controllerKey": controller}
    device |= {"unitNumber": _doubtful_number(row, doubts, "Unit #", "SCSI Unit #") or 0, "backing": backing}
    device |= {"deviceInfo": {"label": row["Disk"]}} if row.get("Disk") else {}
    return device | ({} if size is None else {"capacityInBytes": size << 20})


def _cards(row: Row, rows: Sequence[Row], doubts: list[str]) -> list[Plain]:
    """The cards, and as many more as are counted, at the networks that vInfo names and no card is at."""
    counted = min(_doubtful_number(row, doubts, "NICs") or 0, _MOST_CARDS)
    networks = [row.get(f"Network #{place + 1}", "") for place in range(counted)]
    for one in rows:
        if (network := one.get("Network", "")) in networks:
            networks.remove(network)
    others = [{"Network": network} for network in networks[: max(counted - len(rows), 0)]]
    return [_card(4000 + place, one) for place, one in enumerate([*rows, *others])]


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
