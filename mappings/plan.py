"""Inventory and policy to a plan: every machine mapped, checked, put in order, or excluded with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubeferry.documents import Entry, Inventory, Offer, Plan, Platform, Policy, digest_of, freeze
from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine
from kubeferry.schedule.waves import order
from mappings.admission.check import check_all, check_together
from mappings.approvals import approval_of, not_enough
from mappings.choices import choices_for, platform_for
from mappings.machine import Mapped, to_manifests
from mappings.names import Names, machine_names
from mappings.policy_problems import policy_problems
from mappings.refusals import REFUSED, all_concerns
from mappings.rules.between import CLASHES, included, inventory_concerns
from mappings.rules.rule import CRITICAL, is_blocked
from mappings.sharing import ALONE, sharings
from mappings.storage import UNASKED
from mappings.wishes import settled


def make_plan(inventory: Inventory, policy: Policy, *, name: str, created_at: str, offer: Offer = UNASKED) -> Plan:
    """The frozen plan, for a target that has this to offer. The same input gives the same plan, byte for byte.

    A machine with a critical concern that is not settled is excluded, what the cluster would refuse of its manifests
    among them, and so is one that comes after it, or shares a disk with it that is one for both. Raises InputInvalid,
    with every problem at once, when the policy names what is not there, when two machines share a name or a MAC
    address, when the order contradicts itself, or when a cluster would refuse what all have, or several together.
    """
    said = policy_problems(inventory, policy)
    wished = settled(policy, inventory.machines)
    policy, machines = wished.policy, wished.machines
    names = machine_names(machines, policy)
    same = sharings(machines, policy, names, offer)
    shared = inventory_concerns(machines, policy, names, same)
    problems = [*said, *_clashes(shared)]
    if problems:
        raise InputInvalid("the policy does not fit the inventory", problems)
    moving, platform = included(machines, policy), platform_for(policy, offer)
    mapped = {one.name: to_manifests(one, policy, names[one.name], offer, same.get(one.name, ALONE)) for one in moving}
    entries = [
        _entry(
            machine,
            policy,
            names[machine.name],
            mapped[machine.name],
            all_concerns(mapped, machine.name, shared.get(machine.name, ()), platform),
            offer,
        )
        for machine in moving
    ]
    excluded = _excluded(inventory, policy, entries)
    kept = tuple(entry for entry in entries if entry.name not in excluded)
    if problems := _refused_together(kept, entries, platform):
        raise InputInvalid("manifests of the plan would be refused by the cluster", problems)
    if problems := not_enough(approval_of(policy), kept):
        raise InputInvalid("nobody could approve the plan", problems)
    kept = tuple(entry.model_copy(update={"after": _after(entry.name, policy, excluded) or None}) for entry in kept)
    wishes = {entry.name: (policy.of(entry.name).wave, entry.after or ()) for entry in kept}
    return freeze(
        Plan(
            name=name,
            created_at=created_at,
            source=inventory.source,
            source_version=inventory.source_version,
            inventory_digest=digest_of(inventory),
            waves=order(wishes, sets={entry.name: _companions(entry) for entry in kept if entry.moves_with}),
            order=policy.waves,
            approval=approval_of(policy),
            entries=kept,
            excluded=excluded,
        )
    )


def _clashes(shared: dict[str, tuple[Concern, ...]]) -> Iterator[Problem]:
    for name, concerns in shared.items():
        for concern in concerns:
            if concern.id in CLASHES:
                yield Problem(f"machine {name}", concern.what.removesuffix("."), concern.fix)


def _entry(
    machine: Machine, policy: Policy, names: Names, mapped: Mapped, concerns: tuple[Concern, ...], offer: Offer
) -> Entry:
    choices = choices_for(machine, policy, offer)
    return Entry(
        name=machine.name,
        target_name=names.machine,
        namespace=choices.namespace,
        machine=machine,
        disks=mapped.disks,
        manifests=mapped.manifests,
        variables=mapped.variables,
        tpm=mapped.tpm,
        sized_by=mapped.sized_by,
        probes=choices.probes,
        stop=choices.stop,
        mode="cold" if mapped.moves_with else choices.mode,  # what others write to a disk of all, no round sees
        warm=choices.warm,
        rehearsal=choices.rehearsal,
        verify=policy.verify,
        concerns=concerns,
        carried=mapped.carried,
        moves_with=mapped.moves_with or None,
        attached=mapped.attached or None,
    )


def _refused_together(kept: tuple[Entry, ...], entries: list[Entry], platform: Platform | None) -> list[Problem]:
    """What a cluster would refuse of the manifests that are kept, each of which it takes; where it would refuse those
    of all that are not, it is the policy's own word for all, and no plan at all."""
    if kept:
        return check_together(manifest for entry in kept for manifest in entry.manifests)
    refused = (entry for entry in entries if any(one.id == REFUSED for one in entry.concerns))
    return check_all((manifest for entry in refused for manifest in entry.manifests), platform)


def _companions(entry: Entry) -> tuple[str, ...]:
    return tuple(other.name for other in entry.moves_with or ())


def _excluded(inventory: Inventory, policy: Policy, entries: list[Entry]) -> dict[str, str]:
    """Why machines stay where they are, by name, in the order of the inventory."""
    reasons = {
        machine.name: "The policy leaves it out."
        for machine in inventory.machines
        if not policy.of(machine.name).include
    }
    blocked = {entry.name: _why(entry.concerns) for entry in entries if is_blocked(entry.concerns)}
    waiting = [entry.name for entry in entries if entry.name not in blocked]
    sets = {entry.name: _companions(entry) for entry in entries}
    while held := {name: why for name in waiting if (why := _held(name, policy, sets[name], blocked))}:
        blocked |= held
        waiting = [name for name in waiting if name not in blocked]
    reasons |= blocked
    return {machine.name: reasons[machine.name] for machine in inventory.machines if machine.name in reasons}


def _held(name: str, policy: Policy, companions: tuple[str, ...], blocked: Mapping[str, str]) -> str:
    """Why a machine stays because another one does; empty where none holds it."""
    for other in policy.of(name).after:
        if other in blocked:
            return f"It comes after {other}, which is excluded."
    for other in companions:
        if other in blocked:
            return f"It shares a disk with {other}, which is excluded, and they move together or not at all."
    return ""


def _why(concerns: tuple[Concern, ...]) -> str:
    return " ".join(f"[{one.id}] {one.what} {one.fix}" for one in concerns if one.severity == CRITICAL)


def _after(name: str, policy: Policy, excluded: dict[str, str]) -> tuple[str, ...]:
    """What a machine waits for; one that the policy leaves out never moves, so nothing waits for it."""
    return tuple(other for other in policy.of(name).after if other not in excluded)
