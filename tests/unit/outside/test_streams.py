"""Streams that were closed, have not every character, or are not read on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

from kubeferry.outside.streams import Aside, Lasting

ROOT = Path(__file__).resolve().parents[3]
SAYS = """
import os, sys
from kubeferry.outside.streams import lasting
with lasting() as out:
    print("said")
    print("told", file=sys.stderr)
    sys.stdout.flush()
made = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
assert made > 2, made
"""


def test_what_is_opened_next_is_no_stream(tmp_path: Path) -> None:
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", SAYS, str(tmp_path / "made")]
    assert subprocess.run(closing, cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "made").read_bytes() == b""


def test_a_character_that_the_stream_has_not_is_written_as_its_number() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SAYS.replace('"said"', r'"\u2192 \udc80"'), os.devnull],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (said.returncode, said.stdout) == (0, b"\\u2192 \\udc80\n"), said.stderr


def test_who_says_something_does_not_wait_for_who_reads_it() -> None:
    reads, said = threading.Event(), []

    def say(line: str) -> None:
        reads.wait(30)
        said.append(line)

    aside = Aside(say)
    for number in range(20_000):
        aside(str(number))
    aside.close(given_up=lambda: True)
    assert said == []
    reads.set()
    aside.close(given_up=lambda: False)
    assert said == ["0"], "what was not said by then is left out"


def test_all_of_it_is_said_in_order() -> None:
    stream = io.StringIO()
    aside = Aside(lambda line: print(line, file=stream))
    for number in range(1000):
        aside(str(number))
    aside.close(given_up=lambda: False)
    assert stream.getvalue().splitlines() == [str(number) for number in range(1000)]


def test_no_room_is_remembered_with_its_reason() -> None:
    with Path("/dev/full").open("w") as full:
        lasting = Lasting(full)
        lasting.write("said")
        lasting.flush()
        assert lasting.cut_off == "No space left on device"
