"""streamOptimized VMDKs as ESXi writes them: no directory in front, a table behind its grains, a footer at the end.

What it does not do: redundant tables, zeroed grains, or anything but one disk in one stream. qemu-img reads what it
writes (`tests/tools/test_vmdk.py`).
"""

from __future__ import annotations

import struct
import zlib
from typing import Protocol

SECTOR = 512
GRAIN = 64 << 10
TABLE = 512
OVERHEAD = 128
AT_END = 0xFFFF_FFFF_FFFF_FFFF
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=7b4a1f00
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RDONLY {sectors} SPARSE "{name}"

# The Disk Data Base
#DDB
ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "32"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.virtualHWVersion = "4"
"""


class Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def write_stream(
    disk: Readable, out: Writable, capacity: int, *, level: int = 1, grain: int = GRAIN, name: str = "disk.vmdk"
) -> None:
    """Write `capacity` bytes (whole sectors) of a disk; grains of zeros are left out."""
    if capacity % SECTOR:
        raise ValueError(f"{capacity} bytes are not whole sectors")
    _Writer(out, capacity // SECTOR, grain, level, name).all(disk)


class _Writer:
    def __init__(self, out: Writable, sectors: int, grain: int, level: int, name: str) -> None:
        self.out = out
        self.sectors = sectors
        self.grain = grain
        self.level = level
        self.name = name
        self.position = 0

    def all(self, disk: Readable) -> None:
        self._put(self._header(AT_END))
        self._put(DESCRIPTOR.format(sectors=self.sectors, name=self.name).encode().ljust(20 * SECTOR, b"\0"))
        self._put(bytes(OVERHEAD * SECTOR - self.position))
        grains = -(-self.sectors * SECTOR // self.grain)
        tables = [self._table(disk, first, min(TABLE, grains - first)) for first in range(0, grains, TABLE)]
        directory = struct.pack(f"<{len(tables)}I", *tables)
        self._marker(-(-len(directory) // SECTOR), 2)
        at = self.position // SECTOR
        self._put(directory)
        self._marker(1, 3)
        self._put(self._header(at))
        self._marker(0, 0)

    def _table(self, disk: Readable, first: int, count: int) -> int:
        """Grains and the table behind them; where it is, 0 when none of them has data."""
        places = [0] * TABLE
        for at in range(count):
            offset = (first + at) * self.grain
            data = disk.read(min(self.grain, self.sectors * SECTOR - offset))
            if data.count(0) != len(data):
                places[at] = self.position // SECTOR
                packed = zlib.compress(data.ljust(self.grain, b"\0"), self.level)
                self._put(struct.pack("<QI", offset // SECTOR, len(packed)) + packed)
        if not any(places):
            return 0
        self._marker(TABLE * 4 // SECTOR, 1)
        at = self.position // SECTOR
        self._put(struct.pack(f"<{TABLE}I", *places))
        return at

    def _header(self, directory: int) -> bytes:
        places = (1, 20, TABLE, 0, directory, OVERHEAD)
        head = HEADER.pack(b"KDMV", 3, 0x30001, self.sectors, self.grain // SECTOR, *places, 0, b"\n \r\n", 1)
        return head.ljust(SECTOR, b"\0")

    def _marker(self, sectors: int, kind: int) -> None:
        self._put(struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0"))

    def _put(self, data: bytes) -> None:
        """Write whole sectors."""
        padded = data + bytes(-len(data) % SECTOR)
        self.out.write(padded)
        self.position += len(padded)
