"""The header of a sparse VMDK extent (512 bytes, little-endian), as VMware's "Virtual Disk Format 5.0" has it. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SECTOR_BYTES = 512
MAGIC = b"KDMV"
COWD = b"COWD"
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
TABLE_ENTRIES = 512  # of one grain table; no writer is known that has another number
TABLE_SECTORS = TABLE_ENTRIES * 4 // SECTOR_BYTES
AT_END = 0xFFFF_FFFF_FFFF_FFFF  # instead of the directory's place: it stands in a footer
CAPACITY_LIMIT_SECTORS = (64 << 40) // SECTOR_BYTES
GRAIN_SECTORS = range(8, 4096 + 1)
DESCRIPTOR_LIMIT_SECTORS = 256
DIRECTORY_LIMIT_ENTRIES = 4 << 20
OVERHEAD_LIMIT_SECTORS = (2 << 30) // SECTOR_BYTES  # both copies of the tables of a disk of the largest size, and more

NEWLINES, SPARE_TABLES, ZERO_GRAINS, COMPRESSED, MARKERS = 1, 2, 4, 1 << 16, 1 << 17
DEFLATE = 1
CHECK = b"\n \r\n"


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, checked: every place and count is inside its limit. Places and sizes are in sectors."""

    version: int
    flags: int
    capacity: int
    grain: int
    descriptor: int
    descriptor_size: int
    spare_directory: int
    directory: int
    overhead: int
    compression: int

    @property
    def capacity_bytes(self) -> int:
        return self.capacity * SECTOR_BYTES

    @property
    def grain_bytes(self) -> int:
        return self.grain * SECTOR_BYTES

    @property
    def grains(self) -> int:
        """How many grains the disk has; the last may reach beyond its end."""
        return -(-self.capacity // self.grain)

    @property
    def directory_entries(self) -> int:
        return -(-self.grains // TABLE_ENTRIES)

    @property
    def is_stream(self) -> bool:
        """Compressed grains with markers between them: the layout that can be read from front to end."""
        return bool(self.flags & COMPRESSED and self.flags & MARKERS)

    @property
    def directory_at_end(self) -> bool:
        return self.directory == AT_END


def parse(head: bytes) -> Header:
    """The header in the first 512 bytes. Raises ValueError with the reason for a person."""
    if head[:4] == COWD:
        raise ValueError("it is a sparse extent of an ESXi host (COWD), which is one part of a chain")
    if len(head) < HEADER.size or head[:4] != MAGIC:
        raise ValueError("it does not start like a sparse VMDK")
    (
        _,
        version,
        flags,
        capacity,
        grain,
        descriptor,
        size,
        entries,
        spare,
        directory,
        overhead,
        _,
        check,
        compression,
    ) = HEADER.unpack_from(head)
    if version not in {1, 2, 3}:
        raise ValueError(f"it has version {version}")
    if flags & NEWLINES and check != CHECK:
        raise ValueError("its line ends were converted on the way, as by a transfer in text mode")
    if compression > DEFLATE or bool(flags & COMPRESSED) != (compression == DEFLATE):
        raise ValueError(f"its compression is {compression} with flags {flags:#x}")
    if entries != TABLE_ENTRIES:
        raise ValueError(f"its grain tables have {entries} entries")
    size = size if descriptor else 0
    found = Header(version, flags, capacity, grain, descriptor, size, spare, directory, overhead, compression)
    _check_sizes(found)
    return found


def _check_sizes(found: Header) -> None:
    if found.capacity > CAPACITY_LIMIT_SECTORS:
        raise ValueError(f"it claims a capacity of {found.capacity} sectors")
    if found.grain not in GRAIN_SECTORS or found.grain & (found.grain - 1):
        raise ValueError(f"its grains have {found.grain} sectors")
    if found.directory_entries > DIRECTORY_LIMIT_ENTRIES:
        raise ValueError(f"its grains of {found.grain} sectors are too small for {found.capacity} sectors")
    if not 0 < found.overhead <= OVERHEAD_LIMIT_SECTORS:
        raise ValueError(f"its first grain is said to be at sector {found.overhead}")
    start, size = found.descriptor, found.descriptor_size
    if size > DESCRIPTOR_LIMIT_SECTORS or (size and not 0 < start <= found.overhead - size):
        raise ValueError(f"its descriptor is said to be at sector {start} with {size} sectors")
