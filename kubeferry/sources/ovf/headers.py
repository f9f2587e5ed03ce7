"""What disks of an export say of themselves, held against what its descriptor says: looked at where they are there.

Nothing of a disk is inflated but the start of one that is packed with gzip; the tables of a VMDK or qcow2 are read, to
know whether all of it is there.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, replace
from pathlib import PurePath

from kubeferry.errors import HostileImage, Interrupted, KubeferryError, SourceRefused
from kubeferry.images import clusters, nodes, qcow2, vhd, whole, writers
from kubeferry.images.vmdk import descriptor, header
from kubeferry.images.vmdk.whole import check_whole
from kubeferry.model import Disk, DiskRef, Machine, SourceFact
from kubeferry.outside import stopping
from kubeferry.sources.facts.leftovers import cut
from kubeferry.uris import Packed, Part, local_path, packed

HEAD_BYTES = 64 << 10
_BEGINNINGS = {
    "vmdk": (header.MAGIC, header.COWD),
    "qcow2": (qcow2.MAGIC,),
    "vhd": (vhd.COOKIE,),
    "vhdx": (b"vhdxfile",),
}
_VDI = b"\x7f\x10\xda\xbe"  # at 64, behind a text of its writer's


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a disk: what is `wrong` with it, its own `size` in bytes, and whether it is a `stream` that is
    read from front to end. None where nothing is known."""

    wrong: str | None = None
    size: int | None = None
    stream: bool | None = None


def held_against(machine: Machine) -> Machine:
    """The machine with what its disks say of themselves: sizes and layouts are theirs, and what is wrong with one is a
    fact, `header[DISK]`; `capacity[DISK]` is what the descriptor says where that is another size."""
    disks, facts = [], []
    for disk in machine.disks:
        seen = look(disk) if disk in machine.data_disks and not disk.chain else Look()
        if seen.wrong is not None:
            facts.append(SourceFact(path=f"header[{disk.id}]", value=cut(seen.wrong)))
        elif seen.size is not None and disk.capacity_bytes not in {None, seen.size}:
            what = f"{disk.capacity_bytes} bytes, and the disk itself {seen.size}"
            facts.append(SourceFact(path=f"capacity[{disk.id}]", value=what))
        disks.append(_corrected(disk, seen))
    unmodelled = (*machine.unmodelled, *facts)
    return machine.model_copy(update={"disks": tuple(disks), "unmodelled": unmodelled})


def _corrected(disk: Disk, seen: Look) -> Disk:
    place = packed(disk.uri or "")
    if seen.wrong is not None:
        return disk
    changed: dict[str, object] = {"capacity_bytes": seen.size} if seen.size else {}
    if place is not None and seen.stream is False and place.scheme == "vmdk-stream+file":
        changed["uri"] = replace(place, scheme="vmdk+file").uri()
    return disk.model_copy(update=changed)


def look(disk: Disk) -> Look:
    """What the bytes of a disk say. Of one that is not there, or cannot be read, nothing is known: that is told where
    it is opened. As long as its files are the same it is looked at once."""
    place = _place(disk)
    if place is None or disk.format is None:
        return Look()
    try:
        return _looked(place, disk.format, tuple(writers.state(part.path) for part in place.parts))
    except OSError:
        return Look()


@functools.lru_cache(1024)
def _looked(place: Packed, shape: str, state: tuple[tuple[int, ...], ...]) -> Look:
    """`state` is what the files are known by."""
    del state
    try:
        head = _head(place)
        flat = shape == "vmdk" and place.scheme == "raw+file"
        if (other := _other(head, "raw" if flat else shape)) is not None:
            return Look(wrong=f"it begins like {other}, and is said to be {shape}")
        return _LOOKS[shape](place, head) if shape in _LOOKS else Look()
    except ValueError as error:
        return Look(wrong=str(error))
    except (HostileImage, SourceRefused) as error:
        return Look(wrong=error.reason)
    except Interrupted:
        raise
    except (KubeferryError, OSError):
        return Look()


def _place(disk: Disk) -> Packed | None:
    """The parts of local files that a disk is; a file is one part."""
    if (found := packed(disk.uri or "")) is not None:
        return found if all(part.path.is_file() for part in found.parts) else None
    path = local_path(disk.uri or "")
    if path is None or not path.is_file():
        return None
    return Packed("raw+file", (Part(path, 0, path.stat().st_size),))


def _head(place: Packed) -> bytes:
    head = _read(place, 0, HEAD_BYTES)
    if not place.gzip:
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error as error:
        raise ValueError(f"its gzip stream is damaged: {error}") from error


