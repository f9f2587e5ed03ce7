"""The file of a disk, or of firmware, on a volume that was given empty: made whole, under its name only when it is."""

from __future__ import annotations

import os
import stat

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


def make_disk_file(target: DiskRef, *, exact: bool = False) -> bool:
    """Make the file that a `file:` reference names, sparse and durable; returns whether it had to be made: then it
    reads as zeros. One that is there is left as it is, whatever its size. `exact`: it has the reference's very size,
    one of another size is made anew, and the folder that it lies in is made on the volume.

    Raises TargetRefused where its folder is missing (the volume is not mounted), or has no room or rights for it.
    """
    path = path_of(target.uri)
    if path.exists() and not (exact and path.stat().st_size != target.size_bytes):
        return False
    volume = path.parent.parent if exact else path.parent
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
        if exact and not path.parent.is_dir():
            path.parent.mkdir()
            path.parent.chmod(FOLDER_MODE | stat.S_ISGID & path.parent.stat().st_mode)
            sync_folder(volume)
        for left in atomic.leftovers(path.parent):
            left.unlink()
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            os.fchmod(fd, MODE)
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{path} cannot be made", error) from error
    return True
