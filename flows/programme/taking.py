"""The flow that any worker may take: one machine of a run, or those that move as one with it."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from flows import moves
from flows.elsewhere import stays_alive
from flows.following import Following
from flows.migrate import Outcome, run_plan
from flows.moves import Wanted
from flows.programme.here import beside, nothing_begun, shown
from flows.programme.kept import settings_of
from flows.programme.showing import Showing
from flows.results import as_text
from flows.struck import strike_logs, struck_errors, without_secrets
from kubeferry.errors import as_told
from kubeferry.journal import Errand, Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping


def _named() -> str:
    """A run is called after its machines, as in the run that asks for it."""
    context = FlowRunContext.get()
    given = (context.parameters or {}) if context else {}
    return without_secrets(", ".join(given.get("machines", ())))


@flow(name="machine", flow_run_name=_named, persist_result=False)
def machine(
    plan: str,
    digest: str,
    machines: list[str],
    goal: str,
    errand: str,
    config: str | None = None,
    out_of_order: str | None = None,
) -> State[Any]:
    """One machine of a `precopy`, `rehearse` or `cutover`, or those that move as one with it. Started by that run.

    The journal says whether it is still wanted, and is told what came of it. To move a machine by hand, start `cutover`
    with its name: this one does nothing unless it was asked for there (`errand`).
    """
    strike_logs()
    with struck_errors(), contextlib.closing(Journal.open(settings_of(config).journal)) as journal:
        taken = journal.errands.take(errand)
        if taken is None:
            told = "nobody wants this run any more, or somebody else has it: the run that asked for it says more"
            return Cancelled(name="NotBegun", message=told)
        wanted = Wanted(plan, config or "", digest, machines=tuple(machines))
        return _carried_out(journal, taken, wanted, Goal(goal), out_of_order or "")


def _carried_out(journal: Journal, taken: Errand, wanted: Wanted, goal: Goal, out_of_order: str) -> State[Any]:
    """The machines' run. What came of it is told as soon as it is known, whether or not Prefect can be shown it."""
    runs: list[Following] = []

    def ended(outcomes: Sequence[Outcome]) -> None:
        journal.errands.end(taken.id, as_text(outcomes))

    with _alive(journal, taken, runs):
        try:
            move = moves.in_words(wanted, goal, out_of_order=out_of_order)
            with moves.prepared(move) as ready:
                if ready.idle:
                    ended(run_plan(ready.run, ready.machines))
                    return nothing_begun(ready)
                runs.append(shown(ready, move))
                return beside(runs[0], Showing(runs[0], part=True), ended)
        except BaseException as error:
            told = as_told(error) if isinstance(error, Exception) else stopping.interrupted()
            ended([Outcome(name, "failed", told) for name in taken.unit])
            raise


@contextlib.contextmanager
def _alive(journal: Journal, taken: Errand, runs: Sequence[Following]) -> Iterator[None]:
    """While the block lasts, whoever asked for it sees that it lives, and can have it stop."""
    over = threading.Event()

    def cancel() -> None:
        for run in runs:
            run.cancel()
        stopping.request(signal.SIGTERM)

    watch = functools.partial(stays_alive, journal, taken.id, cancel, over)
    threading.Thread(target=watch, daemon=True, name="says that it lives").start()
    try:
        yield
    finally:
        over.set()
