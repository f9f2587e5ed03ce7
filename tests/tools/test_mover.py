"""The mover as a program: copy, verify, repair; killed, stopped, fenced, out of room; judged by qemu-img."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubeferry.documents import MoverJob, MoverProgress, MoverResult, load, save
from kubeferry.model import DiskRef
from kubeferry.outside import process
from kubeferry.uris import HELD, HELD_FILE, inline_uri
from tests.needs import here

MIB = 1 << 20
SIZE = 48 * MIB + 1000
ROOT = Path(__file__).resolve().parents[2]

here("qemu-img")


class Lab:
    """A source disk, a target and a state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.target, self.state = folder / "source.img", folder / "target.img", folder / "state"
        chance = random.Random(folder.name)
        with self.source.open("wb") as disk:
            for at in range(0, 40, 2):
                disk.seek(at * MIB + chance.randrange(8) * 4096)
                disk.write(chance.randbytes(MIB))
            disk.truncate(SIZE)
        self.make_target()

    def make_target(self, size: int = SIZE) -> None:
        with self.target.open("wb") as disk:
            disk.truncate(size)

    def job(self, action: str = "copy", **more: object) -> MoverJob:
        asked: dict[str, object] = {
            "name": "web-vda",
            "action": action,
            "source": DiskRef(uri=self.source.as_uri()),
            "target": DiskRef(uri=self.target.as_uri()),
            "state_dir": str(self.state),
            "target_reads_zero": True,
        }
        return MoverJob.model_validate(asked | more)

    def argv(self, job: MoverJob) -> list[str]:
        path = self.folder / f"{job.action}-{job.fence}.json"
        save(job, path)
        return [sys.executable, "-m", "converters.mover", str(path)]

    def run(self, job: MoverJob) -> tuple[int, MoverResult]:
        """Run a mover to its end."""
        done = process.run(self.argv(job), cwd=ROOT, check=False, timeout=100)
        assert "Traceback" not in done.err
        return done.code, self.result(job.action)

    def result(self, action: str) -> MoverResult:
        return load(self.state / f"result-{action}.json", MoverResult)

    @contextmanager
    def running(self, job: MoverJob) -> Iterator[process.Child]:
        environment = {"PYTHONPATH": str(ROOT)}
        with process.child(self.argv(job), log=self.folder / "log", env=environment) as mover:
            self.mover = mover
            yield mover

    def equal(self) -> bool:
        argv = ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(self.source), str(self.target)]
        return process.run(argv, check=False).code == 0

    def progress(self) -> MoverProgress:
        try:
            return MoverProgress.model_validate_json((self.state / "progress.json").read_text())
        except FileNotFoundError:
            return MoverProgress()

    def wait_for(self, done_bytes: int) -> None:
        limit = time.monotonic() + 60
        while self.progress().done_bytes < done_bytes or self.progress().phase != "copying":
            assert self.mover.poll() is None, self.mover.tail()
            assert time.monotonic() < limit
            time.sleep(0.02)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_copy_then_verify(lab: Lab) -> None:
    code, copied = lab.run(lab.job())
    assert (code, copied.ok, copied.error) == (0, True, None)
    assert (copied.size_bytes, copied.algorithm, len(copied.root)) == (SIZE, "blake3", 64)
    assert 20 * MIB <= copied.data_bytes < 25 * MIB
    assert 20 * MIB <= copied.written_bytes <= copied.read_bytes < 25 * MIB
    assert copied.peak_memory_bytes < 150 * MIB
    assert lab.equal()
    assert lab.target.stat().st_size == SIZE
    assert lab.target.stat().st_blocks * 512 < 25 * MIB
    assert sorted(path.name for path in lab.state.iterdir()) == [
        "fence",
        "fingerprint.kff",
        "lock",
        "progress.json",
        "result-copy.json",
    ]
    assert lab.progress().phase == "done"
    code, verified = lab.run(lab.job("verify", source=None))
    assert (code, verified.ok, verified.differing, verified.root) == (0, True, 0, copied.root)


def test_a_second_copy_writes_nothing(lab: Lab) -> None:
    lab.run(lab.job())
    _, again = lab.run(lab.job())
    assert (again.ok, again.written_bytes) == (True, 0)


