"""What a run that somebody has cancelled may not leave: a machine whose source is off, and that serves nowhere.

Whoever cancels a run in Prefect sees no terminal that would tell him what is left. So each machine that was stopped in
the midst of its cutover goes back, and one whose copy is proven already is committed. A process of its own does that,
since the one that was cancelled is killed in half a minute; where even that one ends, `kubeferry status` tells what is
owed, and the next run goes on.

    python -m flows.leaving CONFIG DIGEST back=NAME … on=NAME …
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.migrate import Run, run_plan
from flows.moves import kept_plan
from flows.progress import Board
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.hooks import prepared_for
from kubeferry.life.states import MachineState, Phase
from kubeferry.outside import process, stopping

BACK = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.ROLLING_BACK})
LAST = frozenset({ActionKind.STOP_TARGET, ActionKind.COMMIT})
WAIT_SECONDS = 600.0

logger = logging.getLogger(__name__)


def owed(plan: Plan, states: Mapping[str, MachineState]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The machines that have to go back, and those that have only to be committed. Pure."""
    left = {name: one for name, one in states.items() if one.owes_restart}
    back = {name for name, one in states.items() if prepared_for(one) or (name in left and one.resumes in BACK)}
    on = {name for name, one in left.items() if one.resumes is Phase.VALIDATED and _only_the_end(plan, name, one)}
    whole = {other for name in back for other in plan.set_of(name)}
    order = [entry.name for entry in plan.entries]
    return tuple(name for name in order if name in whole), tuple(name for name in order if name in on - whole)


def _only_the_end(plan: Plan, name: str, state: MachineState) -> bool:
    facts = EntryFacts.of(plan, plan.entry(name), keeps_running=True)
    return next_action(facts, state).kind in LAST


def carried_through(run: Run, machines: tuple[str, ...], config: Path) -> list[Outcome]:
    """Drive the machines; where somebody cancels that in Prefect, bring what is left to its end. How each of them
    ended. `config` is the configuration's path."""
    outcomes = run_plan(run, machines)
    if not run.shown.called_off():
        return outcomes
    found: dict[str, Outcome] = {}
    try:
        found = _brought_to_an_end(run, machines, config)
    except (KubeferryError, OSError) as error:  # it is for the next run, and `status` tells it
        logger.warning("what was cancelled is not brought to its end: %s", error)
    run.shown.settle(found)
    return [found.get(one.machine, one) for one in outcomes]


def _brought_to_an_end(run: Run, machines: tuple[str, ...], config: Path) -> dict[str, Outcome]:
    plan, journal = run.plan, run.journal
    states = journal.states(plan.digest)
    back, on = owed(plan, {name: states[name] for name in machines if name in states})
    if not back and not on:
        return {}
    folder = config.resolve().parent / ".kubeferry"
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-P", "-m", "flows.leaving", str(config.resolve()), plan.digest]
    words += [*(f"back={name}" for name in back), *(f"on={name}" for name in on)]
    pidfile = folder / f"leaving-{plan.digest[:12]}-{os.getpid()}.pid"
    place = str(Path(__file__).resolve().parents[1])  # found wherever it runs from and however it was installed
    process.detached(words, pidfile=pidfile, log=folder / "leaving.log", env={"PYTHONPATH": place})
    limit = time.monotonic() + WAIT_SECONDS
    while process.alive(pidfile, program="flows.leaving") and time.monotonic() < limit:
        time.sleep(0.2)
    pidfile.unlink(missing_ok=True)
    states = journal.states(plan.digest)
    run.standing.update({name: states[name] for name in (*back, *on)})
    return {name: _outcome(name, states[name]) for name in (*back, *on)}


def _outcome(name: str, state: MachineState) -> Outcome:
    error = None if state.phase is Phase.COMMITTED else stopping.interrupted(why=_reason(state))
    return Outcome(name, str(state.phase), error, stands=str(state.phase))


def _reason(state: MachineState) -> str:
    if state.phase is Phase.ROLLED_BACK:
        return "the run was cancelled in the midst of its cutover: its source runs again"
    return f"the run was cancelled in the midst of its cutover, and it is {state.phase} now"


def main(arguments: Sequence[str]) -> None:
    """Take these machines back, and those to their end. Nothing but a kill stops it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    config, digest, *named = arguments
    settings = read_config(Path(config))
    plan = kept_plan(settings, digest)
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        for goal, word in ((Goal.ROLLBACK, "back="), (Goal.MIGRATE, "on=")):
            names = tuple(one.removeprefix(word) for one in named if one.startswith(word))
            if names:
                for outcome in run_plan(Run(plan, settings, journal, Board(quiet=True), goal), names):
                    print(outcome.machine, outcome.phase, outcome.error or "", flush=True)  # noqa: T201 (its log)


if __name__ == "__main__":
    main(sys.argv[1:])