def _read(place: Packed, offset: int, length: int) -> bytes:
    """Bytes of all parts, one behind the other; fewer at the end."""
    found, start = b"", 0
    for part in place.parts:
        inside = offset + len(found) - start
        if len(found) < length and 0 <= inside < part.length:
            wanted = min(length - len(found), part.length - inside)
            found += qcow2.read_piece(part.path, part.offset + inside, wanted)
        start += part.length
    return found


def _other(head: bytes, shape: str) -> str | None:
    """The format that a disk of another begins like."""
    found = (name for name, signs in _BEGINNINGS.items() if head.startswith(signs))
    name = next(found, "vmdk" if descriptor.is_descriptor(head) else "vdi" if head[64:68] == _VDI else None)
    return None if name == shape else name


def _size(place: Packed) -> int:
    return sum(part.length for part in place.parts)


def _raw(place: Packed, _head_bytes: bytes) -> Look:
    return Look() if place.gzip else Look(size=_size(place))


def _vmdk(place: Packed, head: bytes) -> Look:
    if place.scheme == "raw+file":  # the extents of a flat one
        return _raw(place, head)
    if descriptor.is_descriptor(head):
        told = descriptor.parse(head)
        wrong = _unusable(told) or _elsewhere(place, told) or _cut_off(place, told)
        return Look(wrong=wrong, size=told.sectors * header.SECTOR_BYTES, stream=False)
    found = header.parse(head)
    start = found.descriptor * header.SECTOR_BYTES
    told = descriptor.parse(head[start : start + found.descriptor_size * header.SECTOR_BYTES])
    wrong = _unusable(told)
    if wrong is None and place.gzip and not found.is_stream:
        wrong = "it is packed with gzip, and no stream that could be read from front to end"
    if wrong is None and not place.gzip:
        check_whole(found, _size(place), lambda at, length: _read(place, at, length))
    return Look(wrong=wrong, size=found.capacity_bytes, stream=found.is_stream)


def _unusable(told: descriptor.Descriptor) -> str | None:
    if any(key.lower().startswith("encryption") for key in told.fields):
        return "it is encrypted: decrypt it at the source, and export it again"
    return "it holds only what differs from another disk: export without snapshots" if told.has_parent else None


def _elsewhere(place: Packed, told: descriptor.Descriptor) -> str | None:
    """Why the data that a descriptor names cannot be read: it stands in files beside it, and is read from there."""
    if odd := [part.kind for part in told.parts if part.kind not in descriptor.READ_PARTS]:
        return f"one of its extents is {odd[0]}; {', '.join(descriptor.READ_PARTS)} are read"
    named = [part.name for part in told.parts if part.kind != "ZERO"]
    if len(place.parts) != 1 or place.parts[0].offset or place.gzip or not told.parts:
        first = f" ({named[0][:80]!r})" if named else ""
        return (
            f"it is a descriptor, whose data stands in another file{first}: it is read beside an OVF, not in an archive"
        )
    missing = [name for name in named if not place.parts[0].path.with_name(PurePath(name).name).is_file()]
    return f"its data is in {missing[0][:80]!r}, which is not beside it" if missing else None


def _cut_off(place: Packed, told: descriptor.Descriptor) -> str | None:
    """Which of the files that a descriptor names lacks some of its bytes, or is none of its kind."""
    for one in told.parts:
        if one.kind == "ZERO":
            continue
        path = place.parts[0].path.with_name(PurePath(one.name).name)
        size, wanted = path.stat().st_size, (one.offset + one.sectors) * header.SECTOR_BYTES
        if one.kind != "SPARSE":
            if size < wanted:
                return f"it is cut off: {path.name!r} has {size} bytes, and {wanted} of it are the disk's"
            continue
        extent = Packed("vmdk+file", (Part(path, 0, size),))
        found = header.parse(_read(extent, 0, header.SECTOR_BYTES))
        check_whole(found, size, functools.partial(_read, extent))
    return None


def _qcow2(place: Packed, head: bytes) -> Look:
    if not place.as_it_is:
        return Look(wrong="it is packed, or in chunks, and no qcow2 image is read from that")
    part = place.parts[0]
    found = qcow2.check(part.path, None, read=lambda _path, at, length: head[at : at + length])
    try:
        whole.find_missing(
            found, part.length, lambda places, length: [_read(place, at, length) for at in places], stopping.check
        )
    except clusters.CutOff as error:
        return Look(wrong=f"it is cut off, or damaged: {error}", size=found.size)
    return Look(size=found.size)


def _vhd(place: Packed, _head_bytes: bytes) -> Look:
    nodes.check(DiskRef(uri=place.uri(), format="vhd"))
    part = place.parts[0]
    return Look(size=vhd.parse(_read(place, part.length - vhd.FOOTER_BYTES, vhd.FOOTER_BYTES)).size)


_LOOKS = {"raw": _raw, "vmdk": _vmdk, "qcow2": _qcow2, "vhd": _vhd}
