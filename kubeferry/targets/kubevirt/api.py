"""The one door to the cluster: the Kubernetes client, and its answers as errors of ours.

The client brings kubeconfig files, service accounts and TLS; requests are made by path, because the kinds that we touch
are few and known. A Cluster belongs to one thread.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3
import websocket
from kubernetes import client, config
from kubernetes.client.rest import RESTClientObject

from kubeferry.errors import InputInvalid, Problem, TargetRefused, TargetUnavailable
from kubeferry.outside import stopping
from kubeferry.targets.kubevirt.answers import AGAIN, AlreadyThere, Changed, Conflict, NotThere, error_of
from kubeferry.targets.kubevirt.kinds import Kind

__all__ = ["AlreadyThere", "Changed", "Cluster", "Conflict", "NotThere", "connect"]

MANAGER = "kubeferry"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
PATIENCE_SECONDS = 20.0
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
# An API server that has just started does not know its Roles yet, and forbids what it allows a moment later.
WAKING_SECONDS = 30.0
PAGE = 500
USERS_OWN = "~/.kube/config"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
RIGHTS = "authorization.k8s.io/v1"
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

Object = dict[str, Any]
Owned = Literal["Foreground", "Background", "Orphan"]
"""What becomes of what a deleted object owns: it goes first, it goes afterwards, it stays."""


def connect(kubeconfig: str | None, context: str | None) -> Cluster:
    """A way into the cluster that a kubeconfig names: this one, KUBECONFIG's, the user's own; in a pod, its account's.

    Asks nothing of the cluster. Raises InputInvalid where there is none, or it has no such context.
    """
    return Cluster(kubeconfig, context)


class Cluster:
    """Requests to one API server. All methods raise KubeferryError only.

    What may pass by itself (no connection, 429, 5xx) is tried again for `PATIENCE_SECONDS` where asking twice changes
    nothing, and is TargetUnavailable after that; so are credentials that ran out, which are read anew once before.
    """

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._away_at = -WAKING_SECONDS
        self._log_in()

    def _log_in(self) -> None:
        self._settings = _settings(self._kubeconfig, self._context)
        self._pool = RESTClientObject(self._settings).pool_manager

    # --- objects -------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object | None:
        """One object, None where it is not there."""
        try:
            return self._json("GET", kind.path(namespace, name), what=_words("read", kind, name, namespace))
        except NotThere:
            return None

    def list(self, kind: Kind, namespace: str = "", labels: dict[str, str] | None = None) -> list[Object]:
        """All objects of a kind, of one namespace or of all, that carry these labels."""
        query = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        found: list[Object] = []
        while True:
            page = self._json("GET", kind.path(namespace), query=query, what=_words("list", kind, "", namespace))
            found += [{"apiVersion": kind.api_version, "kind": kind.name} | item for item in page.get("items") or []]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    def create(self, manifest: Object, kind: Kind, *, dry_run: bool = False) -> Object:
        """Create an object, strictly validated. Raises AlreadyThere. With `dry_run` the server only says what it would.

        Not repeated after a lost answer: whoever calls again finds out by AlreadyThere.
        """
        name, namespace = _named(manifest)
        query = {"fieldValidation": "Strict", "fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})
        what = _words("create", kind, name, namespace)
        return self._json("POST", kind.path(namespace), query=query, body=manifest, what=what, again=False)

    def apply(
        self, manifest: Object, kind: Kind, *, dry_run: bool = False, force: bool = False, manager: str = MANAGER
    ) -> Object:
        """Server-side apply, strictly validated; the object as it is then. Raises Conflict where a field of ours is
        another manager's, unless `force` takes it over; Changed where the manifest has a `resourceVersion`, and the
        object another one."""
        name, namespace = _named(manifest)
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        what = _words("apply", kind, name, namespace)
        more: Object = {"query": query, "body": manifest, "media": APPLY, "what": what}
        as_read = "resourceVersion" in manifest["metadata"]
        return self._json("PATCH", kind.path(namespace, name), **more, as_read=as_read)

    def merge(self, kind: Kind, name: str, namespace: str, patch: Object) -> Object:
        """Change fields of an object by a JSON merge patch. Raises NotThere."""
        what = _words("change", kind, name, namespace)
        query = {"fieldManager": MANAGER}
        return self._json("PATCH", kind.path(namespace, name), query=query, body=patch, media=MERGE, what=what)

    def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str | None = None, owned: Owned = "Foreground"
    ) -> bool:
        """Ask for an object's end, and by default for that of what it owns first. False: it was not there, or (with
        `uid`) it is another one of the same name. It may take a while to go."""
        options: Object = {"propagationPolicy": owned}
        if uid:
            options["preconditions"] = {"uid": uid}
        what = _words("delete", kind, name, namespace)
        try:
            self._json("DELETE", kind.path(namespace, name), body=options, what=what)
        except NotThere:
            return False
        except Conflict:
            if uid:
                return False
            raise
        return True

    # --- other requests --------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object | None = None,
        query: dict[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> bytes:
        """Any request; the answer's body. Raises NotThere for 404."""
        what = f"{method} {path}"
        return self._request(method, path, query=query, body=body, what=what, again=method == "GET", seconds=seconds)

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail_lines: int | None = None,
        limit_bytes: int = 1 << 20,
        previous: bool = False,
    ) -> str:
        """What a container printed; empty where it has not begun, or is gone."""
        query = {"container": container, "limitBytes": str(limit_bytes)}
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        if previous:
            query["previous"] = "true"
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            return self._request("GET", path, query=query, what=f"read the log of pod {namespace}/{pod}").decode(
                errors="replace"
            )
        except NotThere:
            return ""
        except TargetRefused as refused:
            if "waiting to start" in refused.why or "not found" in refused.why or "not available" in refused.why:
                return ""
            raise

    def websocket(
        self, path: str, query: Sequence[tuple[str, str]] = (), *, protocols: Sequence[str] = (), seconds: float = 10.0
    ) -> websocket.WebSocket:
        """A websocket to a path: a command in a pod, a forwarded port, a console. Close it.

        Raises TargetRefused where the server refuses it, with the server's words.
        """
        parts = urlsplit(self._settings.host)
        scheme = "wss" if parts.scheme == "https" else "ws"
        url = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {key: value for key, value in self._headers().items() if key == "authorization"}
        try:
            return websocket.create_connection(
                url,
                timeout=seconds,
                header=headers,
                subprotocols=list(protocols),
                sslopt=_tls_of(self._settings),
                enable_multithread=True,
                **_proxy_of(self._settings),
            )
        except websocket.WebSocketBadStatusException as refused:
            raise error_of(refused.status_code, refused.resp_body or b"", f"open {path}") from None
        except (OSError, websocket.WebSocketException, ssl.SSLError) as error:
            raise TargetUnavailable(f"{path} cannot be opened", why=str(error), fix=AGAIN) from error

    def allowed(
        self, verb: str, group: str, resource: str, *, subresource: str = "", namespace: str = "", name: str = ""
    ) -> bool:
        """Whether our account may do this, as the API server itself sees it."""
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        attributes |= {"namespace": namespace, "name": name}
        review = {
            "apiVersion": RIGHTS,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        said = self.ask(f"/apis/{RIGHTS}/selfsubjectaccessreviews", review, what="ask for our permissions")
        return bool(said.get("status", {}).get("allowed"))

    def ask(self, path: str, review: Object, *, what: str, query: dict[str, str] | None = None) -> Object:
        """What the API server says to a review, which it keeps nothing of."""
        return self._json("POST", path, body=review, query=query, what=what)

    def address(self) -> str:
        """Where the API server is."""
        return str(self._settings.host)

    def kinds(self, api_version: str) -> frozenset[str]:
        """The plural names of the kinds of a group and version. Raises NotThere where they are not served."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        found = self._json("GET", root, what=f"ask for the kinds of {api_version}")
        return frozenset(str(one["name"]) for one in found.get("resources") or [])

    def version(self) -> str:
        """The API server's version, as `v1.34.2`."""
        return str(self._json("GET", "/version", what="ask for the version")["gitVersion"])

    def close(self) -> None:
        """End the connections."""
        self._pool.clear()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _json(self, method: str, path: str, **more: Any) -> Object:
        said = self._request(method, path, **more)
        try:
            found = json.loads(said or b"{}")
        except ValueError as error:
            found, why = None, str(error)
        else:
            why = f"it is a {type(found).__name__}"
        if not isinstance(found, dict):  # a proxy's page, say
            raise TargetUnavailable(f"{more['what']}: the answer is not an API server's", why=why, fix=AGAIN)
        return found

    def _request(self, method: str, path: str, **more: Any) -> bytes:
        return self._answer(_Request(method, path, **more))

    def _answer(self, request: _Request) -> bytes:
        """The body of a good answer; what may pass is waited for."""
        limit = time.monotonic() + PATIENCE_SECONDS
        pause, renewed = PAUSE_SECONDS, False
        while True:
            status, said, wait = self._ask(request)
            if 200 <= status < 300:
                return said
            error = error_of(status, said, request.what)
            if request.as_read and isinstance(error, Changed):
                raise error
            if status == 401 and not renewed:
                renewed = True
                self._log_in()
                continue
            # What 429 or an overtaken write answers was not done, whatever was asked. Only a person mends credentials.
            waking = status == 403 and time.monotonic() - self._away_at < WAKING_SECONDS
            harmless = waking or request.again or status in {409, 429} or isinstance(error, Changed)
            passing = waking or (error.transient and status != 401)
            if not passing or not harmless or time.monotonic() > limit:
                raise error
            stopping.pause(min(wait or pause, LONGEST_PAUSE_SECONDS))
            stopping.check()
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def _ask(self, request: _Request) -> tuple[int, bytes, float | None]:
        """One try: status, body, and how long the server asks to wait. No connection counts as 503."""
        host = self._settings.host.rstrip("/")
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        headers = self._headers() | {"Accept": f"{JSON}, */*"}
        if request.body is not None:
            headers["Content-Type"] = request.media
        try:
            answer = self._pool.request(
                request.method,
                f"{host}{request.path}{query}",
                body=None if request.body is None else json.dumps(request.body),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=request.seconds),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.SSLError as error:
            what = f"{request.what}: the API server is not the one that we know"
            fix = "Check the cluster's certificate authority in the kubeconfig."
            raise TargetRefused(what, why=str(error), fix=fix) from error
        except urllib3.exceptions.HTTPError as error:
            self._away_at = time.monotonic()
            return 503, f"no answer from {host}: {error}".encode(), None
        wait = answer.headers.get("Retry-After", "")
        return answer.status, answer.data, float(wait) if wait.isdigit() else None

    def _headers(self) -> dict[str, str]:
        token = self._settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"User-Agent": MANAGER} | ({"authorization": token} if token else {})


