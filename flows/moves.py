"""A verb that moves, from what was asked to how its machines ended: the same at a terminal and in a worker.

in words   what names a run as a deployment keeps it: a plan, a wave, an app, machines
prepared   the journal is open, source and target were asked, what waits is known: a run that may begin
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.migrate import Run
from flows.progress import Board
from flows.telling import announce_outcomes, refuse_unready, telling
from flows.told import Outcome
from kubeferry.config import find_config, read_config
from kubeferry.documents import Config, Plan, plan_in
from kubeferry.errors import Deferred, HeldBack, InputInvalid, KubeferryError, Problem, TransientError
from kubeferry.journal import Journal, meant_by
from kubeferry.life.action_kinds import Goal
from kubeferry.life.rehearsal_actions import MOVED
from kubeferry.steps.beforehand import Asked, ask, copied_ahead, left_out, untouched
from kubeferry.steps.gate import Gate
from kubeferry.steps.questions import Told, nobody
from kubeferry.steps.rehearsing_together import rehearsed_as_one
from kubeferry.steps.sources import unknown_source
from kubeferry.steps.turns import Turns
from kubeferry.words import first_of, meant

logger = logging.getLogger(__name__)

LISTED = 30  # names in an error; a plan may have hundreds


@dataclass(frozen=True, slots=True)
class Move:
    """What a verb was asked to do. `path` is the configuration's. `target_is_down`, `insisted` and `by` name the person
    who has said that the target is gone for good, that the machines move out of order, or that they have moved;
    `overruled` the one who has said that they move outside their windows, and why."""

    plan: Plan
    settings: Config
    path: Path
    machines: tuple[str, ...]
    goal: Goal
    target_is_down: str = ""
    insisted: str = ""
    overruled: str = ""
    by: str = ""
    rehearse: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may begin. `idle`: there is nothing to watch, what there is to say is only recorded."""

    run: Run
    machines: tuple[str, ...]
    asked: Asked
    idle: bool


