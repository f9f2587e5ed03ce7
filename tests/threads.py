"""No thread outlives what began it: a test's threads are over when the test is, a fixture's when the fixture is.

A thread belongs to what ran when it was started: a fixture that is wider than one test, while it is set up, else the
test. One that is started by another thread belongs where that one does. So a server that many tests share is known by
being a fixture's, and there is no list of exceptions.

Why it matters: whatever a left thread does, it does in the middle of another test. It draws from the global `random`
under Hypothesis' eyes, writes into folders that are removed, and takes a core from a test that is measured.

What it does not see: threads that the `threading` module did not start (libvirt's and other C libraries' own).
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pytest

GRACE_SECONDS = 5.0  # a thread that was told to end may need a moment for it, on a machine that has others to run


@dataclass(eq=False)
class Owner:
    """What began a thread, and whether it is over."""

    name: str
    over: bool = False


class Threads:
    """A plugin of pytest: where threads are left the test fails, and they are named with what began them."""

    def __init__(self) -> None:
        self._owners: WeakKeyDictionary[threading.Thread, Owner] = WeakKeyDictionary()
        self._fixtures: WeakKeyDictionary[pytest.FixtureDef[object], Owner] = WeakKeyDictionary()
        self._running: list[Owner] = []
        self._start = threading.Thread.start

    def pytest_configure(self) -> None:
        start = self._start

        def noted(thread: threading.Thread) -> None:
            owner = self._owners.get(threading.current_thread()) or (self._running[-1] if self._running else None)
            if owner is not None:
                self._owners[thread] = owner
            start(thread)

        threading.Thread.start = noted  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        threading.Thread.start = self._start  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._running.append(Owner(item.nodeid))
        try:
            return (yield)
        finally:
            self._running.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        owner = Owner(f"{fixturedef.baseid}: the {fixturedef.scope}'s fixture {fixturedef.argname!r}")
        self._fixtures[fixturedef] = owner
        self._running.append(owner)
        try:
            return (yield)
        finally:
            self._running.pop()

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[object]) -> None:
        if owner := self._fixtures.pop(fixturedef, None):
            owner.over = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self._running[-1].over = True
            self._none_is_left()

    def _none_is_left(self) -> None:
        limit = time.monotonic() + GRACE_SECONDS
        for thread in self._of_what_is_over():
            thread.join(max(0.0, limit - time.monotonic()))
        if left := [self._described(thread) for thread in self._of_what_is_over()]:
            pytest.fail("threads outlive what began them:\n" + "\n".join(left), pytrace=False)

    def _of_what_is_over(self) -> list[threading.Thread]:
        found = ((thread, self._owners.get(thread)) for thread in threading.enumerate())
        return [thread for thread, owner in found if owner is not None and owner.over]

    def _described(self, thread: threading.Thread) -> str:
        """Said once: the next tests are not to blame."""
        owner = self._owners.pop(thread)
        frame = sys._current_frames().get(thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        return f"  {owner.name} began {thread.name!r}, which is at\n{stack}"
