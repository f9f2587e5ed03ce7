"""Questions about many machines: several at a time, in order, stopped at once. The source is a double that answers
after some time, and knows nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows import progress
from flows.progress import Questions
from kubeferry.errors import Interrupted, SourceUnavailable
from kubeferry.outside import stopping
from kubeferry.steps.questions import AT_ONCE, ask_each

A_MACHINE = 0.05


class Slow:
    """`busy` counts those that are in a call now, over all connections; `most` is the most at once."""

    def __init__(self) -> None:
        self.connections = self.closed = self.busy = self.most = 0
        self.own: set[int] = set()
        self._lock = threading.Lock()

    def connect(self) -> Any:
        with self._lock:
            self.connections += 1
        return self

    def close(self) -> None:
        with self._lock:
            self.closed += 1

    def ask(self, number: int, seconds: float = A_MACHINE) -> int:
        with self._lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
        time.sleep(seconds if number else 3 * seconds)  # the first one answers last
        with self._lock:
            self.busy -= 1
        return number * number


@pytest.fixture(autouse=True)
def nobody_asked_to_stop() -> Iterator[None]:
    stopping.reset()
    yield
    stopping.reset()


def asked(slow: Slow, machines: int, question: Callable[[Any, Any], Any] | None = None) -> list[Any]:
    entries: Any = range(machines)
    return ask_each(entries, slow.connect, question or (lambda source, entry: source.ask(entry)))


def test_answers_come_in_the_order_of_the_machines_several_at_a_time() -> None:
    slow, begun = Slow(), time.monotonic()
    assert asked(slow, 80) == [number * number for number in range(80)]
    assert time.monotonic() - begun < 80 * A_MACHINE / 3
    assert 1 < slow.most <= AT_ONCE
    assert slow.connections == slow.closed <= AT_ONCE


def test_a_few_machines_are_asked_about_by_one_connection() -> None:
    slow = Slow()
    assert asked(slow, 3) == [0, 1, 4]
    assert (slow.connections, slow.closed, slow.most) == (1, 1, 1)
    assert asked(slow, 0) == []


def test_what_a_connection_or_a_question_raises_is_raised() -> None:
    slow = Slow()

    def fails(_source: Any, entry: Any) -> int:
        if entry == 5:
            raise SourceUnavailable("no answer", fix="Try it again.")
        return 0

    with pytest.raises(SourceUnavailable):
        asked(slow, 40, fails)
    assert slow.connections == slow.closed

    def refused() -> Any:
        raise SourceUnavailable("no way", fix="Try it again.")

    entries: Any = range(40)
    with pytest.raises(SourceUnavailable, match="no way"):
        ask_each(entries, refused, fails)


def test_a_stop_is_answered_at_once_though_a_source_hangs() -> None:
    slow, entered, let_go = Slow(), threading.Event(), threading.Event()

    def hangs(_source: Any, _entry: Any) -> int:
        entered.set()
        let_go.wait(30)
        return 0

    def stop() -> None:
        entered.wait(10)
        stopping.request()

    threading.Thread(target=stop).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        asked(slow, 40, hangs)
    assert time.monotonic() - begun < 2
    let_go.set()


def test_how_far_it_is_is_told_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.15)
    entries: Any = range(60)
    told: list[tuple[str, dict[str, Any]]] = []
    for tell in (None, lambda event, **facts: told.append((event, facts))):
        ask_each(entries, Slow().connect, lambda source, entry: source.ask(entry), Questions(tell=tell))
        out, err = capsys.readouterr()
        assert (out, ("the source was asked about" in err)) == ("", tell is None)
    assert 1 <= len(told) <= 5
    assert all(event == "asked" and facts["done"] < facts["machines"] == 60 for event, facts in told)


def test_questions_that_are_over_soon_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    entries: Any = range(3)
    ask_each(entries, Slow().connect, lambda source, entry: source.ask(entry), Questions())
    assert capsys.readouterr() == ("", "")
