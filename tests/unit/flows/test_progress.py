"""What a person sees while machines move: shares, rates, and a range for the time left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.progress import Board, Glimpse, describe
from kubeferry.documents import MoverProgress
from kubeferry.life.pace import Rates

MIB = 2**20
RATE = st.floats(min_value=1, max_value=1e12)


def test_nothing_is_said_of_the_time_left_before_a_rate_was_seen() -> None:
    rates = Rates()
    rates.add(0.0)
    assert rates.seconds_left(100) is None


@given(st.lists(RATE, min_size=1, max_size=40), st.integers(0, 2**50))
def test_the_time_left_is_a_range_that_holds_every_recent_rate(seen: list[float], left: int) -> None:
    rates = Rates()
    for rate in seen:
        rates.add(rate)
    shortest, longest = rates.seconds_left(left) or (-1.0, -1.0)
    assert 0 <= shortest <= longest
    for rate in seen[-12:]:
        assert shortest <= left / rate <= longest


def test_old_rates_are_forgotten() -> None:
    rates = Rates()
    rates.add(1.0)
    for _ in range(12):
        rates.add(100.0)
    assert rates.seconds_left(1000) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (MoverProgress(phase="opening"), "opening"),
        (MoverProgress(phase="copy", done_bytes=0, total_bytes=100 * MIB), "copy 0 % of 100 MiB"),
        (
            MoverProgress(phase="copy", done_bytes=50 * MIB, total_bytes=100 * MIB, bytes_per_second=10 * MIB),
            "copy 50 % of 100 MiB, 10 MiB/s, 5 to 10 s left",
        ),
        (
            MoverProgress(phase="copy", done_bytes=100 * MIB, total_bytes=100 * MIB, bytes_per_second=10 * MIB),
            "copy 100 % of 100 MiB, 10 MiB/s",
        ),
    ],
)
def test_a_transfer_in_words(told: MoverProgress, text: str) -> None:
    rates = Rates()
    if told.bytes_per_second:
        rates.add(5 * MIB)
        rates.add(10 * MIB)
    assert describe(told, rates) == text


def test_the_board_has_a_glimpse_of_each_machine_and_prints_each_action(capsys: pytest.CaptureFixture[str]) -> None:
    board = Board()
    board.action("web", "stop-source: it ran")
    board.progress("web", "vda", MoverProgress(phase="copy", done_bytes=MIB, total_bytes=2 * MIB))
    board.action("db", "begin")
    board.progress("app", "vda", MoverProgress(phase="copy", total_bytes=4 * MIB, bytes_per_second=2 * MIB))
    assert board.glimpses() == {
        "web": Glimpse("stop-source: it ran", "vda: copy 50 % of 2 MiB"),
        "db": Glimpse("begin"),
        "app": Glimpse("waiting", "vda: copy 0 % of 4 MiB, 2 MiB/s, 2 to 2 s left", 2 * MIB, (2.0, 2.0)),
    }
    lines = capsys.readouterr().out.splitlines()
    assert ["web" in lines[0], "db" in lines[1], len(lines)] == [True, True, 3]


def test_a_quiet_board_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Board(quiet=True).action("web", "stop-source")
    assert capsys.readouterr().out == ""


def test_a_program_is_told_of_each_action_and_now_and_then_of_a_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    board = Board(quiet=True, tell=lambda event, **facts: told.append((event, facts)))
    board.action("web", "stop-source: it ran")
    board.progress("web", "vda", MoverProgress(phase="copy", done_bytes=MIB, total_bytes=2 * MIB))
    monkeypatch.setattr("flows.progress.LINE_EVERY_SECONDS", 0)
    board.progress("web", "vda", MoverProgress(phase="copy", done_bytes=MIB, total_bytes=2 * MIB))
    transfer = {"phase": "copy", "doneBytes": MIB, "totalBytes": 2 * MIB, "bytesPerSecond": 0}
    assert told == [
        ("action", {"machine": "web", "what": "stop-source: it ran"}),
        ("progress", {"machine": "web", "disk": "vda", **transfer}),
    ]
