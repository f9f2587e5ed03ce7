"""Ctrl-C ends a copy at a safe point within seconds, and once more at once: whatever a server does, and however long a
run of zeros is. The program runs in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converters.engine import checkpoint
from converters.engine.fingerprint import Fingerprint
from kubeferry.outside import process
from kubeferry.outside.signals import SAME_ASK_SECONDS
from tests.liar import lying
from tests.needs import PATH, needs

MIB = 1 << 20
SIZE = 64 * MIB
PATIENCE = 60


@contextmanager
def copying(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A copy that runs; killed at the end if nothing else has ended it."""
    argv = [sys.executable, "-m", "flows", "copy", *map(str, arguments)]
    environment = {**os.environ, "PATH": PATH}
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def ended_after(running: subprocess.Popen[str], count: int) -> tuple[float, int, str]:
    """Seconds, exit code and words after `count` times Ctrl-C, each clearly an ask of its own."""
    for _ in range(count - 1):
        running.send_signal(signal.SIGINT)
        time.sleep(4 * SAME_ASK_SECONDS)
    begun = time.monotonic()
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=PATIENCE)
    return time.monotonic() - begun, running.returncode, said


def until(there: Path) -> None:
    limit = time.monotonic() + PATIENCE
    while not there.exists():
        assert time.monotonic() < limit, f"{there} does not come"
        time.sleep(0.05)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mode", ["silent", "drip"])
def test_a_source_that_does_not_answer_holds_nobody(tmp_path: Path, mode: str, count: int) -> None:
    with lying(tmp_path / "s", mode, SIZE) as uri, copying(uri, tmp_path / "t.img", "--insist") as running:
        until(checkpoint.beside(tmp_path / "t.img.kff"))
        seconds, code, said = ended_after(running, count)
    assert code == 128 + signal.SIGINT, said
    assert ("stopped on request" if count == 1 else "once more to stop at once") in said
    assert seconds < (20 if count == 1 else 3)


@pytest.mark.parametrize("count", [1, 2])
def test_a_target_that_makes_no_zeros_holds_nobody(tmp_path: Path, count: int) -> None:
    source, kff = tmp_path / "zeros.img", tmp_path / "t.kff"
    source.write_bytes(bytes(SIZE))
    with (
        lying(tmp_path / "s", "slow-zero", SIZE) as uri,
        copying(source, uri, "--fingerprint", kff, "--overwrite") as running,
    ):
        until(checkpoint.beside(kff))
        seconds, code, said = ended_after(running, count)
    assert code == 128 + signal.SIGINT, said
    assert seconds < (20 if count == 1 else 3)


@needs("nbdkit")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_of_zeros_is_cut_into_checkpoints(tmp_path: Path, number: signal.Signals) -> None:
    """A server that makes zeros slowly: what it has made when the copy ends is in the checkpoint."""
    source, kff, socket = tmp_path / "zeros.img", tmp_path / "t.kff", tmp_path / "s"
    with source.open("wb") as file:
        file.truncate(1024 * MIB)
    argv = [
        "nbdkit",
        "--foreground",
        "-U",
        str(socket),
        "--filter=nozero",
        "--filter=rate",
        "memory",
        "1G",
        "rate=400M",
    ]
    with process.child(argv, log=tmp_path / "log"):
        until(socket)
        with copying(source, f"nbd+unix:///?socket={socket}", "--fingerprint", kff) as running:
            until(checkpoint.beside(kff))
            time.sleep(8)
            begun = time.monotonic()
            running.send_signal(number)
            running.communicate(timeout=PATIENCE)
            seconds = time.monotonic() - begun
    assert seconds < 10
    with Fingerprint.open(checkpoint.beside(kff)) as left:
        unknown = sum(count for _, count in left.unknown(0, left.count))
    assert 0 < unknown < left.count
