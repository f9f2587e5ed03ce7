"""Rules about disks and drives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from kubeferry.model import DATA_DEVICES, Disk, DiskBus, DiskDevice
from mappings.disks import (
    SERIAL,
    USUAL_SECTOR,
    boot_disk,
    boot_orders_told,
    is_mapped,
    target_bus,
    target_cache,
    target_io,
    target_sectors,
)
from mappings.quantities import human_bytes
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when
from mappings.systems import is_windows

# What the field's tools warn of: beyond it, controllers and copies are no longer usual.
_MANY_DISKS = 165
_WRITTEN = (
    "While another of them writes, a copy is as after a loss of power at best: shut all of them down before the last "
    "one."
)


def per_disk(find: Callable[[Disk, Case], str | None]) -> Callable[[Case], Iterator[str]]:
    """A rule over each data disk: what `find` says of it, after its name."""

    def rule(case: Case) -> Iterator[str]:
        for disk in case.machine.data_disks:
            what = find(disk, case)
            if what is not None and is_mapped(disk):
                yield f"Disk {disk.id} {what}"

    return rule


def _is_untold(disk: Disk) -> bool:
    return disk.uri is None and disk.source_kind == "unknown" and disk.capacity_bytes is None


def _untold(disk: Disk, _case: Case) -> str | None:
    return "is there, and nothing else is told of it." if _is_untold(disk) else None


def _no_source(disk: Disk, _case: Case) -> str | None:
    return "has no source." if disk.uri is None and not _is_untold(disk) else None


def _no_size(disk: Disk, _case: Case) -> str | None:
    return None if disk.capacity_bytes or _is_untold(disk) else "has no known size."


def _no_format(disk: Disk, _case: Case) -> str | None:
    return "has no known format, and formats are never guessed." if disk.uri and disk.format is None else None


def _chain(disk: Disk, _case: Case) -> str | None:
    open_chain = disk.chain is None and disk.format not in {None, "raw"} and not _is_untold(disk)
    return f"is {disk.format}, and what lies below it is not told." if open_chain else None


def _shared(disk: Disk, case: Case) -> str | None:
    if case.sharing.is_one(disk):
        return None
    shared = case.sharing.disks.get(disk.id)
    if shared is None and disk.shareable:
        return f"may be shared with other machines; the target gets a copy of its own. {_WRITTEN}"
    if shared is None:
        return None
    others, needs = ", ".join(shared.others), "; ".join(shared.needs)
    apart = f"is also that of {others}: each would get a copy of its own, and what one writes no other would see."
    return " ".join([apart, _WRITTEN, *([f"One disk for all of them needs {needs}."] if needs else [])])


def _twice(disk: Disk, case: Case) -> str | None:
    """Told of each but the first."""
    same = [one for one in case.machine.data_disks if one.uri is not None and one.uri == disk.uri]
    again = len(same) > 1 and same[0].id != disk.id and not all(one.readonly for one in same)
    return f"is the same as {same[0].id}: the machine would have two that drift apart." if again else None


def _encrypted(disk: Disk, _case: Case) -> str | None:
    return "is encrypted by the hypervisor." if disk.encrypted else None


def _transient(disk: Disk, _case: Case) -> str | None:
    return "forgets what is written; at the target it keeps it." if disk.transient else None


def _readonly(disk: Disk, case: Case) -> str | None:
    lost = disk.readonly and target_bus(disk, case.choices) == "sata"
    return "is read-only; KubeVirt refuses that on SATA, so it becomes writable." if lost else None


def _lun(disk: Disk, _case: Case) -> str | None:
    return "is a LUN; its copy takes no SCSI reservations." if disk.device == DiskDevice.LUN else None


def _bus(disk: Disk, case: Case) -> str | None:
    bus = target_bus(disk, case.choices)
    if disk.bus == DiskBus.SCSI and bus == "scsi" and disk.controller_model is None:
        return "is on a SCSI controller that is not told; at the target it is virtio-scsi."
    if disk.bus == bus or _is_untold(disk):
        return None
    had = disk.bus.value + (f" ({disk.controller_model})" if disk.bus == DiskBus.SCSI and disk.controller_model else "")
    return f"moves from {had} to {bus}: {_driver(disk, bus, case)}"


def _driver(disk: Disk, bus: str, case: Case) -> str:
    """What a guest on a new bus needs. Windows brings drivers for SATA and USB alone; what it had for a virtio disk
    serves no virtio-scsi controller, and the other way round."""
    if not is_windows(case.machine.guest) or bus not in {"virtio", "scsi"}:
        return "the guest must have that driver at boot."
    boots = disk == boot_disk(case.machine, case.choices)
    lost = "it does not start (INACCESSIBLE_BOOT_DEVICE)" if boots else "it does not find the disk"
    return f"Windows brings no driver for it, and without virtio's own, started at boot, {lost}."


def _serial(disk: Disk, _case: Case) -> str | None:
    illegal = disk.serial is not None and SERIAL.fullmatch(disk.serial) is None
    return f"has the serial {disk.serial!r}, which KubeVirt refuses." if illegal else None


def _wwn(disk: Disk, _case: Case) -> str | None:
    return f"loses its WWN {disk.wwn}." if disk.wwn else None


def _sectors(disk: Disk, case: Case) -> str | None:
    logical = disk.logical_block_bytes or USUAL_SECTOR
    if logical == USUAL_SECTOR or target_sectors(disk, case.choices) is not None:
        return None
    bus = target_bus(disk, case.choices)
    return f"has sectors of {logical} bytes, which {bus} disks have not there: the guest finds no partition on it."


def _cache(disk: Disk, case: Case) -> str | None:
    cache, io = target_cache(disk, case.sharing), target_io(disk, case.sharing)
    changed = [
        f"{name} {had} becomes {now or 'the default'}"
        for name, had, now in (("cache", disk.cache, cache), ("io", disk.io, io))
        if had not in {None, "default", now}
    ]
    return f"changes: {', '.join(changed)}." if changed else None


def _throttled(disk: Disk, _case: Case) -> str | None:
    return "has I/O limits, which are not carried." if disk.throttled else None


def _medium(case: Case) -> Iterator[str]:
    for disk in case.machine.kept_disks:
        if disk.device == DiskDevice.CDROM and disk.uri is not None:
            yield f"Drive {disk.id} holds a medium ({disk.uri}), which is not moved: drives of the target are empty."


def _floppy(case: Case) -> Iterator[str]:
    for disk in case.machine.kept_disks:
        if not is_mapped(disk):
            yield f"Floppy drive {disk.id} is not carried."


def _too_many(case: Case) -> Iterable[str]:
    count = len(case.machine.kept_disks)
    return (f"The machine has {count} disks and drives; KubeVirt takes 256.",) if count > 256 else ()


def _many(case: Case) -> Iterable[str]:
    count = len(case.machine.kept_disks)
    return (f"The machine has {count} disks and drives.",) if _MANY_DISKS < count <= 256 else ()


def _boot_unclear(case: Case) -> Iterable[str]:
    machine = case.machine
    told = machine.firmware.boot_order or boot_orders_told(machine) or case.choices.boot_orders
    unclear = not told and len(machine.data_disks) > 1
    return (f"No boot order is told; the first disk, {machine.data_disks[0].id}, boots.",) if unclear else ()


def _left_out(case: Case) -> Iterator[str]:
    for disk in case.machine.disks:
        if disk.device in DATA_DEVICES and disk.id in (case.machine.left_out or ()):
            size = f" ({human_bytes(disk.capacity_bytes)})" if disk.capacity_bytes else ""
            yield f"Disk {disk.id}{size} is left out by the policy: it is neither copied nor attached at the target."


def _boot_left_out(case: Case) -> Iterable[str]:
    """The machine would boot from a disk that stays behind, or has none left."""
    whole = case.machine.model_copy(update={"left_out": None})
    boots = boot_disk(whole, case.choices)
    if whole.data_disks and not case.machine.data_disks:
        return ("The policy leaves out all disks of the machine: nothing of it would move.",)
    left = boots is not None and boots.id in (case.machine.left_out or ())
    return when(left, f"Disk {boots.id if boots else ''}, which the policy leaves out, is the one that it boots from.")


def _boot_changed(case: Case) -> Iterable[str]:
    had = boot_disk(case.machine, replace(case.choices, disks={}))
    now = boot_disk(case.machine, case.choices)
    changed = had is not None and now is not None and had != now
    return when(changed, f"Disk {now.id if now else ''} boots, as the policy says, and not {had.id if had else ''}.")


RULES = (
    Rule(
        "disk.boot-left-out",
        CRITICAL,
        "the disk that the machine boots from, left out by the policy",
        "Take it along (`include` of its `disks` in the policy), or name another one's `bootOrder` there.",
        _boot_left_out,
    ),
    Rule(
        "disk.sectors-lost",
        CRITICAL,
        "sectors that the disk's bus at the target has not",
        "Set `diskBus: virtio` or `diskBus: scsi` for it in the policy, if the guest has that driver.",
        per_disk(_sectors),
    ),
    Rule(
        "disk.untold",
        CRITICAL,
        "a disk that is only counted",
        "Export what tells of disks, too (of RVTools the tab vDisk), or discover the running source.",
        per_disk(_untold),
        False,
    ),
    Rule(
        "disk.source-missing",
        CRITICAL,
        "a disk without a source",
        "Remove the disk at the source, or give it a source.",
        per_disk(_no_source),
        False,
    ),
    Rule(
        "disk.size-unknown",
        CRITICAL,
        "a disk without a known size",
        "Discover again with access to the source's storage; of exported files, with what tells sizes beside them "
        "(AWS: describe-volumes, RVTools: the tab vDisk).",
        per_disk(_no_size),
        False,
    ),
    Rule(
        "disk.format-unknown",
        CRITICAL,
        "a disk without a known format",
        "State the format in the source's configuration.",
        per_disk(_no_format),
        False,
    ),
    Rule(
        "disk.encrypted",
        CRITICAL,
        "a disk that the hypervisor encrypts",
        "Decrypt it at the source, or leave it out (`include: false` for it in the policy's `disks`).",
        per_disk(_encrypted),
        False,
    ),
    Rule(
        "disk.twice",
        CRITICAL,
        "one disk that a machine has twice",
        "Leave one out (`include: false` for it in the policy's `disks`), or correct the machine at the source.",
        per_disk(_twice),
        False,
    ),
    Rule("disk.too-many", CRITICAL, "more disks than KubeVirt takes", "Remove disks at the source.", _too_many, False),
    Rule(
        "disk.shared",
        CRITICAL,
        "a disk that several machines use",
        "Give it what it needs to be one disk for all; or give each machine a disk of its own at the source; or leave "
        "all of them out (`include: false`), or the disk out of all but one (`include: false` in their `disks`).",
        per_disk(_shared),
    ),
    Rule(
        "disk.chain-unknown",
        WARNING,
        "an image of which the lower layers are not told",
        "Discover again where its images can be read; else they tell it before the machine stops.",
        per_disk(_chain),
    ),
    Rule(
        "disk.bus-changed",
        WARNING,
        "a disk on another bus or controller",
        "Rehearse it; set `diskBus` for it in the policy if another bus fits better.",
        per_disk(_bus),
    ),
    Rule(
        "disk.readonly-sata",
        WARNING,
        "a read-only disk that becomes writable",
        "Set `diskBus` to virtio or scsi for it in the policy.",
        per_disk(_readonly),
    ),
    Rule(
        "disk.transient",
        WARNING,
        "a disk that forgets",
        "Take a copy of the disk that must not change.",
        per_disk(_transient),
    ),
    Rule(
        "disk.lun", WARNING, "a SCSI LUN", "Clusters that rely on SCSI reservations need another way.", per_disk(_lun)
    ),
    Rule(
        "disk.serial-illegal",
        WARNING,
        "a disk serial that KubeVirt refuses",
        "Guests that find it by its serial must be changed.",
        per_disk(_serial),
    ),
    Rule("disk.wwn-lost", WARNING, "a WWN", "Guests that find it by its WWN must be changed.", per_disk(_wwn)),
    Rule(
        "disk.cache-changed",
        INFO,
        "a cache or I/O mode that KubeVirt has not",
        "Nothing, if the guest does not depend on it.",
        per_disk(_cache),
    ),
    Rule(
        "disk.throttled", WARNING, "I/O limits", "Set limits in the storage class if they matter.", per_disk(_throttled)
    ),
    Rule(
        "disk.left-out",
        WARNING,
        "a disk that the policy leaves out",
        "See that the guest starts without it (/etc/fstab, services), and keep the source's as long as it is needed.",
        _left_out,
    ),
    Rule(
        "disk.boot-changed",
        WARNING,
        "another disk to boot from, as the policy says",
        "Rehearse it; take `bootOrder` out of the policy if the source's own order is right.",
        _boot_changed,
    ),
    Rule("disk.many", WARNING, "more disks than usual", "Rehearse it.", _many),
    Rule(
        "disk.boot-unclear",
        INFO,
        "several disks and no boot order",
        "State a boot order at the source if another disk boots.",
        _boot_unclear,
    ),
    Rule("cdrom.medium", INFO, "a medium in a drive", "Insert it again at the target if it is needed.", _medium),
    Rule("floppy.lost", WARNING, "a floppy drive", "Copy what is on it to a disk.", _floppy),
)
