"""A run as flows of Prefect: a subflow a machine that begins, a table a wave, and pages at the end.

Everything here may be interrupted, repeated, or never happen: no machine waits for it.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL
from prefect.states import Cancelled, Running

from flows.following import AGAIN_SECONDS, Following, Track
from flows.moves import apps_of
from flows.programme import endings, rows, texts, verb_of
from flows.programme.artifacts import Shelf, artifact_key, own_client, page, plan_key
from flows.programme.machines import STORY, Story, as_state, machine
from flows.struck import without_secrets
from kubeferry.documents import Wave
from kubeferry.errors import KubeferryError
from kubeferry.outside import stopping
from kubeferry.outside.clock import now
from reports.shapes import Downtime

TABLE_EVERY_SECONDS = 8.0
CANCEL_EVERY_SECONDS = 5.0  # how often somebody is looked for who has cancelled the run

CLOCKS_DIFFER = timedelta(seconds=60)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Showing:
    """One run, shown by the flow that runs in this context. `follow` may be left by an exception, and called again.
    `part`: it is a part of another run, which has the tables of its waves, and a page at its end."""

    run: Following
    part: bool = False
    shelf: Shelf = field(default_factory=Shelf)
    links: dict[str, dict[str, str]] = field(default_factory=dict)
    actual: dict[str, Downtime] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _turns: threading.Semaphore = field(init=False)
    _waves: dict[str, str] = field(init=False)
    _apps: Mapping[str, str] = field(init=False)
    _watched: bool = False
    _begun: int = 0

    def __post_init__(self) -> None:
        self._turns = threading.Semaphore(self.run.run.config.limits.concurrent_machines)
        self._waves = {name: wave.name for wave in self.run.run.plan.waves for name in wave.machines}
        self._apps = apps_of(self.run.run.plan)

    def follow(self) -> None:
        """A thread for each machine that begins; a table of each wave, now and then and at the end."""
        if not self._watched:
            self._watched = True
            self._in_thread(self._watch, "looks whether somebody cancels")
        for track in self.run.begun(TABLE_EVERY_SECONDS, self._begun):
            if track and self.run.run.others and track.outcome:  # who drove it shows it
                self._begun += 1
                continue
            while track and not self._turns.acquire(timeout=TABLE_EVERY_SECONDS):
                self._show_tables()
            if track:
                self._begun += 1
                self._threads.append(self._in_thread(self._show_machine, f"shows {track.machine}", track))
            else:
                self._show_tables()
        shown_at = time.monotonic()
        while any(thread.is_alive() for thread in self._threads) and not self.run.given_up.is_set():
            self._threads[-1].join(0.2)
            if time.monotonic() - shown_at > TABLE_EVERY_SECONDS:
                self._show_tables()
                shown_at = time.monotonic()
        self._show_tables()

    def end(self) -> State[Any]:
        """The run's page, and the state that it ends in."""
        run = self.run.run
        told = (self.run.outcomes(), self.run.held_back)
        ending = endings.of_run(run.goal, self.run.machines, *told, called_off=self.run.called_off())
        if not self.part:
            self._quietly(self._show_verdict, ending)
        return as_state(ending)

    def _in_thread(self, what: Any, name: str, *given: Any) -> threading.Thread:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(what, *given), daemon=True, name=name)
        thread.start()
        return thread

    # --- machines ----------------------------------------------------------------------------------------------------

    def _show_machine(self, track: Track) -> None:
        """The machine's subflow; from its beginning again where the server went away meanwhile."""
        name, plan, left = track.machine, self.run.run.plan, list[UUID]()
        try:
            while not self.run.given_up.is_set():
                story = Story(self.run, name, self.run.follow(name))
                STORY.set(story)
                try:
                    state = machine(
                        without_secrets(name),
                        without_secrets(plan.name),
                        plan.digest,
                        str(self.run.run.goal),
                        self._waves.get(name, ""),
                        self._apps.get(name, ""),
                        return_state=True,
                    )
                except Exception as error:  # noqa: BLE001 (whatever Prefect's client makes of a server that went away)
                    logger.info("Prefect does not show %s: %s: %s", name, type(error).__name__, error)
                    left += [story.shown_by] if story.shown_by else []
                    self.run.given_up.wait(AGAIN_SECONDS)
                else:
                    self._link(name, state)
                    for run in left:
                        self._quietly(_close, run)
                    self._quietly(self._show_page, name)
                    return
        finally:
            self._turns.release()

    def _link(self, name: str, state: State[Any]) -> None:
        run = state.state_details.flow_run_id
        if run:
            self.links[name] = {"run": f"{ui()}/runs/flow-run/{run}"}

    def _show_page(self, name: str) -> None:
        """What the journal has of the machine, with its downtime in parts."""
        run = self.run.run
        events = {one: run.journal.events(run.plan.digest, one) for one in run.plan.set_of(name)}
        text, facts = texts.machine_page(run.plan, name, events, generated_at=now("seconds"))
        if facts.downtime.seconds is not None:
            self.actual[name] = facts.downtime
        back = f"\nThe table of its wave: [{self._waves[name]}]({ui()}{page(self._wave_key(self._waves[name]))})\n"
        key = plan_key("machine", run.plan.digest, name)
        self.shelf.markdown(key, text + back, f"{name}: {facts.verdict}")
        self.links.setdefault(name, {})["page"] = f"{ui()}{page(key)}"

    # --- tables and pages --------------------------------------------------------------------------------------------

    def _wave_key(self, wave: str) -> str:
        return plan_key("wave", self.run.run.plan.digest, wave)

    def _show_tables(self) -> None:
        """Each wave that has begun, where each of its machines stands, how far, how long still."""
        if self.part:
            return
        glimpses = self.run.run.board.glimpses()
        wanted = frozenset(self.run.machines)
        seen = rows.Seen(
            self._apps,
            dict(self.run.run.standing),
            glimpses,
            {one.machine: one for one in self.run.outcomes()},
            dict(self.run.held_back),
            dict(self.actual),
            links={name: dict(told) for name, told in self.links.copy().items()},
        )
        for wave in self.run.run.plan.waves:
            machines = [name for name in wave.machines if name in wanted]
            if any(name in glimpses or name in seen.held for name in machines):
                self._quietly(self._show_table, wave, machines, seen)

    def _show_table(self, wave: Wave, machines: list[str], seen: rows.Seen) -> None:
        plan = self.run.run.plan
        described = f"{plan.name}, {wave.name}: {rows.headline(machines, seen)}"
        self.shelf.table(self._wave_key(wave.name), rows.rows(machines, seen, datetime.now(UTC)), described)

    def _show_verdict(self, ending: endings.Ending) -> None:
        run, wanted = self.run.run, frozenset(self.run.machines)
        waves = [wave.name for wave in run.plan.waves if wanted & set(wave.machines)]
        pages = {f"table of wave {name}": f"{ui()}{page(self._wave_key(name))}" for name in waves}
        pages |= {"report": f"{ui()}{page(plan_key('report', run.plan.digest))}"}
        pages |= {"assessment": f"{ui()}{page(artifact_key('assess', run.plan.source))}"}
        own = {name: told["page"] for name, told in self.links.items() if "page" in told}
        text = texts.verdict_page(run.plan, ending, self.run.outcomes(), own, pages)
        verb = verb_of(run.goal)
        self.shelf.markdown(plan_key(verb, run.plan.digest), text, f"{verb} {run.plan.name}: {ending.message}")

    def _quietly(self, what: Any, *given: Any) -> None:
        """What cannot be shown now is shown the next time, or not at all."""
        try:
            what(*given)
        except KubeferryError as error:
            logger.info("nothing is shown of it now: %s", error)
        except Exception as error:  # noqa: BLE001 (whatever Prefect's client makes of a server that went away)
            logger.info("Prefect does not show it now: %s: %s", type(error).__name__, error)

    # --- who cancels -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """A run of a terminal has no worker that would end it when somebody cancels it in Prefect: it looks itself."""
        context = FlowRunContext.get()
        while context and context.flow_run and not self.run.given_up.wait(CANCEL_EVERY_SECONDS):
            if stopping.requested():
                return
            try:
                if _looked_after(context.flow_run.id):
                    logger.info("the run was cancelled in Prefect")
                    self.run.cancel()
            except ObjectNotFound:  # somebody has deleted it
                return
            except Exception as error:  # noqa: BLE001 (as above)
                logger.debug("Prefect does not say whether the run is cancelled: %s", error)


