"""The cluster's own authority, and a certificate for each program, with the rights it has on a real cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubeferry.outside.process import run
from lab.cluster import network

DAYS = "365"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate speaks for: a user, and its group where it has one."""

    file: str
    user: str
    group: str = ""

    @property
    def subject(self) -> str:
        return f"/O={self.group}/CN={self.user}" if self.group else f"/CN={self.user}"


ADMIN = Identity("admin", "lab-admin", "system:masters")
CONTROLLERS = Identity("controllers", "system:kube-controller-manager")
SCHEDULER = Identity("scheduler", "system:kube-scheduler")
PROXY = Identity("proxy", "system:kube-proxy")
KUBELET = Identity("kubelet", f"system:node:{network.NODE_NAME}", "system:nodes")
# The API server's own two ways to speak: to the kubelet, and to aggregated APIs and webhooks for a user.
TO_KUBELET = Identity("to-kubelet", "kube-apiserver-kubelet-client", "system:masters")
FRONT_PROXY = Identity("front-proxy", "front-proxy-client")
CLIENTS = (ADMIN, CONTROLLERS, SCHEDULER, PROXY, KUBELET, TO_KUBELET, FRONT_PROXY)

SERVER_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
SERVER_ADDRESSES = ("127.0.0.1", network.NODE_ADDRESS, network.INSIDE_ADDRESS, network.API_SERVICE_ADDRESS)


def kubeconfig(identity: Identity, folder: Path, server: str) -> dict[str, Any]:
    """The kubeconfig of one identity, as an object. It names the files of `folder`."""
    cluster = {"server": server, "certificate-authority": str(folder / "ca.crt")}
    user = {
        "client-certificate": str(folder / f"{identity.file}.crt"),
        "client-key": str(folder / f"{identity.file}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": identity.user, "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": identity.user}}],
        "current-context": "lab",
    }


def write_kubeconfig(identity: Identity, folder: Path, server: str, dest: Path) -> None:
    """Write the kubeconfig of one identity, readable by its owner only."""
    dest.touch(mode=0o600)
    dest.write_text(yaml.safe_dump(kubeconfig(identity, folder, server)))


def ensure(folder: Path) -> None:
    """All keys and certificates are in `folder`; what is there is kept, for the objects in etcd were signed by it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _service_accounts(folder)
    _authority(folder)
    names = ",".join([*(f"DNS:{name}" for name in SERVER_NAMES), *(f"IP:{address}" for address in SERVER_ADDRESSES)])
    _signed(folder, Identity("apiserver", "kube-apiserver"), f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    node = f"subjectAltName=DNS:{network.NODE_NAME},IP:{network.NODE_ADDRESS}\nextendedKeyUsage=serverAuth\n"
    _signed(folder, Identity("kubelet-server", f"system:node:{network.NODE_NAME}"), node)
    for identity in CLIENTS:
        _signed(folder, identity, "extendedKeyUsage=clientAuth\n")


def _key(path: Path) -> None:
    if not path.exists():
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path)])


def _service_accounts(folder: Path) -> None:
    """Their key is no certificate's: the API server wants its public half as a file."""
    private, public = folder / "service-accounts.key", folder / "service-accounts.pub"
    _key(private)
    run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)])


def _authority(folder: Path) -> None:
    certificate, key = folder / "ca.crt", folder / "ca.key"
    _key(key)
    if not certificate.exists():
        command = ["openssl", "req", "-x509", "-new", "-key", str(key), "-subj", "/CN=kubeferry-lab"]
        run([*command, "-days", DAYS, "-out", str(certificate)])


def _signed(folder: Path, identity: Identity, extensions: str) -> None:
    path = {suffix: folder / f"{identity.file}.{suffix}" for suffix in ("key", "csr", "ext", "crt")}
    if path["crt"].exists():
        return
    _key(path["key"])
    path["ext"].write_text(f"basicConstraints=CA:FALSE\n{extensions}")
    subject = ["-subj", identity.subject, "-out", str(path["csr"])]
    run(["openssl", "req", "-new", "-key", str(path["key"]), *subject])
    authority = ["-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"]
    signed = ["-days", DAYS, "-extfile", str(path["ext"]), "-out", str(path["crt"])]
    run(["openssl", "x509", "-req", "-in", str(path["csr"]), *authority, *signed])
