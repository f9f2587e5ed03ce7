"""The file of a disk, or of firmware, on a volume that was given empty: made whole, under its name only when it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from converters.engine.fingerprint import sync_folder
from converters.extents import DISK_LIMIT_BYTES
from converters.uris import path_of
from kubeferry import faults
from kubeferry.errors import TargetRefused
from kubeferry.outside import atomic
from kubeferry.values import DiskRef

# KubeVirt and CDI align images to this, and CDI's files have these rights: virt-launcher runs in the same group.
ALIGN_BYTES = 1 << 20
MODE = 0o660
FOLDER_MODE = 0o770
PRIVATE_MODE, PRIVATE_FOLDER_MODE = 0o600, 0o700


def make_disk_file(target: DiskRef, *, exact: bool = False, private: int | None = None) -> bool:
    """Make the file that a `file:` reference names, sparse and durable; returns whether it had to be made: then it
    reads as zeros. One that is there is left as it is, whatever its size. `exact`: it has the reference's very size,
    one of another size is made anew, and the folder that it lies in is made on the volume; of a `private` one so many
    folders, and they and it are for their owner alone.

    Raises TargetRefused where its folder is missing (the volume is not mounted), or has no room or rights for it.
    """
    path = path_of(target.uri)
    if path.exists() and not (exact and path.stat().st_size != target.size_bytes):
        return False
    volume = path.parents[private or 1] if exact else path.parent
    if not volume.is_dir():
        fix = "Look at the mover's pod: the claim must be mounted there."
        raise TargetRefused(f"the volume for {path} is not there", fix=fix)
    aligned = -(-(target.size_bytes or 0) // ALIGN_BYTES) * ALIGN_BYTES
    size = (target.size_bytes or 0) if exact else aligned
    if size > DISK_LIMIT_BYTES:
        fix = "Discover the source again: no disk is so large."
        raise TargetRefused(f"{path} cannot be made with {size} bytes", fix=fix)
    temporary = atomic.temporary_name(path)
    try:
        if exact:
            _make_folders(volume, path.parent, FOLDER_MODE if private is None else PRIVATE_FOLDER_MODE)
        for left in atomic.leftovers(path.parent):
            left.unlink()
        mode = MODE if private is None else PRIVATE_MODE
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(fd, mode)
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{path} cannot be made", error) from error
    return True


def _make_folders(volume: Path, folder: Path, mode: int) -> None:
    """The folders on the way from the volume to this one, durable; those that are there stay as they are."""
    for made in [*reversed([one for one in folder.parents if one.is_relative_to(volume) and one != volume]), folder]:
        if not made.is_dir():
            made.mkdir(mode)
            made.chmod(mode | stat.S_ISGID & made.stat().st_mode)
            sync_folder(made.parent)
