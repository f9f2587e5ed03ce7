"""One inventory of several: each machine with a name of its own, and once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from kubeferry.documents import Inventory, MemberFacts
from kubeferry.errors import InputInvalid, KubeferryError, Problem
from kubeferry.model import UP, Concern, Machine, Severity
from kubeferry.sources.estate.places import NAMED, SPLIT, UNDEFINE, may_be_one, roams
from kubeferry.sources.facts.single_names import named
from kubeferry.words import first_of

KIND = "estate"
AWAY = "source.away"
TWICE = "machine.twice"


def joined(
    name: str, inventories: Sequence[Inventory], away: Mapping[str, tuple[str, KubeferryError]] | None = None
) -> Inventory:
    """The inventory of an estate. `away` has kind and error of each source that did not answer: its machines are
    missing, and that is told. A machine that stands in several is there once where one of them runs it, else not at
    all; both are told. Machines of one name get their source's behind it."""
    members = [member for one in inventories for member in members_of(one)]
    kinds = {member.name: member.kind for member in members}
    machines = [machine for one in inventories for machine in _machines(one)]
    told = list(_of_members(inventories))
    kept = list(_once(machines, kinds, told))
    apart = _told_apart(kept, told)
    missing = away or {}
    facts = [*members]
    facts += [MemberFacts(name=one, kind=kind, away=error.reason) for one, (kind, error) in missing.items()]
    told = [*(_away(one, error) for one, (_, error) in missing.items()), *told]
    return Inventory(
        source=name,
        source_kind="export" if all(kind.endswith("export") for kind in kinds.values()) else KIND,
        source_version=", ".join(dict.fromkeys(filter(None, (member.version for member in members)))),
        observed_at=min((one.observed_at for one in inventories), default=""),
        machines=tuple(sorted(apart, key=lambda machine: machine.name)),
        unreadable=tuple(told),
        members=tuple(sorted(facts, key=lambda one: one.name)),
    )


def joined_files(name: str, files: Mapping[str, Inventory]) -> Inventory:
    """The inventory of several that lie in these files. Raises InputInvalid with every machine that stands in two of
    them so that nobody knows which one is meant, and with every source that does."""
    problems, owners = [], dict[str, str]()
    for file, one in files.items():
        for member in members_of(one):
            if member.name in owners:
                fix = "Give the newer one of them, or discover one under another name."
                problems.append(Problem(file, f"source {member.name} is also in {owners[member.name]}", fix))
            owners.setdefault(member.name, file)
    whole = joined(name, tuple(files.values()))
    owned = frozenset(concern for one in files.values() for concern in one.unreadable)
    problems += [
        Problem(", ".join(files), concern.what, concern.fix)
        for concern in whole.unreadable
        if concern.id == TWICE and concern not in owned
    ]
    if problems:
        raise InputInvalid("these inventories do not go together", problems)
    return whole


def members_of(inventory: Inventory) -> tuple[MemberFacts, ...]:
    """The sources that an inventory is of."""
    if inventory.members is not None:
        return inventory.members
    facts = {"version": inventory.source_version, "observed_at": inventory.observed_at}
    return (MemberFacts(name=inventory.source, kind=inventory.source_kind, **facts),)


def _machines(inventory: Inventory) -> Iterator[Machine]:
    """Its machines, each with the name of its source: by that it is asked for."""
    for machine in inventory.machines:
        own = inventory.members is not None or machine.source == inventory.source
        yield machine if own else machine.model_copy(update={"source": inventory.source})


def _of_members(inventories: Sequence[Inventory]) -> Iterator[Concern]:
    """What each could not read, with its name where that does not stand there yet."""
    for one in inventories:
        for concern in one.unreadable:
            what = concern.what if one.members is not None else f"{one.source}: {concern.what}"
            yield concern.model_copy(update={"what": what})


def _away(name: str, error: KubeferryError) -> Concern:
    what = f"source {name} was not asked, and its machines are missing: {error.reason}"
    fix = f"{error.fix} Then discover again.".strip()
    return Concern(id=AWAY, severity=Severity.WARNING, what=what, fix=fix)


def _once(machines: Sequence[Machine], kinds: Mapping[str, str], told: list[Concern]) -> Iterator[Machine]:
    """The machines, without those that stand for one that is elsewhere."""
    groups: defaultdict[tuple[str, str], list[Machine]] = defaultdict(list)
    for machine in machines:
        kind = kinds.get(machine.source, "")
        alone = "" if roams(kind, machine) else machine.source
        groups[f"{kind.removesuffix('-export')} {alone}", machine.id].append(machine)
    for group in groups.values():
        up = [machine for machine in group if machine.power in UP]
        if len(group) == 1:
            yield group[0]
        elif len(up) == 1 and _is_one(group, kinds):
            told.append(_leftover(up[0], [machine for machine in group if machine is not up[0]]))
            yield up[0]
        else:
            told.append(_twice(group, up))


def _is_one(group: Sequence[Machine], kinds: Mapping[str, str]) -> bool:
    """Whether machines of one identity may be one that was handed on."""
    first = group[0]
    kind = kinds.get(first.source, "")
    return all(one.name == first.name and may_be_one(first, one, kind) for one in group[1:])


def _leftover(machine: Machine, others: Sequence[Machine]) -> Concern:
    where = first_of([other.source for other in others], NAMED)
    what = f"{machine.name} runs at {machine.source}, and is defined, off, at {where} as well; that is left out"
    fix = f"{UNDEFINE}: somebody may start it there, beside the machine."
    return Concern(id="machine.leftover", severity=Severity.WARNING, what=what, fix=fix)


def _twice(group: Sequence[Machine], up: Sequence[Machine]) -> Concern:
    where = first_of([f"{one.name} at {one.source} ({one.power})" for one in group], NAMED)
    what = f"one identity ({group[0].id}) is that of {where}; all of them are left out"
    fix = SPLIT if up else f"{UNDEFINE}, or give it a UUID of its own where it is another machine; then discover again."
    return Concern(id=TWICE, severity=Severity.CRITICAL, what=what, fix=fix)


def _told_apart(machines: Sequence[Machine], told: list[Concern]) -> tuple[Machine, ...]:
    """Machines of one name get their source's behind it, since nobody could say which one is meant."""
    groups: defaultdict[str, list[Machine]] = defaultdict(list)
    for machine in machines:
        groups[machine.name].append(machine)
    several = {name: group for name, group in groups.items() if len(group) > 1}
    apart = named(
        machine.model_copy(update={"name": f"{machine.name}-{machine.source}"}) if machine.name in several else machine
        for machine in machines
    )
    for name, group in several.items():
        where = first_of([machine.source for machine in group], NAMED)
        what = f"{name} is the name of a machine at each of {where}: here they have their source's name behind it"
        fix = "Call them so in the policy."
        told.append(Concern(id="machine.named-apart", severity=Severity.INFO, what=what, fix=fix))
    return apart
