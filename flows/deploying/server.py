"""The edge: what is on a Prefect server, and how it is changed, by Prefect's own client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.deploying import pool
from flows.deploying.compared import AutomationThere, Change, Found, There, fields
from flows.deploying.wanted import MADE_BY, OURS, Automation, Deployment, Wanted
from flows.programme import asking, caring, closing, moving, taking
from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside import stopping

MODULES = {one.__name__: one for one in (asking, caring, closing, moving, taking)}
PAGE = 200
IN_MEMORY = "prefect.server.concurrency.lease_storage.memory"
PULL = [{"prefect.deployments.steps.set_working_directory": {"directory": "/"}}]
"""The code is the worker's own kubeferry: nothing is pulled, and no folder named `flows` beside the worker is meant."""


def in_their_words(wanted: Wanted) -> Wanted:
    """What is wanted as the server will tell it: flows described, schedules in its own form."""
    return replace(wanted, deployments=tuple(map(_in_their_words, wanted.deployments)))


def found(wanted: Wanted) -> Found:
    """What is there now."""
    with get_client(sync_client=True) as client:
        pool_type, ours, used = _pool(client, wanted.pool)
        flows: dict[UUID, str] = {}
        there = {one.id: one for one in _tagged(client)}
        for deployment in wanted.deployments:
            try:
                named = client.read_deployment_by_name(deployment.name)
                there[named.id] = named
            except ObjectNotFound:
                continue
        deployments = tuple(_there(client, one, flows) for one in there.values())
        automations = tuple(
            AutomationThere(str(one.id), one.name, tuple(one.tags)) for one in client.read_automations(limit=PAGE)
        )
    return Found(pool_type, ours, used, deployments, automations)


def warnings(wanted: Wanted, *, seconds: float) -> list[str]:
    """What of the server will be in the way of these deployments: its settings, and a scheduler that does nothing. That
    is told when it has made no run of a schedule that comes again and again, in so many seconds."""
    with get_client(sync_client=True) as client:
        settings = client.request("GET", "/admin/settings").json()
        asleep = _asleep(client, wanted, seconds)
    told = []
    if settings.get("server", {}).get("concurrency", {}).get("lease_storage") == IN_MEMORY:
        told.append(
            "this server keeps who holds a slot in memory: after a restart in the midst of a cutover it calls off "
            "every later one. Set PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE there to "
            "prefect.server.concurrency.lease_storage.filesystem, or to Redis'."
        )
    if asleep:
        told.append(
            f"this server makes no runs of its schedules, of {asleep} for one: nothing will begin by itself. Its "
            "scheduler is off, or fails, which only the server's log says: with SQLAlchemy 2.1 that of Prefect 3.8.8 "
            "does, so install SQLAlchemy below 2.1 there."
        )
    return told


def block(name: str) -> str:
    """The id of a block for webhooks. Raises InputInvalid where there is none."""
    with get_client(sync_client=True) as client:
        try:
            return str(client.read_block_document_by_name(name, "webhook").id)
        except ObjectNotFound as error:
            fix = "Make one of type Webhook in Prefect, or name one that is there."
            raise InputInvalid(
                "there is no such block", [Problem(f"--webhook {name}", "the server has none", fix)]
            ) from error


def do(change: Change, wanted: Wanted, pool_type: str) -> None:
    """Do one thing of it."""
    with get_client(sync_client=True) as client:
        match change.kind, change.deed:
            case "work pool", "make":
                client.create_work_pool(_new_pool(wanted.pool))
            case "work pool", _:
                client.delete_work_pool(wanted.pool)
            case "deployment", "remove":
                client.delete_deployment(UUID(change.id))
            case "automation", "remove":
                client.delete_automation(UUID(change.id))
            case "deployment", _ if isinstance(change.what, Deployment):
                _deploy(client, change.what, wanted.pool, pool_type, change.there)
            case "automation", _ if isinstance(change.what, Automation):
                _automate(client, change.what, change.id)


def _asleep(client: SyncPrefectClient, wanted: Wanted, seconds: float) -> str:
    """A deployment that is woken again and again, and has no run ahead; empty where there is none."""
    again = (one for one in wanted.deployments if any({"cron", "interval"} & set(w.schedule) for w in one.wakings))
    name = next((one.name for one in again), "")
    limit = time.monotonic() + seconds
    while name and not _has_runs_ahead(client, name):
        if time.monotonic() > limit:
            return name
        stopping.pause(0.5)
    return ""


