"""The kubelet and kube-proxy: what makes the node a node of the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.cluster import certificates, control_plane, kubectl, network
from lab.cluster.node import Node
from lab.cluster.place import Place

READY_SECONDS = 120


def kubelet_config(place: Place) -> dict[str, Any]:
    """The kubelet's configuration.

    Limits that would evict pods are as low as it accepts, and it never deletes an image: a lab runs on busy disks, and
    no registry brings an image back. The root file system is the machine's own, so the cgroup driver is too.
    """
    folder = control_plane.pki(place)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(folder / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(folder / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(folder / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{place.containerd}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "50Mi", "imagefs.available": "1%", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": str(place.state / "volume-plugins"),
        "clusterDNS": [network.DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
    }


def proxy_config(place: Place) -> dict[str, Any]:
    """kube-proxy's configuration.

    `masqueradeAll`: pods share one bridge, so an answer would reach the asking pod directly and from an address that
    it never called; through the node it goes back the way it came. Settings of the whole machine are left alone (0).
    """
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "nftables": {"masqueradeAll": True},
        "clientConnection": {"kubeconfig": str(control_plane.kubeconfig(place, certificates.PROXY))},
        "clusterCIDR": network.PODS,
        "hostnameOverride": network.NODE_NAME,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def start(node: Node, programs: Path) -> None:
    """The node is Ready and services work. Raises TargetUnavailable when it takes too long."""
    place = node.place
    config = {"kubelet": kubelet_config(place), "kube-proxy": proxy_config(place)}
    for name, value in config.items():
        path, text = place.state / f"{name}.yaml", yaml.safe_dump(value)
        # kube-proxy ends when its file is written, even with what it held.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    node.start("kubelet", kubelet(place, programs))
    node.start("kube-proxy", [str(programs / "kube-proxy"), f"--config={place.state / 'kube-proxy.yaml'}"])
    node.await_daemon("kubelet", lambda: is_ready(place), seconds=READY_SECONDS)
    # KubeVirt's operator asks for a node with this role.
    kubectl.kubectl(place, "label", "--overwrite", "node", network.NODE_NAME, "node-role.kubernetes.io/control-plane=")


def kubelet(place: Place, programs: Path) -> list[str]:
    """The bridge's address is the node's: the kubelet refuses one of the loopback."""
    return [
        str(programs / "kubelet"),
        f"--config={place.state / 'kubelet.yaml'}",
        f"--kubeconfig={control_plane.kubeconfig(place, certificates.KUBELET)}",
        f"--hostname-override={network.NODE_NAME}",
        f"--node-ip={network.NODE_ADDRESS}",
    ]


def is_ready(place: Place) -> bool:
    """Whether the API server says that the node is Ready."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl.says(place, "get", "node", network.NODE_NAME, f"--output=jsonpath={path}") == "True"
