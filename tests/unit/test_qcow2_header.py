"""Headers made by hand: every number that could hurt is refused before it is used."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.images import qcow2

FIELDS = {
    "magic": b"QFI\xfb",
    "version": 3,
    "backing_at": 0,
    "backing_length": 0,
    "cluster_bits": 16,
    "size": 1 << 30,
    "encryption": 0,
    "l1_entries": 2,
    "l1_at": 0x30000,
    "refcounts_at": 0x10000,
    "refcount_clusters": 1,
    "snapshots": 0,
    "snapshots_at": 0,
    "features": 0,
    "compatible": 0,
    "autoclear": 0,
    "refcount_order": 4,
    "length": 104,
}


def header(extensions: bytes = b"", tail: bytes = b"", **changes: object) -> bytes:
    fields = list((FIELDS | changes).values())
    head = struct.pack(">4sIQIIQIIQQIIQ", *fields[:13]) + struct.pack(">QQQII", *fields[13:])
    return (head + extensions).ljust(512, b"\0") + tail


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")


def test_a_plain_header_is_read() -> None:
    found = qcow2.parse(header())
    assert (found.version, found.size, found.cluster_bits, found.backing, found.data_file) == (3, 1 << 30, 16, "", "")


def test_names_are_read() -> None:
    names = extension(0xE2792ACA, b"raw") + extension(0x44415441, b"data.raw")
    found = qcow2.parse(header(names, b"/base.img", backing_at=512, backing_length=9))
    assert (found.backing, found.backing_format, found.data_file) == ("/base.img", "raw", "data.raw")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"magic": b"VMDK"}, "does not start"),
        ({"version": 4}, "version 4"),
        ({"cluster_bits": 8}, "clusters"),
        ({"cluster_bits": 22}, "clusters"),
        ({"cluster_bits": 0xFFFFFFFF}, "clusters"),
        ({"size": 1 << 63}, "claims"),
        ({"l1_entries": 1 << 31}, "level-1"),
        ({"length": 0xFFFFFFF8}, "header claims"),
        ({"length": 8}, "header claims"),
        ({"length": 105}, "header claims"),
        ({"backing_at": 512, "backing_length": 1 << 30}, "name claims"),
        ({"backing_at": 1 << 60, "backing_length": 5}, "name claims"),
        ({"backing_at": 100, "backing_length": 0}, "name claims"),
    ],
)
def test_absurd_numbers_are_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        qcow2.parse(header(**changes))


def test_an_extension_longer_than_the_header_is_refused() -> None:
    with pytest.raises(ValueError, match="extension"):
        qcow2.parse(header(struct.pack(">II", 1, 0xFFFFFFF0)))


@given(st.binary(max_size=600), st.booleans())
def test_no_input_does_more_than_raise_value_error(raw: bytes, like: bool) -> None:
    head = header()[:4] + raw if like else bytes(a ^ b for a, b in zip(header(), raw.ljust(512, b"\0"), strict=True))
    with contextlib.suppress(ValueError):
        found = qcow2.parse(head)
        assert len(found.backing) <= 1023
        assert found.size <= 64 << 40


def image(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def backed(name: str, fmt: bytes = b"") -> bytes:
    raw = name.encode()
    return header(extension(0xE2792ACA, fmt) if fmt else b"", raw, backing_at=512, backing_length=len(raw))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (header(features=4), HostileImage),
        (header(extension(0x44415441, b"/etc/shadow")), HostileImage),
        (header(features=1 << 40), HostileImage),
        (header(features=2), SourceRefused),
        (header(encryption=2), SourceRefused),
        (backed("/etc/shadow"), HostileImage),
        (backed("json:{}"), HostileImage),
        (b"\0" * 1000, HostileImage),
    ],
    ids=["data-file-bit", "data-file-name", "unknown-feature", "corrupt", "encrypted", "backing", "json", "zeros"],
)
def test_an_image_that_should_stand_alone(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        qcow2.check(image(tmp_path / "a.qcow2", content), None)
    assert caught.value.fix  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("named", "accepted"),
    [
        ("base.img", True),
        ("./sub/../base.img", True),
        ("{folder}/base.img", True),
        ("{folder}/link.img", True),
        ("other.img", False),
        ("/etc/shadow", False),
        ("nbd://host/x", False),
        ("nbd+unix:///?socket=x", False),
        ('json:{{"driver":"file","filename":"{folder}/base.img"}}', False),
        ("file:base.img", False),
    ],
)
def test_the_backing_file_must_be_the_declared_one(tmp_path: Path, named: str, accepted: bool) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.img").symlink_to("base.img")
    path = image(tmp_path / "a.qcow2", backed(named.format(folder=tmp_path)))
    if accepted:
        assert qcow2.check(path, tmp_path / "base.img").backing
    else:
        with pytest.raises(HostileImage, match="names the backing file"):
            qcow2.check(path, tmp_path / "base.img")


def test_a_declared_backing_file_must_be_named_and_of_its_format(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="names no backing file"):
        qcow2.check(image(tmp_path / "a.qcow2", header()), tmp_path / "base.img")
    path = image(tmp_path / "b.qcow2", backed("base.img", b"raw"))
    with pytest.raises(SourceRefused, match="another format"):
        qcow2.check(path, tmp_path / "base.img", "qcow2")
