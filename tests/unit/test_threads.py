"""The check that no thread outlives what began it, in one run of pytest of its own under the same `conftest.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kubeferry.outside.process import run

ROOT = Path(__file__).resolve().parents[2]
IMPATIENT = "\nimport tests.threads\ntests.threads.GRACE_SECONDS = 0.5\n"
TESTS = """
import threading
import time
import pytest

def begin(over, name):
    threading.Thread(target=over.wait, name=name, daemon=True).start()

def test_leaves_one():
    begin(threading.Event(), "forgotten")

def test_after_it():
    pass

def test_tells_it_to_end():
    threading.Thread(target=time.sleep, args=(0.1,)).start()

class Server:
    def __init__(self):
        self.over, self.asked, self.answered = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        self.asked.wait()
        begin(self.over, "a line of the server")
        self.answered.set()

@pytest.fixture(scope="class", params=["ended", "left"])
def server(request):
    made = Server()
    yield made
    if request.param == "ended":
        made.over.set()

class TestServer:
    def test_asks(self, server):
        server.asked.set()
        assert server.answered.wait(10)

    def test_asks_again(self, server):
        assert threading.active_count() > 1
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of these tests."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text() + IMPATIENT)
    (folder / "test_tiny.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", str(folder)]
    env = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return run(command, cwd=folder, env=env, check=False).out


def test_a_test_that_leaves_a_thread_is_named(said: str) -> None:
    assert "ERROR test_tiny.py::test_leaves_one - Failed: threads outlive what began them" in said
    assert "test_tiny.py::test_leaves_one began 'forgotten', which is at" in said
    assert "waiter.acquire()" in said  # where it stands


def test_no_other_test_is_blamed_for_it(said: str) -> None:
    assert "PASSED test_tiny.py::test_after_it\n" in said
    blamed = {line.split(" - ")[0] for line in said.splitlines() if line.startswith("ERROR ")}
    assert blamed == {
        f"ERROR test_tiny.py::{name}" for name in ("test_leaves_one", "TestServer::test_asks_again[left]")
    }


def test_a_thread_that_was_told_to_end_has_a_moment_for_it(said: str) -> None:
    assert "PASSED test_tiny.py::test_tells_it_to_end\n" in said
    assert "ERROR test_tiny.py::test_tells_it_to_end" not in said


def test_what_a_wider_fixture_began_lasts_as_long_as_the_fixture(said: str) -> None:
    for name in ("test_asks", "test_asks_again"):
        assert f"PASSED test_tiny.py::TestServer::{name}[ended]\n" in said
        assert f"ERROR test_tiny.py::TestServer::{name}[ended]" not in said
        assert f"ERROR test_tiny.py::TestServer::{name}[left]" not in said or name == "test_asks_again"


def test_a_fixture_that_leaves_a_thread_is_named(said: str) -> None:
    assert "ERROR test_tiny.py::TestServer::test_asks_again[left]" in said
    assert "the class's fixture 'server' began 'a line of the server', which is at" in said
