"""What a cluster has beside Kubernetes: names of services, and storage classes with a provisioner behind them."""

from __future__ import annotations

import sys

import yaml

from lab.cluster import certificates, control_plane, kubectl, network, provisioner
from lab.cluster.node import Node
from lab.cluster.place import Place

CLASS = "lab"
# Binds a claim only when a pod wants it, as most classes of real clusters do.
LATE_CLASS = "lab-first-consumer"
# Block volumes for many nodes, file systems for one: what most clusters keep machines on.
BLOCK_CLASS = "lab-rwx-block"


def classes() -> list[dict[str, object]]:
    """The storage classes; all serve Block and Filesystem claims. The first one is the default."""
    bindings = {CLASS: "Immediate", LATE_CLASS: "WaitForFirstConsumer", BLOCK_CLASS: "Immediate"}
    default = "storageclass.kubernetes.io/is-default-class"
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": {default: str(name == CLASS).lower()}},
            "provisioner": provisioner.BLOCK_NAME if name == BLOCK_CLASS else provisioner.NAME,
            "volumeBindingMode": binding,
            "reclaimPolicy": "Delete",
        }
        for name, binding in bindings.items()
    ]


def profiles() -> list[dict[str, object]]:
    """The modes that the classes serve, best one first: CDI knows them of well-known provisioners only."""
    modes = [{"accessModes": ["ReadWriteOnce"], "volumeMode": mode} for mode in ("Block", "Filesystem")]
    shared = {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}
    return [
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "StorageProfile",
            "metadata": {"name": name},
            "spec": {"claimPropertySets": [shared, *modes] if name == BLOCK_CLASS else modes},
        }
        for name in (CLASS, LATE_CLASS, BLOCK_CLASS)
    ]


def write_profiles(place: Place) -> None:
    """The storage profiles say what the classes serve; CDI must be there."""
    kubectl.apply(place, yaml.safe_dump_all(profiles()))


def start(node: Node) -> None:
    """Both daemons are started and the classes exist. Raises ProgramFailed."""
    place = node.place
    kubeconfig = str(control_plane.kubeconfig(place, certificates.ADMIN))
    daemons = {
        "dns": ["lab.cluster.dns", kubeconfig, network.DNS_ADDRESS],
        "provisioner": ["lab.cluster.provisioner", kubeconfig, str(place.state / "volumes")],
    }
    for name, arguments in daemons.items():
        node.start(name, [sys.executable, "-m", *arguments])
    kubectl.apply(place, yaml.safe_dump_all(classes()))
