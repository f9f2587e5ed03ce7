"""What two machines of one estate must not share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeferry.errors import Problem
from kubeferry.model import Machine


def clashes(machines: Iterable[tuple[str, Machine]]) -> Iterator[Problem]:
    """Names that two machines have, and MACs that two cards have, ignoring case. Each machine comes with its place."""
    listed = list(machines)
    yield from same_names(listed)
    yield from same_macs(listed)


def same_names(machines: Iterable[tuple[str, Machine]]) -> Iterator[Problem]:
    """Names that two machines have: nobody could say which one is meant."""
    names: dict[str, str] = {}
    for where, machine in machines:
        if machine.name in names:
            fix = "Rename one of them at the source, or leave one out."
            yield Problem(where, f"the name {machine.name!r} is also that of {names[machine.name]}", fix)
        names.setdefault(machine.name, where)


def same_macs(machines: Iterable[tuple[str, Machine]]) -> Iterator[Problem]:
    """MACs that two cards have: of which one may stay where it is."""
    macs: dict[str, str] = {}
    for where, machine in machines:
        for nic in machine.nics:
            if nic.teaming == "transient":  # it shares its partner's
                continue
            mac = (nic.mac or "").lower().replace("-", ":")
            if mac and mac in macs:
                fix = "Give one of the cards another MAC at the source, or leave one machine out."
                yield Problem(where, f"{machine.name} {nic.id}: the MAC {mac} is also that of {macs[mac]}", fix)
            if mac:
                macs.setdefault(mac, f"{machine.name} {nic.id} ({where})")