def _has_runs_ahead(client: SyncPrefectClient, name: str) -> bool:
    """Whether it has a run ahead, or is to have none."""
    try:
        there = client.read_deployment_by_name(name)
    except ObjectNotFound:  # a dry run has made none
        return True
    if there.paused or not any(schedule.active for schedule in there.schedules):
        return True
    ahead = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    asked = {"deployments": {"id": {"any_": [str(there.id)]}}, "flow_runs": ahead}
    return int(client.request("POST", "/flow_runs/count", json=asked).json()) > 0


# --- reading ---------------------------------------------------------------------------------------------------------


def _pool(client: SyncPrefectClient, name: str) -> tuple[str | None, bool, int]:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        return None, False, 0
    answer = client.request("POST", "/deployments/count", json={"work_pools": {"name": {"any_": [name]}}})
    return pool.type, (pool.description or "").startswith(MADE_BY), int(answer.json())


def _tagged(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS]))
    offset = 0
    while page := client.read_deployments(deployment_filter=ours, limit=PAGE, offset=offset):
        yield from page
        offset += len(page)


def _there(client: SyncPrefectClient, one: DeploymentResponse, flows: dict[UUID, str]) -> There:
    if one.flow_id not in flows:
        flows[one.flow_id] = client.read_flow(one.flow_id).name
    limit = one.global_concurrency_limit
    state = {
        "tags": sorted(one.tags),
        "version": one.version,
        "parameters": one.parameters,
        "entrypoint": one.entrypoint,
        "work_pool_name": one.work_pool_name,
        "concurrency_limit": limit.limit if limit else None,
        "job_variables": one.job_variables,
        "schedules": {
            schedule.slug or str(schedule.id): {
                "schedule": schedule.schedule.model_dump(mode="json"),
                "parameters": schedule.parameters,
            }
            for schedule in one.schedules
        },
        "description": one.description,
    }
    off = frozenset(schedule.slug or "" for schedule in one.schedules if not schedule.active)
    return There(str(one.id), f"{flows[one.flow_id]}/{one.name}", tuple(one.tags), state, off)


# --- writing ---------------------------------------------------------------------------------------------------------


def _flow(deployment: Deployment) -> Flow[..., Any]:
    module, _, name = deployment.entrypoint.rpartition(".")
    found: Flow[..., Any] = getattr(MODULES[module], name)
    return found


def _in_their_words(deployment: Deployment) -> Deployment:
    described = f"{_flow(deployment).description or ''}\n\n{deployment.about}".strip()
    wakings = tuple(
        replace(one, schedule=_schedule(dict(one.schedule)).model_dump(mode="json")) for one in deployment.wakings
    )
    return replace(deployment, about=described, wakings=wakings)


def _schedule(form: dict[str, Any]) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    if "cron" in form:
        return CronSchedule.model_validate(form)
    return RRuleSchedule.model_validate(form) if "rrule" in form else IntervalSchedule.model_validate(form)


def _new_pool(name: str) -> WorkPoolCreate:
    about = f"{MADE_BY}. Its workers: `prefect worker start --pool {name}`, where kubeferry is installed."
    return WorkPoolCreate(name=name, type=pool.TYPE, description=about, base_job_template=pool.template())


def _deploy(client: SyncPrefectClient, deployment: Deployment, pool: str, pool_type: str, there: There | None) -> None:
    flow = _flow(deployment)
    said = fields(deployment, pool, pool_type)
    schema = parameter_schema(flow)
    options = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW) if deployment.limit else None
    schedules = said.pop("schedules")
    active = {slug: there is None or slug not in there.off for slug in schedules}
    made = [
        DeploymentScheduleCreate(
            schedule=_schedule(one["schedule"]), active=active[slug], slug=slug, parameters=one["parameters"]
        )
        for slug, one in schedules.items()
    ]
    if there is None:
        flow_id = client.create_flow_from_name(flow.name)
        client.create_deployment(
            flow_id,
            deployment.plan,
            **said,
            schedules=made,
            concurrency_options=options,
            parameter_openapi_schema=schema.model_dump(),
            enforce_parameter_schema=True,
            pull_steps=PULL,
        )
        return
    change = said | {
        "schedules": [one.model_dump(mode="json", exclude_unset=True) for one in made],
        "concurrency_options": options.model_dump(mode="json") if options else None,
        "parameter_openapi_schema": schema.model_dump(),
        "enforce_parameter_schema": True,
        "pull_steps": PULL,
    }
    client.request("PATCH", "/deployments/{id}", json=change, path_params={"id": there.id})


def _automate(client: SyncPrefectClient, automation: Automation, there: str) -> None:
    core = AutomationCore.model_validate(
        {
            "name": automation.name,
            "description": automation.description,
            "tags": [*automation.tags, automation.spec],
            "trigger": dict(automation.trigger),
            "actions": [dict(one) for one in automation.actions],
        }
    )
    if there:
        client.update_automation(UUID(there), core)
    else:
        client.create_automation(core)
