"""Instance types and preferences of the plan: there or not, and whether they still give what was reviewed. Pure.

KubeVirt takes a machine that names one that is not there, and never starts it.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.documents import Entry, OfferedType
from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.facts import Facts, Object, Request, machine_of
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.instancetypes import type_of
from kubeferry.targets.kubevirt.kinds import INSTANCE_TYPES, PREFERENCES, Kind
from kubeferry.targets.kubevirt.quantities import amount, shown
from kubeferry.words import counted

WORDS = (("instancetype", INSTANCE_TYPES), ("preference", PREFERENCES))
EXPAND = ("expand", "expandAll")
AGAIN = "Plan again, so that what it gives is reviewed."


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """What speaks against the instance types and preferences of these machines."""
    if any(True for entry in request.entries for _ in named(entry)):
        yield from _expanded(facts)
    for entry in request.entries:
        for word, kind, name in named(entry):
            seen = facts.types.get(kind.name)
            if seen is None or not seen.known:
                yield not_checked(kind.plural, seen.why if seen else "nobody looked")
                continue
            found = _found(seen.objects, name, entry.namespace if kind.namespaced else None)
            if found is None:
                what = f"{entry.name}: there is no {kind.name} {name}, and the machine would never start"
                yield concern(f"{word}.missing", what, "Make it, or name another one in the policy and plan again.")
            elif word == "instancetype":
                yield from _given(entry, found)


def named(entry: Entry) -> Iterator[tuple[str, Kind, str]]:
    """Word, kind and name of what a machine names. KubeVirt takes kinds in any case, and in the plural."""
    spec = (machine_of(entry) or {}).get("spec") or {}
    for word, kinds in WORDS:
        told = spec.get(word) or {}
        if told.get("name"):
            said = str(told.get("kind") or kinds[0].name).lower()
            yield word, next((one for one in kinds if said in {one.name.lower(), one.plural}), kinds[0]), told["name"]


def _found(objects: tuple[Object, ...], name: str, namespace: str | None) -> Object | None:
    wanted = (name, namespace)
    return next((one for one in objects if (one["metadata"]["name"], one["metadata"].get("namespace")) == wanted), None)


def _expanded(facts: Facts) -> Iterator[Concern]:
    if (facts.kubevirt.get("instancetype") or {}).get("referencePolicy") in EXPAND:
        what = "KubeVirt writes instance types and preferences into machines, which are not the plan's any more then"
        fix = "Plan without them, or set KubeVirt's instancetype.referencePolicy to reference."
        yield concern("instancetype.expanded", what, fix)


def _given(entry: Entry, found: Object) -> Iterator[Concern]:
    """What it gives now, against what the plan was reviewed with, or else what the machine had."""
    now = type_of(found)
    if now is None:
        return
    planned = entry.sized_by.gives if entry.sized_by else None
    if planned is not None and planned != now:
        what = f"{entry.name}: instance type {now.name} gives {_shown(now)} now, and gave {_shown(planned)} to the plan"
        yield concern("instancetype.changed", what if _shown(now) != _shown(planned) else _otherwise(entry, now), AGAIN)
    elif planned is None and _is_less(entry, now):
        had = f"{counted(entry.machine.cpu.vcpus, 'processor')} and {_bytes(entry.machine.memory.size_bytes)}"
        what = f"{entry.name}: instance type {now.name} gives {_shown(now)}, and the machine had {had}"
        yield concern("instancetype.smaller", what, "See that the guest runs with it, or choose a larger one.")


def _otherwise(entry: Entry, now: OfferedType) -> str:
    return f"{entry.name}: instance type {now.name} decides other things beside its size than it did for the plan"


def _is_less(entry: Entry, now: OfferedType) -> bool:
    return now.vcpus < entry.machine.cpu.vcpus or now.memory_bytes < entry.machine.memory.size_bytes


def _shown(given: OfferedType) -> str:
    return f"{counted(given.vcpus, 'processor')} and {_bytes(given.memory_bytes)}"


def _bytes(size: int) -> str:
    return shown(amount(size))