@dataclass(frozen=True, slots=True)
class _Request:
    """One request. `what` says it in words; `again`: asking twice changes nothing; `as_read`: it is meant for the
    object as it was read, and not for a later one; `seconds` to wait for the answer."""

    method: str
    path: str
    what: str
    query: dict[str, str] | None = None
    body: object | None = None
    media: str = JSON
    again: bool = True
    as_read: bool = False
    seconds: float = ANSWER_SECONDS


def _settings(kubeconfig: str | None, context: str | None) -> client.Configuration:
    settings = client.Configuration()
    try:
        if not kubeconfig and not os.environ.get("KUBECONFIG") and SERVICE_ACCOUNT.exists():
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            # Given none, the library takes what KUBECONFIG was when the library was imported.
            path = str(Path(kubeconfig).expanduser()) if kubeconfig else os.environ.get("KUBECONFIG") or USERS_OWN
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, context=context, client_configuration=settings, persist_config=False
            )
    except (config.ConfigException, OSError, ValueError) as error:
        where = kubeconfig or os.environ.get("KUBECONFIG") or "the user's own kubeconfig"
        fix = "Name a kubeconfig and a context of it as target.kubeconfig and target.context, or set KUBECONFIG."
        raise InputInvalid("there is no way into the cluster", [Problem(where, str(error), fix)]) from error
    return settings


