"""How much room a cluster has, in sums: what its nodes may give, and what quotas leave. Pure.

For a look ahead only: what a plan needs, pod by pod and claim by claim, is reckoned by `checks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.documents.offer import ClusterRoom, QuotaRoom
from kubeferry.targets.kubevirt.binding import SCHEDULABLE
from kubeferry.targets.kubevirt.checks.nodes import allocatable, usable
from kubeferry.targets.kubevirt.checks.quotas import counts_us, used_and_hard
from kubeferry.targets.kubevirt.quantities import amount

Object = dict[str, Any]


def room_of(nodes: Iterable[Object] | None, quotas: Iterable[Object] | None) -> ClusterRoom | None:
    """The room of a cluster with these nodes and quotas, None for either where nobody could ask. None where no node is
    told of."""
    listed = [node for node in nodes or () if usable(node) and _takes_machines(node)]
    if nodes is None or not listed:
        return None
    return ClusterRoom(
        nodes=len(listed),
        cpus=float(sum(allocatable(node, "cpu") for node in listed)),
        memory_bytes=int(sum(allocatable(node, "memory") for node in listed)),
        quotas=None if quotas is None else tuple(room for quota in quotas for room in _rooms(quota)),
    )


def _takes_machines(node: Object) -> bool:
    return bool((node["metadata"].get("labels") or {}).get(SCHEDULABLE) == "true")


def _rooms(quota: Object) -> Iterator[QuotaRoom]:
    if not counts_us(quota):
        return
    where = quota["metadata"]
    for resource, hard, used in used_and_hard(quota):
        yield QuotaRoom(
            namespace=where["namespace"],
            quota=where["name"],
            resource=resource,
            hard=float(amount(hard)),
            used=float(amount(used)),
        )
