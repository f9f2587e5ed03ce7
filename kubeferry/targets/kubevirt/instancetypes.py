"""Instance types and preferences as a cluster has them: what each gives or names, for a planner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kubeferry.documents import OfferedPreference, OfferedType
from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.kinds import INSTANCE_TYPES, PREFERENCES, Kind
from kubeferry.targets.kubevirt.quantities import amount

# Parts of an instance type's spec that go down one step further in what is told of it.
_NESTED = ("cpu", "memory")
_GIVEN = frozenset({"cpu.guest", "memory.guest"})
_NAMED = ("clock", "cpu", "devices", "features", "firmware", "machine")
# What a preference asks for, its notes, and a class for volumes that a machine makes itself: ours are made before it.
_FILLS_NOTHING = frozenset({"requirements", "annotations", "volumes"})

Object = dict[str, Any]


def offered(cluster: Cluster) -> tuple[tuple[OfferedType, ...] | None, tuple[OfferedPreference, ...] | None]:
    """All instance types and all preferences, of the whole cluster and of its namespaces; None for what our account may
    not list, or the cluster does not serve."""
    types, preferences = _all(cluster, INSTANCE_TYPES), _all(cluster, PREFERENCES)
    return (
        None if types is None else tuple(known for one in types if (known := type_of(one)) is not None),
        None if preferences is None else tuple(map(preference_of, preferences)),
    )


def _all(cluster: Cluster, kinds: Iterable[Kind]) -> list[Object] | None:
    """All objects of these kinds; None where one of the kinds cannot be listed: half of them would be no answer."""
    try:
        return [one for kind in kinds for one in cluster.list(kind)]
    except TargetRefused:
        return None


# --- pure ------------------------------------------------------------------------------------------------------------


def type_of(found: Object) -> OfferedType | None:
    """An instance type as its object tells of it; None for one that gives no processor or no memory."""
    spec = found.get("spec") or {}
    cpu, memory = spec.get("cpu") or {}, spec.get("memory") or {}
    if not cpu.get("guest") or not memory.get("guest"):
        return None
    return OfferedType(
        name=found["metadata"]["name"],
        namespace=found["metadata"].get("namespace"),
        vcpus=int(cpu["guest"]),
        memory_bytes=int(amount(memory["guest"])),
        hugepages=(memory.get("hugepages") or {}).get("pageSize"),
        dedicated_cpus=bool(cpu.get("dedicatedCPUPlacement")),
        node_selector=spec.get("nodeSelector") or {},
        sets=tuple(sorted(set(_words(spec, _NESTED)) - _GIVEN)),
    )


def preference_of(found: Object) -> OfferedPreference:
    """A preference as its object tells of it."""
    spec = {key: value for key, value in (found.get("spec") or {}).items() if key not in _FILLS_NOTHING}
    needs = (found.get("spec") or {}).get("requirements") or {}
    return OfferedPreference(
        name=found["metadata"]["name"],
        namespace=found["metadata"].get("namespace"),
        sets=tuple(sorted(_words(spec, _NAMED))),
        needs_vcpus=int((needs.get("cpu") or {}).get("guest") or 0),
        needs_memory_bytes=int(amount((needs.get("memory") or {}).get("guest") or 0)),
    )


def _words(spec: Object, nested: Iterable[str]) -> Iterator[str]:
    for key, value in spec.items():
        if key in nested and isinstance(value, dict):
            yield from (f"{key}.{below}" for below in value)
        else:
            yield key
