"""Sparse VMDKs that lie, and descriptors: what they may name, and what they must not."""

from __future__ import annotations

import io
import os
import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from converters.endpoints.packed.disk import open_endpoint
from converters.endpoints.packed.parts import FILES_OPEN
from converters.endpoints.vmdk.sparse import Sparse
from kubeferry.errors import HostileImage, InputInvalid, IntegrityFailed, KubeferryError, SourceRefused
from kubeferry.faults import Side
from kubeferry.images.vmdk import descriptor
from kubeferry.images.vmdk.header import HEADER, SECTOR_BYTES
from kubeferry.model import DiskRef
from kubeferry.uris import Packed, Part
from lab.vmdk import write_stream

GRAIN = 64 << 10
SECTORS = 3 * 128 + 1  # the last grain is not whole
CHANCE = random.Random(3)


class Content:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def read_at(self, offset: int, view: memoryview, /) -> None:
        view[:] = self.content[offset : offset + len(view)]


def sparse(*, places: tuple[int, ...] = (32, 0, 1, 160), flags: int = 1 | 4, capacity: int = SECTORS) -> bytes:
    """Header, directory (sector 1), one table (2 to 5), grains from sector 32 on."""
    head = HEADER.pack(b"KDMV", 1, flags, capacity, 128, 0, 0, 512, 0, 1, 32, 0, b"\n \r\n", 0)
    table = struct.pack("<512I", *places, *[0] * (512 - len(places)))
    front = head.ljust(SECTOR_BYTES, b"\0") + struct.pack("<I", 2).ljust(SECTOR_BYTES, b"\0") + table
    return front.ljust(32 * SECTOR_BYTES, b"\0") + b"A" * GRAIN + b"B" * GRAIN


def read(content: bytes, offset: int, length: int) -> bytes:
    view = memoryview(bytearray(length))
    Sparse(Content(content), "disk.vmdk").read_into(offset, view)
    return bytes(view)


def test_grains_are_found_and_missing_and_zeroed_ones_are_zeros() -> None:
    whole = b"A" * GRAIN + bytes(2 * GRAIN) + b"B" * SECTOR_BYTES
    assert read(sparse(), 0, SECTORS * SECTOR_BYTES) == whole
    assert read(sparse(), GRAIN - 2, 5) == b"AA\0\0\0"
    extents = list(Sparse(Content(sparse()), "disk.vmdk").extents())
    assert [(one.offset, one.length, one.zero) for one in extents] == [
        (0, GRAIN, False),
        (GRAIN, 2 * GRAIN, True),
        (3 * GRAIN, SECTOR_BYTES, False),
    ]


def test_a_stream_at_rest_is_read_anywhere() -> None:
    disk = CHANCE.randbytes(GRAIN) + bytes(GRAIN) + CHANCE.randbytes(700 * 512)
    out = io.BytesIO()
    write_stream(io.BytesIO(disk), out, len(disk))
    assert read(out.getvalue(), 2 * GRAIN - 10, 200_000) == disk[2 * GRAIN - 10 :][:200_000]


LIES: dict[str, tuple[bytes, type[KubeferryError], str]] = {
    "a grain in the front": (sparse(places=(0, 0, 0, 31)), HostileImage, "sector 31"),
    "a zeroed grain without the flag": (sparse(places=(0, 0, 0, 1), flags=1), HostileImage, "sector 1"),
    "a grain behind the end": (sparse(places=(0, 0, 0, 1 << 31)), SourceRefused, f"offset {(1 << 31) * 512}"),
    "a grain that is cut off": (sparse()[: -GRAIN + 511], SourceRefused, f"offset {160 * 512}"),
    "capacity": (sparse(capacity=1 << 60), HostileImage, "capacity"),
    "capacity beyond the directory": (sparse(capacity=1 << 36), SourceRefused, "offset 512"),
    "a table that is cut off": (sparse()[:1500], SourceRefused, "offset 1024"),
    "a header that is cut off": (b"KDMV", SourceRefused, "offset 0"),
    "compression": (sparse(flags=1 | 1 << 16), HostileImage, "compression"),
}


@pytest.mark.parametrize("case", LIES)
def test_what_lies_is_refused_with_its_offset(case: str) -> None:
    content, kind, what = LIES[case]
    with pytest.raises(kind) as refused:
        read(content, 3 * GRAIN, SECTOR_BYTES)
    assert what in refused.value.what
    assert "offset" in refused.value.what


# --- descriptors -----------------------------------------------------------------------------------------------------

FLAT = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'


def opened(folder: Path, text: str, *, digest: str = "", kind: str = "vmdk+file") -> bytes:
    path = folder / "disk.vmdk"
    path.write_text(text)
    place = Packed(kind, (Part(path, 0, path.stat().st_size, digest),))
    with open_endpoint(DiskRef(uri=place.uri()), Side.SOURCE) as disk:
        view = memoryview(bytearray(disk.size))
        disk.read_into(0, view)
        disk.end()
        return bytes(view)


