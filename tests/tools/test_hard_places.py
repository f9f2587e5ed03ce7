"""Places that are not as a disk's folder should be: read-only, of somebody else, without flushes; and what a person can
type that is no number and no path. The program says what it can do, and leaves nothing half done."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from converters.engine import fingerprint
from converters.engine.disks import copy_disk, parse_ref, prepare_target, verify_disk
from kubeferry.outside import process
from tests.needs import PATH, needs

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(os.urandom(3 * MIB) + bytes(MIB) + os.urandom(5000))
    return path


def kubeferry(*arguments: object, like_anybody: bool = False) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; on request without root's rights to pass over those of files."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if like_anybody else []
    argv = [*drop, sys.executable, "-m", "flows", *map(str, arguments)]
    environment = {**os.environ, "PATH": PATH}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=environment)


def copied(source: Path, target: Path) -> None:
    write, kff = parse_ref(str(target)), target.with_name(f"{target.name}.kff")
    zero = prepare_target(write, source.stat().st_size, kff)
    copy_disk(parse_ref(str(source)), write, kff, target_reads_zero=zero)


# --- read-only, and of somebody else ----------------------------------------------------------------------------------


@needs("root", "losetup", "mkfs.ext4", "mount")
@pytest.mark.parametrize("damaged", [False, True])
def test_a_disk_on_read_only_media_is_verified(source: Path, tmp_path: Path, damaged: bool) -> None:
    image, mounted = tmp_path / "fs", tmp_path / "m"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(60 * MIB)
    process.run(["mkfs.ext4", "-q", str(image)])
    process.run(["mount", "-o", "loop", str(image), str(mounted)])
    try:
        target = mounted / "t.img"
        copied(source, target)
        if damaged:
            with target.open("r+b") as file:
                file.write(b"not what was copied")
        process.run(["mount", "-o", "remount,ro", str(mounted)])
        found = kubeferry("verify", target)
    finally:
        process.run(["umount", str(mounted)])
    assert found.returncode == (2 if damaged else 0), found.stderr
    assert ("1 block differs" in found.stderr) if damaged else ("every block is as" in found.stdout)


@needs("root", "setpriv")
def test_a_disk_is_verified_by_who_may_only_read_it(source: Path) -> None:
    """What was found is told, and not remembered."""
    folder = source.parent / "theirs"
    folder.mkdir()
    target = folder / "t.img"
    copied(source, target)
    before = {path.name for path in folder.iterdir()}
    folder.chmod(0o555)
    target.chmod(0o444)
    found = kubeferry("verify", target, like_anybody=True)
    assert found.returncode == 0, found.stderr
    assert {path.name for path in folder.iterdir()} == before


@needs("root", "setpriv")
def test_a_target_that_may_only_be_written_is_copied_without_comparing_and_told(source: Path) -> None:
    target = source.parent / "t.img"
    target.write_bytes(os.urandom(source.stat().st_size))
    target.chmod(0o200)
    refused = kubeferry("copy", source, target, like_anybody=True)
    assert (refused.returncode, "not ours" in refused.stderr) == (2, True), refused.stderr
    done = kubeferry("copy", source, target, "--overwrite", like_anybody=True)
    assert done.returncode == 0, done.stderr
    assert "3 MiB of the target cannot be read: written without comparing, not verified" in done.stdout
    assert "verified 0 MiB" in done.stdout
    assert target.read_bytes() == source.read_bytes()
    found = kubeferry("verify", target, like_anybody=True)
    assert (found.returncode, "Permission denied" in found.stderr) == (2, True)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_flushed_is_told_and_no_error(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").is_dir():
            raise OSError(code, os.strerror(code))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    fingerprint._tell_unsynced.cache_clear()
    copied(source, tmp_path / "t.img")
    assert not verify_disk(parse_ref(str(tmp_path / "t.img")), tmp_path / "t.img.kff").differing
    assert [one.message for one in caplog.records if "cannot be flushed" in one.message] != []


# --- what a person can type -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["inf", "-inf", "nan", "0", "0.0000001", "-1", "1e308", "many", ""])
def test_a_rate_that_cannot_be_kept_is_told(source: Path, tmp_path: Path, rate: str) -> None:
    found = kubeferry("copy", source, tmp_path / "t.img", "--bandwidth", rate)
    assert found.returncode == 2
    assert "--bandwidth" in found.stderr
    assert "defect" not in found.stderr
    assert not (tmp_path / "t.img").exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("copy", "source.img", "t.img", "--fingerprint", "source.img/f.kff"),
        ("copy", "source.img", "t.img", "--fingerprint", "source.img/x/f.kff"),
        ("copy", "source.img", "t.img", "--fingerprint", LONG),
        ("copy", "source.img", "t.img", "--fingerprint", "."),
        ("copy", "source.img", "source.img/x"),
        ("copy", "source.img/x", "t.img"),
        ("copy", "source.img", "/"),
        ("copy", "/", "t.img"),
        ("copy", "source.img", ""),
        ("copy", "", "t.img"),
        ("copy", "source.img", LONG),
        ("copy", "/dev/null", "t.img"),
        ("copy", "source.img", "/dev/null"),
        ("copy", "source.img", "/proc/x"),
        ("copy", "file:///%00", "t.img"),
        ("verify", "/"),
        ("verify", ""),
        ("verify", LONG),
        ("verify", "source.img/x"),
        ("repair", "source.img", ""),
        ("repair", "source.img", "/"),
    ],
)
def test_a_path_that_is_none_is_told(source: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    verb, *rest = arguments
    placed = [str(tmp_path / one) if one and one[0] not in "/-." and "://" not in one else one for one in rest]
    before = source.read_bytes()
    found = kubeferry(verb, *placed)
    assert found.returncode == 2, found.stderr
    assert "defect" not in found.stderr
    assert "Traceback" not in found.stderr
    assert source.read_bytes() == before
