"""The verbs that move, as one run: the waves of a plan in order, so many machines at a time, each in a thread.

What is done stands in the journal: a run that is killed is taken up by the next one. Whoever shows the run (Prefect:
`flows.following`) is told what begins and how it ends, and is never waited for.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from flows.places import NoSlot, in_turn, take_slots
from flows.progress import Board
from flows.rounds import copied_and_rehearsed
from flows.told import DEFERRED, NOT_BEGUN, Audience, Outcome, StepBegun, TryEnded
from kubeferry.documents import Config, Entry, MoverProgress, Plan, Wave
from kubeferry.errors import (
    Deferred,
    HeldBack,
    Interrupted,
    KubeferryError,
    LateHookFailed,
    ProbeFailed,
    RehearsalFailed,
    RehearsalOwed,
)
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.held import Held
from kubeferry.life.rehearsal_actions import MOVED
from kubeferry.life.states import MachineState
from kubeferry.outside import stopping
from kubeferry.outside.subject import about
from kubeferry.steps.approvals import fix
from kubeferry.steps.drive import refuse
from kubeferry.steps.gate import Gate
from kubeferry.steps.hooks import failure
from kubeferry.steps.patience import patiently
from kubeferry.steps.rehearsing import reached
from kubeferry.steps.rehearsing_together import (
    go_as_one,
    reached_together,
    rehearsed_as_one,
)
from kubeferry.steps.release import settle
from kubeferry.steps.sources import source_for
from kubeferry.steps.together import DoOne, refuse_set
from kubeferry.steps.turns import Turns
from kubeferry.steps.work import Work
from kubeferry.targets import open_target
from kubeferry.targets.gone import GoneTarget

_UNTOUCHED: Mapping[type[KubeferryError], str] = {RehearsalFailed: "not passed", RehearsalOwed: "waits"}
"""What is said of machines that failed in nothing: they are as they were, and no step of theirs goes on."""

logger = logging.getLogger(__name__)


Here = Callable[["Run", tuple[str, ...]], list[Outcome]]
"""Drives machines that move as one in this process; returns how each of them ended."""


class Others(Protocol):
    """Other processes that drive a run's machines (`flows.elsewhere`), so many at once."""

    at_once: int

    def driven(self, run: Run, unit: tuple[str, ...], here: Here) -> list[Outcome]:
        """How these machines' run ended, whoever drove them: one of the others, or `here`. Raises KubeferryError."""


@dataclass(slots=True)
class Run:
    """One call of `migrate`, `commit` or `rollback`: what its threads share. `target_is_down` names the person who has
    said that the target is gone for good, `by` the one who has asked for a commit. `patient`: what may pass is waited
    for after a stop. `refused` are machines that were found out beforehand, with the reason: nothing is done to them.
    `turns` says who has to wait for whom, None where nobody does; `gate` who may be stopped now. `deferred` are those
    for which nothing can be done in this run: their window is closed. `rehearse`: what is copied ahead is rehearsed
    before anything else. `others` are the processes that drive its machines, None where this one does. `standing` is
    where each machine was seen to stand last, for whoever may not wait for the journal."""

    plan: Plan
    config: Config
    journal: Journal
    board: Board
    goal: Goal
    shown: Audience = field(default_factory=Audience)
    target_is_down: str = ""
    by: str = ""
    patient: bool = True
    refused: Mapping[str, KubeferryError] = field(default_factory=dict)
    deferred: Mapping[str, Deferred] = field(default_factory=dict)
    turns: Turns | None = None
    gate: Gate | None = None
    rehearse: bool = False
    others: Others | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    standing: dict[str, MachineState] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def at_once(self) -> int:
        """How many machines of a wave are under way at once."""
        return self.others.at_once if self.others else self.config.limits.concurrent_machines