def test_one_flipped_bit_is_found_where_it_is_and_repaired(lab: Lab) -> None:
    lab.run(lab.job())
    with lab.target.open("r+b") as disk:
        disk.seek(31 * MIB + 12345)
        byte = disk.read(1)[0]
        disk.seek(31 * MIB + 12345)
        disk.write(bytes([byte ^ 4]))
    code, verified = lab.run(lab.job("verify"))
    assert (code, verified.ok, verified.differing, verified.first_differing_offset) == (2, False, 1, 31 * MIB)
    assert verified.error is not None
    assert verified.error.type == "IntegrityFailed"
    code, repaired = lab.run(lab.job("repair"))
    assert (code, repaired.ok, repaired.differing, repaired.written_bytes) == (0, True, 1, MIB)
    assert lab.run(lab.job("verify"))[1].ok
    assert lab.equal()


def test_a_larger_target_is_taken_and_a_smaller_one_refused(lab: Lab) -> None:
    lab.make_target(SIZE + 5 * MIB)
    assert lab.run(lab.job())[1].ok
    lab.state.rename(lab.folder / "old")
    lab.make_target(SIZE - 1)
    code, refused = lab.run(lab.job())
    assert (code, refused.error and refused.error.type) == (2, "TargetRefused")
    assert lab.target.stat().st_blocks == 0


def test_zeros_reach_a_target_that_holds_old_data(lab: Lab) -> None:
    with lab.target.open("r+b") as disk:
        disk.write(b"old" * (SIZE // 3))
    assert lab.run(lab.job())[1].ok
    assert lab.equal()


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_the_same_command_ends_equal(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    job = lab.job(bandwidth_bytes_per_second=12 * MIB)
    for _ in range(2):
        with lab.running(job) as mover:
            ended = mover.wait(chance.uniform(0.05, 1.2))
            if ended is None:
                os.kill(mover.pid, signal.SIGKILL)
    code, result = lab.run(lab.job())
    assert (code, result.ok) == (0, True)
    assert lab.equal()
    assert lab.run(lab.job("verify"))[1].ok


def test_killed_after_a_checkpoint_it_goes_on_from_there(lab: Lab) -> None:
    with lab.running(lab.job(bandwidth_bytes_per_second=4 * MIB)) as mover:
        lab.wait_for(13 * MIB)  # the first checkpoint comes after 2 s
        os.kill(mover.pid, signal.SIGKILL)
    code, result = lab.run(lab.job())
    assert (code, result.ok) == (0, True)
    assert result.resumed_bytes >= 4 * MIB
    assert result.read_bytes < result.data_bytes
    assert lab.equal()


def test_killed_while_reading_a_chain_nothing_is_left_running(lab: Lab) -> None:
    image = lab.folder / "source.qcow2"
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(lab.source), str(image)])
    lab.make_target(49 * MIB)
    source = DiskRef(uri=image.as_uri(), format="qcow2")
    with lab.running(lab.job(source=source, bandwidth_bytes_per_second=4 * MIB)) as mover:
        lab.wait_for(1 * MIB)
        os.kill(mover.pid, signal.SIGKILL)
    limit = time.monotonic() + 30
    while servers(lab.folder):
        assert time.monotonic() < limit, "qemu-nbd outlives its mover"
        time.sleep(0.05)
    assert lab.run(lab.job(source=source))[1].ok
    assert process.run(["qemu-img", "compare", "-f", "qcow2", "-F", "raw", str(image), str(lab.target)]).code == 0
    assert not (lab.state / ".kubeferry-nbd").exists()


def servers(folder: Path) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if line.startswith(b"qemu-nbd") and os.fsencode(folder) in line:
            found.append(path)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_was_done(lab: Lab, number: signal.Signals) -> None:
    with lab.running(lab.job(bandwidth_bytes_per_second=4 * MIB)) as mover:
        lab.wait_for(3 * MIB)
        os.kill(mover.pid, number)
        assert mover.wait(30) == 128 + number
    stopped = lab.result("copy")
    assert stopped.error is not None
    assert (stopped.ok, stopped.error.type) == (False, "Interrupted")
    assert "same command" in stopped.error.fix
    _, result = lab.run(lab.job())
    assert result.resumed_bytes >= 3 * MIB
    assert lab.equal()


@pytest.mark.parametrize("which", ["full", "closed"])
def test_a_log_that_takes_nothing_more_ends_no_mover(lab: Lab, which: str, tmp_path: Path) -> None:
    given = ">/dev/full 2>&1" if which == "full" else "<&- >&- 2>&-"
    argv = [*lab.argv(lab.job()), "--report", str(tmp_path / "report.json")]
    done = process.run(["sh", "-c", f'exec "$@" {given}', "sh", *argv], cwd=ROOT, check=False)
    assert done.code == 0
    assert json.loads((tmp_path / "report.json").read_text())["ok"]
    assert lab.equal()


def test_another_round_does_not_go_on_from_the_checkpoint(lab: Lab) -> None:
    with lab.running(lab.job(bandwidth_bytes_per_second=4 * MIB)) as mover:
        lab.wait_for(3 * MIB)
        os.kill(mover.pid, signal.SIGTERM)
        mover.wait(30)
    with lab.source.open("r+b") as disk:
        disk.write(bytes(2 * MIB))
    _, result = lab.run(lab.job(round=1))
    assert result.resumed_bytes == 0
    assert lab.equal()


def test_two_movers_at_once_are_one_too_many(lab: Lab) -> None:
    with lab.running(lab.job(bandwidth_bytes_per_second=4 * MIB)) as first:
        lab.wait_for(1)
        done = process.run(lab.argv(lab.job()), cwd=ROOT, check=False)
        assert done.code == 1
        assert "another mover works in" in done.err
        assert first.poll() is None


def test_a_lower_fence_is_refused(lab: Lab) -> None:
    assert lab.run(lab.job(fence=7))[0] == 0
    before = lab.target.read_bytes()
    with lab.source.open("r+b") as disk:
        disk.write(b"changed")
    done = process.run(lab.argv(lab.job(fence=6)), cwd=ROOT, check=False)
    assert done.code == 2
    assert "another runner has taken over" in done.err
    assert lab.target.read_bytes() == before


def test_a_higher_fence_takes_over_from_a_mover_that_still_runs(lab: Lab) -> None:
    with lab.running(lab.job(fence=1, bandwidth_bytes_per_second=2 * MIB)) as old:
        lab.wait_for(1)
        code, result = lab.run(lab.job(fence=2))
        assert (code, result.ok) == (0, True)
        assert old.wait(30) == 2
    assert "another runner has taken over" in old.tail()
    assert lab.equal()


def test_a_lock_of_an_equal_fence_is_respected(lab: Lab) -> None:
    lab.state.mkdir()
    with (lab.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert process.run(lab.argv(lab.job()), cwd=ROOT, check=False).code == 1
    assert lab.run(lab.job())[0] == 0


def test_a_full_target_is_told_and_gone_on_from_when_there_is_room(lab: Lab) -> None:
    small = lab.folder / "small"
    small.mkdir()
    mounted = process.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(small)], check=False)
    if mounted.code:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.err.strip()}")
    try:
        lab.target = small / "target.img"
        lab.make_target()
        code, full = lab.run(lab.job())
        assert full.error is not None
        assert (code, full.error.type) == (2, "TargetRefused")
        assert "Make room" in full.error.fix
        process.run(["mount", "-o", "remount,size=100m", str(small)])
        code, result = lab.run(lab.job())
        assert (code, result.ok) == (0, True)
        assert result.resumed_bytes > 5 * MIB
        assert lab.equal()
        assert lab.run(lab.job("verify"))[1].ok
    finally:
        process.run(["umount", str(small)])


