"""An image is known by which file it is, not by what it is called."""

from __future__ import annotations

import shutil
from pathlib import Path

from kubeferry.model import DiskRef
from kubeferry.sources.libvirt.backup import DiskState
from kubeferry.sources.libvirt.hosts import Here
from kubeferry.sources.libvirt.image_files import states


def now(*refs: DiskRef) -> list[DiskState]:
    return list(states({str(at): one for at, one in enumerate(refs)}, Here("lab", None)).values())


def raw(path: Path, below: DiskRef | None = None) -> DiskRef:
    return DiskRef(uri=path.as_uri(), format="qcow2" if below else "raw", size_bytes=4, backing=below)


def test_files_that_change_places_are_no_longer_those_that_they_were(tmp_path: Path) -> None:
    one, other, aside = (tmp_path / name for name in ("a b", "b", "aside"))
    one.write_bytes(b"one!")
    other.write_bytes(b"two!")
    before = now(raw(one), raw(other))
    one.write_bytes(b"ONE!")
    assert all(state.is_still(was) for state, was in zip(now(raw(one), raw(other)), before, strict=True))
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    assert not any(state.is_still(was) for state, was in zip(now(raw(one), raw(other)), before, strict=True))


def test_a_file_that_came_back_under_its_name_is_another_one(tmp_path: Path) -> None:
    image, kept = tmp_path / "a", tmp_path / "kept"
    image.write_bytes(b"one!")
    (before,) = now(raw(image))
    shutil.copy2(image, kept)
    image.unlink()
    shutil.copy2(kept, image)
    (after,) = now(raw(image))
    assert not after.is_still(before)


def test_what_lies_below_is_another_one_once_it_was_written(tmp_path: Path) -> None:
    base, top = tmp_path / "base", tmp_path / "top"
    base.write_bytes(b"base")
    top.write_bytes(b"top!")
    (before,) = now(raw(top, raw(base)))
    top.write_bytes(b"TOP!")
    assert now(raw(top, raw(base)))[0].is_still(before)
    base.write_bytes(b"BASE")
    assert not now(raw(top, raw(base)))[0].is_still(before)


def test_of_a_file_that_is_not_there_nothing_is_known(tmp_path: Path) -> None:
    (state,) = now(raw(tmp_path / "gone"))
    assert not state.is_still(state)


def test_a_disk_that_a_server_has_is_never_known_and_costs_the_others_nothing(tmp_path: Path) -> None:
    image = tmp_path / "a"
    image.write_bytes(b"one!")
    lun, file = now(DiskRef(uri="iscsi://san/iqn.2026-11.example:disk/1", format="raw", size_bytes=4), raw(image))
    assert not lun.is_still(lun)
    assert file.is_still(file)
