"""Hourly rounds ask about their machines, and try only those of which none is durable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import moves
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import Synced
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.targets.memory import target as memory
from tests.unit.steps.test_beforehand import NAMES, World


class Known:
    """As much of a journal as is asked for: where the machines stand."""

    def states(self, _plan: str) -> dict[str, MachineState]:
        return {"web": MachineState(phase=Phase.SYNCED, rounds=(Synced(round=1),))}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    warm = tuple(entry.model_copy(update={"mode": "warm"}) for entry in made.plan.entries)
    made.plan = made.plan.model_copy(update={"entries": warm})
    yield made
    memory._opened.pop(str(tmp_path), None)


@pytest.mark.parametrize(("goal", "tried"), [(Goal.PRECOPY, ("app", "db")), (Goal.MIGRATE, NAMES)])
def test_a_round_tries_whom_none_was_made_of_and_a_move_all(world: World, goal: Goal, tried: tuple[str, ...]) -> None:
    journal: Any = Known()
    assert moves.beforehand(world.plan, world.config, journal, NAMES, goal).tried == tried
