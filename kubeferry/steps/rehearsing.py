"""Rehearse one machine: begin, look, end, read back; and whatever happens, nothing of it is left running."""

from __future__ import annotations

import contextlib
from dataclasses import replace

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
LOOK = (
    "Look at the console and the picture in the report, correct the policy or the guest, copy the next round and "
    "rehearse again."
)
UNTOUCHED = "its rehearsal did not pass; its source runs on, and what was copied of it stays"


def reached(work: Work, goal: Goal, do: Do, asked: bool) -> MachineState:
    """Drive a machine to the goal, with a rehearsal where somebody has `asked` for one, or its policy asks for one of
    each round. Raises as `kubeferry.steps.drive` and `rehearse` do: after one that did not pass nothing is stopped."""
    end_others(work)
    if goal is Goal.REHEARSE:
        return rehearse(work, do)
    ahead = work.state()
    if asked and goal.in_order and ahead.may_begin(again=goal is Goal.MIGRATE_AGAIN):
        _refuse_apart(work)
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
    _refuse_apart(work)
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
        raise RehearsalFailed(UNTOUCHED, why=why, fix=LOOK, machine=work.entry.name)
    return state


def give_up(work: Work, do: Do, error: BaseException) -> None:
    """End one that came to nothing, with the reason; the next command reads the disks back."""
    newest = work.state().rehearsal
    if newest is None or not newest.is_open:
        return
    tell_if_unseen(work, error)
    drive(work, Goal.END_REHEARSAL, do)


def tell_if_unseen(work: Work, error: BaseException) -> None:
    """Record the error as what was seen of an open rehearsal at which nobody has looked."""
    newest = work.state().rehearsal
    if newest is None or not newest.is_open or newest.observed is not None:
        return
    if isinstance(error, KubeferryError) and not isinstance(error, Interrupted):
        rehearsal.told(work, error)


def end_others(work: Work) -> None:
    """End what is left running of those that were rehearsed together with this machine: their command did not come to
    its end. Who has one of them in hand ends it himself."""
    newest = work.state().rehearsal
    for name in newest.together if newest else ():
        if name == work.entry.name or not work.journal.state(work.plan.digest, name).rehearsing:
            continue
        with contextlib.suppress(Fenced), work.journal.lease(work.plan.digest, name) as lease:
            other = replace(
                work, entry=work.plan.entry(name), lease=lease, seen=lambda _state: None, _last=[MachineState()]
            )
            drive(other, Goal.END_REHEARSAL, lambda _action, step: step())


def _refuse_apart(work: Work) -> None:
    """Raise PermanentError for a machine that is rehearsed together with others, and of which this run moves none."""
    name = work.entry.name
    if others := [one for one in work.plan.rehearsed_with(name) if one != name]:
        raise PermanentError(
            f"it is rehearsed together with {', '.join(others)}, and moves by itself",
            why=f"app {work.entry.app} says so (`rehearsal.together`)",
            fix=f"Run `kubeferry precopy --rehearse --app {work.entry.app}` first, then the same without a rehearsal.",
            machine=name,
        )


def refuse_unsynced(plan: Plan, name: str, state: MachineState) -> None:
    """Raise PermanentError for a machine of which there is nothing to rehearse, with the reason."""
    if error := unsynced(plan, name, state):
        raise error


def unsynced(plan: Plan, name: str, state: MachineState) -> PermanentError | None:
    """The error of a machine of which there is nothing to rehearse; None where there is."""
    entry, together = plan.entry(name), plan.rehearsed_with(name)
    others = [one for one in plan.set_of(name) if one != name and (entry.shares_disks or one not in together)]
    told: tuple[str, str] | None = None
    if others:
        quiet = "Rehearse it by a cutover at a quiet hour; `kubeferry rollback` takes that back."
        ask = f"Set `rehearsal: {{together: true}}` for app {entry.app} in the policy, and plan again."
        bound = f"it shares a disk with {', '.join(others)}: none of them runs without the others"
        apart = f"it moves together with {', '.join(others)}, and is not rehearsed without them: {entry.bond}"
        told = (bound, quiet) if entry.shares_disks else (apart, ask)
    elif state.resumes is Phase.COPYING:
        told = f"round {state.round} of its copy is not durable yet", "Let it end: run `kubeferry precopy` again."
    elif state.resumes in {Phase.PLANNED, Phase.ROLLED_BACK}:
        warm = entry.mode == "warm"
        cold = "it is copied after its stop, so there is no copy of it while it runs"
        fix = AHEAD if warm else "Let the policy move it `mode: warm`, plan again, and copy it ahead."
        told = "no copy of it is durable" if warm else cold, fix
    elif state.resumes not in REHEARSABLE:
        told = f"it is {state.resumes}: its cutover has begun", "Nothing: what it shows now is no rehearsal."
    elif state.differing:
        told = f"{', '.join(state.differing)} did not read back as it was written", AHEAD
    return PermanentError("it cannot be rehearsed", why=told[0], fix=told[1], machine=name) if told else None
