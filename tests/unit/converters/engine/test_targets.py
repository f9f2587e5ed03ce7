"""Whose a target is: files here, devices and exports with the real things in `tests/tools/test_foreign_targets.py`."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path

import pytest

from converters.engine import checkpoint
from converters.engine.disks import (
    check_fingerprint,
    copy_disk,
    parse_ref,
    prepare_target,
    repair_disk,
    verify_disk,
)
from converters.engine.fingerprint import Fingerprint
from converters.engine.transfer import Options, Watch
from kubeferry.errors import InputInvalid, SourceRefused, TargetRefused
from kubeferry.model import DiskRef

MIB = 1 << 20
SIZE = 6 * MIB
CAREFUL = Options(may_lose=False, checkpoint_seconds=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


def copy(source: Path, target: Path, kff: Path, *, watch: Watch = Watch()) -> None:  # noqa: B008
    ref = parse_ref(str(target))
    zero = prepare_target(ref, source.stat().st_size, kff)
    copy_disk(parse_ref(str(source)), ref, kff, target_reads_zero=zero, options=CAREFUL, watch=watch)


class Stopped(Exception):
    pass


class Stopping(Watch):
    """Ends a copy when it has done so much."""

    def __init__(self, after: int) -> None:
        self.after = after

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying" and done >= self.after:
            raise Stopped


def foreign(path: Path, size: int = SIZE) -> bytes:
    path.write_bytes(os.urandom(size))
    return path.read_bytes()


def test_a_fingerprint_that_was_left_makes_nothing_ours(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    target.unlink()
    before = foreign(target)
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, target, kff)
    with pytest.raises(TargetRefused, match="not ours"):
        repair_disk(parse_ref(str(source)), parse_ref(str(target)), kff, options=CAREFUL)
    assert target.read_bytes() == before


def test_the_fingerprint_of_another_target_makes_nothing_ours(source: Path, tmp_path: Path) -> None:
    """Not even of one with the very same bytes."""
    kff = tmp_path / "t.kff"
    copy(source, tmp_path / "target.img", kff)
    before = foreign(tmp_path / "foreign.img")
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, tmp_path / "foreign.img", kff)
    assert (tmp_path / "foreign.img").read_bytes() == before
    (tmp_path / "twin.img").write_bytes(source.read_bytes())
    with pytest.raises(TargetRefused, match="not ours"):
        prepare_target(parse_ref(str(tmp_path / "twin.img")), SIZE, kff)


def test_a_sparse_image_of_somebody_else_is_not_ours_because_of_its_holes(tmp_path: Path) -> None:
    source, target, kff = tmp_path / "source.img", tmp_path / "target.img", tmp_path / "target.img.kff"
    for path, at in ((source, 0), (target, 40)):
        with path.open("wb") as file:
            file.truncate(64 * MIB)
            file.seek(at * MIB)
            file.write(os.urandom(MIB))
    kept = target.rename(tmp_path / "kept.img")
    copy(source, target, kff)
    kept.replace(target)
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, target, kff)


def test_ours_stays_ours_when_some_of_it_is_damaged_or_all_of_it_is_gone(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    with target.open("r+b") as file:
        file.seek(MIB)
        file.write(os.urandom(2 * MIB))
    copy(source, target, kff)
    assert target.read_bytes() == source.read_bytes()
    target.write_bytes(b"")
    os.truncate(target, SIZE)
    copy(source, target, kff)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("after", [0, 3 * MIB])
def test_a_copy_that_was_stopped_goes_on_in_its_own_target_only(after: int, source: Path, tmp_path: Path) -> None:
    """Also before its first checkpoint, when nothing but the file itself can say that it is ours."""
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    with pytest.raises(Stopped):
        copy(source, target, kff, watch=Stopping(after))
    target.rename(tmp_path / "own.img")
    foreign(target)
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, target, kff)
    (tmp_path / "own.img").replace(target)
    copy(source, target, kff)
    assert target.read_bytes() == source.read_bytes()


def test_somebody_who_insists_may_lose_what_is_there(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    foreign(target)
    assert not prepare_target(parse_ref(str(target)), SIZE, kff, overwrite=True)
    copy_disk(parse_ref(str(source)), parse_ref(str(target)), kff, options=Options(may_lose=True))
    assert target.read_bytes() == source.read_bytes()


def test_a_fingerprint_of_version_1_is_read_and_knows_its_target_by_content(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    as_version_1(kff)
    with Fingerprint.open(kff) as found:
        assert (found.sealed, found.header.target) == (True, bytes(16))
    copy(source, target, kff)
    as_version_1(kff)
    foreign(target)
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, target, kff)


def test_a_copy_that_a_version_before_began_is_ours_and_begins_anew(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    as_version_1(kff, unfinished=True)
    kff.rename(checkpoint.beside(kff))
    copy(source, target, kff)
    assert target.read_bytes() == source.read_bytes()
    as_version_1(kff, unfinished=True)
    kff.rename(checkpoint.beside(kff))
    foreign(target)
    with pytest.raises(TargetRefused, match="not ours"):
        copy(source, target, kff)


def as_version_1(kff: Path, *, unfinished: bool = False) -> None:
    """The same fingerprint as the version before wrote it."""
    raw = bytearray(kff.read_bytes()[: 512 + 6 * 32])
    raw[8:10] = (1).to_bytes(2, "little")
    if unfinished:
        raw[10:12] = bytes(2)
    raw[104:512] = (hashlib.sha256(raw[:104]).digest()).ljust(408, b"\0")
    kff.write_bytes(raw)


def test_no_file_is_made_where_devices_are(tmp_path: Path) -> None:
    for name in ("/dev/no-such-device-sdz", "/dev/mapper/../no-such-device-sdz"):
        with pytest.raises(TargetRefused, match="not there"):
            prepare_target(parse_ref(name), SIZE, tmp_path / "t.kff")
    link = tmp_path / "link"
    link.symlink_to("/dev/no-such-device-sdz")
    with pytest.raises(TargetRefused, match="not there"):
        prepare_target(parse_ref(str(link)), SIZE, tmp_path / "t.kff")
    assert not Path("/dev/no-such-device-sdz").exists()


def test_a_target_and_its_digests_are_for_their_owner_alone(source: Path, tmp_path: Path) -> None:
    """They hold a guest's bytes, or tell of them, whatever the umask."""
    target, kff = tmp_path / "t.img", tmp_path / "t.kff"
    before = os.umask(0)
    try:
        prepare_target(parse_ref(str(target)), SIZE, kff)
        copy_disk(parse_ref(str(source)), parse_ref(str(target)), kff)
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (target, kff)} == dict.fromkeys(
        ("t.img", "t.kff"), 0o600
    )


