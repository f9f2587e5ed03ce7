"""The Kubernetes API for the lab's own daemons, which look every second: plain HTTPS with a client certificate."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from pathlib import Path
from typing import Any

import yaml

from kubeferry.errors import TargetRefused, TargetUnavailable

TIMEOUT_SECONDS = 10


class Api:
    """Calls to the API server that a kubeconfig names. A call that gets no answer raises TargetUnavailable."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._address = urllib.parse.urlsplit(cluster["server"]).netloc
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._tls.load_cert_chain(user["client-certificate"], user["client-key"])

    def get(self, path: str) -> dict[str, Any] | None:
        """The object or list at `path`, None where there is none."""
        return self._call("GET", path, None, absent=404)

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of the list at `path`."""
        found = self.get(path)
        return found["items"] if found else []

    def create(self, path: str, body: dict[str, Any]) -> bool:
        """Create an object; returns False where one of its name exists already."""
        return self._call("POST", path, body, absent=409) is not None

    def delete(self, path: str) -> bool:
        """Delete an object; returns False where it is gone already."""
        return self._call("DELETE", path, None, absent=404) is not None

    def _call(self, method: str, path: str, body: dict[str, Any] | None, *, absent: int) -> dict[str, Any] | None:
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TargetUnavailable(f"{method} {path} got no answer", why=str(error)) from error
        finally:
            connection.close()
        if response.status == absent:
            return None
        if response.status >= 500 or response.status == 429:
            raise TargetUnavailable(f"{method} {path}: {response.status}", why=str(answer.get("message")))
        if response.status >= 400:
            raise TargetRefused(f"{method} {path}: {response.status}", why=str(answer.get("message")))
        found: dict[str, Any] = answer
        return found