def _tls_of(settings: client.Configuration) -> dict[str, Any]:
    """TLS for a websocket, as the client's own connections have it."""
    options: dict[str, Any] = {
        "cert_reqs": ssl.CERT_REQUIRED if settings.verify_ssl else ssl.CERT_NONE,
        "check_hostname": bool(settings.verify_ssl) and settings.assert_hostname is not False,
        "ca_certs": settings.ssl_ca_cert,
        "certfile": settings.cert_file,
        "keyfile": settings.key_file,
        "server_hostname": settings.tls_server_name,
    }
    return {key: value for key, value in options.items() if value is not None}


def _proxy_of(settings: client.Configuration) -> dict[str, Any]:
    """The proxy of a kubeconfig (`proxy-url`) or of the environment, which objects go through, for a websocket."""
    if not settings.proxy:
        return {}
    parts = urlsplit(settings.proxy)
    found: dict[str, Any] = {
        "http_proxy_host": parts.hostname,
        "http_proxy_port": parts.port or {"https": 443}.get(parts.scheme, 80),
        "proxy_type": parts.scheme if parts.scheme.startswith("socks") else "http",
        "http_no_proxy": [name for name in (settings.no_proxy or "").split(",") if name] or None,
    }
    if parts.username is not None:
        found["http_proxy_auth"] = (unquote(parts.username), unquote(parts.password or ""))
    return {key: value for key, value in found.items() if value is not None}


def _named(manifest: Object) -> tuple[str, str]:
    metadata = manifest["metadata"]
    return metadata["name"], metadata.get("namespace", "")


def _words(verb: str, kind: Kind, name: str, namespace: str) -> str:
    thing = kind.name if name else kind.plural
    return f"{verb} {thing} {'/'.join(part for part in (namespace, name) if part)}".strip()
