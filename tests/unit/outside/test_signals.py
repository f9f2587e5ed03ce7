"""The first signal asks, a second one ends; also where the main thread is inside a library that does not come back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.outside.signals import SAME_ASK_SECONDS

ROOT = Path(__file__).resolve().parents[3]
STUCK = """
import ctypes, sys
from kubeferry.outside import signals
signals.answer(lambda: print("stopping", flush=True))
print("ready", flush=True)
mutex = ctypes.create_string_buffer(64)
for _ in range(2):  # locked twice: it waits in C for ever, where no handler of Python's is called
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""
LEAVES = STUCK.replace(
    "mutex =",
    """
from kubeferry.outside import stopping
leaving = stopping.leaving(lambda by: f"web is left by {by.name}\\n")
leaving.__enter__()
mutex =""",
    1,
)
WAITS = """
import sys
from kubeferry.errors import Interrupted
from kubeferry.outside import signals, stopping
signals.answer(lambda: None)
print("ready", flush=True)
try:
    stopping.pause(60)
except Interrupted as error:
    sys.exit(error.exit_code)
"""


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[str]]]:
    programs: list[subprocess.Popen[str]] = []
    yield programs
    for program in programs:
        with program:
            program.kill()


def program(begun: list[subprocess.Popen[str]], text: str, *prefix: str) -> subprocess.Popen[str]:
    argv = [*prefix, sys.executable, "-c", text]
    begun.append(subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True))
    assert begun[-1].stdout is not None
    assert begun[-1].stdout.readline() == "ready\n"
    return begun[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_exit_code_is_that_of_the_signal(begun: list[subprocess.Popen[str]], number: signal.Signals) -> None:
    waiting = program(begun, WAITS)
    waiting.send_signal(number)
    assert waiting.wait(10) == 128 + number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once_wherever_it_is(
    begun: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    stuck = program(begun, STUCK)
    stuck.send_signal(number)
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "stopping\n"
    time.sleep(SAME_ASK_SECONDS + 0.2)
    began = time.monotonic()
    stuck.send_signal(number)
    assert stuck.wait(10) == 128 + number
    assert time.monotonic() - began < 2


def test_what_is_left_is_said_by_a_second_signal_wherever_it_is(begun: list[subprocess.Popen[str]]) -> None:
    stuck = program(begun, LEAVES, "sh", "-c", 'exec "$@" 2>&1', "sh")
    stuck.send_signal(signal.SIGINT)
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "stopping\n"
    time.sleep(SAME_ASK_SECONDS + 0.2)
    stuck.send_signal(signal.SIGTERM)
    assert stuck.wait(10) == 128 + signal.SIGTERM
    assert stuck.stdout.read() == "web is left by SIGTERM\n"


def test_a_reader_that_does_not_read_keeps_nothing_from_ending(begun: list[subprocess.Popen[str]]) -> None:
    """What is left cannot be said: the pipe of standard error is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    begun.append(
        subprocess.Popen(
            [sys.executable, "-c", LEAVES],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=writer,
            text=True,
            start_new_session=True,
        )
    )
    os.close(writer)
    stuck = begun[-1]
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "ready\n"
    stuck.send_signal(signal.SIGINT)
    time.sleep(SAME_ASK_SECONDS + 0.2)
    stuck.send_signal(signal.SIGINT)
    assert stuck.wait(10) == 128 + signal.SIGINT
    os.close(reader)


def test_one_ask_that_is_told_twice_is_one(begun: list[subprocess.Popen[str]]) -> None:
    """As `timeout` does it, and a service manager (SIGTERM, SIGHUP), and a terminal that is closed."""
    stuck = program(begun, STUCK)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        stuck.send_signal(number)
        time.sleep(0.05)
    time.sleep(SAME_ASK_SECONDS + 0.2)
    stuck.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert stuck.poll() is None


def test_what_nohup_has_switched_off_stays_off(begun: list[subprocess.Popen[str]]) -> None:
    waiting = program(begun, WAITS, "sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    waiting.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert waiting.poll() is None
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(10) == 128 + signal.SIGTERM
