"""The fingerprint's file: what is put is found, damage is found, and lies about sizes reserve nothing."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.engine import fingerprint
from converters.engine.fingerprint import (
    CHECKSUM_BYTES,
    DIGESTS_OFFSET,
    HEADER,
    UNKNOWN,
    Fingerprint,
    Header,
    differing,
)
from converters.extents import BLOCK_BYTES
from kubeferry.errors import InputInvalid, IntegrityFailed

BLOCK = 4096
reuse_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def header(blocks: float, label: bytes = b"L" * 32) -> Header:
    return Header(int(blocks * BLOCK), "sha256", BLOCK, label)


def sealed(folder: Path, name: str, digests: list[bytes]) -> Path:
    with Fingerprint.create(folder / "partial", header(len(digests))) as made:
        for index, known in enumerate(digests):
            made.put(index, known)
        made.seal(folder / name)
    return folder / name


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([index])).digest() for index in range(count)]


@reuse_folder
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(1, 20), st.booleans()), max_size=8))
def test_what_is_put_is_known_and_the_rest_is_not(tmp_path: Path, puts: list[tuple[int, int, bool]]) -> None:
    model: list[bytes | None] = [None] * 20
    with Fingerprint.create(tmp_path / "f", header(19.5)) as made:
        for first, wanted, zero in puts:
            count = min(wanted, 20 - first)
            if zero:
                made.put_zeros(first, count)
                model[first : first + count] = [made.zero_of(at) for at in range(first, first + count)]
            else:
                made.put(first, b"x" * 32 * count)
                model[first : first + count] = [b"x" * 32] * count
        made.sync()
    with Fingerprint.open(tmp_path / "f") as found:
        assert [found.at(index) for index in range(20)] == [known or UNKNOWN for known in model]
        missing = {first + at for first, count in found.unknown(0, 20) for at in range(count)}
        assert missing == {index for index, known in enumerate(model) if known is None}
        assert not found.sealed


def test_a_sealed_one_has_a_root_and_survives_a_round_trip(tmp_path: Path) -> None:
    path = sealed(tmp_path, "f.kff", digests(5))
    assert not (tmp_path / "partial").exists()
    with Fingerprint.open(path) as found:
        head = b"kubeferry root 1" + (5 * BLOCK).to_bytes(8, "little") + BLOCK.to_bytes(8, "little")
        assert found.root == hashlib.sha256(head + b"".join(digests(5))).hexdigest()
        assert found.header == replace(header(5), root=bytes.fromhex(found.root))


def test_sealing_asks_for_every_digest(tmp_path: Path) -> None:
    with Fingerprint.create(tmp_path / "f", header(3)) as made:
        made.put(0, b"x" * 32)
        with pytest.raises(IntegrityFailed, match="block 1"):
            made.seal(tmp_path / "done")
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("place", [DIGESTS_OFFSET, DIGESTS_OFFSET + 100, DIGESTS_OFFSET + 5 * 32 - 1])
def test_a_flipped_digest_is_found_when_it_is_opened(tmp_path: Path, place: int) -> None:
    path = sealed(tmp_path, "f.kff", digests(5))
    flip(path, place)
    with pytest.raises(IntegrityFailed, match="damaged") as caught:
        Fingerprint.open(path)
    assert "copy the disk again" in caught.value.fix


@pytest.mark.parametrize(
    "place", [*range(DIGESTS_OFFSET, DIGESTS_OFFSET + 96, 7), *range(DIGESTS_OFFSET + 160, DIGESTS_OFFSET + 172)]
)
def test_a_digest_of_a_copy_that_has_not_ended_is_not_known_once_it_is_damaged(tmp_path: Path, place: int) -> None:
    """Also one that was not known, or is said to be of zeros: its block would never be copied."""
    with Fingerprint.create(tmp_path / "f", header(5)) as made:
        made.put(0, digests(1)[0])
        made.put_zeros(1, 1)
        made.sync()
    flip(tmp_path / "f", place)
    with Fingerprint.open(tmp_path / "f") as found:
        right = [digests(1)[0], found.zero_of(1), *[UNKNOWN] * 3]
        hit = (place - DIGESTS_OFFSET) // 32 if place < DIGESTS_OFFSET + 160 else (place - DIGESTS_OFFSET - 160) // 4
        right[hit] = UNKNOWN
        assert [found.at(index) for index in range(5)] == right
        assert b"".join(piece for _, piece in found.batches()) == b"".join(right)
        assert set(found.data(0, 5)) == {0} - {hit}


def test_a_complete_one_of_version_1_is_read_and_one_that_has_not_ended_is_not(tmp_path: Path) -> None:
    path = sealed(tmp_path, "f.kff", digests(5))
    raw = path.read_bytes()

    def first(is_sealed: int) -> bytes:
        head = raw[:8] + (1).to_bytes(2, "little") + is_sealed.to_bytes(2, "little") + raw[12:104]
        return (head + hashlib.sha256(head).digest()).ljust(DIGESTS_OFFSET, b"\0") + raw[DIGESTS_OFFSET:][: 5 * 32]

    path.write_bytes(first(1))
    with Fingerprint.open(path) as found:
        assert (found.sealed, found.at(4)) == (True, digests(5)[4])
    path.write_bytes(first(0))
    with pytest.raises(InputInvalid, match="earlier version"):
        Fingerprint.open(path, writable=True)


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("victim")
    (tmp_path / ".f.new").symlink_to("victim")
    with Fingerprint.create(tmp_path / "f", header(1)):
        assert (tmp_path / "victim").read_text() == "victim"
    (tmp_path / "checkpoint").symlink_to("f")
    with pytest.raises(InputInvalid):
        Fingerprint.open(tmp_path / "checkpoint", writable=True)


@pytest.mark.parametrize("place", range(HEADER.size + CHECKSUM_BYTES))
def test_a_flipped_byte_of_the_header_is_found(tmp_path: Path, place: int) -> None:
    path = sealed(tmp_path, "f.kff", digests(2))
    flip(path, place)
    with pytest.raises(InputInvalid):
        Fingerprint.open(path)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "lie",
    [
        Header(1 << 62, "sha256", BLOCK),
        Header(60 << 40, "sha256", BLOCK),
        Header(1 << 30, "sha256", 512),
        Header(1 << 30, "sha256", 3 << 20),
        Header(1 << 30, "md5", BLOCK),
    ],
    ids=["size", "size-in-bounds-but-no-content", "small-block", "odd-block", "algorithm"],
)
def test_a_header_that_lies_is_refused_before_memory_is_reserved(tmp_path: Path, lie: Header) -> None:
    (tmp_path / "f").write_bytes(lie.pack().ljust(DIGESTS_OFFSET + 320, b"\0"))
    tracemalloc.start()
    with pytest.raises(InputInvalid):
        Fingerprint.open(tmp_path / "f")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "content", [b"", b"KFERRYFP", b"\0" * 1000, os.urandom(1000)], ids=["empty", "magic", "zeros", "noise"]
)
def test_what_is_no_fingerprint_is_told_so_with_a_fix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputInvalid, match="cannot be used as a fingerprint") as caught:
        Fingerprint.open(tmp_path / "f")
    assert caught.value.fix


def test_a_missing_one_and_a_fifo_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("missing", "fifo"):
        with pytest.raises(InputInvalid):
            Fingerprint.open(tmp_path / name)


@reuse_folder
@given(st.sets(st.integers(0, 29)))
def test_comparison_names_exactly_the_blocks_that_differ(tmp_path: Path, changed: set[int]) -> None:
    other = [b"other" + known[5:] if index in changed else known for index, known in enumerate(digests(30))]
    with (
        Fingerprint.open(sealed(tmp_path, "one", digests(30))) as one,
        Fingerprint.open(sealed(tmp_path, "two", other)) as two,
    ):
        assert set(differing(one, two)) == changed


def test_disks_of_two_sizes_are_not_compared(tmp_path: Path) -> None:
    with (
        Fingerprint.open(sealed(tmp_path, "one", digests(3))) as one,
        Fingerprint.open(sealed(tmp_path, "two", digests(4))) as two,
        pytest.raises(InputInvalid),
    ):
        list(differing(one, two))


def test_an_empty_disk_has_a_fingerprint(tmp_path: Path) -> None:
    with Fingerprint.open(sealed(tmp_path, "f", [])) as found:
        assert found.sealed
        assert found.count == 0


def test_a_disk_of_ten_tebibytes_needs_no_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    with Fingerprint.create(tmp_path / "f", Header(10 << 40)) as made:
        made.put_zeros(0, 100_000)
        assert next(made.unknown(0, made.count)) == (100_000, made.count - 100_000)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fingerprint.create(tmp_path / "f", header(3)) as made:
        (tmp_path / "f").chmod(0o600)
        os.close(made._fd)
        made._fd = os.open("/dev/full", os.O_RDWR)
        with pytest.raises(fingerprint.faults.TargetRefused) as caught:
            made.put(0, b"x" * 32)
    assert "room" in caught.value.fix


@pytest.mark.parametrize("how", ["flushed", "put", "left by another"])
def test_digests_are_durable_before_the_root_that_speaks_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    done: list[str] = []
    for name in ("pwrite", "fdatasync", "fsync", "ftruncate"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *words, name=name, real=real: (done.append(name), real(*words))[1], raising=True
        )
    with Fingerprint.create(tmp_path / "a.new", Header(BLOCK_BYTES)) as made:
        made.put(0, b"\1" * 32)
        if how == "flushed":
            made.sync()
    with Fingerprint.open(tmp_path / "a.new", writable=True) as again:
        if how == "put":
            again.put(0, b"\2" * 32)
        done.clear()
        again.seal(tmp_path / "a.kff")
    assert done == ["fdatasync", "pwrite", "fsync", "ftruncate", "fsync"]  # the last one is that of the folder


def test_what_is_durable_is_not_flushed_again_and_one_that_kept_its_checksums_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fingerprint.create(tmp_path / "a.new", Header(BLOCK_BYTES)) as made:
        made.put(0, b"\1" * 32)
        made.sync()
        monkeypatch.setattr(os, "fdatasync", lambda fd: pytest.fail(f"{fd} is flushed twice"))
        monkeypatch.setattr(os, "ftruncate", lambda fd, size: None)  # a crash of the host, just then
        made.sync()
        made.seal(tmp_path / "a.kff")
        root = made.root
    with Fingerprint.open(tmp_path / "a.kff") as found:
        assert found.root == root
