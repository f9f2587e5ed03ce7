"""Tags, which vCenter tells through its REST interface only: `/api` first, `/rest` where that is older or a double.

A server without tags (an ESXi host) has none; what cannot be asked is said by the caller.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from kubeferry.errors import SourceUnavailable
from kubeferry.sources.vsphere import trust
from kubeferry.sources.vsphere.access import Access

ANSWER_SECONDS = 60
ANSWER_LIMIT_BYTES = 32 << 20
BATCH = 500
Tags = dict[str, tuple[tuple[str, str], ...]]
"""Category and tag, by the id of a machine (`vm-12`)."""


class _Absent(Exception):
    """The server does not have this interface."""


def read_tags(access: Access, certificate: bytes, machines: Sequence[str]) -> Tags:
    """The tags of these machines; nothing where the server has no tags. Raises SourceUnavailable."""
    context = trust.only(certificate)
    connection = http.client.HTTPSConnection(access.host, access.port, context=context, timeout=ANSWER_SECONDS)
    try:
        for kind in (_Api, _Rest):
            with contextlib.suppress(_Absent), contextlib.closing(kind(connection, access)) as rest:
                return dict(_tags(rest, machines))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        fix = "Check that vCenter's REST interface runs."
        raise SourceUnavailable("tags cannot be read", why=str(error)[:200], fix=fix) from error
    finally:
        connection.close()
    return {}


def _tags(rest: _Rest, machines: Sequence[str]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    names: dict[str, tuple[str, str]] = {}
    categories: dict[str, str] = {}
    for start in range(0, len(machines), BATCH):
        for one in rest.attached(machines[start : start + BATCH]):
            for tag in one.get("tag_ids") or ():
                if tag not in names:
                    told = rest.tag(tag)
                    category = told["category_id"]
                    if category not in categories:
                        categories[category] = str(rest.category(category)["name"])
                    names[tag] = (categories[category], str(told["name"]))
            yield str(one["object_id"]["id"]), tuple(sorted(names[tag] for tag in one.get("tag_ids") or ()))


class _Rest:
    """The interface up to vSphere 6.7, which later ones still have; every answer is wrapped in `value`."""

    session = "/rest/com/vmware/cis/session"
    base = "/rest/com/vmware/cis/tagging"
    attached_path = "tag-association?~action=list-attached-tags-on-objects"
    item = "id:{}"

    def __init__(self, connection: http.client.HTTPConnection, access: Access) -> None:
        self._connection = connection
        login = base64.b64encode(f"{access.user}:{access.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        token = self._call("POST", self.session)
        self._headers = {"vmware-api-session-id": str(token)}

    def close(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, _Absent):
            self._call("DELETE", self.session)

    def attached(self, machines: Sequence[str]) -> list[Any]:
        asked = {"object_ids": [{"id": one, "type": "VirtualMachine"} for one in machines]}
        found = self._call("POST", f"{self.base}/{self.attached_path}", asked)
        return found if isinstance(found, list) else []

    def tag(self, tag: str) -> Any:
        return self._call("GET", f"{self.base}/tag/{self.item.format(quote(tag, safe=':'))}")

    def category(self, category: str) -> Any:
        return self._call("GET", f"{self.base}/category/{self.item.format(quote(category, safe=':'))}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {**self._headers, "Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read(ANSWER_LIMIT_BYTES + 1)
        if answer.status in {404, 405, 501}:
            raise _Absent
        if answer.status >= 400 or len(content) > ANSWER_LIMIT_BYTES:
            raise ValueError(f"{method} {path.partition('?')[0]}: status {answer.status}, {len(content)} bytes")
        return self._unwrapped(json.loads(content)) if content else None

    def _unwrapped(self, told: Any) -> Any:
        return told["value"]


class _Api(_Rest):
    """The interface since vSphere 7.0 U2."""

    session = "/api/session"
    base = "/api/cis/tagging"
    attached_path = "tag-association?action=list-attached-tags-on-objects"
    item = "{}"

    def _unwrapped(self, told: Any) -> Any:
        return told
