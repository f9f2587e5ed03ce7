"""One look after what was left: a machine that takes hours keeps no other one's source off for as long."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from kubeferry.journal import Journal
from kubeferry.model import Machine, Power
from kubeferry.sources.memory.source import MemorySource
from tests.clocks import Clock
from tests.unit.flows.nights import Night


def test_whose_time_is_over_goes_back_before_another_plan_s_machine_is_copied_to_its_end(
    kubeferry: Callable[..., tuple[int, str, str]],
    estate: Path,
    no_server: None,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    night = Night(kubeferry, estate, ("db", "web"))
    for name in ("db", "web"):
        night.names = (name,)
        night.planned("downtime: {budgetSeconds: 300}\n" if name == "web" else "")
        night.killed_after("source-stopped")
    clock.ahead += 400
    cutovers = Journal.cutovers
    by_name = attrgetter("machine")  # by the digests of their plans they come in any order
    monkeypatch.setattr(Journal, "cutovers", lambda journal: sorted(cutovers(journal), key=by_name))
    seen: list[Power] = []
    opened = MemorySource.open_round

    def hours(source: MemorySource, machine: Machine, **given: Any) -> Any:
        if machine.name == "db":
            seen.append(night.power_of("web"))
            clock.ahead += 6 * 3600
        return opened(source, machine, **given)

    monkeypatch.setattr(MemorySource, "open_round", hours)
    night.caretake()
    assert night.power_of("web") is Power.RUNNING
    assert seen[0] is Power.RUNNING
