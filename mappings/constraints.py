"""What a wave may hold, for the machines of an inventory: the policy's words as groups of machines, and what each of
them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kubeferry.documents import Entry, Kin, Match, Policy
from kubeferry.errors import Problem
from kubeferry.model import Machine
from kubeferry.schedule.wishes import Constraints, Group, Needs
from mappings.disk_wishes import any_fits
from mappings.wishes import fits


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
    return Constraints(policy.waves.capacity, {entry.name: needs_of(entry) for entry in entries}, at_most, apart)


def constraint_problems(policy: Policy, machines: Sequence[Machine]) -> Iterator[Problem]:
    """Groups that fit nothing: they would keep nobody apart."""
    fix = "Correct it, or remove it."
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
