"""Nobody listens any more, or what is printed has no room: the work is done all the same, and its exit code stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubeferry.outside.streams import Lasting

ROOT = Path(__file__).resolve().parents[4]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nobody() -> Iterator[int]:
    """A pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def program(folder: Path, *arguments: str, stdout: int, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    """The exit code and what was printed to standard error."""
    ended = subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=stderr,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stderr or ""


def test_what_is_not_read_does_not_stop_the_work(estate: Path, nobody: int) -> None:
    assert program(estate, "discover", "--json", stdout=nobody) == (0, "")
    assert (estate / "inventory.yaml").exists()
    assert program(estate, "plan", "inventory.yaml", stdout=nobody) == (0, "")
    assert program(estate, "status", "plan.yaml", stdout=nobody) == (0, "")
    assert program(estate, "copy", "source/web.img", "copied.img", "--json", stdout=nobody) == (0, "")


def test_a_verdict_that_is_not_read_is_still_the_exit_code(estate: Path, nobody: int) -> None:
    assert program(estate, "copy", "source/web.img", "copied.img", stdout=nobody)[0] == 0
    (estate / "copied.img").write_bytes(b"\x56" * 2**20)
    assert program(estate, "verify", "copied.img", "--json", stdout=nobody)[0] == 2
    assert program(estate, "-v", "verify", "copied.img", stdout=nobody, stderr=nobody)[0] == 2
    (estate / "kubeferry.yaml").write_text("kind: Policy\n")
    assert program(estate, "doctor", stdout=nobody)[0] == 2


def test_what_could_not_be_printed_is_said(estate: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code, err = program(estate, "discover", stdout=full)
    finally:
        os.close(full)
    assert (code, err.startswith("failed: what was printed is not whole")) == (1, True), err
    assert "No space left on device" in err
    assert (estate / "inventory.yaml").exists()


def test_after_the_first_failure_nothing_is_tried_again(nobody: int) -> None:
    with os.fdopen(os.dup(nobody), "w") as stream:
        lasting = Lasting(stream)
        lasting.write("said")
        lasting.flush()
        assert isinstance(lasting.lost, BrokenPipeError)
        assert lasting.cut_off == ""
        assert str(Path(f"/proc/self/fd/{stream.fileno()}").readlink()) == os.devnull
        lasting.write("more")
        lasting.flush()
