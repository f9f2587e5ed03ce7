"""The flow that any worker may take: one machine of a run, or those that move as one with it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from flows import moves
from flows.elsewhere import stays_alive
from flows.following import Following
from flows.leaving import carried_through
from flows.migrate import Run, run_plan
from flows.moves import Move, Wanted
from flows.programme.here import beside, nothing_begun, shown
from flows.programme.kept import settings_of
from flows.programme.showing import Showing
from flows.results import as_text
from flows.struck import strike_logs, struck_errors, without_secrets
from flows.told import Outcome
from kubeferry.errors import KubeferryError, TransientError, as_told
from kubeferry.journal import Errand, Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping

AGAIN_SECONDS = 0.5
END_AGAIN_SECONDS = (1.0, 5.0, 30.0, 60.0)

logger = logging.getLogger(__name__)


def _named() -> str:
    """A run is called after its machines, as in the run that asks for it."""
    context = FlowRunContext.get()
    given = (context.parameters or {}) if context else {}
    return without_secrets(", ".join(given.get("machines", ())))


@flow(name="machine", flow_run_name=_named, persist_result=False)
def machine(
    plan: str,
    digest: str,
    machines: list[str],  # noqa: ARG001 (shown in the UI; the journal says which they are)
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
    settings = settings_of(config)
    linger = settings.spread.linger_seconds if settings.spread else 0
    with struck_errors(), contextlib.closing(Journal.open(settings.journal)) as journal:
        taken = journal.errands.take(errand) or (journal.errands.take_another(errand) if linger else None)
        if taken is None:
            told = "nobody wants this run any more, or somebody else has it: the run that asked for it says more"
            return Cancelled(name="NotBegun", message=told)
        wanted = Wanted(plan, config or "", digest, machines=taken.unit)
        return _Taker(journal, taken, linger).carried_out(wanted, Goal(goal), out_of_order or "")


@dataclass(slots=True)
class _Taker:
    """This process, with what it has taken."""

    journal: Journal
    taken: Errand
    linger: float
    runs: list[Following] = field(default_factory=list)

    def carried_out(self, wanted: Wanted, goal: Goal, out_of_order: str) -> State[Any]:
        """The machines' run, and what it takes after it."""
        with self._alive():
            try:
                move = moves.in_words(wanted, goal, out_of_order=out_of_order)
                with moves.prepared(move, opened=self.journal) as ready:
                    if ready.idle:
                        self._end(run_plan(ready.run, ready.machines))
                        return nothing_begun(ready)
                    self.runs.append(shown(ready, move))
                    return beside(self.runs[0], Showing(self.runs[0], part=True), partial(self._drive, move, ready.run))
            except BaseException as error:
                self._failed(error)
                raise

    def _drive(self, move: Move, run: Run) -> None:
        """This one, and others for as long as there are any: what came of each is told as soon as it is known, whether
        or not Prefect can be shown it."""
        self._end(carried_through(run, self.taken.unit, move.path))
        while not stopping.requested() and (another := self._another()):
            self.taken = another
            self.runs[0].machines += another.unit
            try:
                with moves.prepared(replace(move, machines=another.unit), opened=self.journal) as ready:
                    ready.run.shown = self.runs[0]
                    outcomes = carried_through(ready.run, another.unit, move.path)
            except KubeferryError as error:
                self._failed(error)
            else:
                self._end(outcomes)

    def _another(self) -> Errand | None:
        until = time.monotonic() + self.linger
        while time.monotonic() < until and not stopping.requested():
            with contextlib.suppress(KubeferryError):  # it is asked again
                if found := self.journal.errands.take_another(self.taken.id):
                    return found
            stopping.wait(AGAIN_SECONDS)
        return None

    def _end(self, outcomes: Sequence[Outcome]) -> None:
        """Tell what came of it, for as long as a journal may be away. Whoever is not told sees that this process lives
        no more, and has the machines looked at by another one."""
        text = as_text(outcomes)
        for pause in END_AGAIN_SECONDS:
            try:
                self.journal.errands.end(self.taken.id, text)
            except TransientError as error:
                logger.warning("what came of %s is not told yet: %s", ", ".join(self.taken.unit), error.reason)
                time.sleep(pause)
            else:
                return
        self.journal.errands.end(self.taken.id, text)

    def _failed(self, error: BaseException) -> None:
        told = as_told(error) if isinstance(error, Exception) else stopping.interrupted()
        self._end([Outcome(name, "failed", told) for name in self.taken.unit])

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """While the block lasts, whoever asked for it sees that it lives, and can have it stop."""
        over = threading.Event()

        def cancel() -> None:
            for run in self.runs:
                run.cancel()
            stopping.request(signal.SIGTERM)

        watch = partial(stays_alive, self.journal, lambda: self.taken.id, cancel, over)
        threading.Thread(target=watch, daemon=True, name="says that it lives").start()
        try:
            yield
        finally:
            over.set()
