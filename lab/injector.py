"""A mesh's injector: an admission webhook that puts a container beside those of each pod, which never ends. Or, in its
place, what gives a pod a user as OpenShift does: `lab/usual.py` says which.

It serves in the process that asks for it. What it puts there is the pause program: no proxy, nothing that touches the
network. The pods that meshes leave alone by their labels are left alone, unless it is rude.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

from kubeferry.outside.process import run
from lab import usual
from lab.cluster.images import PAUSE
from lab.cluster.network import OUTSIDE_ADDRESS
from lab.ground import Ground
from lab.serving import Server, running

Object = dict[str, Any]
Mode = Literal["polite", "rude", "giving", "watching"]
"""Heeds what pods say to meshes; puts its container everywhere; gives users, but not to KubeVirt's own pods; only notes
what pods there are."""

NAME = "kubeferry-lab-injector"
SIDECAR = "mesh"
OPT_OUT = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none", "linkerd.io/inject": "disabled"}
CONTAINER: Object = {
    "name": SIDECAR,
    "image": PAUSE,
    "imagePullPolicy": "Never",
    "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1337,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A pod as it was asked for, and whether it got something."""

    namespace: str
    pod: Object
    injected: bool


def spared(pod: Object) -> bool:
    """Whether the pod asks meshes to leave it alone."""
    metadata = pod.get("metadata") or {}
    marks = (metadata.get("annotations") or {}) | (metadata.get("labels") or {})
    return any(marks.get(key) == value for key, value in OPT_OUT.items())


def answer(review: Object, mode: Mode) -> tuple[Object, Admitted]:
    """The admission review's answer, and what comes of the pod."""
    request = review["request"]
    response: Object = {"uid": request["uid"], "allowed": True}
    pod = request["object"]
    patch: list[Object] = []
    if mode == "rude" or (mode == "polite" and not spared(pod)):
        patch = [{"op": "add", "path": "/spec/containers/-", "value": CONTAINER}]
    elif mode == "giving" and not request["userInfo"]["username"].startswith(usual.KUBEVIRT):
        patch = usual.given(pod)
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    told = {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}
    return told, Admitted(request["namespace"], pod, "patch" in response)


def configuration(namespaces: Iterable[str], url: str, authority: str) -> Object:
    """The API server asks at `url` about each pod of these namespaces."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    here = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(namespaces)}
    webhook = {
        "name": "injector.lab.kubeferry",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority.encode()).decode()},
        "rules": [rule],
        "namespaceSelector": {"matchExpressions": [here]},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [webhook],
    }


# --- edge ------------------------------------------------------------------------------------------------------------


@contextmanager
def injecting(ground: Ground, modes: Mapping[str, Mode], folder: Path) -> Iterator[list[Admitted]]:
    """New pods of these namespaces get the container, and all of them are noted. Only a cluster on this machine reaches
    us: the lab's own."""
    certificate, key = _certificate(folder)
    admitted: list[Admitted] = []
    server = Server((OUTSIDE_ADDRESS, 0), _handler(modes, admitted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    url = f"https://{OUTSIDE_ADDRESS}:{server.server_port}/"
    with running(server, "lab-injector"):
        ground.apply(configuration(modes, url, certificate.read_text()))
        try:
            yield admitted
        finally:
            ground.kubectl("delete", "mutatingwebhookconfiguration", NAME)


def _handler(modes: Mapping[str, Mode], admitted: list[Admitted]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told, pod = answer(review, modes[review["request"]["namespace"]])
            admitted.append(pod)
            said = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, for our side of the link to the node, and its key."""
    certificate, key = folder / "injector.pem", folder / "injector.key"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subject = ["-subj", "/CN=lab injector", "-addext", f"subjectAltName=IP:{OUTSIDE_ADDRESS}"]
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", *subject, *files])
    return certificate, key
