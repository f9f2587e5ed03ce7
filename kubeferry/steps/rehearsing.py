"""Rehearse one machine: begin, look, end, read back; and whatever happens, nothing of it is left running."""

from __future__ import annotations

import contextlib

from kubeferry.documents import Plan
from kubeferry.errors import Fenced, Interrupted, KubeferryError, PermanentError, RehearsalFailed
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal import why_not
from kubeferry.life.rehearsal_actions import REHEARSABLE
from kubeferry.steps import rehearsal
from kubeferry.steps.drive import Do, drive
from kubeferry.steps.work import Work

AHEAD = "Copy it ahead with `kubeferry precopy` first."


def reached(work: Work, goal: Goal, do: Do, asked: bool) -> MachineState:
    """Drive a machine to the goal, with a rehearsal where somebody has `asked` for one, or its policy asks for one of
    each round. Raises as `kubeferry.steps.drive` and `rehearse` do: after one that did not pass nothing is stopped."""
    if goal is Goal.REHEARSE:
        return rehearse(work, do)
    ahead = work.state()
    if asked and goal.in_order and ahead.may_begin(again=goal is Goal.MIGRATE_AGAIN):
        if drive(work, Goal.PRECOPY, do).resumes is Phase.PLANNED:
            refuse_unsynced(work.plan, work.entry.name, work.state())
        rehearse(work, do)
    state = drive(work, goal, do)
    each = work.entry.rehearsal is not None and work.entry.rehearsal.each_round
    if goal is Goal.PRECOPY and (asked or each) and len(state.rounds) > len(ahead.rounds):
        return rehearse(work, do)
    return state


def rehearse(work: Work, do: Do) -> MachineState:
    """Rehearse what is durable of the machine. Returns its state; raises RehearsalFailed where the copy did not pass,
    PermanentError where there is nothing to rehearse. The machine stays synced either way."""
    refuse_unsynced(work.plan, work.entry.name, work.state())
    try:
        state = drive(work, Goal.REHEARSE, do)
    except Fenced:
        raise  # whoever runs now ends it
    except BaseException as error:
        with contextlib.suppress(KubeferryError):  # why it did not come to its end is what is told; the rest is owed
            give_up(work, do, error)
        raise
    if why := why_not(state):
        raise RehearsalFailed(
            "its rehearsal did not pass; its source runs on, and what was copied of it stays",
            why=why,
            fix="Look at the console and the picture in the report, correct the policy or the guest, copy the next "
            "round and rehearse again.",
            machine=work.entry.name,
        )
    return state


def give_up(work: Work, do: Do, error: BaseException) -> None:
    """End one that came to nothing, with the reason; the next command reads the disks back."""
    newest = work.state().rehearsal
    if newest is None or not newest.is_open:
        return
    if newest.observed is None and isinstance(error, KubeferryError) and not isinstance(error, Interrupted):
        rehearsal.told(work, error)
    drive(work, Goal.END_REHEARSAL, do)


def refuse_unsynced(plan: Plan, name: str, state: MachineState) -> None:
    """Raise PermanentError for a machine of which there is nothing to rehearse, with the reason."""
    others = [one for one in plan.set_of(name) if one != name]
    told: tuple[str, str] | None = None
    if others:
        fix = "Rehearse it by a cutover at a quiet hour; `kubeferry rollback` takes that back."
        told = f"it shares a disk with {', '.join(others)}: none of them runs without the others", fix
    elif state.resumes is Phase.COPYING:
        told = f"round {state.round} of its copy is not durable yet", "Let it end: run `kubeferry precopy` again."
    elif state.resumes in {Phase.PLANNED, Phase.ROLLED_BACK}:
        warm = plan.entry(name).mode == "warm"
        cold = "it is copied after its stop, so there is no copy of it while it runs"
        fix = AHEAD if warm else "Let the policy move it `mode: warm`, plan again, and copy it ahead."
        told = "no copy of it is durable" if warm else cold, fix
    elif state.resumes not in REHEARSABLE:
        told = f"it is {state.resumes}: its cutover has begun", "Nothing: what it shows now is no rehearsal."
    elif state.differing:
        told = f"{', '.join(state.differing)} did not read back as it was written", AHEAD
    if told:
        raise PermanentError("it cannot be rehearsed", why=told[0], fix=told[1], machine=name)
