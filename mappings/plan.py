"""Inventory and policy to a plan: every machine mapped, checked, put in order, or excluded with its reason."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubeferry.documents import (
    Companion,
    Entry,
    Inventory,
    MachinePolicy,
    Offer,
    Plan,
    Platform,
    Policy,
    digest_of,
    freeze,
)
from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine
from kubeferry.schedule.pulled import Pulled
from kubeferry.schedule.waves import Ordered, in_order
from kubeferry.schedule.wishes import Wishes, units
from mappings.admission.check import check_all, check_together
from mappings.approvals import approval_of, not_enough
from mappings.apps import Gathered, gathered, rehearsable, unrehearsed
from mappings.apps import kept as kept_apps
from mappings.choices import choices_for, platform_for
from mappings.constraints import constraints_of
from mappings.hooks import planned_hooks, with_hooks_of_apps
from mappings.machine import Mapped, to_manifests
from mappings.names import Names, machine_names
from mappings.neighbours import neighbours
from mappings.policy_problems import policy_problems
from mappings.refusals import REFUSED, all_concerns
from mappings.rules.between import CLASHES, included, inventory_concerns
from mappings.rules.rule import CRITICAL, is_blocked
from mappings.sharing import ALONE, Sharing, sharings
from mappings.storage import UNASKED
from mappings.windows import parted, used, window_of
from mappings.wishes import UNEDITED, settled


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan; what of it stands elsewhere than its name alone would have it; and the choices that it was made by, of
    each machine: `wished` before its app said anything, `apps` with that."""

    plan: Plan
    pulled: tuple[Pulled, ...]
    wished: Policy
    apps: Gathered


def make_plan(
    inventory: Inventory,
    policy: Policy,
    *,
    name: str,
    created_at: str,
    offer: Offer = UNASKED,
    sheet: Mapping[str, MachinePolicy] = UNEDITED,
) -> Plan:
    """The plan alone. See `planned`."""
    return planned(inventory, policy, name=name, created_at=created_at, offer=offer, sheet=sheet).plan


def planned(
    inventory: Inventory,
    policy: Policy,
    *,
    name: str,
    created_at: str,
    offer: Offer = UNASKED,
    sheet: Mapping[str, MachinePolicy] = UNEDITED,
) -> Planned:
    """The frozen plan, for a target that has this to offer; `sheet` is what somebody has written into a wave sheet, by
    machine, and stands above the policy. The same input gives the same plan, byte for byte.

    A machine with a critical concern that is not settled is excluded, what the cluster would refuse of its manifests
    among them, and so is one that comes after it, or moves as one with it. Raises InputInvalid, with every problem at
    once, when the policy names what is not there, when two machines share a name or a MAC address, when the order
    contradicts itself, or when a cluster would refuse what all have, or several together.
    """
    said = policy_problems(inventory, policy, sheet)
    wished = settled(policy, inventory.machines, sheet)
    apps = gathered(wished.policy, wished.machines, wished.decided)
    policy, machines = apps.policy, wished.machines
    names = machine_names(machines, policy)
    same = sharings(machines, policy, names, offer)
    shared = inventory_concerns(machines, policy, names, same)
    problems = [*said, *_clashes(shared)]
    if problems:
        raise InputInvalid("the policy does not fit the inventory", problems)
    moving, platform = included(machines, policy), platform_for(policy, offer)
    made = _Made(moving, policy, names, offer, same, shared, platform)
    entries = _moving_as_one(made.entries(), apps)
    excluded = _excluded(inventory, policy, entries)
    if any(entry.name in excluded for entry in entries) and any(map(made.filters, moving)):
        entries = _moving_as_one(made.entries(excluded), apps)  # whose groups are not whole without it
    kept = tuple(entry for entry in entries if entry.name not in excluded)
    if problems := _refused_together(kept, entries, platform):
        raise InputInvalid("manifests of the plan would be refused by the cluster", problems)
    moving_apps = rehearsable(kept_apps(apps.apps, [entry.name for entry in kept]), offer)
    if problems := [*parted(kept), *unrehearsed(kept, moving_apps)]:
        raise InputInvalid("the policy does not fit the inventory", problems)
    if problems := not_enough(approval_of(policy), kept):
        raise InputInvalid("nobody could approve the plan", problems)
    kept = tuple(entry.model_copy(update={"after": _after(entry.name, policy, excluded) or None}) for entry in kept)
    ordered = _ordered(kept, policy, apps)
    kept = with_hooks_of_apps(kept, moving_apps, policy.apps or {}, ordered.waves)
    plan = Plan(
        name=name,
        created_at=created_at,
        source=inventory.source,
        source_version=inventory.source_version,
        inventory_digest=digest_of(inventory),
        waves=ordered.waves,
        order=policy.waves,
        windows=used(policy, kept),
        apps=moving_apps or None,
        precopy=policy.precopy,
        approval=approval_of(policy),
        entries=kept,
        excluded=excluded,
    )
    return Planned(freeze(plan), ordered.pulled, wished.policy, apps)


