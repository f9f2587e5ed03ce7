"""The flow `migrate`: the waves of a plan in order, one subflow per machine, so many at a time.

Prefect shows, retries what is transient, and keeps the logs. What is done stands in the journal: a run that is killed,
here or at the server, is taken up by the next one, whatever Prefect thinks of the first.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from prefect import Flow, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows.assess import artifact_key
from flows.progress import Board
from kubeferry.documents import Config, Entry, MoverProgress, Plan, Wave
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.journal import Journal
from kubeferry.life.actions import Action, Goal
from kubeferry.outside import stopping
from kubeferry.sources import open_source
from kubeferry.steps.drive import drive
from kubeferry.steps.release import settle
from kubeferry.steps.work import Work
from kubeferry.targets import open_target
from kubeferry.words import counted

RETRY_DELAYS_SECONDS = [2.0, 10.0, 30.0]
TABLE_EVERY_SECONDS = 8.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one machine's run ended: the phase reached, or the error that stopped it."""

    machine: str
    phase: str
    error: KubeferryError | None = None


@dataclass(slots=True)
class Run:
    """One call of `migrate` or `rollback`: what its threads share."""

    plan: Plan
    config: Config
    journal: Journal
    board: Board
    goal: Goal
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    shown_at: float = 0.0


def run_plan(run: Run, machines: tuple[str, ...]) -> list[Outcome]:
    """Drive these machines of the plan, wave by wave. One that fails does not stop the others of its wave, and later
    waves only where they build on it."""

    @flow(name=f"{run.goal}", flow_run_name=f"{run.goal} {run.plan.name}", persist_result=False)
    def waves(plan: str, digest: str, machines: list[str]) -> None:  # noqa: ARG001 (shown in the UI)
        wanted = frozenset(machines)
        for wave in run.plan.waves:
            chosen = tuple(name for name in wave.machines if name in wanted)
            arrived = not chosen or _drive_wave(run, wave, chosen)
            if stopping.requested() or (run.goal.in_order and not arrived):
                break
        failed = [outcome for outcome in run.outcomes.values() if outcome.error]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(run.outcomes)}: " + ", ".join(o.machine for o in failed))

    waves(run.plan.name, run.plan.digest, list(machines), return_state=True)
    return [run.outcomes.get(name, Outcome(name, "not begun")) for name in machines]


def _drive_wave(run: Run, wave: Wave, machines: tuple[str, ...]) -> bool:
    """One wave; returns whether the next one may begin, which builds on this one."""
    move = _machine_flow(run)
    with ThreadPoolExecutor(run.config.limits.concurrent_machines, thread_name_prefix=wave.name) as pool:
        waiting = [pool.submit(contextvars.copy_context().run, _drive_shown, run, move, name) for name in machines]
        try:
            while not all(future.done() for future in waiting):
                time.sleep(0.2)
                _show(run, wave, machines, every=TABLE_EVERY_SECONDS)
        except BaseException:  # a signal of Prefect's, say: the threads must end before we do
            stopping.request()
            raise
    _show(run, wave, machines, every=0)
    return all(run.outcomes[name].error is None for name in machines)


def _drive_shown(run: Run, move: Flow[[str], None], machine: str) -> None:
    """The machine's subflow; its failure is its own state, and its outcome is in the run."""
    state = move(machine, return_state=True)
    if machine not in run.outcomes:
        defect = KubeferryError(
            f"a defect: {state.message}", fix="Report it with the log of this run.", machine=machine
        )
        run.outcomes[machine] = Outcome(machine, "failed", defect)


def _machine_flow(run: Run) -> Flow[[str], None]:
    @flow(name="machine", flow_run_name="{machine}", persist_result=False)
    def machine_flow(machine: str) -> None:
        outcome = _drive_machine(run, run.plan.entry(machine))
        with run.lock:
            run.outcomes[machine] = outcome
        run.board.action(machine, str(outcome.error).splitlines()[0] if outcome.error else outcome.phase)
        if outcome.error:
            logger.error("%s: %s", machine, outcome.error, exc_info=outcome.error)
            raise outcome.error

    return machine_flow


def _drive_machine(run: Run, entry: Entry) -> Outcome:
    """Under a lease, with connections of this machine's own: neither libvirt's nor a target's are shared by threads."""
    source = target = None
    try:
        with run.journal.lease(run.plan.digest, entry.name) as lease:
            source = open_source(run.plan.source, run.config.sources[run.plan.source])
            target = open_target(run.config.target)
            work = Work(
                plan=run.plan,
                entry=entry,
                source=source,
                target=target,
                journal=run.journal,
                lease=lease,
                limits=run.config.limits,
                progress=lambda machine, disk, progress: _progress(run, machine, disk, progress),
            )
            state = drive(work, run.goal, lambda action, step: _as_task(run, entry, action, step))
            settle(work)
            return Outcome(entry.name, state.phase)
    except KubeferryError as error:
        return Outcome(entry.name, "failed", error)
    finally:
        for opened in (source, target):
            if opened is not None:
                with contextlib.suppress(KubeferryError):  # how the machine's run ended is what is told
                    opened.close()


def _progress(run: Run, machine: str, disk: str, progress: MoverProgress) -> None:
    run.board.progress(machine, disk, progress)
    stopping.check()


def _as_task(run: Run, entry: Entry, action: Action, step: Callable[[], None]) -> None:
    """One action as a task: its name is what it does, its log why; tried again only where that can help."""
    label = f"{action.kind} {' '.join(action.disks)}".strip()
    run.board.action(entry.name, f"{label}: {action.reason}")

    @task(
        name=action.kind,
        task_run_name=label,
        tags=[entry.name],
        retries=len(RETRY_DELAYS_SECONDS),
        retry_delay_seconds=RETRY_DELAYS_SECONDS,
        retry_condition_fn=_worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def perform() -> None:
        get_run_logger().info("%s: %s", entry.name, action.reason)
        step()

    perform()


def _worth_retrying(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result()
    except Interrupted:
        return False
    except KubeferryError as error:
        return error.transient and not stopping.requested()
    except Exception:  # noqa: BLE001 (a defect of ours, whatever it is: it will be the same again)
        return False
    return False


def _show(run: Run, wave: Wave, machines: tuple[str, ...], *, every: float) -> None:
    """The wave as one table in the UI: where each machine stands, how far, how fast, how long still."""
    if time.monotonic() - run.shown_at < every:
        return
    run.shown_at = time.monotonic()
    ours = frozenset(machines)
    rows = [row for row in run.board.rows() if row["machine"] in ours]
    create_table_artifact(
        key=artifact_key("wave", f"{run.plan.name}-{wave.name}"),
        table=rows,
        description=f"{run.plan.name}, {wave.name}: {counted(len(machines), 'machine')}",
    )