def test_a_full_state_folder_is_told(lab: Lab) -> None:
    small = lab.state
    small.mkdir()
    mounted = process.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(small)], check=False)
    if mounted.code:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.err.strip()}")
    try:
        done = process.run(lab.argv(lab.job()), cwd=ROOT, check=False)
        assert done.code == 2
        assert "No space left" in done.err
        assert "Traceback" not in done.err
    finally:
        process.run(["umount", str(small)])


@pytest.mark.parametrize("action", ["copy", "fails"])
def test_a_report_that_has_no_room_is_told(lab: Lab, action: str) -> None:
    """What was done is done, and stands in the state folder; the exit code is the job's own where that failed."""
    small = lab.folder / "small"
    small.mkdir()
    mounted = process.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(small)], check=False)
    if mounted.code:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.err.strip()}")
    try:
        (small / "fills").write_bytes(bytes(4096))
        if action == "fails":
            lab.source.unlink()
        done = process.run([*lab.argv(lab.job()), "--report", str(small / "report.json")], cwd=ROOT, check=False)
        assert done.code == 2
        assert "the report cannot be written" in done.err
        assert "No space left" in done.err
        assert ("source.img" in done.err) is (action == "fails")
        assert "Traceback" not in done.err
        assert lab.result("copy").ok is (action == "copy")
    finally:
        process.run(["umount", str(small)])


def test_a_report_that_has_no_folder_is_told(lab: Lab) -> None:
    done = process.run([*lab.argv(lab.job()), "--report", str(lab.source / "x")], cwd=ROOT, check=False)
    assert done.code == 2
    assert "the report cannot be written" in done.err
    assert "Traceback" not in done.err
    assert lab.equal()


