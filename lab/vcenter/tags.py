"""Tags in the simulator, made through its own REST interface, past the relay. Edge."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
from typing import Any

_BASE = "/rest/com/vmware/cis/tagging"
_SESSION = "vmware-api-session-id"


def tagged(upstream: tuple[str, int], login: tuple[str, str], machine: str, category: str, tag: str) -> None:
    """A new tag, of a new category, is on a machine (`vm-12`)."""
    connection = http.client.HTTPConnection(*upstream, timeout=60)
    with contextlib.closing(connection):
        word = base64.b64encode(":".join(login).encode()).decode()
        headers = {"Authorization": f"Basic {word}"}
        headers = {_SESSION: str(_called(connection, "/rest/com/vmware/cis/session", None, headers))}
        above = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
        group = _called(connection, f"{_BASE}/category", {"create_spec": above}, headers)
        below = {"name": tag, "description": "", "category_id": group}
        made = _called(connection, f"{_BASE}/tag", {"create_spec": below}, headers)
        place = {"object_id": {"id": machine, "type": "VirtualMachine"}}
        _called(connection, f"{_BASE}/tag-association/id:{made}?~action=attach", place, headers)


def _called(connection: http.client.HTTPConnection, path: str, body: Any, headers: dict[str, str]) -> Any:
    text = None if body is None else json.dumps(body)
    connection.request("POST", path, text, {**headers, "Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise ConnectionError(f"{path}: {answer.status} {content[:200]!r}")
    return json.loads(content)["value"] if content else None
