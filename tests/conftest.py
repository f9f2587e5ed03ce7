"""For all tests: no thread outlives its test, property tests have no deadline, and what tests write lies in memory.

How long one example takes says more about a shared machine than about the code.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.threads import Threads

MEMORY = Path("/dev/shm")
OURS = "kubeferry-tests-"
ROOM_BYTES = 8 * 2**30
"""What all tests of a run write at one time, and more: a folder is removed when its test has passed."""

settings.register_profile("kubeferry", deadline=None)
settings.load_profile("kubeferry")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Threads(), "kubeferry-threads")
    if config.option.basetemp is None and _has_room():  # half the time of a test with a journal goes to fsync
        _forget_earlier()
        config.option.basetemp = str(MEMORY / f"{OURS}{os.getpid()}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What a test that failed has left is kept until the next run."""
    folder = Path(str(session.config.option.basetemp or ""))
    if exitstatus == 0 and not hasattr(session.config, "workerinput") and folder.name.startswith(OURS):
        shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    if not os.access(MEMORY, os.W_OK):
        return False
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(told["MemAvailable"].split()[0]) * 1024
    return min(available, shutil.disk_usage(MEMORY).free) > ROOM_BYTES


def _forget_earlier() -> None:
    for folder in MEMORY.glob(f"{OURS}*"):
        if not Path("/proc", folder.name.removeprefix(OURS)).exists():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def on_storage() -> Iterator[Path]:
    """A folder on storage, whatever pytest's own ones lie on: with a page cache beside it, and a way past it."""
    with tempfile.TemporaryDirectory(prefix=OURS, dir="/var/tmp") as folder:
        yield Path(folder)


def pytest_runtest_logfinish() -> None:
    """The double of a target lasts as long as its process. A folder that is removed may come again under its name."""
    double = sys.modules.get("kubeferry.targets.memory.target")
    for path in list(double._opened) if double else ():
        if not _of_test(Path(path)).exists():
            del double._opened[path]


def _of_test(path: Path) -> Path:
    """The folder of the test, or of the fixture, in which this lies."""
    above = [path, *path.parents]
    return next((one for one in above if one.parent.name.startswith((OURS, "popen-gw"))), path.parent)