def test_a_missing_source_is_told(lab: Lab) -> None:
    lab.source.unlink()
    code, result = lab.run(lab.job())
    assert result.error is not None
    assert (code, result.error.type) == (2, "SourceRefused")
    assert "source.img" in result.error.what


def test_a_damaged_fingerprint_is_told(lab: Lab) -> None:
    lab.run(lab.job())
    content = bytearray((lab.state / "fingerprint.kff").read_bytes())
    content[-1] ^= 1
    (lab.state / "fingerprint.kff").write_bytes(content)
    code, result = lab.run(lab.job("verify"))
    assert (code, result.error and result.error.type) == (2, "IntegrityFailed")


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"kind": "MoverJob"})])
def test_a_job_that_is_no_job_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    done = process.run([sys.executable, "-m", "converters.mover", str(tmp_path / "job.json")], cwd=ROOT, check=False)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert str(tmp_path / "job.json") in done.err


def test_copy_without_a_source_is_told(lab: Lab) -> None:
    code, result = lab.run(lab.job(source=None))
    assert (code, result.error and result.error.type) == (2, "InputInvalid")


def test_a_little_file_that_came_with_the_job_is_made_in_its_very_size(lab: Lab) -> None:
    content = random.Random(1).randbytes(1000) + b"\xff" * 6000
    place = lab.folder / "volume" / "nvram" / "web_VARS.fd"
    place.parent.parent.mkdir()
    more = {
        "source": DiskRef(uri=inline_uri(content), size_bytes=len(content)),
        "target": DiskRef(uri=place.as_uri(), size_bytes=len(content)),
        "makes_target": True,
        "exact_file": True,
        "target_reads_zero": False,
    }
    code, copied = lab.run(lab.job(**more))
    assert (code, copied.error) == (0, None)
    assert place.read_bytes() == content
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o660, 0o770)
    assert lab.run(lab.job("verify", **more | {"source": None}))[1].ok
    place.write_bytes(bytes(131072))  # made for flash of another size
    lab.state = lab.folder / "later"
    assert lab.run(lab.job(**more))[0] == 0
    assert place.read_bytes() == content


def test_what_only_a_mover_may_read_lands_where_only_its_owner_does(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    held, place = lab.folder / "held", lab.folder / "volume" / "swtpm" / "uuid" / "tpm2" / "tpm2-00.permall"
    held.write_bytes(b"three seeds")
    place.parents[3].mkdir()
    more = {
        "source": DiskRef(uri=HELD, size_bytes=11),
        "target": DiskRef(uri=place.as_uri(), size_bytes=11),
        "makes_target": True,
        "exact_file": True,
        "private_folders": 3,
        "target_reads_zero": False,
    }
    code, told = lab.run(lab.job(**more))
    assert (code, told.error and told.error.type) == (2, "InputInvalid"), "it was handed nothing"
    monkeypatch.setenv(HELD_FILE, str(held))
    assert lab.run(lab.job(**more))[1].ok
    assert place.read_bytes() == b"three seeds"
    assert [path.stat().st_mode & 0o777 for path in (place, *place.parents[:3])] == [0o600, 0o700, 0o700, 0o700]
    monkeypatch.delenv(HELD_FILE)
    assert lab.run(lab.job("verify", **more | {"source": None}))[1].ok
    nowhere = lab.folder / "gone" / "swtpm" / "uuid" / "tpm2" / "tpm2-00.permall"
    monkeypatch.setenv(HELD_FILE, str(held))
    code, told = lab.run(lab.job(**more | {"target": DiskRef(uri=nowhere.as_uri(), size_bytes=11)}))
    assert (code, told.error and told.error.type) == (2, "TargetRefused"), "no volume is there"


@pytest.mark.parametrize("size", [1 << 47, (1 << 63) - 1, 10**20])
def test_a_target_of_a_size_that_no_disk_has_is_told(lab: Lab, size: int) -> None:
    there = {"target": DiskRef(uri=(lab.folder / "large.img").as_uri(), size_bytes=size), "makes_target": True}
    code, result = lab.run(lab.job(**there))
    assert (code, result.error and result.error.type) == (2, "TargetRefused")
    assert not (lab.folder / "large.img").exists()
    (lab.folder / "large.img").write_bytes(b"small")
    code, result = lab.run(lab.job("verify", **there, expect_root="00" * 32))
    assert (code, result.error and result.error.type) == (2, "TargetRefused")
