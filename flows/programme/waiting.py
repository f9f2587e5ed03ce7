"""Which runs wait for a person's approval, and which of them need not any more."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event
from prefect.states import Scheduled

from flows import moves
from flows.deploying.wanted import OURS, WAITS
from flows.moves import Wanted
from flows.programme.artifacts import own_client
from kubeferry.documents import Config, Plan, plan_in
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import UNTOUCHED
from kubeferry.steps.approvals import unapproved
from kubeferry.steps.dry_runs import digests
from kubeferry.steps.turns import order_of

RESUMING = "Resuming"
"""What Prefect calls a run that was suspended, and begins again."""
MOST = 100  # runs that are looked at

logger = logging.getLogger(__name__)


def lacking(
    plan: Plan, settings: Config, journal: Journal, machines: tuple[str, ...], *, again: bool = False
) -> dict[str, str]:
    """What each of a run's machines lacks of its approval; empty where the run need not wait for any: one of them may
    begin without, or a source is off already, and nobody is waited for then."""
    if plan.approval is None:
        return {}
    states = journal.states(plan.digest)
    if under_way(states, machines):
        return {}
    standing = {name: states.get(name, MachineState()) for name in machines}
    begin = tuple(name for name, state in standing.items() if state.may_begin(again=again))
    lacks = unapproved(plan, journal, begin, digests(plan, settings, begin))
    order = order_of(plan, journal, states, again=again)
    order.lack(lacks)
    held = order.out_of_reach(machines)
    if any(name not in held for name in begin):
        return {}
    return {name: why for name, why in lacks.items() if why and held[name].approval}


def under_way(states: Mapping[str, MachineState], machines: tuple[str, ...]) -> bool:
    """Whether a source of these machines may be off, or its copy is watched: nobody is waited for then. `states` are
    those of their plan."""
    left = (states[name] for name in machines if name in states and states[name].resumes is not Phase.COMMITTED)
    return any(state.source_off or state.resumes not in UNTOUCHED for state in left)


def tell_that_it_waits(run: FlowRun) -> None:
    """Tell the automation that looks for dead runs that this one is suspended from here on. Prefect's own event says so
    too late for that, where the run was begun by a schedule that is younger than five minutes: its events wait for the
    one of the state `Scheduled`, which the scheduler does not send (seen on 3.8.8)."""
    tags = [{"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"} for tag in run.tags]
    emit_event(WAITS, {"prefect.resource.id": f"prefect.flow-run.{run.id}"}, related=tags)


def suspended(deployment: FlowRunFilterDeploymentId | None = None) -> list[FlowRun]:
    """The cutovers that wait for an answer; of one deployment, or of all that we have made."""
    name = FlowRunFilterState(name=FlowRunFilterStateName(any_=["Suspended"]))
    tags = None if deployment else FlowRunFilterTags(all_=[OURS])
    with own_client() as client:
        wanted = FlowRunFilter(state=name, deployment_id=deployment, tags=tags)
        found: list[FlowRun] = client.read_flow_runs(flow_run_filter=wanted, limit=MOST)
    return [one for one in found if "digest" in one.parameters]


def go_on(settings: Config, journal: Journal) -> list[str]:
    """Let the suspended runs go on whose machines were approved elsewhere since; returns what they are called. Raises
    what Prefect's client makes of a server that is away."""
    known = {one.digest for one in journal.decided_plans()}
    waiting = [one for one in suspended() if one.parameters["digest"] in known] if known else []
    done = []
    for run in waiting:
        try:
            ready = not _still_lacking(settings, journal, run)
        except KubeferryError as error:  # what one plan has keeps no other run waiting
            logger.info("%s is not looked at: %s", run.name, error)
            continue
        if ready:
            with own_client() as client:
                client.set_flow_run_state(run.id, Scheduled(name=RESUMING, message="it was approved elsewhere"))
            done.append(run.name)
    return done


def _still_lacking(settings: Config, journal: Journal, run: FlowRun) -> dict[str, str]:
    digest = str(run.parameters["digest"])
    plan = plan_in(journal.plan(digest).document, f"plan {digest[:12]} in the journal")
    machines = moves.narrowed(plan, meant_by(run))
    return lacking(plan, settings, journal, machines, again=bool(run.parameters.get("again")))


def meant_by(run: FlowRun) -> Wanted:
    """What a run was asked to move."""
    given = run.parameters
    words = {name: str(given.get(name) or "") for name in ("plan", "digest", "wave", "app")}
    return Wanted(**words, machines=tuple(given.get("machines") or ()))
