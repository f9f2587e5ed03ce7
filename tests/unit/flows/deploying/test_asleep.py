"""A scheduler that makes no runs is told. The double of Prefect's client knows one deployment, and counts its runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flows.deploying import server
from flows.deploying.wakings import Waking
from flows.deploying.wanted import Deployment, Wanted

EACH_MINUTE = Waking("caretake", {"interval": 60.0, "timezone": "UTC"})
ONCE = Waking("night", {"rrule": "DTSTART:20260101T000000\nRRULE:FREQ=DAILY;COUNT=1", "timezone": "UTC"})


class Client:
    def __init__(self, ahead: int, *, paused: bool = False, active: bool = True) -> None:
        self.ahead, self.there = (
            ahead,
            SimpleNamespace(id="d", paused=paused, schedules=[SimpleNamespace(active=active)]),
        )

    def read_deployment_by_name(self, _name: str) -> Any:
        return self.there

    def request(self, _method: str, path: str, *, json: Any) -> Any:
        assert path == "/flow_runs/count"
        assert json["flow_runs"] == {"state": {"type": {"any_": ["SCHEDULED"]}}}
        return SimpleNamespace(json=lambda: self.ahead)


@pytest.mark.parametrize(
    ("client", "waking", "told"),
    [
        (Client(0), EACH_MINUTE, "caretake/lab"),
        (Client(3), EACH_MINUTE, ""),
        (Client(0), ONCE, ""),
        (Client(0, paused=True), EACH_MINUTE, ""),
        (Client(0, active=False), EACH_MINUTE, ""),
    ],
)
def test_a_deployment_that_is_woken_again_and_again_has_runs_ahead(client: Any, waking: Waking, told: str) -> None:
    made = Deployment("caretake", "lab", (), "", "1", {}, (waking,))
    assert server._asleep(client, Wanted("pool", (made,), (), "", ""), 0) == told
