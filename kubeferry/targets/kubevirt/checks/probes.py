"""Probes that a cluster cannot answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.facts import Facts, Request
from kubeferry.targets.kubevirt.checks.told import concern

NO_PACKETS = (
    "KubeVirt tells an ordinary account nothing of what a network card sends: its counters stand in metrics of "
    "virt-handler's pods, in KubeVirt's own namespace"
)
OTHERS = "Plan with `screen`, `tcp` or `http` in its place."


def concerns(_facts: Facts, request: Request) -> Iterator[Concern]:
    """Plans that were made before the cluster was asked."""
    for entry in request.entries:
        if any(probe.kind == "packets" for probe in entry.all_probes):
            yield concern("probe.packets-untold", f"{entry.name}: {NO_PACKETS}", OTHERS)
