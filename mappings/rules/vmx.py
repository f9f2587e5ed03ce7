"""Rules about machines as VMware's products keep them: a VMX with its disks, copied out of a datastore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote

from kubeferry.model import Disk
from kubeferry.uris import packed
from mappings.rules.ovf import is_exported
from mappings.rules.rule import CRITICAL, WARNING, Case, Rule, when

_SUSPENDED = "checkpoint.vmState"
_SHOWN = 4


def _suspended(case: Case) -> Iterator[str]:
    for fact in case.machine.unmodelled:
        if fact.path == _SUSPENDED:
            yield f"The machine is suspended ({fact.value}): what its memory holds is not on its disks."


def _in_use(case: Case) -> Iterable[str]:
    found = [fact.value for fact in case.machine.unmodelled if fact.path.startswith("inUse[")]
    what = f"Files beside it say that it runs, or did when it was copied ({', '.join(found[:_SHOWN])})"
    return when(bool(found), f"{what}: its disks may be of no one moment.")


def _delta(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        if disk.chain and is_exported(disk):
            below = ", ".join(map(_name, (link.uri for link in disk.chain)))
            yield f"Disk {disk.id} ({_file(disk)}) holds only what differs from other images: {below}."


def _file(disk: Disk) -> str:
    place = packed(disk.uri or "")
    return place.parts[0].path.name if place is not None else disk.uri or ""


def _name(uri: str) -> str:
    return PurePosixPath(unquote(uri.removeprefix("file:"))).name or "an image that is not named"


def _lines(case: Case) -> Iterator[str]:
    for fact in case.machine.unmodelled:
        if fact.path.startswith("line["):
            yield f"Line {fact.path[len('line[') : -1]} of its file is no setting ({fact.value})."


RULES = (
    Rule(
        "vmx.suspended",
        CRITICAL,
        "a VMX of a suspended machine",
        "Resume the machine where it ran, shut it down, and copy its folder again.",
        _suspended,
        False,
    ),
    Rule(
        "vmx.delta",
        CRITICAL,
        "a disk of a VMX that is part of a chain of snapshots",
        "Write the whole disk into one file, which only reads the chain: `qemu-img convert -f vmdk -O vmdk TOP.vmdk "
        "WHOLE.vmdk`, or `vmkfstools -i` on ESXi; then name that file in the VMX and discover again.",
        _delta,
        False,
    ),
    Rule(
        "vmx.in-use",
        CRITICAL,
        "files of a running machine beside a VMX: locks, memory, swap",
        "Shut the machine down where it runs, and copy its folder again. Where it was off, remove these files.",
        _in_use,
    ),
    Rule(
        "file.line",
        WARNING,
        "a line of a VMX, or of a configuration of Proxmox, that is no setting",
        "Look at that line: what was meant by it is not carried.",
        _lines,
    ),
)
