"""What can be said of a stopped machine's disks before anybody opens one: is it the disk of the inventory, is it there.

For sources whose disks are files and devices of this host. Every problem is told at once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from kubeferry.errors import Problem
from kubeferry.images.network import is_read
from kubeferry.model import ChainLink, Disk, DiskRef, Machine
from kubeferry.sources.disks import drift
from kubeferry.uris import local_path

Trouble = Callable[[Path], str | None]
"""Why an image cannot be read, None if it can."""
FORMATS = ("raw", "qcow2")
# What a source notes, as facts of a machine, of a disk whose chain it did not find: there is none, or it was not seen.
BROKEN_CHAIN, UNSEEN_CHAIN = "chain[{}]", "unseen-chain[{}]"
# What makes an image's bytes other than the disk's: libvirt's `slices` and `dataStore`.
_PARTS = ("devices/disk[{}]/source/slices", "devices/disk[{}]/source/dataStore")

UNPACK = "Copy it to an image of its own with `qemu-img convert`."
CHAIN_FIX = (
    "Bring back what is missing; where an image does not say what lies below it, and in which format, say it in the "
    "domain's <backingStore>, image by image, down to the empty one that ends it."
)


def refs(
    planned: Machine, current: Machine, trouble: Trouble | None = None, *, network: bool = False
) -> dict[str, DiskRef]:
    """References to the data disks of a machine, by disk id. `planned` is the inventory's machine, `current` what its
    source says now; `trouble` looks at an image that is not of this host. `network`: disks on servers that QEMU reads
    are left to the source to look at.

    Raises SourceRefused with all that speaks against reading them.
    """
    found = problems(planned, current, trouble, network=network)
    drift.refuse(planned, "its disks cannot be read as they were planned", found)
    known = {disk.id: disk for disk in current.data_disks}
    return {disk.id: _ref(known[disk.id], _chain(disk, known[disk.id])) for disk in planned.data_disks}


def problems(
    planned: Machine, current: Machine, trouble: Trouble | None = None, *, network: bool = False
) -> list[Problem]:
    """All that speaks against reading these disks; `where` is the disk's id. The rest as in `refs`."""
    return [*drift.differences(planned, current), *_unreadable(planned, current, trouble, network)]


def _unreadable(planned: Machine, current: Machine, trouble: Trouble | None, network: bool) -> Iterator[Problem]:
    was = {disk.id: disk for disk in planned.data_disks}
    for disk in current.data_disks:
        if disk.id not in was:
            continue
        if disk.format not in FORMATS:
            said = f"its format is {disk.format}" if disk.format else "its format is not stated, and is never guessed"
            yield Problem(disk.id, said, f"State it in the domain's <driver type=…>; read are {', '.join(FORMATS)}.")
        if disk.encrypted:
            yield Problem(disk.id, "it is encrypted by the hypervisor", "Decrypt it at the source first.")
        parts = tuple(part.format(disk.id) for part in _PARTS)
        if any(fact.path.startswith(parts) for fact in current.unmodelled):
            said = "it is a slice of its image, or its image keeps the data in another file"
            yield Problem(disk.id, said, UNPACK)
        if network and is_read(disk.uri):
            if disk.format == "qcow2":
                yield Problem(disk.id, "it is qcow2 on a server, where raw disks are read", UNPACK)
        else:
            yield from _images(was[disk.id], disk, current, trouble)


def _images(was: Disk, now: Disk, current: Machine, trouble: Trouble | None) -> list[Problem]:
    """What speaks against reading the images of a disk. One whose chain is not to be followed now is read with the one
    that its source told before, since every header is held against that."""
    chain, noted = _chain(was, now), (BROKEN_CHAIN.format(now.id), UNSEEN_CHAIN.format(now.id))
    found: list[Problem] = []
    for link in chain:
        if link.format not in FORMATS:
            said = f"{link.uri} in its chain has the format {link.format}"
            found.append(Problem(now.id, said, f"Flatten the disk first; read are {', '.join(FORMATS)}."))
    for uri in (now.uri or "an image without a name", *(link.uri for link in chain)):
        found += _image_problems(now.id, uri, trouble)
    unfollowed = [fact.value for fact in current.unmodelled if fact.path in noted and was.chain is None]
    told = [Problem(now.id, f"its chain of images cannot be followed: {why}", CHAIN_FIX) for why in unfollowed]
    return found or told


def _image_problems(disk: str, uri: str, trouble: Trouble | None) -> Iterator[Problem]:
    path = local_path(uri)
    if path is None:
        yield Problem(disk, f"{uri} is not a file or device of this host", "Move the disk to a local image first.")
        return
    if trouble is not None:
        if (said := trouble(path)) is not None:
            yield Problem(disk, f"{path}: {said}", "Bring the image back, or correct the domain's <source>.")
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield Problem(disk, f"{path}: {error.strerror}", "Bring the image back, or correct the domain's <source>.")
        return
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        yield Problem(disk, f"{path} is neither a file nor a block device", "Correct the domain's <source>.")
    elif not os.access(path, os.R_OK):
        yield Problem(disk, f"{path} may not be read", "Run kubeferry as a user that may read the images.")


def _chain(was: Disk, now: Disk) -> tuple[ChainLink, ...]:
    """What the source says now; where it says nothing (a stopped machine), what it said when the machine ran."""
    return now.chain if now.chain is not None else was.chain or ()


def _ref(disk: Disk, chain: tuple[ChainLink, ...]) -> DiskRef:
    below: DiskRef | None = None
    for link in reversed(chain):
        below = DiskRef(uri=link.uri, format=link.format, backing=below)
    return DiskRef(uri=disk.uri or "", format=disk.format or "", size_bytes=disk.capacity_bytes, backing=below)
