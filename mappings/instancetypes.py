"""KubeVirt's instance types and preferences: what of a machine they decide, and what must not stand beside them.

An instance type gives processors and memory, and KubeVirt refuses a machine that says anything of its own about what
its type gives (kv:pkg/instancetype/apply, compared between v1.5.3 and v1.9.0). A preference only fills in what a
machine leaves open, but for ACPI and hot-plug of disks, where KubeVirt cannot tell open from off. From 1.6 on, one that
is not there is no error of admission: the machine is taken, and never starts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from kubeferry.documents import Offer, OfferedPreference, OfferedType, Placement, SizedBy, TypeRef

TYPES = {"cluster": "VirtualMachineClusterInstancetype", "namespaced": "VirtualMachineInstancetype"}
PREFERENCES = {"cluster": "VirtualMachineClusterPreference", "namespaced": "VirtualMachinePreference"}

# Paths below `spec.template.spec` that no instance type suffers beside it; room to grow is reckoned from what it gives.
ALWAYS = (
    "domain.cpu.sockets",
    "domain.cpu.cores",
    "domain.cpu.threads",
    "domain.cpu.maxSockets",
    "domain.memory.guest",
    "domain.memory.maxGuest",
    "domain.resources.requests.cpu",
    "domain.resources.requests.memory",
    "domain.resources.limits.cpu",
    "domain.resources.limits.memory",
)
# What an instance type may say, in its own words, and the path that must not stand beside it then.
MAYBE = {
    "cpu.model": "domain.cpu.model",
    "cpu.dedicatedCPUPlacement": "domain.cpu.dedicatedCpuPlacement",
    "cpu.isolateEmulatorThread": "domain.cpu.isolateEmulatorThread",
    "cpu.numa": "domain.cpu.numa",
    "cpu.realtime": "domain.cpu.realtime",
    "ioThreadsPolicy": "domain.ioThreadsPolicy",
    "launchSecurity": "domain.launchSecurity",
    "nodeSelector": "nodeSelector",
    "schedulerName": "schedulerName",
}
# Of these the machine's own word is the user's: it is left where nobody knows whether it is suffered.
_WISHED = frozenset({"cpu.dedicatedCPUPlacement", "nodeSelector"})

Object = dict[str, Any]
T = TypeVar("T", OfferedType, OfferedPreference)


@dataclass(frozen=True, slots=True)
class Types:
    """One machine's instance type and preference. `given` and `filling` are what the cluster says of them, None where
    it has none of that name; `asked` and `asked_preferences` say whether it was asked, and told."""

    instancetype: TypeRef | None = None
    preference: TypeRef | None = None
    given: OfferedType | None = None
    filling: OfferedPreference | None = None
    asked: bool = False
    asked_preferences: bool = False

    @property
    def sizes(self) -> bool:
        """Whether an instance type decides about processors and memory."""
        return self.instancetype is not None


def resolve(instancetype: TypeRef | None, preference: TypeRef | None, namespace: str, offer: Offer) -> Types:
    """What the policy's words come to at a target."""
    return Types(
        instancetype=instancetype,
        preference=preference,
        given=_named(instancetype, offer.types or (), namespace),
        filling=_named(preference, offer.preferences or (), namespace),
        asked=offer.types is not None,
        asked_preferences=offer.preferences is not None,
    )


def _named(ref: TypeRef | None, offered: tuple[T, ...], namespace: str) -> T | None:
    if ref is None:
        return None
    place = namespace if ref.kind == "namespaced" else None
    return next((one for one in offered if (one.name, one.namespace) == (ref.name, place)), None)


def matchers(types: Types) -> Object:
    """What stands in the machine's `spec`."""
    found: Object = {}
    if types.instancetype is not None:
        found["instancetype"] = {"kind": TYPES[types.instancetype.kind], "name": types.instancetype.name}
    if types.preference is not None:
        found["preference"] = {"kind": PREFERENCES[types.preference.kind], "name": types.preference.name}
    return found


def sized_by(types: Types) -> SizedBy | None:
    """The same for the plan, with what it gives as far as that is known; None without an instance type."""
    if types.instancetype is None:
        return None
    kind = TYPES[types.instancetype.kind]
    return SizedBy(kind=kind, name=types.instancetype.name, gives=types.given)


def left_to(template: Object, types: Types) -> Object:
    """A machine's `spec.template.spec` without what its instance type decides."""
    if not types.sizes:
        return template
    made = copy.deepcopy(template)
    for path in (*ALWAYS, "domain.memory", *_decided(types)):  # before 1.7 no word on memory is suffered at all
        _drop(made, path.split("."))
    return made


def contradictions(placement: Placement, types: Types) -> list[str]:
    """What the policy says of a machine's place although its instance type decides it."""
    if not types.sizes:
        return []
    resources = {"requests": placement.requests, "limits": placement.limits}
    found = [f"{kind}.{name}" for kind, said in resources.items() for name in ("cpu", "memory") if name in said]
    sets = types.given.sets if types.given else ()
    wished = {"dedicatedCpus": placement.dedicated_cpus, "nodeSelector": bool(placement.node_selector)}
    words = {"dedicatedCpus": "cpu.dedicatedCPUPlacement", "nodeSelector": "nodeSelector"}
    return [*found, *(name for name, said in wished.items() if said and words[name] in sets)]


def conflicts(template: Object) -> list[str]:
    """What of a template no instance type suffers beside it."""
    return [path for path in ALWAYS if _has(template, path.split("."))]


def _decided(types: Types) -> Iterator[str]:
    """The paths that this type decides about; of one that nobody knows, all that it may, but for the user's wishes."""
    for word, path in MAYBE.items():
        if word in types.given.sets if types.given else word not in _WISHED:
            yield path


def _has(tree: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _drop(tree: Object, path: list[str]) -> None:
    """Take a field out, and what is empty without it."""
    key, *below = path
    if key not in tree:
        return
    if not below:
        del tree[key]
        return
    if isinstance(tree[key], dict):
        _drop(tree[key], below)
        if not tree[key]:
            del tree[key]
