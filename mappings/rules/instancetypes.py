"""Rules about instance types and preferences: whether they are there, and what they give instead of what was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeferry.documents import TypeRef
from kubeferry.words import counted
from mappings.instancetypes import contradictions
from mappings.quantities import human_bytes
from mappings.rules.rule import CRITICAL, INFO, WARNING, Case, Rule, when

_SHOWN = 8
_SET = "Correct `instancetype` in the policy, or leave it out: then the machine keeps what it had."


def _missing(case: Case) -> Iterable[str]:
    types = case.choices.types
    return _none_such("instance type", types.instancetype, missing=types.asked and types.given is None)


def _preference_missing(case: Case) -> Iterable[str]:
    types = case.choices.types
    return _none_such("preference", types.preference, missing=types.asked_preferences and types.filling is None)


def _none_such(what: str, named: TypeRef | None, *, missing: bool) -> Iterator[str]:
    if named is not None and missing:
        yield f"There is no {named.kind} {what} {named.name}: the machine would be made, and never start."


def _expanded(case: Case) -> Iterable[str]:
    platform = case.choices.kubevirt
    named = case.choices.types.sizes or case.choices.types.preference is not None
    return when(
        named and platform is not None and platform.expands_types,
        "This KubeVirt writes what an instance type or a preference gives into each machine (its referencePolicy is "
        "expand): the machine would not be the one of the plan any more, and not be started.",
    )


def _contradicted(case: Case) -> Iterable[str]:
    found = contradictions(case.choices.placement, case.choices.types)
    return when(bool(found), f"The policy's placement says {', '.join(found)}, and so does the instance type.")


def _smaller(case: Case) -> Iterator[str]:
    given, machine = case.choices.types.given, case.machine
    if given is None:
        return
    less = []
    if given.vcpus < machine.cpu.vcpus:
        less.append(f"{counted(given.vcpus, 'processor')}, and it had {machine.cpu.vcpus}")
    if given.memory_bytes < machine.memory.size_bytes:
        less.append(f"{human_bytes(given.memory_bytes)} of memory, and it had {human_bytes(machine.memory.size_bytes)}")
    if less:
        yield f"Instance type {given.name} gives the machine {'; '.join(less)}."


def _given(case: Case) -> Iterable[str]:
    given = case.choices.types.given
    if given is None:
        return ()
    also = ", ".join(given.sets[:_SHOWN])
    what = (
        f"Instance type {given.name} gives it {counted(given.vcpus, 'processor')} and {human_bytes(given.memory_bytes)}"
    )
    return (f"{what}; it also decides {also}." if also else f"{what} of memory.",)


def _unknown(case: Case) -> Iterable[str]:
    types, machine = case.choices.types, case.machine
    if types.instancetype is None or types.asked:
        return ()
    had = f"{counted(machine.cpu.vcpus, 'processor')} and {human_bytes(machine.memory.size_bytes)} of memory"
    return (f"What instance type {types.instancetype.name} gives is not known; the machine had {had}.",)


def _unmet(case: Case) -> Iterable[str]:
    """KubeVirt counts the processors of one part of the topology, as the preference says: what is too little in all is
    refused for certain, the rest when the cluster is asked."""
    filling, types, machine = case.choices.types.filling, case.choices.types, case.machine
    if filling is None or (types.sizes and types.given is None):
        return ()
    vcpus = types.given.vcpus if types.given else machine.cpu.vcpus
    memory = types.given.memory_bytes if types.given else machine.memory.size_bytes
    less = []
    if vcpus < filling.needs_vcpus:
        less.append(f"{counted(filling.needs_vcpus, 'processor')}, and there would be {vcpus}")
    if memory < filling.needs_memory_bytes:
        less.append(f"{human_bytes(filling.needs_memory_bytes)} of memory, and there would be {human_bytes(memory)}")
    return when(bool(less), f"Preference {filling.name} needs {'; '.join(less)}: KubeVirt refuses the machine.")


def _fills(case: Case) -> Iterable[str]:
    preference = case.choices.types.preference
    if preference is None:
        return ()
    filling = case.choices.types.filling
    told = f": it names {', '.join(filling.sets[:_SHOWN])}" if filling and filling.sets else ""
    return (f"Preference {preference.name} fills in what the machine leaves open{told}.",)


RULES = (
    Rule("instancetype.missing", CRITICAL, "an instance type that the cluster has not", _SET, _missing, False),
    Rule(
        "preference.missing",
        CRITICAL,
        "a preference that the cluster has not",
        "Correct `preference` in the policy, or leave it out.",
        _preference_missing,
        False,
    ),
    Rule(
        "preference.unmet",
        CRITICAL,
        "a preference that needs more than the machine has",
        "Choose an instance type that has it, or another preference.",
        _unmet,
        False,
    ),
    Rule(
        "instancetype.expanded",
        CRITICAL,
        "a KubeVirt that writes instance types and preferences into machines",
        "Leave `instancetype` and `preference` out of the policy, or set KubeVirt's instancetype.referencePolicy to "
        "reference.",
        _expanded,
        False,
    ),
    Rule(
        "instancetype.contradicted",
        CRITICAL,
        "a policy that says what its instance type decides",
        "Take it out of `placement`, or choose another instance type: KubeVirt refuses both together.",
        _contradicted,
        False,
    ),
    Rule(
        "instancetype.smaller",
        WARNING,
        "an instance type that gives less than the machine had",
        "See that the guest runs with it, or choose a larger one.",
        _smaller,
    ),
    Rule(
        "instancetype.unknown",
        WARNING,
        "an instance type of which nobody knows what it gives",
        "Name the configuration (`--config`), so that the cluster is asked; our account must be allowed to list them.",
        _unknown,
    ),
    Rule("instancetype.given", INFO, "what an instance type gives", "Nothing, if it is what is wanted.", _given),
    Rule(
        "preference.fills",
        INFO,
        "a preference that fills in what is open",
        "Nothing, if it is one for this system.",
        _fills,
    ),
)