# --- what is asked in words ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What names a run, as a deployment keeps it. `config` is a path, empty for the environment's; `plan` a name or
    digest of the journal's, `digest` what it has to have, empty for any. `machines`, `wave` and `app` each narrow it;
    empty is all."""

    plan: str
    config: str = ""
    digest: str = ""
    wave: str = ""
    app: str = ""
    machines: tuple[str, ...] = ()


def in_words(wanted: Wanted, goal: Goal, *, out_of_order: str = "", by: str = "") -> Move:
    """The move that is meant. Raises InputInvalid for a configuration, plan, wave, app or machine that is not there."""
    path = find_config(Path(wanted.config) if wanted.config else None)
    settings = read_config(path)
    plan = kept_plan(settings, wanted.plan, wanted.digest)
    machines = narrowed(plan, wanted)
    if plan.entries and not machines:
        fix = "Name fewer of wave, app and machines."
        what = "no machine is in all of what is named"
        raise InputInvalid("nothing of the plan is meant", [Problem(f"plan {plan.name}", what, fix)])
    return whole(Move(plan, settings, path, machines, goal, insisted=out_of_order, by=by))


def kept_plan(settings: Config, named: str, digest: str = "") -> Plan:
    """The plan that the journal holds by this name or digest. Raises InputInvalid where it has none, several of the
    name, or one of another digest than this."""
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        record = meant_by(digest or named, journal.plans())
        if named not in {record.name, ""} and not record.digest.startswith(named):
            what = f"the plan {record.digest[:12]} is called {record.name}"
            raise InputInvalid("another plan is meant", [Problem(f"plan {named}", what, "Name it by one of the two.")])
        found = journal.plan(record.digest)
    return plan_in(found.document, f"plan {found.name} ({found.digest[:12]}) in the journal")


def narrowed(plan: Plan, wanted: Wanted) -> tuple[str, ...]:
    """The machines that are meant, in the plan's order; each set of those that share disks is whole. Raises
    InputInvalid."""
    known = [entry.name for entry in plan.entries]
    waves = {wave.name: wave.machines for wave in plan.waves}
    problems = [_unknown("machine", name, known) for name in wanted.machines if name not in known]
    if wanted.wave and wanted.wave not in waves:
        problems.append(_unknown("wave", wanted.wave, list(waves)))
    if problems:
        raise InputInvalid("the plan has no such thing", problems)
    chosen = frozenset(wanted.machines or known)
    if wanted.wave:
        chosen &= frozenset(waves[wanted.wave])
    if wanted.app:
        chosen &= members(plan, wanted.app)
    whole = {other for name in chosen for other in plan.set_of(name)}
    return tuple(name for wave in plan.waves for name in wave.machines if name in whole)


def whole(move: Move, say: Callable[[str], None] | None = None) -> Move:
    """The move with all machines that are rehearsed together with one of those that are named, in the plan's order; who
    they are is said."""
    plan = left_of(move.plan, move.settings) if move.goal is Goal.REHEARSE else move.plan
    taken = dict.fromkeys(
        one for name in move.machines for one in rehearsed_as_one(plan, name, move.goal, move.rehearse) or (name,)
    )
    if not (more := [name for name in taken if name not in move.machines]):
        return move
    apps = ", ".join(dict.fromkeys(move.plan.entry(name).app or "" for name in more))
    (say or logger.info)(f"{', '.join(more)} too: app {apps} is rehearsed together")
    return replace(move, machines=tuple(one for wave in move.plan.waves for one in wave.machines if one in taken))


def left_of(plan: Plan, settings: Config) -> Plan:
    """The plan without those machines of its apps that have moved: the others are what can be rehearsed."""
    if not plan.apps:
        return plan
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
    return plan.without({name for name, state in states.items() if state.resumes in MOVED})


def members(plan: Plan, app: str) -> frozenset[str]:
    """The machines of an app. Raises InputInvalid for an unknown one."""
    apps = apps_of(plan)
    if app not in apps.values():
        raise InputInvalid("the plan has no such thing", [_unknown("app", app, sorted(set(apps.values())))])
    return frozenset(name for name, one in apps.items() if one == app)


def apps_of(plan: Plan) -> dict[str, str]:
    """By machine the app that it is of; machines of none are left out."""
    return {entry.name: entry.app for entry in plan.entries if entry.app}


def _unknown(kind: str, name: str, known: Sequence[str]) -> Problem:
    fix = " ".join(filter(None, (meant(name, known), f"Name one of: {first_of(known, LISTED) or 'none'}.")))
    return Problem(f"{kind} {name}", f"no {kind} of it is called so", fix)


# --- before and after a run ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def prepared(move: Move, told: Told = nobody, opened: Journal | None = None) -> Iterator[Prepared]:
    """The run of a move, while its journal is open; `told` hears how far the questions are. `opened`: a journal that is
    open already, and remembers where machines stand. Raises InputInvalid where source or target has something against
    all machines, TransientError where one of them does not answer."""
    plan, settings, machines, goal = move.plan, move.settings, move.machines, move.goal
    refuse_empty(plan, machines)
    refuse_unknown_source(plan, settings, move.path)
    if goal is not Goal.ROLLBACK:  # who goes back has no time for that
        refuse_unready(settings)
    with _opened(settings, opened) as journal:
        again = goal is Goal.MIGRATE_AGAIN
        turns = Turns(plan, journal, again=again, insisted=move.insisted) if goal.in_order else None
        gate = Gate(plan, journal, overruled=move.overruled)
        waiting = turns.out_of_reach(machines) if turns else {}
        shut = gate.shut(machines, journal.states(plan.digest), again=again) if goal.in_order else {}
        coming = tuple(name for name in machines if name not in waiting and name not in shut)
        asked = beforehand(plan, settings, journal, coming, goal, told)
        refused = asked.errors()
        waiting = turns.out_of_reach(machines, refused) if turns else {}
        journal.keep_plan(plan)
        down = move.target_is_down
        run = Run(plan, settings, journal, Board(quiet=True), goal, target_is_down=down, refused=refused)
        run.turns, run.gate, run.deferred, run.by, run.rehearse = turns, gate, shut, move.by, move.rehearse
        states = journal.states(plan.digest)
        run.standing.update({name: states[name] for name in machines if name in states})
        idle = len(refused.keys() | waiting.keys() | shut.keys()) == len(machines)
        with telling(journal, settings):
            yield Prepared(run, machines, asked, idle)
            announce_outcomes(journal, settings, plan, list(run.outcomes.values()))


@contextlib.contextmanager
def _opened(settings: Config, opened: Journal | None) -> Iterator[Journal]:
    """The one that is open already, and stays so; else one for as long as the block lasts."""
    if opened:
        yield opened
        return
    with contextlib.closing(Journal.open(settings.journal)) as own:
        yield own


def beforehand(  # what a run has, and nothing else
    plan: Plan, settings: Config, journal: Journal, machines: tuple[str, ...], goal: Goal, told: Told = nobody
) -> Asked:
    """What source and target have against machines that nobody has stopped yet, before anything is touched. A trial for
    each hourly round would show nothing that the rounds do not. Raises InputInvalid where it is against all of them."""
    if goal in {Goal.ROLLBACK, Goal.COMMIT, Goal.REHEARSE}:  # none of them stops a source, or writes to a disk
        return Asked()
    states = journal.states(plan.digest)
    waiting = untouched(machines, states, again=goal is Goal.MIGRATE_AGAIN)
    shown: frozenset[str] = frozenset()
    if goal is Goal.PRECOPY:  # what is copied ahead is what runs, and moves warm
        waiting = tuple(name for name in waiting if plan.entry(name).mode == "warm")
        shown = copied_ahead(states)
    asked = ask(settings, plan, waiting, shown, told)
    asked.check()
    return asked


def nothing_left(ready: Prepared, outcomes: Sequence[Outcome]) -> KubeferryError:
    """The error of an idle run: every machine was refused, or waits, for others that are none of it or its window."""
    if ready.run.refused:
        return ready.asked.nothing_left(ready.run.plan.name)
    deferred = [one.error for one in outcomes if isinstance(one.error, Deferred)]
    if deferred:
        told = "; ".join(dict.fromkeys(error.what.removeprefix("it is deferred: ") for error in deferred))
        return TransientError("nothing was begun: no window is open", why=told, fix=deferred[0].fix)
    held = [one.error for one in outcomes if isinstance(one.error, HeldBack)]
    fix = "Move what it waits for first, or mend it. To move it all the same, name it and say --out-of-order."
    approval = all(error.settled_by for error in held)
    what = "these machines are not approved" if approval else "what these machines wait for has not moved"
    problems = [Problem(f"--machine {error.machine}", error.why_held, error.settled_by or fix) for error in held]
    return InputInvalid(f"nothing was begun: {what}", problems)


def refuse_empty(plan: Plan, machines: tuple[str, ...]) -> None:
    """A plan of no machine is no run that went well: whoever runs it expects one to move. Raises InputInvalid."""
    if not machines:
        fix = "Plan again, with a policy that settles what speaks against them: `kubeferry assess` says it."
        problem = Problem(f"plan {plan.name}", f"it moves no machine{left_out(plan)}", fix)
        raise InputInvalid("the plan is empty", [problem])


def refuse_unknown_source(plan: Plan, settings: Config, path: Path) -> None:
    """Raise InputInvalid where the configuration does not have the plan's source."""
    if problem := unknown_source(plan, settings):
        found = Problem(f"{path}: {problem.where}", problem.what, problem.fix)
        raise InputInvalid("the plan's source is not configured", [found])