def run_plan(run: Run, machines: tuple[str, ...]) -> list[Outcome]:
    """Drive these machines of the plan, wave by wave. One that fails holds back those that wait for it, and no others.
    Who asks to stop gets no further machine."""
    wanted = frozenset(machines)
    if run.goal.in_order and run.turns is None:
        run.turns = Turns(run.plan, run.journal, again=run.goal is Goal.MIGRATE_AGAIN)
    run.gate = run.gate or Gate(run.plan, run.journal)
    for wave in run.plan.waves:
        if chosen := tuple(name for name in wave.machines if name in wanted):
            _drive_wave(run, wave, chosen)
        if stopping.requested():
            break
    return [run.outcomes.get(name, Outcome(name, NOT_BEGUN)) for name in machines]


def _drive_wave(run: Run, wave: Wave, machines: tuple[str, ...]) -> None:
    """One wave. What moves as one takes one turn: its machines wait for each other, and none of them for a turn. Who
    was held back has another one where that is settled: the wave had stopped for what has failed before, say."""
    ready = left = _units(run, machines)
    with ThreadPoolExecutor(run.at_once, thread_name_prefix=wave.name) as pool:
        while ready:
            in_turn(run, pool, ready, partial(_drive_shown, run, wave.name))
            left = [unit for unit in left if unit[0] not in run.outcomes]
            ready = [] if stopping.requested() else [unit for unit in left if not _held(run, unit)]
    for unit in left:
        if held := _held(run, unit):
            _hold(run, unit, held)


def _held(run: Run, unit: tuple[str, ...]) -> Held | None:
    """Why it has to wait now. What was refused does not: nothing is done to it, which is told with its own reason."""
    if run.turns is None or not run.refused.keys().isdisjoint(unit):
        return None
    return run.turns.held(unit)


def _hold(run: Run, unit: tuple[str, ...], held: Held) -> None:
    """Nothing was done to these machines, and that is told with its reason."""
    turn = any(one.error is not None and (name in held.by or not held.by) for name, one in run.outcomes.items())
    turn = turn and not held.approval
    for name in unit:
        settled = fix(run.plan, name) if held.approval else ""
        error = HeldBack(held.why, machine=name, by=held.by, turn=turn, fix=settled)
        run.outcomes[name] = Outcome(name, NOT_BEGUN, error)
        logger.warning("%s: %s", name, error.what)
        run.board.action(name, error.what)
        run.shown.held(name, held.why)


