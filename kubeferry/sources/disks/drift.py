"""Whether a machine's disks are still those of the inventory, and the problems that a source has with them. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator

from kubeferry.errors import Problem, SourceRefused
from kubeferry.model import ChainLink, Concern, Disk, Machine, Severity

DISCOVER = "Discover and plan again."


def as_concerns(machine: Machine, found: list[Problem]) -> list[Concern]:
    """Problems that the source has with a machine, as critical concerns."""
    return [
        Concern(
            id="source.refused",
            severity=Severity.CRITICAL,
            what=f"{machine.name}: {problem.where}: {problem.what}",
            fix=problem.fix,
        )
        for problem in found
    ]


def refuse(machine: Machine, what: str, found: Iterable[Problem]) -> None:
    """Raise SourceRefused with all of the problems, where there are any."""
    problems = list(found)
    if problems:
        raise SourceRefused(
            what,
            why="; ".join(f"{problem.where}: {problem.what}" for problem in problems),
            fix=" ".join(dict.fromkeys(problem.fix for problem in problems)),
            machine=machine.name,
        )


def differences(planned: Machine, current: Machine) -> Iterator[Problem]:
    """What makes the disks of a machine other ones than those of the inventory."""
    now = wanted(planned, current.data_disks)
    was = {disk.id: disk for disk in planned.data_disks}
    yield from attachments(was, now)
    for name in sorted(was.keys() & now.keys()):
        yield from _changes(was[name], now[name])


def wanted(planned: Machine, disks: Iterable[Disk]) -> dict[str, Disk]:
    """The disks that a machine has now, by id, without those that its plan leaves out: what became of them matters to
    nobody."""
    return {disk.id: disk for disk in disks if disk.id not in (planned.left_out or ())}


def attachments(was: Collection[str], now: Collection[str]) -> Iterator[Problem]:
    """Disks, by their ids, that came or went since the inventory was made."""
    for name in sorted(set(now) - set(was)):
        yield Problem(name, "it was attached after the inventory was made", DISCOVER)
    for name in sorted(set(was) - set(now)):
        yield Problem(name, "it is not attached any more", DISCOVER)


def _changes(was: Disk, now: Disk) -> Iterator[Problem]:
    if was.uri != now.uri:
        yield Problem(was.id, f"its image is now {now.uri}, and was {was.uri}", DISCOVER)
    elif was.format != now.format:
        yield Problem(was.id, f"its format is now {now.format}, and was {was.format}", DISCOVER)
    elif was.chain is not None and now.chain is not None and _places(was.chain) != _places(now.chain):
        yield Problem(was.id, "its chain of images has changed: a snapshot was made or removed", DISCOVER)
    if None not in {was.capacity_bytes, now.capacity_bytes} and was.capacity_bytes != now.capacity_bytes:
        yield Problem(was.id, f"its size is now {now.capacity_bytes} bytes, and was {was.capacity_bytes}", DISCOVER)


def _places(chain: tuple[ChainLink, ...]) -> list[tuple[str, str]]:
    """The images of a chain, however their names were put together."""
    return [(posixpath.normpath(link.uri), link.format) for link in chain]
