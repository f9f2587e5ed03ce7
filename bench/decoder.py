"""How fast one core turns a streamOptimized VMDK into raw bytes: inflating included, writing left out.

The disk holds files of the interpreter's own library, text and machine code, without holes: what compresses as usual
files do. Time is the process's CPU time, so another program on the machine disturbs it little.
"""

from __future__ import annotations

import io
import statistics
import sysconfig
import time
from pathlib import Path

from converters.endpoints.vmdk.stream import Stream
from lab.vmdk import write_stream

BLOCK = 1 << 20


def typical(size: int) -> bytes:
    """`size` bytes of usual files, the same each time on one machine."""
    found = bytearray()
    files = sorted(path for path in Path(sysconfig.get_paths()["stdlib"]).rglob("*") if path.is_file())
    while files and len(found) < size:
        for path in files:
            found += path.read_bytes()
            if len(found) >= size:
                break
    return bytes(found[:size])


def decode(packed: bytes) -> float:
    """Seconds of CPU time for the whole stream."""
    view = memoryview(bytearray(BLOCK))
    begun = time.process_time()
    stream = Stream(io.BytesIO(packed), "bench.vmdk")
    for offset in range(0, stream.capacity, BLOCK):
        stream.read_into(offset, view[: min(BLOCK, stream.capacity - offset)])
    stream.finish()
    return time.process_time() - begun


def row(size: int, rounds: int) -> str:
    """One line: megabytes of raw output per second and core, median and spread."""
    raw = typical(size)
    out = io.BytesIO()
    write_stream(io.BytesIO(raw), out, size)
    packed = out.getvalue()
    speeds = [size / decode(packed) / 1e6 for _ in range(rounds)]
    ratio = len(packed) / size
    return (
        f"streamOptimized VMDK to raw, {size >> 20} MiB at a ratio of {ratio:.2f}, {rounds} rounds: "
        f"{statistics.median(speeds):.0f} ({min(speeds):.0f} - {max(speeds):.0f}) MB/s of raw output per core, "
        f"{statistics.median(speeds) * ratio:.0f} MB/s of input"
    )


if __name__ == "__main__":
    print(row(128 << 20, 5))
