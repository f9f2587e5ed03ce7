"""Rules about machines of Proxmox, which are read from their configurations alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeferry.model import Disk
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

_KIND = "proxmox"
_VOLUME = "proxmox:"


def _is_of_proxmox(disk: Disk) -> bool:
    return disk.source_kind == _KIND


def _unread(case: Case) -> Iterator[str]:
    for disk in case.machine.data_disks:
        if _is_of_proxmox(disk) and disk.uri is not None:
            yield f"Disk {disk.id} ({disk.uri.removeprefix(_VOLUME)}) lies on a storage of Proxmox, which is not read."


def _told(case: Case, path: str) -> list[str]:
    if not any(_is_of_proxmox(disk) for disk in case.machine.disks):
        return []
    return [fact.value for fact in case.machine.unmodelled if fact.path == path]


def _pending(case: Case) -> Iterable[str]:
    found = _told(case, "pending")
    return when(bool(found), f"Changes wait for its next start, and are not what is moved: {', '.join(found)}.")


def _locked(case: Case) -> Iterator[str]:
    for what in _told(case, "lock"):
        yield f"The machine is locked by Proxmox ({what}): what was read may be about to change."


def _unused(case: Case) -> Iterable[str]:
    found = [fact for fact in case.machine.unmodelled if fact.path.startswith("unused") and _told(case, fact.path)]
    names = ", ".join(fact.value for fact in found)
    return when(bool(found), f"Volumes of it that are not attached are left behind: {names}.")


RULES = (
    Rule(
        "proxmox.unread",
        CRITICAL,
        "a disk on a storage of Proxmox",
        "This is for an assessment. To move the machine, shut it down, write its disks into images (`qemu-img convert` "
        "of what `pvesm path VOLUME` names), and give a libvirt domain or an OVF that has them.",
        _unread,
        False,
    ),
    Rule(
        "proxmox.pending",
        WARNING,
        "changes of a machine of Proxmox that wait for its next start",
        "Restart the machine, or take the changes back, and write its configuration again.",
        _pending,
    ),
    Rule(
        "proxmox.locked",
        WARNING,
        "a machine of Proxmox that is locked",
        "Wait until that is done (`qm unlock VMID` where it never will be), and write its configuration again.",
        _locked,
    ),
    Rule(
        "proxmox.unused",
        INFO,
        "volumes of a machine of Proxmox that are not attached",
        "Attach them before the move if they are needed.",
        _unused,
    ),
)