def _units(run: Run, machines: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What is driven as one: a machine, or a set that shares disks. What is copied ahead stops nobody, and waits for
    nobody, but for those that it is rehearsed with."""
    if run.goal in {Goal.PRECOPY, Goal.REHEARSE}:
        whole = (rehearsed_as_one(run.plan, name, run.goal, run.rehearse) or (name,) for name in machines)
        return list(dict.fromkeys(whole))
    return list(dict.fromkeys(run.plan.set_of(name) for name in machines))


def _drive_shown(run: Run, wave: str, unit: tuple[str, ...]) -> bool:
    """The unit's run, however it ends, as an outcome of each machine. What its thread logs is of this machine. False
    where somebody was quicker with a slot: nothing was done, and it has another turn."""
    entry = run.plan.entry(unit[0])
    with about(plan=run.plan.name, wave=wave, app=entry.app or "", machine=unit[0]):
        if not (stopping.requested() or _held(run, unit)):
            try:
                _drive_unit(run, unit)
            except NoSlot:
                return False
    return True


def _drive_unit(run: Run, unit: tuple[str, ...]) -> None:
    outcomes = _driven(run, unit)
    if run.turns:
        run.turns.ended(unit)
    if run.gate:
        run.gate.ended()
    for outcome in (_seen(run, one) for one in outcomes):
        machine, error = outcome.machine, outcome.error
        with run.lock:
            run.outcomes[machine] = outcome
        if isinstance(error, HeldBack) and not isinstance(error, Deferred):
            logger.warning("%s: %s", machine, error.what)
        elif error:
            level = logging.INFO if isinstance(error, (Interrupted, Deferred)) else logging.ERROR
            logger.log(level, "%s: %s", machine, error, exc_info=error)
        run.board.action(machine, str(error).splitlines()[0] if error else outcome.phase)
        run.shown.tell(machine, outcome)


def _driven(run: Run, unit: tuple[str, ...]) -> list[Outcome]:
    """What became of the unit; nothing is done to one whose window is closed, and of which nothing is copied ahead."""
    if deferred := next((run.deferred[name] for name in unit if name in run.deferred), None):
        return [Outcome(name, DEFERRED, _of(deferred, name)) for name in unit]
    if run.others and run.refused.keys().isdisjoint(unit):
        others = run.others
        return _ended(unit, lambda: others.driven(run, unit, _driven_here))
    return _driven_here(run, unit)


def _driven_here(run: Run, unit: tuple[str, ...]) -> list[Outcome]:
    if go_as_one(run.plan, unit, run.goal, run.rehearse):
        return _drive_set(run, unit)
    return [_drive_machine(run, run.plan.entry(unit[0]))]


def _seen(run: Run, outcome: Outcome) -> Outcome:
    """The outcome with where the machine was seen last, if something stopped it there."""
    state = run.standing.get(outcome.machine)
    return replace(outcome, stands=str(state.phase)) if outcome.error and state else outcome


def _drive_machine(run: Run, entry: Entry) -> Outcome:
    """How the run of a machine that moves by itself ended."""

    def driven() -> list[Outcome]:
        with _work(run, entry) as work:
            if entry.name in run.refused:
                refuse(work, run.refused[entry.name])
            take_slots(run, [work])
            if run.turns:
                run.turns.insist(work)

            def attempt(action: Action, step: Callable[[], None]) -> None:
                _attempt(run, work, action, step)
                _look_ahead(run, work, action)

            try:
                state = reached(work, run.goal, attempt, run.rehearse)
            except LateHookFailed:
                return _after_hooks([work])
            return [Outcome(entry.name, state.phase, left=settle(work))]

    return _ended((entry.name,), driven)[0]


def _look_ahead(run: Run, work: Work, action: Action) -> None:
    """After each round, what the downtime would be now."""
    if action.kind is ActionKind.END_ROUND:
        seen = work.gate.project(work)
        run.board.projected(work.entry.name, seen.told(), {"projected": seen.model_dump(mode="json", by_alias=True)})


def _drive_set(run: Run, names: tuple[str, ...]) -> list[Outcome]:
    """How the run of machines that move as one ended, for each of them."""

    def attempt(work: Work, action: Action, step: Callable[[], None]) -> None:
        _attempt(run, work, action, step)
        if run.goal is Goal.PRECOPY:
            _look_ahead(run, work, action)

    def driven() -> list[Outcome]:
        with contextlib.ExitStack() as opened:
            if run.goal is Goal.PRECOPY:
                return _round_of(run, names, opened, attempt)
            works = [opened.enter_context(_work(run, run.plan.entry(name))) for name in names]
            if refused := {name: run.refused[name] for name in names if name in run.refused}:
                refuse_set(works, refused, attempt)
            take_slots(run, works)
            if run.turns:
                for work in works:
                    run.turns.insist(work)
            try:
                states = reached_together(works, run.goal, attempt, run.rehearse)
            except LateHookFailed:
                return _after_hooks(works)
            return [_reached(run, work, states[work.entry.name]) for work in works]

    tie = "is rehearsed" if run.goal in {Goal.REHEARSE, Goal.PRECOPY} else "moves"
    return _ended(names, driven, tie)


def _reached(run: Run, work: Work, state: MachineState) -> Outcome:
    """The end of one of several; that it was not rehearsed with the others, since it has moved, is said."""
    moved = run.goal is Goal.REHEARSE and state.resumes in MOVED
    return Outcome(work.entry.name, state.phase, left="not rehearsed: it has moved" if moved else settle(work))


def _round_of(run: Run, names: Sequence[str], opened: contextlib.ExitStack, attempt: DoOne) -> list[Outcome]:
    """How a round of machines ended that are rehearsed together after it. One that somebody else has in hand costs the
    others no round."""
    works, failed = list[Work](), dict[str, KubeferryError]()
    for name in names:
        try:
            works.append(opened.enter_context(_work(run, run.plan.entry(name))))
        except Interrupted:
            raise
        except KubeferryError as error:
            failed[name] = error
    if not works:
        raise next(iter(failed.values()))
    take_slots(run, works)
    ended = {one.machine: one for one in copied_and_rehearsed(run, works, attempt, failed)}
    return [ended.get(name) or Outcome(name, "failed", failed[name]) for name in names]


def _after_hooks(works: Sequence[Work]) -> list[Outcome]:
    """Their ends, of which hooks after it have failed: the machines have moved, or are back, all the same."""
    outcomes = []
    for work in works:
        state = work.state()
        error, left = failure(work.entry, state), settle(work)
        outcomes.append(Outcome(work.entry.name, "failed" if error else state.phase, error, left))
    return outcomes


def _ended(names: tuple[str, ...], driven: Callable[[], list[Outcome]], tie: str = "moves") -> list[Outcome]:
    """What was reached, or what stopped it, for each of these machines, of which one `tie`s the others."""
    try:
        return driven()
    except NoSlot:
        raise
    except Interrupted as error:
        return [Outcome(name, "stopped", _of(error, name)) for name in names]
    except Deferred as error:
        return [Outcome(name, DEFERRED, _of(error, name)) for name in names]
    except HeldBack as error:  # no source of theirs was stopped
        return [Outcome(name, NOT_BEGUN, _of(error, name)) for name in names]
    except KubeferryError as error:
        phase = _UNTOUCHED.get(type(error), "failed")
        return [Outcome(name, phase, _of(error, name, tie)) for name in names]
    except Exception as error:
        logger.exception("%s: a defect", ", ".join(names))
        fix, what = "Report it with the log of this run.", f"a defect: {type(error).__name__}: {error}"
        return [Outcome(name, "failed", KubeferryError(what, fix=fix, machine=name)) for name in names]


def _of(error: KubeferryError, machine: str, tie: str = "moves") -> KubeferryError:
    """What stopped a set as it is told of one of its machines: it may have come of another one."""
    if not error.machine or error.machine == machine:
        return error
    told = copy.copy(error)
    told.__cause__ = error.__cause__
    told.machine = machine
    if not isinstance(error, (ProbeFailed, Deferred, RehearsalFailed)):  # who went back, or waits, does so with all
        told.what, told.why = f"it {tie} together with {error.machine}, which was stopped", error.reason
    return told


@contextlib.contextmanager
def _work(run: Run, entry: Entry) -> Iterator[Work]:
    """Under a lease, with connections of this machine's own: neither libvirt's nor a target's are shared by threads."""
    source = target = None
    try:
        with run.journal.lease(run.plan.digest, entry.name) as lease:
            source = source_for(
                run.plan, entry, run.config, run.journal, lambda: work, partial(run.board.action, entry.name)
            )
            target = GoneTarget(run.target_is_down) if run.target_is_down else open_target(run.config.target)
            work = Work(
                plan=run.plan,
                entry=entry,
                source=source,
                target=target,
                journal=run.journal,
                lease=lease,
                limits=run.config.limits,
                progress=lambda machine, disk, progress: _progress(run, machine, disk, progress),
                target_is_down=run.target_is_down,
                seen=functools.partial(operator.setitem, run.standing, entry.name),
                waits=lambda error: run.board.action(entry.name, f"it is tried again, since {error.reason}"),
                by=run.by,
                patient=run.patient,
                run_gate=run.gate,
            )
            yield work
    finally:
        for opened in (source, target):
            if opened is not None:
                with contextlib.suppress(KubeferryError):  # how the machine's run ended is what is told
                    opened.close()


def _progress(run: Run, machine: str, disk: str, progress: MoverProgress) -> None:
    run.board.progress(machine, disk, progress)
    stopping.check()


def _attempt(run: Run, work: Work, action: Action, step: Callable[[], None]) -> None:
    """One action, tried again where that can help (`kubeferry.steps.patience`)."""
    name, label = work.entry.name, f"{action.kind} {' '.join(action.disks)}".strip()
    run.board.action(name, f"{label}: {action.reason}")
    run.shown.tell(name, StepBegun(action.kind, label, action.reason))
    with about(machine=name):  # of a set each in its turn
        patiently(work, step, lambda error, again: run.shown.tell(name, TryEnded(error, again=again)))
