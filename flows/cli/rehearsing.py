"""The verb that starts copies apart: rehearse."""

from __future__ import annotations

import contextlib
from dataclasses import replace
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
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.states import MachineState
from kubeferry.words import plain

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
    left, and the disks are read back: they are as they were. Machines of which nothing is copied ahead are named. Those
    of an app that is rehearsed together run at the same time, all of them whichever is named.
    """
    from flows.moves import Move, left_of, refuse_empty, whole

    frozen, settings, path = opened(plan, named, config)
    names = chosen(frozen, machines)
    refuse_empty(frozen, names)
    left = left_of(frozen, settings)
    move = whole(Move(frozen, settings, path, names, Goal.REHEARSE), lambda text: click.echo(plain(text), err=True))
    if dry_run:
        say_what_would_be_done(left, settings, move.machines, Goal.REHEARSE, insisted=True, as_json=as_json)
        return
    ready, besides = (move.machines, ()) if machines.machines else _rehearsable(left, settings, move.machines)
    run_move(replace(move, machines=ready), as_json, besides)


def _rehearsable(plan: Plan, settings: Config, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Outcome, ...]]:
    """Those of which there is something to rehearse, and the others with the reason. Raises InputInvalid where there
    is nothing at all."""
    from flows.told import NOT_BEGUN, Outcome
    from kubeferry.steps.rehearsing import unsynced

    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
    besides, problems = [], []
    found = {name: unsynced(plan, name, states.get(name, MachineState())) for name in names}
    for name in names:
        with_it = [other for other in plan.rehearsed_with(name) if found.get(other)]
        error = found[name] or next((found[other] for other in with_it), None)
        if error:
            why = error.why if found[name] else f"it is rehearsed together with {with_it[0]}: {error.why}"
            problems.append(Problem(f"--machine {name}", why, error.fix))
            phase = str(states[name].phase) if name in states else NOT_BEGUN
            besides.append(Outcome(name, phase, left=f"not rehearsed: {why}"))
    ready = tuple(name for name in names if name not in {one.machine for one in besides})
    if not ready:
        raise InputInvalid("nothing can be rehearsed", problems)
    return ready, tuple(besides)
