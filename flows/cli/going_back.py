"""What the way back of machines that have moved would leave behind, and who has said that it may."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from kubeferry.documents import Config, Plan
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.life.deadline import moment
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.outside import clock
from kubeferry.targets import open_target
from kubeferry.words import duration


def writes_lost(plan: Plan, settings: Config, machines: tuple[str, ...]) -> dict[str, str]:
    """For each of these machines that has served at the target since its commit: since when, in words. How much was
    written there since, no target tells. Nobody is asked but the journal."""
    with contextlib.closing(open_target(settings.target)) as target:
        if not target.capabilities.keeps_running:
            return {}
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
    now = clock.now()
    return {name: _lost(states[name], now) for name in machines if _has_served(states.get(name))}


def refuse_losing(lost: Mapping[str, str], *, said: bool) -> None:
    """Raise InputInvalid where nobody has said that writes may be lost."""
    if lost and not said:
        fix = "Save what has to be kept, then say --lose-writes; --dry-run shows what would be done."
        problems = [Problem(f"--machine {name}", one, fix) for name, one in lost.items()]
        raise InputInvalid("the way back would lose what was written since the move", problems)


def _has_served(state: MachineState | None) -> bool:
    return state is not None and state.resumes is Phase.COMMITTED and not state.removed


def _lost(state: MachineState, now: str) -> str:
    since = state.came_to(Phase.COMMITTED)
    passed = (moment(now) - moment(since)).total_seconds()
    return (
        f"it has moved at {since}, {duration(passed)} ago: what was written at the target since then is not in its "
        "source, and stays behind (how much that is, is not known)"
    )