# --- where the digests go ---


def test_digests_go_where_nothing_is_or_a_fingerprint_of_this_target(source: Path, tmp_path: Path) -> None:
    target, kff, notes = tmp_path / "target.img", tmp_path / "t.kff", tmp_path / "n.txt"
    notes.write_text("notes")
    (tmp_path / "checkpoint-other.kff").write_text("notes")
    read, write = parse_ref(str(source)), parse_ref(str(target))
    for wrong in (source, target, notes, tmp_path / "other.kff", tmp_path, Path("/dev/null")):
        with pytest.raises(InputInvalid, match="cannot be kept there"):
            check_fingerprint(read, write, wrong)
    check_fingerprint(read, write, kff)
    copy(source, target, kff)
    check_fingerprint(read, write, kff)
    with pytest.raises(InputInvalid, match="another target"):
        check_fingerprint(read, parse_ref(str(tmp_path / "elsewhere.img")), kff)
    (tmp_path / "link.kff").symlink_to(source)
    (tmp_path / "twin.kff").hardlink_to(source)
    for wrong in (tmp_path / "link.kff", tmp_path / "twin.kff"):
        with pytest.raises(InputInvalid, match="one of the disks"):
            check_fingerprint(read, write, wrong)
    assert notes.read_text() == "notes"


def test_digests_do_not_go_over_a_disk_below_the_source(source: Path, tmp_path: Path) -> None:
    top = DiskRef(uri=(tmp_path / "top.qcow2").as_uri(), format="qcow2", backing=parse_ref(str(source)))
    with pytest.raises(InputInvalid, match="one of the disks"):
        check_fingerprint(top, parse_ref(str(tmp_path / "t.img")), source)


def test_a_damaged_fingerprint_is_replaced(source: Path, tmp_path: Path) -> None:
    kff = tmp_path / "t.kff"
    kff.write_bytes(b"KFERRYFP and nothing behind it")
    check_fingerprint(parse_ref(str(source)), parse_ref(str(tmp_path / "t.img")), kff)
    copy(source, tmp_path / "t.img", kff)
    with Fingerprint.open(kff) as found:
        assert found.sealed


# --- where a disk ends ---


def test_a_smaller_source_over_a_larger_copy_of_ours_leaves_no_tail(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    os.truncate(source, 2 * MIB + 100)
    copy(source, target, kff)
    assert target.read_bytes() == source.read_bytes()


def test_what_would_follow_a_smaller_disk_is_refused_where_nothing_can_be_cut_off(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    os.truncate(source, 2 * MIB)
    with pytest.raises(TargetRefused, match="a larger disk of an earlier copy"):
        copy_disk(parse_ref(str(source)), parse_ref(str(target)), kff)
    kff.unlink()
    with pytest.raises(TargetRefused, match="behind its end"):
        copy_disk(parse_ref(str(source)), parse_ref(str(target)), kff, options=Options(exact=True))


def test_a_disk_with_a_tail_is_not_called_equal(source: Path, tmp_path: Path) -> None:
    target, kff = tmp_path / "target.img", tmp_path / "target.img.kff"
    copy(source, target, kff)
    os.truncate(target, SIZE + MIB)
    verify_disk(parse_ref(str(target)), kff, options=Options(exact=True))
    with target.open("ab") as file:
        file.write(b"more")
    with pytest.raises(TargetRefused, match="behind its end"):
        verify_disk(parse_ref(str(target)), kff, options=Options(exact=True))


def test_links_that_lead_nowhere_are_told(source: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    target = tmp_path / "target.img"
    for ref in (parse_ref(str(loop)), parse_ref(str(source))):
        check_fingerprint(ref, parse_ref(str(target)), tmp_path / "t.kff")
    with pytest.raises(SourceRefused, match="loop"):
        copy_disk(parse_ref(str(loop)), parse_ref(str(source)), tmp_path / "t.kff")
    with pytest.raises(InputInvalid):
        check_fingerprint(parse_ref(str(source)), parse_ref(str(target)), loop)
    with pytest.raises(TargetRefused, match="loop"):
        prepare_target(parse_ref(str(loop / "target.img")), SIZE, tmp_path / "t.kff")
