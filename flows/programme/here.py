"""A run that begins in a flow's own process, as a worker starts one: the run in a thread of its own, the flow beside
it.

The flow only shows it. Whatever comes to the flow, a signal of its worker, a server that went away, a lease of
Prefect's that was lost, it stays until the run has come to its end: the process would take the run with it.

A worker that cancels a run, or ends itself, sends SIGTERM and waits for 30 seconds before it kills. So the run stops at
a safe point then, and what may not be left there is brought to its end by a process of its own (`flows.leaving`).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Failed

from flows import following, leaving, moves
from flows.following import Following
from flows.migrate import run_plan
from flows.moves import Move, Prepared, Wanted
from flows.programme.handing import handed_out
from flows.programme.showing import Showing
from flows.serving.server import Api
from flows.struck import strike_logs, struck_errors, without_secrets
from kubeferry.errors import HeldBack
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping

LATER_SECONDS = 1800.0  # what could not be shown is shown later: so long is waited for a server that is away
HURRIED_SECONDS = 8.0  # of the 30 that a worker gives

logger = logging.getLogger(__name__)


def carried_out(goal: Goal, wanted: Wanted, *, out_of_order: str = "", by: str = "") -> State[Any]:
    """Show the run of this process that is meant, the terminal's; or begin it here, and show that."""
    strike_logs()
    if run := following.of(wanted.digest, goal):
        showing = Showing(run)
        showing.follow()
        return showing.end()
    with struck_errors():
        move = moves.in_words(wanted, goal, out_of_order=out_of_order, by=by)
        with moves.prepared(move) as ready:
            if ready.idle:
                return nothing_begun(ready)
            run = shown(ready, move)
            showing = Showing(run)
            with handed_out(ready.run, move, showing.links):
                return beside(run, showing)


def shown(ready: Prepared, move: Move) -> Following:
    """The run, with what is told of it from now on."""
    run = Following(Api(str(PREFECT_API_URL.value() or "")), ready.run, ready.machines, move.path)
    ready.run.shown = run
    return run


def nothing_begun(ready: Prepared) -> State[Any]:
    """Every machine was refused, or waits: that is recorded, and told."""
    outcomes = list(ready.run.outcomes.values()) or run_plan(ready.run, ready.machines)
    told = without_secrets(str(moves.nothing_left(ready, outcomes)))
    if all(isinstance(one.error, HeldBack) for one in outcomes):
        return Cancelled(name="Held", message=told)
    return Failed(name="NotBegun", message=told)


def beside(run: Following, showing: Showing, drive: Callable[[], object] | None = None) -> State[Any]:
    """The run in a thread, and the flow beside it until both have come to their end. `drive` is what the thread does,
    all of it before anything is left to be shown; the run's machines, unless something is given."""
    thread = threading.Thread(target=_run, args=(run, drive), name="the run")
    thread.start()
    _until(run, thread, showing)
    return showing.end()


def _run(run: Following, drive: Callable[[], object] | None) -> None:
    try:
        if drive:
            drive()
        else:
            leaving.carried_through(run.run, run.machines, run.config)
    finally:
        run.close()
        threading.Thread(target=_give_up_in_time, args=(run,), daemon=True, name="gives up in time").start()


def _until(run: Following, thread: threading.Thread, showing: Showing) -> None:
    """Follow until the run is over and shown. What interrupts that is answered, and it goes on."""
    followed = False
    while thread.is_alive() or not (followed or run.given_up.is_set()):
        try:
            showing.follow()
            followed = True
            while thread.is_alive():
                thread.join(0.5)
        except TerminationSignal:
            logger.info("the worker tells this run to end")
            run.cancel()
        except BaseException as error:  # noqa: BLE001 (Prefect ends a flow in many ways, and the run is no part of it)
            logger.info("the run is not shown for a moment: %s: %s", type(error).__name__, error)
            with contextlib.suppress(BaseException):
                run.given_up.wait(1.0)


def _give_up_in_time(run: Following) -> None:
    """All machines are done: how long what is left to be shown is waited for."""
    ended, heard = time.monotonic(), time.monotonic()
    while not run.given_up.wait(1.0):
        if run.api.answers():
            heard = time.monotonic()
        now = time.monotonic()
        if now - heard > LATER_SECONDS or (stopping.requested() and now - ended > HURRIED_SECONDS):
            run.given_up.set()
