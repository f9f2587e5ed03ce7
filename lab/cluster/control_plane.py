"""etcd and Kubernetes' control plane: each a process of the node, each with its own identity."""

from __future__ import annotations

from pathlib import Path

from lab.cluster import certificates, kubectl, network
from lab.cluster.node import Node
from lab.cluster.place import Place

READY_SECONDS = 120
ETCD_CLIENTS = "http://127.0.0.1:2379"
ETCD_PEERS = "http://127.0.0.1:2380"
ISSUER = "https://kubernetes.default.svc.cluster.local"


def outside_server() -> str:
    """The API server's address for those outside the node."""
    return f"https://{network.INSIDE_ADDRESS}:{network.API_PORT}"


def inside_server() -> str:
    """The API server's address for the node's own programs."""
    return f"https://{network.NODE_ADDRESS}:{network.API_PORT}"


def pki(place: Place) -> Path:
    """The folder of the cluster's keys and certificates."""
    return place.state / "pki"


def kubeconfig(place: Place, identity: certificates.Identity) -> Path:
    """The kubeconfig of a program inside the node."""
    return pki(place) / f"{identity.file}.kubeconfig"


def write_identities(place: Place) -> None:
    """Certificates and kubeconfigs of everybody."""
    certificates.ensure(pki(place))
    for identity in certificates.CLIENTS:
        certificates.write_kubeconfig(identity, pki(place), inside_server(), kubeconfig(place, identity))
    certificates.write_kubeconfig(certificates.ADMIN, pki(place), outside_server(), place.kubeconfig)


def start(node: Node, programs: Path) -> None:
    """The API server answers, controllers and scheduler run. Raises TargetUnavailable when it takes too long."""
    place = node.place
    node.start("etcd", etcd(place))
    node.start("kube-apiserver", api_server(place, programs))
    ready = ("get", "--raw=/readyz")
    node.await_daemon("kube-apiserver", lambda: kubectl.says(place, *ready) == "ok", seconds=READY_SECONDS)
    node.start("kube-controller-manager", controller_manager(place, programs))
    node.start("kube-scheduler", scheduler(place, programs))


def etcd(place: Place) -> list[str]:
    """The lab's data need not survive a power cut: nothing is synced to the disk."""
    return [
        "etcd",
        f"--data-dir={place.state / 'etcd'}",
        f"--listen-client-urls={ETCD_CLIENTS}",
        f"--advertise-client-urls={ETCD_CLIENTS}",
        f"--listen-peer-urls={ETCD_PEERS}",
        f"--initial-advertise-peer-urls={ETCD_PEERS}",
        f"--initial-cluster=default={ETCD_PEERS}",
        "--unsafe-no-fsync",
    ]


def api_server(place: Place, programs: Path) -> list[str]:
    """With aggregated APIs reached by endpoint, so that KubeVirt's and CDI's work before any service does."""
    folder = pki(place)
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers={ETCD_CLIENTS}",
        "--bind-address=0.0.0.0",
        f"--secure-port={network.API_PORT}",
        f"--advertise-address={network.NODE_ADDRESS}",
        f"--service-cluster-ip-range={network.SERVICES}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={folder / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
        f"--kubelet-certificate-authority={folder / 'ca.crt'}",
        f"--kubelet-client-certificate={folder / 'to-kubelet.crt'}",
        f"--kubelet-client-key={folder / 'to-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--enable-aggregator-routing=true",
        f"--proxy-client-cert-file={folder / 'front-proxy.crt'}",
        f"--proxy-client-key-file={folder / 'front-proxy.key'}",
        f"--requestheader-client-ca-file={folder / 'ca.crt'}",
        f"--requestheader-allowed-names={certificates.FRONT_PROXY.user}",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
    ]


def controller_manager(place: Place, programs: Path) -> list[str]:
    """One of its kind: it need not elect a leader."""
    folder = pki(place)
    return [
        str(programs / "kube-controller-manager"),
        f"--kubeconfig={kubeconfig(place, certificates.CONTROLLERS)}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={folder / 'service-accounts.key'}",
        f"--root-ca-file={folder / 'ca.crt'}",
        f"--cluster-signing-cert-file={folder / 'ca.crt'}",
        f"--cluster-signing-key-file={folder / 'ca.key'}",
    ]


def scheduler(place: Place, programs: Path) -> list[str]:
    """One of its kind, too."""
    config = f"--kubeconfig={kubeconfig(place, certificates.SCHEDULER)}"
    return [str(programs / "kube-scheduler"), config, "--leader-elect=false"]
