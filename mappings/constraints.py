"""What a wave may hold, for the machines of an inventory: the policy's words as groups of machines, and what each of
them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kubeferry.documents import Entry, Kin, Match, Policy
from kubeferry.errors import Problem
from kubeferry.model import Machine
from kubeferry.schedule.wishes import Constraints, Group, Needs, number_of
from kubeferry.words import first_of, meant
from mappings.disk_wishes import any_fits
from mappings.wishes import fits

_SHOWN = 6


def constraints_of(policy: Policy, entries: Sequence[Entry]) -> Constraints:
    """The constraints of a policy without rules, for the machines that move."""
    machines = [entry.machine for entry in entries]
    at_most = tuple(
        Group("waves.atMost", str(one), frozenset(_kin(one, machines, policy)), one.count)
        for one in policy.waves.at_most or ()
    )
    apart = tuple(
        Group("waves.apart", ", ".join(map(str, group)), frozenset(_of_group(group, machines, policy)))
        for group in policy.waves.apart or ()
    )
    needs = {entry.name: needs_of(entry) for entry in entries}
    return Constraints(policy.waves.capacity, needs, at_most, apart, policy.waves.order or ())


def constraint_problems(policy: Policy, machines: Sequence[Machine]) -> Iterator[Problem]:
    """Groups that fit nothing: they would keep nobody apart; and waves put in order that are none."""
    fix = "Correct it, or remove it."
    yield from _order_problems(policy)
    for number, group in enumerate(policy.waves.apart or (), start=1):
        for one in group:
            if not any(True for _ in _of_group([one], machines, policy)):
                yield Problem(f"policy waves.apart, group {number}", f"{one} fits no machine of the inventory", fix)
    for kin in policy.waves.at_most or ():
        if not any(True for _ in _kin(kin, machines, policy)):
            yield Problem("policy waves.atMost", f"{kin} fits no machine of the inventory", fix)


def needs_of(entry: Entry) -> Needs:
    """What a machine takes of the target, as far as the plan knows it."""
    given = entry.sized_by.gives if entry.sized_by else None
    return Needs(
        sum(disk.claim_bytes for disk in entry.disks),
        given.memory_bytes if given else entry.machine.memory.size_bytes,
        given.vcpus if given else entry.machine.cpu.vcpus,
    )


def _of_group(group: Iterable[str | Kin], machines: Sequence[Machine], policy: Policy) -> Iterator[str]:
    for one in group:
        if isinstance(one, Kin):
            yield from _kin(one, machines, policy)
        else:
            yield from (machine.name for machine in machines if any_fits(one, [machine.name]))


def _kin(kin: Kin, machines: Sequence[Machine], policy: Policy) -> Iterator[str]:
    match = Match(folder=kin.folder, tags=kin.tags, labels=kin.labels)
    for machine in machines:
        if fits(match, machine, policy.labels | policy.of(machine.name).labels):
            yield machine.name


def _order_problems(policy: Policy) -> Iterator[Problem]:
    """Names in the order of the waves that no wave will have, or that stand there twice."""
    given = {*(one.wave for one in policy.machines.values()), *(app.wave for app in (policy.apps or {}).values())}
    known = {name for name in given if name}
    told = policy.waves.order or ()
    for name in dict.fromkeys(told):
        if told.count(name) > 1:
            yield Problem("policy waves.order", f"{name} stands there twice", "Leave it in one place.")
        if name not in known and not number_of(name):
            fix = meant(name, known) or f"Name one of: {first_of(sorted(known), _SHOWN) or 'none'}."
            what = f"{name!r} is no wave: no machine or app is given it"
            yield Problem("policy waves.order", what, f"{fix} Waves that nobody has named are wave-1, wave-2, …")
