"""The policy's word about single disks: which of its choices fit a disk, who has the last word, and what is wrong.

Choices are read in the order in which rules are, all of one rule before the next rule's; of each field the last word
counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import unquote

from pydantic.alias_generators import to_camel

from kubeferry.documents import DiskChoice, DiskMatch, MachinePolicy
from kubeferry.model import Disk, Machine
from mappings.names import dns_labels
from mappings.quantities import parse_quantity

_SAID = tuple(name for name in DiskChoice.model_fields if name != "match")
Wishes = dict[str, DiskChoice]


def disk_wishes(choices: Iterable[DiskChoice], machine: Machine) -> Wishes:
    """What all choices together say of each disk and drive, by its id; nothing of those that none fits."""
    found: dict[str, dict[str, object]] = {}
    for choice in choices:
        for disk in fitting(choice.match, machine):
            found.setdefault(disk.id, {}).update(_said(choice))
    return {disk: DiskChoice.model_validate(said) for disk, said in found.items()}


def disks_decided(speaking: Iterable[tuple[str, MachinePolicy]], machine: Machine) -> dict[str, str]:
    """Who decided what of which disk: `disks[vdb].bus` -> `rule 2`. `speaking` are the machine's rules in their order,
    by their names."""
    found: dict[str, str] = {}
    for label, rule in speaking:
        for choice in rule.disks:
            for disk in fitting(choice.match, machine):
                found |= {place(disk.id, field): label for field in _said(choice)}
    return found


def place(disk: str, field: str) -> str:
    """How a choice is called on a page."""
    return f"disks[{disk}].{to_camel(field)}"


def told(wishes: Wishes) -> dict[str, object]:
    """What was decided of each disk, by its place."""
    return {place(disk, field): value for disk, wish in wishes.items() for field, value in _said(wish).items()}


def as_planned(machine: Machine, wishes: Wishes) -> Machine:
    """The machine with a note of the disks that it leaves behind."""
    left = tuple(disk.id for disk in machine.disks if disk.id in wishes and wishes[disk.id].include is False)
    return machine.model_copy(update={"left_out": left}) if left else machine


def fitting(match: DiskMatch, machine: Machine) -> list[Disk]:
    """The disks and drives of a machine that a match fits."""
    volumes = dns_labels(disk.id for disk in machine.disks)
    return [disk for disk in machine.disks if _fits(match, disk, volumes[disk.id])]


def shown(match: DiskMatch) -> str:
    """What a match asks for, as it is written."""
    said = match.model_dump(exclude_defaults=True, by_alias=True)
    return ", ".join(f"{field}: {value}" for field, value in said.items()) or "all"


def one_order(wishes: Wishes, machine: Machine) -> Iterator[tuple[int, list[str]]]:
    """Boot orders that several disks of a machine would have, with these disks."""
    orders: dict[int, list[str]] = {}
    for disk in machine.disks:
        wish = wishes.get(disk.id)
        if wish is not None and wish.boot_order is not None and wish.include is not False:
            orders.setdefault(wish.boot_order, []).append(disk.id)
    return ((order, disks) for order, disks in orders.items() if len(disks) > 1)


def _fits(match: DiskMatch, disk: Disk, volume: str) -> bool:
    file = unquote((disk.uri or "").rstrip("/").rpartition("/")[2])
    patterns = ((match.id, (disk.id, volume)), (match.label, (disk.label,)), (match.file, (file,)))
    named = all(pattern is None or any_fits(pattern, values) for pattern, values in patterns)
    return named and _size_fits(match, disk.capacity_bytes)


def is_pattern(text: str) -> bool:
    """Whether it may mean several, or none."""
    return any(sign in text for sign in "*?[")


def any_fits(pattern: str, values: Iterable[str | None]) -> bool:
    """Whether one of the values is the pattern itself, which may have brackets of its own, or fits it."""
    told, wanted = [value.lower() for value in values if value is not None], pattern.lower()
    return wanted in told or any(fnmatchcase(value, wanted) for value in told)


def _size_fits(match: DiskMatch, size: int | None) -> bool:
    least, most = match.size_from, match.size_to
    if least is None and most is None:
        return True
    if size is None:
        return False
    return (least is None or size >= parse_quantity(least)) and (most is None or size <= parse_quantity(most))


def _said(choice: DiskChoice) -> dict[str, object]:
    return {name: value for name in _SAID if (value := getattr(choice, name)) is not None}
