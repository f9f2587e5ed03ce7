"""Whether the machines of a plan fit into a target folder and onto this host: room, memory, names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kubeferry.documents import Entry, PlannedDisk
from kubeferry.errors import TargetRefused
from kubeferry.model import Concern, Severity
from kubeferry.targets.directory import qemu
from kubeferry.targets.directory.layout import TargetFolder

# Manifests, fingerprints, checkpoints, logs and pictures of one machine.
EXTRA_BYTES = 16 * 1024 * 1024
FREE_SPACE_FIX = "Free space there, name another folder as the target's path, or move fewer machines at once."


def name_concerns(entries: tuple[Entry, ...]) -> Iterator[Concern]:
    """Machines that would land in one folder."""
    for name, count in Counter(entry.target_name for entry in entries).items():
        if count > 1:
            sharing = ", ".join(entry.name for entry in entries if entry.target_name == name)
            what = f"{count} machines would be called {name}: {sharing}"
            yield _concern("target-name-clash", Severity.CRITICAL, what, "Give each a name of its own in the policy.")


def space_concerns(target: TargetFolder, entries: tuple[Entry, ...]) -> Iterator[Concern]:
    """Critical where the data that is known to be there does not fit, a warning where full disks would not."""
    free = free_bytes(target.root)
    least = sum(_missing(target, entry, planned, full=False) for entry in entries for planned in entry.disks)
    most = sum(_missing(target, entry, planned, full=True) for entry in entries for planned in entry.disks)
    if least + EXTRA_BYTES * len(entries) > free:
        what = f"{target.root} has {_size(free)} free, and the disks hold at least {_size(least)}"
        yield _concern("target-no-room", Severity.CRITICAL, what, FREE_SPACE_FIX)
    elif most > free:
        what = f"{target.root} has {_size(free)} free, and the disks could hold up to {_size(most)}"
        yield _concern("target-little-room", Severity.WARNING, what, FREE_SPACE_FIX)


def memory_concerns(entries: tuple[Entry, ...]) -> Iterator[Concern]:
    """Machines that ask for more memory than this host has: their proof may be slow, or end early."""
    here = _memory_here()
    for entry in entries:
        wanted = qemu.memory_bytes(entry.sized(qemu.virtual_machine(entry.manifests)))
        if wanted > here:
            what = f"{entry.name} asks for {_size(wanted)} of memory, and this host has {_size(here)}"
            yield _concern("target-little-memory", Severity.WARNING, what, "Prove it on a larger host.")


def check_memory(entry: Entry, beside: tuple[Entry, ...]) -> None:
    """Raise TargetRefused where these machines, which are to run at the same time, ask for more memory than this host
    has."""
    here = _memory_here()
    wanted = sum(qemu.memory_bytes(one.sized(qemu.virtual_machine(one.manifests))) for one in beside)
    if wanted > here:
        raise TargetRefused(
            f"those that are rehearsed together ask for {_size(wanted)} of memory, and this host has {_size(here)}",
            fix="Rehearse them on a larger host, or set `rehearsal: {together: false}` for their app.",
            machine=entry.name,
        )


def check_space(target: TargetFolder, entry: Entry) -> None:
    """Raise TargetRefused where the machine's known data does not fit."""
    free = free_bytes(target.root)
    least = sum(_missing(target, entry, planned, full=False) for planned in entry.disks)
    extra = 0 if target.machine(entry.target_name).path.exists() else EXTRA_BYTES
    if least + extra > free:
        raise TargetRefused(
            f"{target.root} has {_size(free)} free, and the disks still need at least {_size(least + extra)}",
            fix=FREE_SPACE_FIX,
            machine=entry.name,
        )


def _memory_here() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_bytes(path: Path) -> int:
    """Free bytes for us on the file system that `path` is or would be on."""
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _missing(target: TargetFolder, entry: Entry, planned: PlannedDisk, *, full: bool) -> int:
    """Bytes that the disk still needs: all of it, or only what the source is known to have allocated.

    What a compressed image or the top of a chain has allocated says nothing about the disk's data.
    """
    disk = next((disk for disk in entry.machine.disks if disk.id == planned.disk), None)
    known = disk.allocated_bytes if disk and disk.format == "raw" and not disk.chain else None
    wanted = planned.size_bytes if full else min(known or 0, planned.size_bytes)
    image = target.machine(entry.target_name).image(planned.claim)
    there = image.stat().st_blocks * 512 if image.exists() else 0
    return max(0, wanted - there)


def _concern(identity: str, severity: Severity, what: str, fix: str) -> Concern:
    return Concern(id=identity, severity=severity, what=what, fix=fix)


def _size(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