def test_extents_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "a flat.vmdk").write_bytes(b"1" * 512 + b"2" * 1024)
    (tmp_path / "b.vmdk").write_bytes(sparse())
    parts = f'RW 2 FLAT "a flat.vmdk" 1\nRW 3 ZERO\nRW {SECTORS} SPARSE "b.vmdk"\n'
    assert opened(tmp_path, FLAT + parts) == b"2" * 1024 + bytes(1536) + read(sparse(), 0, SECTORS * 512)


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        (FLAT + 'RW 2 FLAT "../secret" 0', HostileImage, "'../secret'"),
        (FLAT + 'RW 2 FLAT "/etc/shadow" 0', HostileImage, "'/etc/shadow'"),
        (FLAT + 'RW 2 FLAT ".." 0', HostileImage, "'..'"),
        (FLAT + 'RW 2 FLAT "a\x1b[2Jb" 0', HostileImage, r"'a\x1b[2Jb'"),
        (FLAT + 'RW 2 FLAT "gone" 0', SourceRefused, "gone"),
        (FLAT + 'RW 2 SPARSE "gone"', SourceRefused, "gone"),
        (FLAT + 'RW 9 FLAT "small" 0', SourceRefused, "small ends at offset 1024"),
        (FLAT + 'RW 2 VMFSRDM "small"', SourceRefused, "cannot be read"),
        (FLAT + f"RW {1 << 50} ZERO", SourceRefused, "cannot be read"),
        (FLAT + f"RW {1 << 37} ZERO\n" * 2, HostileImage, "claims"),
        (FLAT.replace("ffffffff", "00000001") + 'RW 2 FLAT "small" 0', SourceRefused, "differs from another"),
        (FLAT, SourceRefused, "holds no data"),
        (FLAT + "RW 1 ZERO\n" * 5000, HostileImage, "5000 extents"),
        (FLAT + "#" * (200 << 10), HostileImage, "descriptor has"),
        ("hello", SourceRefused, "offset 0"),
    ],
    ids=lambda value: None if isinstance(value, type) else value[-30:],
)
def test_a_descriptor_names_files_beside_it_only(
    tmp_path: Path, text: str, kind: type[KubeferryError], what: str
) -> None:
    (tmp_path / "small").write_bytes(bytes(1024))
    with pytest.raises(kind) as refused:
        opened(tmp_path, text)
    assert what in refused.value.what


@pytest.mark.parametrize("kind", ["FLAT", "SPARSE"])
def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret".ljust(1024))
    (folder / "within").write_bytes(b"inside".ljust(1024))
    (folder / "plain").symlink_to("within")
    (folder / "leaving").symlink_to("../secret")
    assert opened(folder, FLAT + 'RW 2 FLAT "plain" 0').startswith(b"inside")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(HostileImage, match="leaves its folder"):
        opened(folder, FLAT + f'RW 2 {kind} "leaving"')
    with pytest.raises(KubeferryError):
        opened(folder, FLAT + f'RW 2 {kind} "loop"')


def test_a_descriptor_of_many_parts_takes_no_more_memory_and_files_than_one_disk(tmp_path: Path) -> None:
    """Each part has a directory of 4 MiB, which one small file with a hole gives all of them."""
    sectors = (2 << 40) // SECTOR_BYTES
    head = HEADER.pack(b"KDMV", 1, 1, sectors, 8, 0, 0, 512, 0, 1, 1 << 15, 0, b"\n \r\n", 0)
    with (tmp_path / "part.vmdk").open("wb") as part:
        part.write(head)
        part.truncate(16 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(HostileImage, match="claims"):
            opened(tmp_path, FLAT + f'RW {sectors} SPARSE "part.vmdk"\n' * 33)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    for at in range(300):
        (tmp_path / f"f{at}").write_bytes(bytes([at % 251]) * 512)
    text = FLAT + "".join(f'RW 1 FLAT "f{at}" 0\n' for at in range(300))
    (tmp_path / "disk.vmdk").write_text(text)
    before = len(list(Path("/proc/self/fd").iterdir()))
    place = Packed("vmdk+file", (Part(tmp_path / "disk.vmdk", 0, len(text)),))
    with open_endpoint(DiskRef(uri=place.uri()), Side.SOURCE):
        assert len(list(Path("/proc/self/fd").iterdir())) - before <= FILES_OPEN
    assert opened(tmp_path, text) == b"".join(bytes([at % 251]) * 512 for at in range(300))


def test_the_digest_of_what_is_read_anywhere_is_compared_too(tmp_path: Path) -> None:
    with pytest.raises(IntegrityFailed):
        opened(tmp_path, FLAT + "RW 2 ZERO", digest="sha256:" + "0" * 64)


def test_a_uri_that_says_it_wrongly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="part"):
        open_endpoint(DiskRef(uri=f"vmdk+file://{tmp_path}/disk.vmdk"), Side.SOURCE)


def test_a_descriptor_is_read_as_its_writer_meant_it() -> None:
    found = descriptor.parse((FLAT + 'ddb.adapterType = "ide"\nRW 4 VMFS "a b-flat.vmdk"\n').encode() + b"\0junk")
    assert found.fields["ddb.adapterType"] == "ide"
    assert found.parts == (descriptor.Part(4, "VMFS", "a b-flat.vmdk", 0),)
    assert (found.create_type, found.has_parent, found.sectors) == ("monolithicFlat", False, 4)
    assert descriptor.is_descriptor(b"\xef\xbb\xbf# Disk DescriptorFile\n")


def test_a_descriptor_is_read_in_a_time_that_grows_with_it() -> None:
    begun = os.times().elapsed
    found = descriptor.parse(b"a = " + b" " * 50_000 + b'"x"y\nb =  " c "  \nd= e f\ng =\n' + b"h" * 50_000)
    assert os.times().elapsed - begun < 5
    assert found.fields == {"b": "c", "d": "e f", "g": ""}
