"""Machines that share disks, and what of one's proof rests on another's; pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeferry.documents import AttachedDisk, Entry, Plan
from reports.shapes import DiskReport, MachineReport, Verdict
from reports.wording import NAME_LIMIT, listed, plain


def with_their_sets(plan: Plan, machines: Sequence[MachineReport]) -> tuple[MachineReport, ...]:
    """The reports of all machines, in the plan's order, each with those that it moves together with. One that attaches
    a disk is proven only where that disk is, on the machine that carries it."""
    reports = {entry.name: machine for entry, machine in zip(plan.entries, machines, strict=True)}
    return tuple(_with_its_set(entry, reports[entry.name], reports) for entry in plan.entries)


def _with_its_set(entry: Entry, machine: MachineReport, reports: dict[str, MachineReport]) -> MachineReport:
    if not entry.moves_with:
        return machine
    found = [(disk, _proof(disk, reports[disk.carrier])) for disk in entry.attached or ()]
    facts: dict[str, object] = {
        "moves_with": tuple(plain(other.name, NAME_LIMIT) for other in entry.moves_with),
        "attached": tuple(_told(disk, proof) for disk, proof in found),
    }
    if machine.verdict is not Verdict.PROVEN:
        return machine.model_copy(update=facts)
    missing = [_told(disk, proof) for disk, proof in found if proof is None or not proof.verified]
    apart = [other.name for other in entry.moves_with if reports[other.name].verdict is not Verdict.PROVEN]
    doubts = [*missing, *([f"it moves together with {listed(apart)}, not proven"] if apart else [])]
    if doubts:
        return machine.model_copy(update=facts | {"verdict": Verdict.NOT_PROVEN, "why": tuple(map(plain, doubts))})
    grounds = tuple(_told(disk, proof) for disk, proof in found)
    return machine.model_copy(update=facts | {"why": (*machine.why, *grounds)})


def _proof(disk: AttachedDisk, carrier: MachineReport) -> DiskReport | None:
    return next((one for one in carrier.disks if one.claim == disk.claim), None)


def _told(disk: AttachedDisk, proof: DiskReport | None) -> str:
    result = proof.result if proof else "not in the plan"
    return plain(f"{disk.disk} is one disk with that of {disk.carrier}, which carries it: {result}")
