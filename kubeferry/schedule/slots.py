"""Slots: how many machines may be at work at once from one host, in one wave, into one storage class; pure.

A machine takes one of each kind that the configuration limits, before anything is done to it, and has them for as long
as its run lasts. They are counted in the journal, over all runners and plans (`kubeferry.journal.slots`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kubeferry.documents import Entry, Limits, Outline, OutlinedEntry, Plan
from kubeferry.words import first_of

NAMED = 3


@dataclass(frozen=True, slots=True)
class Slot:
    """One of `most` places. `key` is the same for all machines that share them, under whatever plan; `of` says in words
    what they are of."""

    key: str
    of: str
    most: int


@dataclass(frozen=True, slots=True)
class Full:
    """A slot that is not free, and the machines that have them."""

    slot: Slot
    by: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.slot.of} takes {self.slot.most} at once, and has {first_of(self.by, NAMED)}"


def slots(plan: Plan | Outline, limits: Limits, machines: Collection[str]) -> dict[str, tuple[Slot, ...]]:
    """What each of these machines needs a slot of, by its name; nothing at all where the configuration sets no limit.

    A machine's host is the one that its source told when it was discovered; where it told none, the source is."""
    if limits.per_host is limits.per_wave is limits.per_storage_class is None:
        return {}
    waves = {name: wave.name for wave in plan.waves for name in wave.machines if name in machines}
    return {
        entry.name: tuple(_of(entry, waves[entry.name], plan.digest, limits))
        for entry in plan.entries
        if entry.name in waves
    }


def _of(entry: Entry | OutlinedEntry, wave: str, plan: str, limits: Limits) -> Iterator[Slot]:
    source, host = entry.machine.source, _host(entry.machine.metadata)
    yield from _slot(limits.per_host, f"host {source}/{host}", f"host {host}" if host else f"source {source}")
    yield from _slot(limits.per_wave, f"wave {plan} {wave}", f"wave {wave}")
    for name in sorted(set(filter(None, map(_class_of, entry.manifests)))):
        yield from _slot(limits.per_storage_class, f"class {name}", f"storage class {name}")


def _slot(most: int | None, key: str, of: str) -> tuple[Slot, ...]:
    return () if most is None else (Slot(key, of, most),)


def _host(metadata: object) -> str:
    return str((metadata.get("host") if isinstance(metadata, dict) else getattr(metadata, "host", "")) or "")


def _class_of(manifest: object) -> str:
    """The storage class that a claim names; the cluster's default one has no name before it is made."""
    if isinstance(manifest, dict):
        return str(manifest.get("spec", {}).get("storageClassName") or "")
    return str(getattr(getattr(manifest, "spec", None), "storage_class_name", "") or "")
