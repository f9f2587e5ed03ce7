"""Disks that machines of a set share, in a target folder: once each, in the folder of the machine that carries it.

A machine that attaches one is started over a throw-away layer of its own: its proof writes nothing that another one
would read, and the image stays equal to the source.
"""

from __future__ import annotations

from pathlib import Path

from kubeferry.documents import AttachedDisk, Entry
from kubeferry.errors import TargetRefused
from kubeferry.targets import runs_from_it, still_attached, users_of
from kubeferry.targets.directory.hypervisor import LocalMachine
from kubeferry.targets.directory.layout import TargetFolder


def images(target: TargetFolder, entry: Entry) -> dict[str, Path]:
    """The image of each claim that the machine runs from. Raises TargetRefused where one is not here, or lies in the
    folder of another machine than the one that carries it."""
    folder = target.machine(entry.target_name)
    found = {planned.claim: folder.image(planned.claim) for planned in entry.disks}
    for disk in entry.attached or ():
        found[disk.claim] = _carried(target, entry, disk)
    missing = [str(image) for image in found.values() if not image.exists()]
    if missing:
        raise TargetRefused(
            "the machine's disks are not here", why=", ".join(missing), fix="Copy them first.", machine=entry.name
        )
    return found


def refuse_in_use(target: TargetFolder, entry: Entry) -> None:
    """Raise TargetRefused where a machine runs that attaches a disk of this one."""
    for user in users_of(entry):
        if LocalMachine(user.target_name, target.machine(user.target_name)).alive():
            raise runs_from_it(entry, user.name)


def refuse_attached(target: TargetFolder, entry: Entry) -> None:
    """Raise TargetRefused where a machine is still here that attaches a disk of this one."""
    if users := [user.name for user in users_of(entry) if target.machine(user.target_name).marker.exists()]:
        raise still_attached(entry, users)


def _carried(target: TargetFolder, entry: Entry, disk: AttachedDisk) -> Path:
    folder = target.machine(disk.carrier_target)
    owner = target.owner(folder)
    if owner is not None and (owner.get("source"), owner.get("name")) != (entry.machine.source, disk.carrier):
        raise TargetRefused(
            f"{folder.path} is to hold a disk of {disk.carrier}, and belongs to another machine",
            fix="Give one of them another name in the policy, and plan again.",
            machine=entry.name,
            disk=disk.disk,
        )
    return folder.image(disk.claim)
