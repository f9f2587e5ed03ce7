"""What would be done with a machine, as a digest: what is approved is what is done. Pure.

It covers what the dry run lists of the machine from its beginning: each step with its disks, where it goes, how it is
moved. It holds no times and none of the reasons, and does not look where the machine stands: rounds that are copied
ahead, or rehearsed, after an approval change nothing of it. A target that keeps machines running, in the place of one
that proves them, does; so does a program that takes other steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from kubeferry.documents import Entry
from kubeferry.documents.base import canonical_json
from kubeferry.life.action_kinds import EntryFacts
from kubeferry.life.imagined import plan_actions
from kubeferry.life.machine_state import MachineState


def digest_of_machine(facts: EntryFacts, entry: Entry) -> str:
    """SHA-256 of what would be done with one machine of a plan."""
    listed = plan_actions(replace(facts, unapproved="", rehearsal=None), MachineState(), power_now=entry.machine.power)
    content = {
        "plan": facts.plan_digest,
        "machine": entry.name,
        "target": f"{entry.namespace}/{entry.target_name}",
        "mode": entry.mode,
        "steps": [[action.kind, *action.disks] for action in listed],
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def digest_of_all(digests: Iterable[str]) -> str:
    """SHA-256 over the digests of several machines, in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
