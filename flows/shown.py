"""A run in Prefect: the flow of its waves, a subflow a machine, a task a step. They follow it, and do nothing of it."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from prefect import Flow, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from flows.assess import artifact_key
from flows.following import AGAIN_SECONDS, Following, Track
from flows.migrate import Outcome, StepBegun, Told, TryEnded
from flows.struck import rows_without, shown, strike_logs, without_secrets
from kubeferry.documents import Wave
from kubeferry.errors import Deferred, Interrupted
from kubeferry.outside import stopping
from kubeferry.words import counted, first_of

TABLE_EVERY_SECONDS = 8.0
HELD_TOLD = 10
MOST_TRIES = 100_000  # as many as come: how often a step is tried, `kubeferry.steps.patience` says

logger = logging.getLogger(__name__)


def show(run: Following) -> None:
    """Show a run from its beginning to its end. Raises what Prefect's client makes of a server that went away."""
    strike_logs()
    done = threading.Event()
    name = without_secrets(run.plan.name)

    @flow(name=f"{run.goal}", flow_run_name=f"{run.goal} {name}", persist_result=False)
    def waves(plan: str, digest: str, machines: list[str]) -> State[Any] | None:  # noqa: ARG001 (shown in the UI)
        _follow_machines(run)
        done.set()
        outcomes = run.outcomes()
        failed = [one for one in outcomes if one.error and not isinstance(one.error, (Interrupted, Deferred))]
        held, deferred = _held_back(run), _deferred(outcomes)
        if failed:
            named = ", ".join(one.machine for one in failed)
            raise RuntimeError(
                without_secrets("; ".join(filter(None, (f"{len(failed)} of {len(outcomes)}: {named}", held))))
            )
        if held:
            return Cancelled(name="Held", message=without_secrets("; ".join(filter(None, (held, deferred)))))
        if stopping.requested() or any(isinstance(one.error, Interrupted) for one in outcomes):
            return Cancelled(message="stopped on request; the same command goes on")
        if deferred:
            return Completed(name="Deferred", message=without_secrets(deferred))
        return None

    try:
        waves(name, run.plan.digest, [without_secrets(one) for one in run.machines], return_state=True)
    except Exception:
        if not done.is_set():
            raise


def _held_back(run: Following) -> str:
    """The machines whose run did not begin, the reason of the first ones beside them; empty for none."""
    if not run.held_back:
        return ""
    told = [f"{name}: {why}" for name, why in run.held_back.items()]
    return f"{counted(len(told), 'machine')} held back: {first_of(told, HELD_TOLD)}"


def _deferred(outcomes: list[Outcome]) -> str:
    """The machines that wait for their window, the reason of the first ones beside them; empty for none."""
    told = [f"{one.machine}: {one.error.what}" for one in outcomes if isinstance(one.error, Deferred)]
    return f"{counted(len(told), 'machine')} deferred: {first_of(told, HELD_TOLD)}" if told else ""


def _follow_machines(run: Following) -> None:
    """A thread for each machine that begins; a table of each wave, now and then and at the end."""
    threads: list[threading.Thread] = []
    turns = threading.Semaphore(run.limits.concurrent_machines)
    for track in run.begun(TABLE_EVERY_SECONDS):
        while track and not turns.acquire(timeout=TABLE_EVERY_SECONDS):
            _show_tables(run)
        if track:
            context = contextvars.copy_context()
            given = (_show_machine, run, track, turns)
            threads.append(threading.Thread(target=context.run, args=given, daemon=True, name=f"shows {track.machine}"))
            threads[-1].start()
        else:
            _show_tables(run)
    for thread in threads:
        thread.join()
    _show_tables(run)


def _show_machine(run: Following, track: Track, turns: threading.Semaphore) -> None:
    """The machine's subflow; from its beginning again where the server went away meanwhile."""
    move = _machine_flow(run, track.machine)
    try:
        while not run.given_up.is_set():
            try:
                move(without_secrets(track.machine), return_state=True)
            except Exception as error:  # noqa: BLE001 (whatever Prefect's client makes of a server that went away)
                logger.info("Prefect does not show %s: %s: %s", track.machine, type(error).__name__, error)
                run.given_up.wait(AGAIN_SECONDS)
            else:
                return
    finally:
        turns.release()


def _machine_flow(run: Following, name: str) -> Flow[[str], Any]:
    @flow(name="machine", flow_run_name="{machine}", persist_result=False)
    def machine_flow(machine: str) -> State[Any] | None:
        outcome = Outcome(name, "")
        story = run.follow(name)
        for told in story:
            if isinstance(told, StepBegun):
                _show_step(machine, told, story)
            elif isinstance(told, Outcome):
                outcome = told
        if isinstance(outcome.error, Interrupted):
            return Cancelled(message=without_secrets(str(outcome.error)))
        if isinstance(outcome.error, Deferred):
            return Completed(name="Deferred", message=without_secrets(outcome.error.what))
        if outcome.error:
            raise shown(outcome.error) from None
        return None

    return machine_flow


def _show_step(machine: str, step: StepBegun, story: Iterator[Told]) -> None:
    """One step as a task: its name is what it does, its log why; run as often as it was tried."""
    tried: list[TryEnded] = []

    @task(
        name=step.kind,
        task_run_name=without_secrets(step.label),
        retries=MOST_TRIES,
        retry_condition_fn=lambda *_: tried[-1].again,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def perform() -> State[Any] | None:
        get_run_logger().info("%s: %s", machine, step.reason)
        tried.append(_next_try(story))
        error = tried[-1].error
        if isinstance(error, Interrupted):
            return Cancelled(message=without_secrets(str(error)))
        if error:
            raise shown(error) from None
        return None

    perform(return_state=True)


def _next_try(story: Iterator[Told]) -> TryEnded:
    told = next(story)
    if not isinstance(told, TryEnded):
        raise TypeError(f"a try was to end, and {told} came")
    return told


def _show_tables(run: Following) -> None:
    """Each wave that has begun as one table: where each machine stands, how far, how fast, how long still."""
    wanted = frozenset(run.machines)
    waves = {name: wave.name for wave in run.plan.waves for name in wave.machines if name in wanted}
    chosen = Counter(waves.values())
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in run.board.rows():
        rows[waves.get(row["machine"], "")].append(row)
    for wave in run.plan.waves:
        if rows[wave.name]:
            _show_table(run, wave, rows[wave.name], chosen[wave.name])


def _show_table(run: Following, wave: Wave, rows: list[dict[str, str]], machines: int) -> None:
    create_table_artifact(
        key=artifact_key("wave", f"{run.plan.name}-{wave.name}"),
        table=rows_without(rows),
        description=without_secrets(f"{run.plan.name}, {wave.name}: {counted(machines, 'machine')}"),
    )
