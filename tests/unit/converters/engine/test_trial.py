"""A mover on trial: what a copy would open is opened, nothing is written, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.mover import job as mover
from kubeferry.errors import KubeferryError
from kubeferry.jobs import MoverJob, MoverResult
from kubeferry.values import DiskRef

MIB = 1 << 20


def job(folder: Path, **changes: object) -> MoverJob:
    asked = {
        "name": "web-trial",
        "action": "trial",
        "source": DiskRef(uri=(folder / "source.img").as_uri(), size_bytes=3 * MIB),
        "target": DiskRef(uri=(folder / "target.img").as_uri(), size_bytes=3 * MIB),
        "state_dir": str(folder / "state" / "vda"),
    }
    return MoverJob.model_validate(asked | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source.img").write_bytes(b"\x11" * 3 * MIB)
    (tmp_path / "target.img").write_bytes(b"\x22" * 3 * MIB)
    return tmp_path


def tried(folder: Path, asked: MoverJob) -> MoverResult:
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    report = folder.parent / f"{folder.name}-report"
    code = mover.run(asked, report)
    result = MoverResult.model_validate_json(report.read_bytes())
    assert (code == 0) == result.ok
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before
    return result


def test_both_disks_are_opened_and_nothing_is_written(folder: Path) -> None:
    result = tried(folder, job(folder))
    assert (result.ok, result.action, result.size_bytes, result.read_bytes) == (True, "trial", 3 * MIB, MIB)


def test_a_target_that_is_yet_to_be_made_needs_a_folder_that_takes_it(folder: Path) -> None:
    (folder / "target.img").unlink()
    assert tried(folder, job(folder, makes_target=True)).ok
    missing = job(folder)
    assert not tried(folder, missing).ok


def test_without_a_source_only_the_room_is_tried(folder: Path) -> None:
    assert tried(folder, job(folder, source=None)).ok


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda folder: (folder / "source.img").unlink(), "SourceRefused"),
        (lambda folder: (folder / "source.img").write_bytes(b""), "SourceRefused"),
        (lambda folder: (folder / "target.img").unlink(), "TargetRefused"),
        (lambda folder: (folder / "state").write_bytes(b""), "TargetRefused"),
    ],
    ids=["no-source", "other-size", "no-target", "no-state"],
)
def test_what_a_copy_would_meet_is_met(folder: Path, damage: object, kind: str) -> None:
    damage(folder)  # type: ignore[operator]
    result = tried(folder, job(folder))
    assert result.error is not None
    assert result.error.type == kind


def test_a_fence_and_the_state_of_a_copy_are_left_alone(folder: Path) -> None:
    """It may run beside a copy of the same disk, and by whoever holds no lease."""
    state = folder / "state" / "vda"
    state.mkdir(parents=True)
    (state / "fence").write_text("9\n")
    (state / "fingerprint.kff").write_bytes(b"of the copy")
    assert tried(folder, job(folder, fence=0)).ok


def test_an_error_is_told_where_nobody_reads_a_state_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "source.img").unlink()
    assert mover.run(job(folder)) == KubeferryError.exit_code + 1
    assert "source.img" in capsys.readouterr().err
