"""Where pages about a run stand in Prefect: one artifact for a run and a key, updated in place.

A key is for good: the newest artifact of a key is what Prefect shows first, and links to it stay right. It holds the
plan's digest, so that no plan writes over another one's, and two names never make the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.utilities.context import get_task_and_flow_run_ids

from flows.struck import rows_without, without_secrets

DIGITS = 12  # of a plan's digest
_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HASHED = re.compile(r"-[0-9a-f]{6}$")


def artifact_key(kind: str, *names: str) -> str:
    """A key that Prefect accepts (lower case letters, digits, dashes), stable for these names and for no others."""
    return "-".join([kind, *(_plain(without_secrets(name)) for name in names)])


def plan_key(kind: str, digest: str, *names: str) -> str:
    """The key of something about a plan."""
    return artifact_key(kind, digest[:DIGITS], *names)


def _plain(name: str) -> str:
    """The name itself where it may stand in a key and is no other name's; else as much of it, and its digest."""
    if _PLAIN.fullmatch(name) and not _HASHED.search(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".lstrip("-")


def own_client() -> SyncPrefectClient:
    """A client for this thread alone: the one of the flow's context counts who uses it, and not safely by threads."""
    return get_client(sync_client=True, httpx_settings={})


def page(key: str) -> str:
    """The path of the newest artifact of a key, on Prefect's server."""
    return f"/artifacts/key/{key}"


@dataclass(slots=True)
class Shelf:
    """The artifacts of one run, by key. What was said already is not said again."""

    _made: dict[str, UUID] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)

    def table(self, key: str, rows: Sequence[Mapping[str, object]], description: str) -> None:
        """A table stands there now. Raises what Prefect's client makes of a server that went away."""
        self._put(key, "table", json.dumps(rows_without(rows)), without_secrets(description))

    def markdown(self, key: str, text: str, description: str) -> None:
        """A page stands there now. Raises like `table`."""
        self._put(key, "markdown", without_secrets(text), without_secrets(description))

    def place(self, key: str) -> str:
        """The path of the page, where this run has made it; else that of the key, where the newest one stands."""
        return f"/artifacts/artifact/{self._made[key]}" if key in self._made else page(key)

    def _put(self, key: str, kind: str, data: str, description: str) -> None:
        if self._said.get(key) == data + description:
            return
        with own_client() as client:
            if key in self._made and _updated(client, self._made[key], data, description):
                self._said[key] = data + description
                return
            task, flow = get_task_and_flow_run_ids()
            made = client.create_artifact(
                ArtifactCreate(
                    key=key, type=kind, data=data, description=description, flow_run_id=flow, task_run_id=task
                )
            )
        self._made[key], self._said[key] = made.id, data + description


def _updated(client: SyncPrefectClient, made: UUID, data: str, description: str) -> bool:
    """Whether the artifact is still there, and says this now. Prefect's own call would send all of it once more, as an
    event."""
    try:
        client.request(
            "PATCH", "/artifacts/{id}", json={"data": data, "description": description}, path_params={"id": made}
        )
    except HTTPStatusError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True
