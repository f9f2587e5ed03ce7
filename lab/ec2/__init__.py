"""A cloud on this machine: EC2 by moto, EBS direct APIs of our own, volumes with real content that a test may change.

What it does not do: run a guest (a running instance is a word, and its volumes change only when `Cloud.write` is
called); check signatures and policies (keys are known or not, and requests signed in time, that is all), encrypt,
charge, or be consistent only after a while, as the real one is. Calls take no time but for the faults that a test asks
for; a start is never pending. A volume's size is a whole number of GiB, only what was written takes memory. Quotas are
not counted but for pending snapshots of a volume.
UEFI variables are what a test says; no firmware reads or writes them, and the error of an instance without any is not
AWS's own word.
What it does keep: the lineage of snapshots, all volumes of an instance frozen at one instant, excluded volumes, a
pending phase, block tokens that are opaque, bound to one block of one snapshot, and stop being taken; pages that are
asked for, may be empty, and end; SHA-256 of every block; errors as AWS words them.

    uefi     the form of UEFI variables, by Amazon's own package
    Cloud ── relay ──┬── direct: ListSnapshotBlocks, ListChangedBlocks, GetSnapshotBlock
      │              └── moto: all else that is asked of EC2, STS and Auto Scaling (whose groups end nothing here)
      ├── faults: what goes wrong, as a test asks for it
      └── store: volumes, snapshots
"""

from __future__ import annotations

from lab.ec2.cloud import Cloud
from lab.ec2.faults import Faults

__all__ = ["Cloud", "Faults"]
