"""A clock that a test sets on: waits take no time, and are seen by whoever asks what time it is here, a journal in a
file among them.

What it does not do: a server's clock goes on as it does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kubeferry.outside import clock, stopping


class Clock:
    """Time of this process, ahead of the real one by what was waited."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.waits: list[float] = []

    def moment(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def pause(self, seconds: float) -> None:
        stopping.check()
        self.waits.append(seconds)
        self.ahead += seconds
        stopping.check()


def waiting_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """From now on, for one test."""
    made = Clock()
    monkeypatch.setattr(clock, "moment", made.moment)
    monkeypatch.setattr(stopping, "pause", made.pause)
    return made
