"""The verb that starts copies apart: rehearse."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.dry_run import say_what_would_be_done
from flows.cli.logs import logged
from flows.cli.moving import run_move
from flows.cli.options import (
    Named,
    chosen,
    config_option,
    dry_run_option,
    json_option,
    members_option,
    opened,
    plan_named,
)
from kubeferry.documents import Config, Plan
from kubeferry.errors import InputInvalid, PermanentError, Problem
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.states import MachineState

if TYPE_CHECKING:
    from flows.told import Outcome


@click.command()
@plan_named
@config_option
@members_option
@dry_run_option
@json_option
@logged
def rehearse(
    plan: Path | None, named: str | None, config: Path | None, machines: Named, dry_run: bool, as_json: bool
) -> None:
    """Start a copy of what was copied ahead, isolated and for a while, and ask the plan's probes.

    Over a throw-away layer of the copied disks, while the machine runs on at its source. Afterwards nothing of it is
    left, and the disks are read back: they are as they were. Machines of which nothing is copied ahead are named.
    """
    from flows.moves import Move, refuse_empty

    frozen, settings, path = opened(plan, named, config)
    names = chosen(frozen, machines)
    refuse_empty(frozen, names)
    if dry_run:
        say_what_would_be_done(frozen, settings, names, Goal.REHEARSE, insisted=True, as_json=as_json)
        return
    ready, besides = (names, ()) if machines.machines else _rehearsable(frozen, settings, names)
    run_move(Move(frozen, settings, path, ready, Goal.REHEARSE), as_json, besides)


def _rehearsable(plan: Plan, settings: Config, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Outcome, ...]]:
    """Those of which there is something to rehearse, and the others with the reason. Raises InputInvalid where there
    is nothing at all."""
    from flows.told import NOT_BEGUN, Outcome
    from kubeferry.steps.rehearsing import refuse_unsynced

    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
    besides, problems = [], []
    for name in names:
        try:
            refuse_unsynced(plan, name, states.get(name, MachineState()))
        except PermanentError as error:
            problems.append(Problem(f"--machine {name}", error.why, error.fix))
            phase = str(states[name].phase) if name in states else NOT_BEGUN
            besides.append(Outcome(name, phase, left=f"not rehearsed: {error.why}"))
    ready = tuple(name for name in names if name not in {one.machine for one in besides})
    if not ready:
        raise InputInvalid("nothing can be rehearsed", problems)
    return ready, tuple(besides)