@dataclass(frozen=True, slots=True)
class _Made:
    """What entries are made of."""

    moving: Sequence[Machine]
    policy: Policy
    names: Mapping[str, Names]
    offer: Offer
    same: Mapping[str, Sharing]
    shared: Mapping[str, tuple[Concern, ...]]
    platform: Platform | None

    def filters(self, machine: Machine) -> bool:
        """Whether a NetworkPolicy is asked for it."""
        return choices_for(machine, self.policy, self.offer).network.asked

    def entries(self, staying: Container[str] = ()) -> list[Entry]:
        """The entries of all; those that are `staying` are nobody's neighbours."""
        around = neighbours((one for one in self.moving if one.name not in staying), self.policy, self.offer)
        mapped = {
            one.name: to_manifests(
                one, self.policy, self.names[one.name], self.offer, self.same.get(one.name, ALONE), around
            )
            for one in self.moving
        }
        return [
            _entry(
                machine,
                self.policy,
                self.names[machine.name],
                mapped[machine.name],
                all_concerns(mapped, machine.name, self.shared.get(machine.name, ()), self.platform),
                self.offer,
            )
            for machine in self.moving
        ]


def _ordered(kept: tuple[Entry, ...], policy: Policy, apps: Gathered) -> Ordered:
    wishes = {entry.name: (policy.of(entry.name).wave or None, entry.after or ()) for entry in kept}
    sets = {entry.name: _companions(entry) for entry in kept if entry.moves_with}
    of = {entry.name: apps.of[entry.name] for entry in kept if entry.name in apps.of}
    return in_order(wishes, sets, of, constraints_of(policy, kept))


def _moving_as_one(entries: list[Entry], apps: Gathered) -> list[Entry]:
    """The entries with the machines of their app as companions, where it moves as one, and with those that share disks
    with any of these."""
    together = {name: app.name for app in apps.apps if app.together for name in app.members}
    if not together:
        return entries
    wishes: Wishes = {entry.name: (None, ()) for entry in entries}
    whole = units(wishes, {entry.name: _companions(entry) for entry in entries}, together)
    target = {entry.name: entry.target_name for entry in entries}
    found = []
    for entry in entries:
        inside = frozenset(whole[entry.name].machines)
        others = [Companion(name=one, target_name=target[one]) for one in target if one in inside and one != entry.name]
        changed = {one.name for one in others} != set(_companions(entry))
        found.append(entry.model_copy(update={"moves_with": tuple(others)}) if changed else entry)
    return found


def _clashes(shared: dict[str, tuple[Concern, ...]]) -> Iterator[Problem]:
    for name, concerns in shared.items():
        for concern in concerns:
            if concern.id in CLASHES:
                yield Problem(f"machine {name}", concern.what.removesuffix("."), concern.fix)


def _entry(
    machine: Machine, policy: Policy, names: Names, mapped: Mapped, concerns: tuple[Concern, ...], offer: Offer
) -> Entry:
    choices, own = choices_for(machine, policy, offer), policy.of(machine.name)
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
        downtime=choices.downtime,
        commit=choices.commit,
        rehearsal=choices.rehearsal,
        sandbox=choices.sandbox,
        hooks=planned_hooks(choices.hooks),
        verify=policy.verify,
        concerns=concerns,
        carried=mapped.carried,
        moves_with=mapped.moves_with or None,
        attached=mapped.attached or None,
        window=window_of(machine.name, policy),
        app=own.app or None,
        app_probes=choices.app_probes or None,
        owner=own.owner or None,
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
    by_name = {entry.name: entry for entry in entries}
    while held := {name: why for name in waiting if (why := _held(by_name[name], policy, blocked))}:
        blocked |= held
        waiting = [name for name in waiting if name not in blocked]
    reasons |= blocked
    return {machine.name: reasons[machine.name] for machine in inventory.machines if machine.name in reasons}


def _held(entry: Entry, policy: Policy, blocked: Mapping[str, str]) -> str:
    """Why a machine stays because another one does; empty where none holds it."""
    for other in policy.of(entry.name).after:
        if other in blocked:
            return f"It comes after {other}, which is excluded."
    for other in _companions(entry):
        if other in blocked:
            tied = entry.tied_to(f"{other}, which is excluded")
            return f"It {tied}, and they move together or not at all."
    return ""


def _why(concerns: tuple[Concern, ...]) -> str:
    return " ".join(f"[{one.id}] {one.what} {one.fix}" for one in concerns if one.severity == CRITICAL)


def _after(name: str, policy: Policy, excluded: dict[str, str]) -> tuple[str, ...]:
    """What a machine waits for; one that the policy leaves out never moves, so nothing waits for it."""
    return tuple(other for other in policy.of(name).after if other not in excluded)
