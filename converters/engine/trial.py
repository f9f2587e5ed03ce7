"""A trial of what a copy needs: both disks are opened, a block of each is read, the state folder takes a file.

Nothing is written to a disk, no lock is held, no fence raised, nothing is left: it may run beside a copy of the disk.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from converters.endpoints import Endpoint, open_source, open_target
from converters.engine.copying import Tally
from converters.engine.disks import Outcome
from converters.uris import path_of
from kubeferry import faults
from kubeferry.errors import TargetRefused
from kubeferry.values import DiskRef

BLOCK_BYTES = 1 << 20


def try_disk(source: DiskRef | None, target: DiskRef, state: Path, *, algorithm: str, makes_target: bool) -> Outcome:
    """Open what a copy would open. With `makes_target`, a target that is not there need only have a folder that takes
    it. Raises what `open_source` and `open_target` raise; TargetRefused where there is no room or no right.
    """
    try_folder(state)
    path = path_of(target.uri) if makes_target else None
    if path is not None and not path.exists():
        try_folder(path.parent)
    else:
        with open_target(target) as opened:
            _one_block(opened)
    if source is None:
        return Outcome("", algorithm, 0, Tally())
    with (
        tempfile.TemporaryDirectory(prefix="kubeferry-trial-") as work,
        open_source(source, work=Path(work)) as reading,
    ):
        read = _one_block(reading)
        return Outcome("", algorithm, reading.size, Tally(read=read))


def try_folder(folder: Path) -> None:
    """A file can be made, kept and removed there. What is missing of the folder itself is made and removed, too."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryFile(dir=folder) as kept:
                kept.write(b"kubeferry")
                kept.flush()
                os.fsync(kept.fileno())
        finally:
            for place in made:
                place.rmdir()
    except (FileExistsError, NotADirectoryError) as error:
        fix = "Look at what lies there in place of a folder."
        raise TargetRefused(f"{folder} cannot be used", why=str(error), fix=fix) from error
    except OSError as error:
        raise faults.of_os(faults.Side.TARGET, f"{folder} cannot be written", error) from error


def _one_block(disk: Endpoint) -> int:
    """Read the first block, whatever the disk says of it; returns how many bytes that were."""
    view = memoryview(bytearray(min(BLOCK_BYTES, disk.size)))
    if view:
        disk.read_into(0, view)
    return len(view)
