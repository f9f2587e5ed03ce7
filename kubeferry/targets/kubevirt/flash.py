"""UEFI variables on the claim from which KubeVirt mounts them, put there before the machine's first start.

A mover writes them, as it writes disks: the same lock, fence and read-back. They are little, and no secret, so they
come with the work itself and need no way to the source.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from kubeferry.documents import Entry, KeptVariables, MoverJob
from kubeferry.errors import IntegrityFailed, TargetRefused, TargetUnavailable
from kubeferry.ledger import External, Ledger
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import names, objects
from kubeferry.targets.kubevirt.api import AlreadyThere, Cluster
from kubeferry.targets.kubevirt.jobs import Jobs
from kubeferry.targets.kubevirt.kinds import CLAIM
from kubeferry.uris import inline_uri

MOST_URI_BYTES = 192 * 1024
"""All annotations of an object together may have 256 KiB, and the work is one."""


def keep(cluster: Cluster, movers: Jobs, entry: Entry, store: bytes, ledger: Ledger, fence: int) -> str:
    """Write the store and read it back; returns the claim and the file. See `kubeferry.targets.Target`."""
    kept = entry.variables
    if kept is None:
        raise TargetRefused("the plan keeps no UEFI variables", fix="Plan again.", machine=entry.name)
    _make_claim(cluster, entry, kept, ledger)
    for action in ("copy", "verify"):
        job = a_job(entry, kept, store, fence, action)
        movers.submit(job, ledger)
        result = movers.watch(job, lambda _progress: None)
        if result.differing:
            raise IntegrityFailed(
                "the UEFI variables read back otherwise than they were written",
                fix="Look at the storage of the claim; then run the same command again.",
                machine=entry.name,
                disk=kept.claim,
            )
        if not result.ok:
            said = result.error
            raise TargetUnavailable(
                f"the UEFI variables were not written to claim {kept.claim}",
                why=f"{said.what}: {said.why}" if said else "the mover ended without a reason",
                fix=(said and said.fix) or "Run the same command again.",
                machine=entry.name,
            )
    return f"{entry.namespace}/{kept.claim}/{kept.file}"


def a_job(entry: Entry, kept: KeptVariables, store: bytes, fence: int, action: Literal["copy", "verify"]) -> MoverJob:
    """The mover's work. Each runner has its own, with a state folder of its own: what an older one has written may have
    been changed by the firmware since."""
    source = DiskRef(uri=inline_uri(store), size_bytes=len(store))
    if len(source.uri) > MOST_URI_BYTES:
        raise TargetRefused(
            "its UEFI variables are too many to be carried",
            why=f"they have {len(source.uri)} bytes when packed, and a Job takes {MOST_URI_BYTES}",
            fix="Leave them behind with keepVariables: false in the machine's policy, and plan again.",
            machine=entry.name,
        )
    digest = hashlib.sha256(store).hexdigest()[:12]
    return MoverJob(
        name=f"{entry.target_name}-variables-{digest}-{fence}-{action}",
        action=action,
        machine=entry.name,
        disk=kept.claim,
        source=source if action == "copy" else None,
        target=names.variables_ref(entry, kept, len(store)),
        state_dir=names.state_dir(entry, f"{kept.claim}/{fence}"),
        fence=fence,
        copy_id=digest,
        makes_target=True,
        exact_file=True,
        workers=1,
    )


def _make_claim(cluster: Cluster, entry: Entry, kept: KeptVariables, ledger: Ledger) -> None:
    """The claim is there, as the plan has it; one of somebody else is refused."""
    there = cluster.get(CLAIM, kept.claim, entry.namespace)
    if there is not None:
        if why := names.objection(entry, there):
            raise TargetRefused(why, fix="Remove it, or give the machine another name.", machine=entry.name)
        return
    wanted = next(one for one in entry.manifests if one["metadata"]["name"] == kept.claim)
    ledger(External("disk", kept.claim, f"{entry.namespace}/{kept.claim}"))
    try:
        cluster.create(objects.as_applied(entry, wanted, None), CLAIM)
    except AlreadyThere:
        return  # another try of ours, whose answer was lost
