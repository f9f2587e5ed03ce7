"""The table of kinds: what is tried, on what it needs, and how long one trial may take before it hangs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from soak.data import bits, damaged, devices, engine, kills, servers, thin
from soak.data import rounds as left
from soak.run import journals, lives, ova, plans, sets, sleepers, waves
from soak.trial import Run

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Kind:
    """`typical` and `limit` are seconds of one trial: a turn with less time left is left out, one that takes longer
    than the limit hangs. `needs`: programs, or `root`."""

    name: str
    about: str
    run: Run
    needs: tuple[str, ...] = ()
    typical: float = 0.5
    limit: float = 60


DEVICES = ("root", "losetup", "mount", "mkfs.ext4")
ALL = (
    Kind("engine", "copies of random disks, broken off, and rounds of what changed", engine.run),
    Kind("rounds", "rounds that are left and gone on from", left.run),
    Kind("bits", "bits of a finished target flipped", bits.run),
    Kind("devices", "block devices that were used before", devices.run, DEVICES),
    Kind("thin", "storage that runs full, or loses what it took", thin.run, DEVICES, typical=4, limit=120),
    Kind("images", "damaged images of disks", damaged.run, ("qemu-img", "qemu-nbd"), typical=1),
    Kind("servers", "NBD servers that lie, fail, or fall silent", servers.run, typical=3),
    Kind("kills", "kill -9 at every point of a copy, the target churned between", kills.run, typical=8, limit=180),
    Kind("lives", "one machine's life under one plan, with faults at every call", lives.run, typical=1),
    Kind("sets", "lives of two machines that share a disk", sets.run, typical=2),
    Kind("plans", "one machine's life under several plans", plans.run, typical=2),
    Kind("waves", "runs of several waves, in which machines fail and are refused", waves.run, typical=2),
    Kind("journals", "journals from a backup, and of two operators", journals.run, typical=2),
    Kind("sleepers", "runners that sleep through their lease at any call", sleepers.run, typical=2),
    Kind("ova", "lives of a machine from an OVA, with real movers", ova.run, typical=15, limit=240),
)
KINDS = {kind.name: kind for kind in ALL}


def missing(kind: Kind) -> str:
    """What this machine lacks for a kind; empty if nothing."""
    return ", ".join(_missing(kind))


def _missing(kind: Kind) -> Iterator[str]:
    for need in kind.needs:
        if os.geteuid() != 0 if need == "root" else shutil.which(need, path=PATH) is None:
            yield need
