"""Virtio's two generations: which one the machine's devices have at the target, and why.

A Q35 machine offers virtio 1 only, unless it is asked for transitional devices, which speak 0.9 to whoever asks. A
guest whose drivers know 0.9 only (EL 6 and older) finds no disk otherwise. Guests that know virtio 1 use it either way.
"""

from __future__ import annotations

from kubeferry.model import DiskBus, Machine
from mappings.choices import Choices
from mappings.systems import knows_virtio_1

TRANSITIONAL = "virtio-transitional"
GENERATIONS = frozenset({TRANSITIONAL, "virtio-non-transitional"})


def is_transitional(machine: Machine, choices: Choices) -> bool:
    """The policy's word, else the source's own, else what is known of the system inside."""
    if choices.virtio_transitional is not None:
        return choices.virtio_transitional
    return names_transitional(machine) or (has_virtio(machine) and knows_virtio_1(machine.guest) is False)


def names_transitional(machine: Machine) -> bool:
    """Whether the source calls one of the machine's devices transitional."""
    models = [disk.virtio for disk in machine.disks] + [disk.controller_model for disk in machine.disks]
    models += [nic.model for nic in machine.nics] + [device.model for device in machine.devices]
    return TRANSITIONAL in models


def has_virtio(machine: Machine) -> bool:
    """Whether the guest uses virtio at the source: a disk or a card on it."""
    disks = any(disk.bus == DiskBus.VIRTIO or "virtio" in (disk.controller_model or "") for disk in machine.disks)
    return disks or any("virtio" in (nic.model or "") for nic in machine.nics)


def may_be_legacy(machine: Machine, choices: Choices) -> bool:
    """Whether nobody can tell which virtio the guest needs: it has it on a PC older than Q35, which offers both."""
    if choices.virtio_transitional is not None or is_transitional(machine, choices):
        return False
    old_board = bool(machine.machine_type) and "q35" not in (machine.machine_type or "")
    return old_board and has_virtio(machine) and knows_virtio_1(machine.guest) is None