def _looked_after(run: UUID) -> bool:
    """Whether somebody wants this run to end. One that is called Crashed, as where its server was away for long and
    heard of nobody, says that it lives."""
    with own_client() as client:
        state = client.read_flow_run(run).state
        if state is not None and state.is_crashed():
            client.set_flow_run_state(run, Running(message="it was not heard of for a while, and lives"), force=True)
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def _close(run: UUID) -> None:
    """End a machine's run that was left when the server went away: another one has shown the machine from its
    beginning, and this one would be called running for ever."""
    with own_client() as client:
        state = client.read_flow_run(run).state
        if state is None or not state.is_final():
            told = "the server was away; another run shows this machine, from its beginning"
            client.set_flow_run_state(run, Cancelled(name="Superseded", message=told), force=True)


def called_off_before(verb: str, digest: str, since: datetime) -> bool:
    """Whether somebody has cancelled a run of this verb and plan in the moment between its making and its beginning:
    Prefect does not let it begin then. It is Cancelled from now on."""
    found = False
    cancelling = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING]), name=None)
    recent = FlowRunFilterExpectedStartTime(after_=since - CLOCKS_DIFFER)
    runs, flows = FlowRunFilter(state=cancelling, expected_start_time=recent), FlowFilterName(any_=[verb])
    with own_client() as client:
        for one in client.read_flow_runs(flow_filter=FlowFilter(name=flows), flow_run_filter=runs):
            if one.parameters.get("digest") == digest:
                found = True
                client.set_flow_run_state(one.id, Cancelled(message="cancelled before it began"), force=True)
    return found


def ui() -> str:
    """Where Prefect's pages are, for links that lead from one to the other; empty where nobody says."""
    return str(PREFECT_UI_URL.value() or "").rstrip("/")
