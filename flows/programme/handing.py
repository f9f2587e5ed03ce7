"""The machines of a run, handed out: each as a run of the deployment `machine/PLAN`, which any worker may take.

Prefect carries the word and shows the run. Who has taken it and what came of it stands in the journal
(`flows.elsewhere`), so nothing here waits for the server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect import Task
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_UI_URL
from prefect.states import Pending

from flows.elsewhere import Elsewhere, Send
from flows.migrate import Run
from flows.moves import Move
from flows.programme.artifacts import own_client
from flows.spreading import HANDED_OUT, refuse_unspreadable
from flows.struck import without_secrets
from kubeferry.journal import Errand

Links = dict[str, dict[str, str]]


@contextlib.contextmanager
def handed_out(run: Run, move: Move, links: Links) -> Iterator[None]:
    """While the block lasts, the run's machines are driven by other workers, where the configuration says so. `links`
    are told where each of them is shown. Raises InputInvalid where the journal is a file."""
    if move.settings.spread is None or move.goal not in HANDED_OUT:
        yield
        return
    refuse_unspreadable(move.settings, move.path)
    context = FlowRunContext.get()
    parent = context.flow_run.id if context and context.flow_run else None
    given: dict[str, Any] = (context.parameters or {}) if context else {}
    with Elsewhere(
        run.journal, move, move.settings.spread, _sender(move, parent, given.get("config"), links)
    ) as others:
        run.others = others
        yield


def _sender(move: Move, parent: UUID | None, config: str | None, links: Links) -> Send:
    """Tells workers of an errand: a run of its own, below the one that asks for it."""

    def send(errand: Errand, number: int) -> None:
        names = [without_secrets(name) for name in errand.unit]
        parameters = {
            "plan": move.plan.name,
            "digest": move.plan.digest,
            "machines": names,
            "goal": str(move.goal),
            "errand": errand.id,
            **({"config": config} if config else {}),
            **({"out_of_order": move.insisted} if move.insisted else {}),
        }
        with own_client() as client:
            deployment = client.read_deployment_by_name(f"machine/{move.plan.name}")
            made = client.create_flow_run_from_deployment(
                deployment.id,
                parameters=parameters,
                name=", ".join(names),
                idempotency_key=f"{errand.id}-{number}",
                parent_task_run_id=_place_below(client, parent, names, f"{errand.id}-{number}") if parent else None,
            )
        for name in errand.unit:
            links.setdefault(name, {})["run"] = f"{PREFECT_UI_URL.value() or ''}/runs/flow-run/{made.id}".lstrip("/")

    return send


def _place_below(client: SyncPrefectClient, parent: UUID, names: list[str], key: str) -> UUID:
    """Where the run is shown in the one that asks for it."""
    task: Task[..., None] = Task(name=", ".join(names), fn=_nothing)
    made = client.create_task_run(
        task=task, flow_run_id=parent, dynamic_key=key, name=", ".join(names), state=Pending()
    )
    return made.id


def _nothing() -> None:
    """What is done is done by the run."""
