"""Rehearse the machines of an app together: all of their copies run at once and apart from everything else, and
whatever happens, nothing of any of them is left running.

One thread takes the steps under the leases of all of them (`kubeferry.steps.together`), as whose turn it is says
(`kubeferry.life.rehearsed_together`). A rehearsal that was left is not gone on with: the next command of any of them
ends all of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from kubeferry.documents import Plan
from kubeferry.errors import Fenced, Interrupted, KubeferryError, RehearsalFailed, TargetRefused
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import MachineState
from kubeferry.life.rehearsal import has_passed, why_not
from kubeferry.life.rehearsal_actions import MOVED
from kubeferry.life.rehearsed_together import not_passed
from kubeferry.steps.drive import drive, refuse
from kubeferry.steps.rehearsing import LOOK, UNTOUCHED, end_others, refuse_unsynced, rehearse, tell_if_unseen, unsynced
from kubeferry.steps.together import DoOne, drive_set
from kubeferry.steps.work import Work


def rehearsed_as_one(plan: Plan, name: str, goal: Goal, asked: bool) -> tuple[str, ...]:
    """The machines that a run takes as one with this one, itself among them, since they are rehearsed together in it;
    none where it takes each by itself. `asked`: what is copied ahead is to be rehearsed."""
    whole = plan.rehearsed_with(name)
    policies = [plan.entry(one).rehearsal for one in whole]
    each = asked or any(policy is not None and policy.each_round for policy in policies)
    return whole if goal is Goal.REHEARSE or (goal is Goal.PRECOPY and each) else ()


def go_as_one(plan: Plan, unit: tuple[str, ...], goal: Goal, asked: bool) -> bool:
    """Whether these machines are driven together: they are several, or the whole of an app that is rehearsed so."""
    if len(unit) > 1:
        return True
    return plan.rehearsed_with(unit[0]) == unit and (asked or bool(rehearsed_as_one(plan, unit[0], goal, asked)))


def reached_together(works: Sequence[Work], goal: Goal, do: DoOne, asked: bool) -> dict[str, MachineState]:
    """Drive machines that a run takes as one to the goal, with a rehearsal where somebody has `asked` for one. Raises
    as `kubeferry.steps.together` and `rehearse_together` do: after one that did not pass nothing is stopped."""
    if goal is Goal.REHEARSE:
        return rehearse_left(works, do)
    again = goal is Goal.MIGRATE_AGAIN
    if asked and goal.in_order and all(work.state().may_begin(again=again) for work in works):
        for work in works:
            _refuse_bound(work)
        if failed := copy_ahead(works, do):
            raise next(iter(failed.values()))
        rehearse_together(works, do)
    return drive_set(works, goal, do)


def copy_ahead(
    works: Sequence[Work], do: DoOne, refused: Mapping[str, KubeferryError] | None = None
) -> dict[str, KubeferryError]:
    """One round of each of them, one after the other; what stopped one costs no other its round. Returns what stopped
    which, already recorded; `refused` are those that were found out beforehand. Raises Fenced and Interrupted."""
    failed: dict[str, KubeferryError] = {}
    for work in works:
        name = work.entry.name
        try:
            end_others(work)
            if refused and name in refused:
                refuse(work, refused[name])
            drive(work, Goal.PRECOPY, partial(do, work))
        except (Fenced, Interrupted):
            raise
        except KubeferryError as error:
            failed[name] = error
    return failed


def rehearse_left(works: Sequence[Work], do: DoOne) -> dict[str, MachineState]:
    """Rehearse those of them that have not moved yet: together, or the last one by itself. Raises as
    `rehearse_together` and `kubeferry.steps.rehearsing.rehearse` do."""
    moved = {work.entry.name for work in works if work.state().resumes in MOVED}
    if len(moved) in {0, len(works)}:
        return rehearse_together(works, do)
    plan = works[0].plan.without(moved)
    left = [
        replace(work, plan=plan, entry=work.entry.model_copy(update={"app_probes": None}))
        for work in works
        if work.entry.name not in moved
    ]
    if len(left) > 1:
        rehearse_together(left, do)
    else:
        rehearse(left[0], partial(do, left[0]))
    return {work.entry.name: work.state() for work in works}


def why_not_together(works: Sequence[Work]) -> str:
    """Why these are not rehearsed together as a round of theirs asks for: one of them has moved, say. Empty where
    nothing speaks against it."""
    for work in works:
        name, state = work.entry.name, work.state()
        if state.resumes in MOVED:
            return f"{name} has moved, and `kubeferry rehearse` takes what is left of app {work.entry.app}"
        if error := unsynced(work.plan, name, state):
            return f"{name}: {error.why}"
    return ""


def rehearse_together(works: Sequence[Work], do: DoOne) -> dict[str, MachineState]:
    """Rehearse what is durable of them, all at once. Returns their states; raises RehearsalFailed where one of them did
    not pass, or their app, with whose probe it was; PermanentError where one of them cannot be rehearsed, and then none
    of them is. All stay synced either way."""
    for work in works:
        refuse_unsynced(work.plan, work.entry.name, work.state())
    if not works[0].target.capabilities.rehearses_together:
        raise TargetRefused(
            "the target does not rehearse machines together",
            why=f"app {works[0].entry.app} is planned so, for a target that does",
            fix="Plan again with this configuration (`kubeferry plan --config`).",
            machine=works[0].entry.name,
        )
    before = {work.entry.name: _number(work.state()) for work in works}
    try:
        drive_set(works, Goal.REHEARSE, do)
    except Fenced:
        raise  # whoever runs now ends them
    except BaseException as error:
        with contextlib.suppress(KubeferryError):  # as for a lone machine
            _give_up(works, do, error)
        raise
    states = {work.entry.name: work.state() for work in works}
    for name, state in states.items():
        if _number(state) == before[name] or not has_passed(state):
            why = not_passed(states) or _why_not(states) or "not all of them could begin"
            raise RehearsalFailed(UNTOUCHED, why=why, fix=LOOK, machine=name)
    return states


def _number(state: MachineState) -> int:
    return state.rehearsal.begun.number if state.rehearsal else 0


def _why_not(states: Mapping[str, MachineState]) -> str:
    """Whose disks are not as they were before, or were not before it."""
    for name, state in states.items():
        if state.differing:
            return f"{name}: {', '.join(state.differing)} did not read back as before"
    return next((f"{name}: {why}" for name, state in states.items() if (why := why_not(state))), "")


def _give_up(works: Sequence[Work], do: DoOne, error: BaseException) -> None:
    """End those that came to nothing, with the reason at the one that it is of."""
    of = getattr(error, "machine", "")
    started = [work for work in works if work.state().rehearsing]
    for work in [work for work in started if work.entry.name == of] or started[:1]:
        tell_if_unseen(work, error)
    if started:
        drive_set(works, Goal.END_REHEARSAL, do)


def _refuse_bound(work: Work) -> None:
    """Raise PermanentError, before anything is copied, for one that is never rehearsed: others move with it, and it is
    not rehearsed together with them."""
    together = work.plan.rehearsed_with(work.entry.name)
    if not together or work.entry.shares_disks:
        refuse_unsynced(work.plan, work.entry.name, work.state())
