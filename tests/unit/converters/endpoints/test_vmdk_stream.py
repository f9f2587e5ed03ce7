"""streamOptimized VMDKs: read forward in any steps, and every way in which one can be wrong, with its offset."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.endpoints.vmdk.stream import Stream
from kubeferry.errors import HostileImage, KubeferryError, SourceRefused
from lab.vmdk import GRAIN, OVERHEAD, SECTOR, write_stream

MIB = 1 << 20
SIZE = 36 * MIB + 5 * SECTOR  # two tables, the last grain is not whole
CHANCE = random.Random(5)
FRONT = OVERHEAD * SECTOR


def disk(size: int = SIZE) -> bytes:
    content = bytearray(size)
    for offset, length in ((0, 100), (GRAIN * 3, GRAIN * 2), (33 * MIB, MIB), (size - 700, 700)):
        content[offset : offset + length] = CHANCE.randbytes(length)
    return bytes(content)


def packed(content: bytes) -> bytes:
    out = io.BytesIO()
    write_stream(io.BytesIO(content), out, len(content))
    return out.getvalue()


DISK = disk()
STREAM = packed(DISK)


class Trickle:
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, content: bytes, most: int) -> None:
        self._content = io.BytesIO(content)
        self._most = most

    def read(self, count: int, /) -> bytes:
        return self._content.read(min(count, self._most))


def unpacked(content: bytes, step: int = MIB, most: int = 1 << 30) -> bytes:
    stream = Stream(Trickle(content, most), "disk.vmdk")
    found = bytearray(b"\xaa" * stream.capacity)
    for offset in range(0, stream.capacity, step):
        stream.read_into(offset, memoryview(found)[offset : offset + step])
    stream.finish()
    return bytes(found)


@pytest.mark.parametrize(("step", "most"), [(MIB, 1 << 30), (1000, 1 << 30), (SIZE, 7777), (GRAIN + 1, 512)])
def test_it_gives_the_disk_in_steps_of_any_size(step: int, most: int) -> None:
    assert unpacked(STREAM, step, most) == DISK


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, SIZE), max_size=12))
def test_ranges_may_be_left_out(cuts: list[int]) -> None:
    stream = Stream(io.BytesIO(STREAM), "disk.vmdk")
    ends = sorted({0, *cuts, SIZE})
    for index, (start, end) in enumerate(itertools.pairwise(ends)):
        if index % 2:
            view = memoryview(bytearray(end - start))
            stream.read_into(start, view)
            assert view == DISK[start:end]
    stream.finish()
    assert stream.consumed == len(STREAM)


def test_it_tells_what_it_is_before_a_grain_is_inflated() -> None:
    stream = Stream(io.BytesIO(STREAM), "disk.vmdk")
    assert (stream.capacity, stream.header.grain_bytes) == (SIZE, GRAIN)
    assert stream.descriptor is not None
    assert stream.descriptor.create_type == "streamOptimized"
    assert stream.consumed <= FRONT + 2 * GRAIN


@pytest.mark.parametrize("size", [0, SECTOR, GRAIN, GRAIN + SECTOR, 4 * MIB])
def test_small_and_even_sizes(size: int) -> None:
    content = CHANCE.randbytes(size)
    assert unpacked(packed(content)) == content


def test_a_disk_of_zeros_has_no_grains() -> None:
    assert unpacked(packed(bytes(40 * MIB))) == bytes(40 * MIB)


def test_going_back_is_refused() -> None:
    stream = Stream(io.BytesIO(STREAM), "disk.vmdk")
    stream.read_into(MIB, memoryview(bytearray(10)))
    with pytest.raises(SourceRefused, match="forward only"):
        stream.read_into(MIB + 9, memoryview(bytearray(10)))


def test_zeros_behind_the_end_are_padding() -> None:
    assert unpacked(STREAM + bytes(10_000)) == DISK


def test_memory_stays_bounded() -> None:
    class Endless:
        """A disk of 64 MiB of the same grain, made as it is read."""

        def read(self, count: int, /) -> bytes:
            return b"\1\2\3" * (count // 3) + b"\1" * (count % 3)

    out = io.BytesIO()
    write_stream(Endless(), out, 64 * MIB)
    content = out.getvalue()
    view = memoryview(bytearray(MIB))
    tracemalloc.start()
    stream = Stream(io.BytesIO(content), "disk.vmdk")
    for offset in range(0, 64 * MIB, MIB):
        stream.read_into(offset, view)
    stream.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


# --- wrong ones ------------------------------------------------------------------------------------------------------

FIRST = FRONT  # the record of the first grain


def second() -> int:
    size = struct.unpack_from("<I", STREAM, FIRST + 8)[0]
    return FIRST + -(-(12 + size) // SECTOR) * SECTOR


def patched(offset: int, content: bytes) -> bytes:
    return STREAM[:offset] + content + STREAM[offset + len(content) :]


def record(lba: int, content: bytes) -> bytes:
    body = struct.pack("<QI", lba, len(content)) + content
    return body + bytes(-len(body) % SECTOR)


def end_at() -> int:
    return len(STREAM) - SECTOR


def without(start: int, end: int) -> bytes:
    return STREAM[:start] + STREAM[end:]


WRONG: dict[str, tuple[Callable[[], bytes], type[KubeferryError], str, int | None]] = {
    "empty": (lambda: b"", SourceRefused, "ends in the middle", 0),
    "half a header": (lambda: STREAM[:100], SourceRefused, "ends in the middle", 100),
    "another file": (lambda: b"PK\3\4" + STREAM[4:], HostileImage, "does not start like", 0),
    "an ESXi host's extent": (lambda: b"COWD" + STREAM[4:], HostileImage, "COWD", 0),
    "text mode": (lambda: patched(73, b"\n \n\n"), HostileImage, "text mode", 0),
    "version": (lambda: patched(4, b"\x09"), HostileImage, "version 9", 0),
    "not a stream": (lambda: patched(8, b"\1\0\0\0")[:77] + b"\0\0" + STREAM[79:], SourceRefused, "no streamOpt", 8),
    "capacity": (lambda: patched(12, b"\xff" * 8), HostileImage, "capacity", 0),
    "capacity of another disk": (lambda: patched(12, struct.pack("<Q", 10**9)), HostileImage, "descriptor says", 512),
    "grain size": (lambda: patched(20, struct.pack("<Q", 100)), HostileImage, "grains have 100", 0),
    "huge grains": (lambda: patched(20, struct.pack("<Q", 1 << 20)), HostileImage, "grains have", 0),
    "tables": (lambda: patched(44, struct.pack("<I", 1 << 31)), HostileImage, "grain tables have", 0),
    "overhead": (lambda: patched(64, b"\xff" * 8), HostileImage, "first grain", 0),
    "overhead beyond the end": (lambda: patched(64, struct.pack("<Q", 1 << 20)), SourceRefused, "ends in the", None),
    "descriptor": (lambda: patched(36, b"\xff" * 8), HostileImage, "descriptor", 0),
    "a directory behind the grains": (
        lambda: patched(56, struct.pack("<Q", 129)),
        HostileImage,
        "directory is said to be at sector 129",
        0,
    ),
    "parent": (lambda: STREAM.replace(b"parentCID=ffffffff", b"parentCID=12345678", 1), SourceRefused, "differs", 512),
    "cut in the middle": (lambda: STREAM[: len(STREAM) // 2], SourceRefused, "ends in the middle", len(STREAM) // 2),
    "cut before its end": (lambda: STREAM[:-SECTOR], SourceRefused, "ends in the middle", len(STREAM) - SECTOR),
    "cut in its end": (lambda: STREAM[:-1], SourceRefused, "ends in the middle", len(STREAM) - 1),
    "an end too early": (lambda: STREAM[: second()] + bytes(SECTOR), SourceRefused, "footer is missing", None),
    "an end in the middle": (lambda: patched(second(), bytes(SECTOR)), SourceRefused, "footer is missing", None),
    "an end that says something": (lambda: patched(end_at() + 200, b"!"), HostileImage, "holds something", end_at()),
    "something behind": (lambda: STREAM + b"\1", HostileImage, "something follows", end_at()),
    "unknown marker": (lambda: patched(second(), struct.pack("<QII", 0, 0, 7)), HostileImage, "unknown type 7", None),
    "a marker's size": (lambda: patched(second(), struct.pack("<QII", 1 << 40, 0, 1)), HostileImage, "announces", None),
    "a grain behind the disk": (
        lambda: patched(second(), struct.pack("<Q", SIZE // SECTOR + 128)),
        HostileImage,
        "of 73733",
        None,
    ),
    "a grain inside another": (lambda: patched(second(), struct.pack("<Q", 385)), HostileImage, "inside", None),
    "a grain twice": (lambda: patched(second(), struct.pack("<Q", 0)), SourceRefused, "not in order", None),
    "a grain that claims much": (
        lambda: patched(second() + 8, struct.pack("<I", 1 << 30)),
        HostileImage,
        "claims 1073741824",
        None,
    ),
    "a grain that is damaged": (lambda: patched(second() + 2000, b"\0" * 64), SourceRefused, "damaged", None),
    "a grain that is short": (
        lambda: patched(FIRST, record(0, zlib.compress(b"x"))),
        SourceRefused,
        "only 1 of",
        FIRST,
    ),
    "a grain without its end": (
        lambda: patched(second() + 8, struct.pack("<I", 5000)),
        SourceRefused,
        "only",
        None,
    ),
    "a bomb": (
        lambda: STREAM[:FIRST] + record(0, zlib.compress(bytes(10 * MIB))) + STREAM[second() :],
        HostileImage,
        "inflates to more than 65536",
        FIRST,
    ),
    "a grain is missing": (lambda: without(FIRST, second()), SourceRefused, "footer says", None),
    "another footer": (
        lambda: patched(end_at() - SECTOR + 12, struct.pack("<Q", 1)),
        HostileImage,
        "another disk",
        end_at(),
    ),
    "no footer": (lambda: without(end_at() - 2 * SECTOR, end_at()), SourceRefused, "footer is missing", None),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_stream_is_refused_with_its_offset(case: str) -> None:
    make, kind, what, offset = WRONG[case]
    with pytest.raises(kind) as refused:
        unpacked(make())
    assert what in refused.value.what
    told = re.search(r"at offset (\d+)", refused.value.what)
    assert told is not None
    assert offset is None or int(told[1]) == offset
    assert refused.value.what.startswith("disk.vmdk")
    assert refused.value.fix


def test_a_grain_that_the_tables_list_must_be_there() -> None:
    """One grain is replaced by as many sectors of a table that lists nothing: all places still fit."""
    size = second() - FIRST
    filler = struct.pack("<QII", 4, 0, 1).ljust(5 * SECTOR, b"\0")
    content = CHANCE.randbytes(GRAIN)  # what cannot be compressed has a known length
    body = packed(content + DISK[GRAIN:])
    length = -(-(12 + struct.unpack_from("<I", body, FIRST + 8)[0]) // SECTOR) * SECTOR
    assert size < length
    hole = filler * (length // len(filler))
    left = length - len(hole)
    assert left % SECTOR == 0
    if left:  # one-sector records that say nothing: directories of a small disk have one sector
        hole += struct.pack("<QII", 1, 0, 2).ljust(SECTOR, b"\0") * (left // SECTOR)
    with pytest.raises(SourceRefused, match="its tables list"):
        unpacked(body[:FIRST] + hole + body[FIRST + length :])


SMALL_DISK = CHANCE.randbytes(GRAIN) + bytes(GRAIN) + CHANCE.randbytes(2 * GRAIN + SECTOR)
SMALL = packed(SMALL_DISK)


@settings(max_examples=100, deadline=None)
@given(st.integers(FRONT - 2048, len(SMALL) - 1), st.binary(min_size=1, max_size=16))
def test_whatever_is_changed_gives_an_error_of_ours_or_the_same_disk(offset: int, junk: bytes) -> None:
    """Only padding, and places that nobody reads, may hold anything."""
    changed = SMALL[:offset] + junk + SMALL[offset + len(junk) :]
    with contextlib.suppress(HostileImage, SourceRefused):
        assert unpacked(changed[: len(SMALL)]) == SMALL_DISK
