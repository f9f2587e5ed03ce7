"""What the lab cluster looks like at this moment, in lines for a person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lab.cluster import host, hypervisor, kubectl, kubelet, node
from lab.cluster.place import Place


def lines(place: Place) -> list[str]:
    """A line for each part that is there; one line where there is none."""
    running = node.find(place)
    if running is None:
        return ["no lab cluster runs"]
    daemons = sorted(path.name for path in place.pidfile("").iterdir() if path.name != "node")
    said = [f"{name}: {'runs' if running.runs(name) else 'ENDED'}" for name in daemons]
    there = hypervisor.find(place)
    said.append(f"hypervisor: {there.user}@{there.host}" if there else "hypervisor: ENDED")
    said.append(f"loop devices: {len(host.loop_devices(place.state))}")
    said.append(f"node: {'Ready' if kubelet.is_ready(place) else 'not ready'}")
    said += [f"pods: {pods}" for pods in [_pods(place)] if pods]
    said += [f"{name}: {phase}" for name, phase in phases(place).items()]
    return [*said, f"kubeconfig: {place.kubeconfig}"]


def phases(place: Place) -> dict[str, str]:
    """The phases of KubeVirt and CDI, those of them that are installed."""
    asked = {"KubeVirt": ("kubevirts.kubevirt.io", "--all-namespaces"), "CDI": ("cdis.cdi.kubevirt.io",)}
    said = {
        name: kubectl.says(place, "get", *what, "--output=jsonpath={.items[*].status.phase}")
        for name, what in asked.items()
    }
    return {name: phase for name, phase in said.items() if phase}


def _pods(place: Place) -> str:
    """How many pods are in each phase."""
    phase = "--output=jsonpath={.items[*].status.phase}"
    counted = Counter((kubectl.says(place, "get", "pods", "--all-namespaces", phase) or "").split())
    return ", ".join(f"{number} {name}" for name, number in sorted(counted.items()))


def kubeconfig(place: Place) -> Path | None:
    """The kubeconfig of a running cluster whose node is Ready, None where there is no such cluster."""
    return place.kubeconfig if node.find(place) is not None and kubelet.is_ready(place) else None
