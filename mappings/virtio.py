"""Virtio's two generations: which one the machine's devices have at the target, and why.

A Q35 machine offers virtio 1 only, unless it is asked for transitional devices, which speak 0.9 to whoever asks. A
guest whose drivers know 0.9 only (EL 6 and older) finds no disk otherwise. Guests that know virtio 1 use it either way.
What counts is what the target gives: a disk or a card that was none of virtio's at the source may be one there.
"""

from __future__ import annotations

from kubeferry.model import DiskBus, Machine
from mappings.choices import Choices
from mappings.disks import is_mapped, target_bus
from mappings.ec2 import is_ec2
from mappings.nics import plugged, target_model
from mappings.systems import knows_virtio_1

TRANSITIONAL = "virtio-transitional"
GENERATIONS = frozenset({TRANSITIONAL, "virtio-non-transitional"})
_VIRTIO_BUSES = {"virtio", "scsi"}


def is_transitional(machine: Machine, choices: Choices) -> bool:
    """The policy's word, else the source's own, else what is known of the system inside."""
    if choices.virtio_transitional is not None:
        return choices.virtio_transitional
    return names_transitional(machine) or (knows_virtio_1(machine.guest) is False and gets_virtio(machine, choices))


def names_transitional(machine: Machine) -> bool:
    """Whether the source calls one of the machine's devices transitional."""
    models = [disk.virtio for disk in machine.disks] + [disk.controller_model for disk in machine.disks]
    models += [nic.model for nic in machine.nics] + [device.model for device in machine.devices]
    return TRANSITIONAL in models


def has_virtio(machine: Machine) -> bool:
    """Whether the guest uses virtio at the source: a disk or a card on it."""
    disks = any(disk.bus == DiskBus.VIRTIO or "virtio" in (disk.controller_model or "") for disk in machine.disks)
    return disks or any("virtio" in (nic.model or "") for nic in machine.nics)


def gets_virtio(machine: Machine, choices: Choices) -> bool:
    """Whether the guest depends on virtio at the target: for a disk or drive (SCSI is virtio's there), a card, its
    agent's channel or its source of random numbers."""
    buses = {target_bus(disk, choices) for disk in machine.kept_disks if is_mapped(disk)}
    cards = plugged(machine, choices)
    models = {target_model(nic, machine.guest, choices) for nic, rule in cards if rule.binding != "sriov"}
    others = machine.guest.agent_channel is True or any(device.kind == "rng" for device in machine.devices)
    return bool(buses & _VIRTIO_BUSES) or "virtio" in models or others


def may_be_legacy(machine: Machine, choices: Choices) -> bool:
    """Whether nobody can tell which virtio the guest needs: it gets some, and its board at the source offers 0.9 as
    well, or it had none there. One that has it on a Q35 knows virtio 1; drivers of EC2's have a concern of their own.
    """
    if choices.virtio_transitional is not None or is_transitional(machine, choices):
        return False
    proven = "q35" in (machine.machine_type or "") and has_virtio(machine)
    board = bool(machine.machine_type) and not is_ec2(machine)
    return board and not proven and gets_virtio(machine, choices) and knows_virtio_1(machine.guest) is None
