"""A move on trial, before anything is stopped: manifests and movers' Jobs by the server's dry run, and a mover that
opens claims like the machine's, the Secret and the source, and writes nothing.

Machines of one namespace whose movers are alike share a mover: the same kinds of claims, the same place, the same way
in. A trial is a small machine of its own, `kf-trial-…`: its claims, Job and policy are made and removed as a machine's
are, and none of the machine's own is touched. One that a killed process left is taken up by the next one of the same
machine, or goes when it is old.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from kubeferry.documents import Entry, MoverJob, MoverResult, MoverSettings, PlannedDisk, TargetConfig
from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable
from kubeferry.ledger import External
from kubeferry.model import Concern, DiskRef
from kubeferry.outside import stopping
from kubeferry.targets import Reach, alike, error_of
from kubeferry.targets.kubevirt import claims, jobs, names, objects, removal
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.kinds import CLAIM, JOB, NETWORK_POLICY

RUN_SECONDS = 300
KEPT_SECONDS = 600
SETTLE_SECONDS = 10.0
UNKNOWN = "(got 'trial')"
"""What a mover says of a job whose action it does not know."""
OLD = timedelta(minutes=30)
PREFIX = "kf-trial-"
UPLOADED: tuple[Literal["verify"]] = ("verify",)
MOVED: tuple[Literal["copy", "verify", "repair"], ...] = ("copy", "verify", "repair")

Object = dict[str, Any]
Found = dict[str, list[Concern]]


def trial(cluster: Cluster, config: TargetConfig, entries: tuple[Entry, ...], reach: Reach) -> Found:
    """See `kubeferry.targets.Target.trial`. Where this host sends the disks, no mover is tried."""
    found: Found = {}
    for entry in entries:
        found |= alike.tried((entry,), partial(objects.tried, cluster), "the cluster does not take its manifests")
    fit = [entry for entry in entries if entry.name not in found and entry.disks]
    for namespace in dict.fromkeys(entry.namespace for entry in fit):
        with contextlib.suppress(KubeferryError):  # what cannot be swept now is so the next time
            _sweep(cluster, namespace)

    def attempt(entry: Entry) -> None:
        with reach(entry) as way, alike.shared(way):
            _try(cluster, config, entry, way)

    for group in grouped(fit):
        found |= alike.tried(group, attempt, "no mover can be tried")
    return found


# --- pure ------------------------------------------------------------------------------------------------------------


def grouped(entries: list[Entry]) -> list[list[Entry]]:
    """Machines whose movers are alike, each group in the plan's order."""
    return alike.grouped(entries, _key)


def small_machine(entry: Entry) -> Entry:
    """The machine of the trial: of each kind of claim the entry's smallest, under names of its own."""
    digest = hashlib.sha256(f"{entry.machine.source}/{entry.machine.id}/{entry.target_name}".encode()).hexdigest()[:12]
    name = f"{PREFIX}{digest}"
    chosen: dict[str, PlannedDisk] = {}
    for disk in sorted(entry.disks, key=lambda one: one.claim_bytes):
        chosen.setdefault(_kind(entry, disk), disk)
    disks, manifests = [], [one for one in entry.manifests if one.get("kind") != CLAIM.name]
    for number, disk in enumerate(chosen.values()):
        claim = f"{name}-{number}"
        wanted = claims.planned_claim(entry, disk)
        labels = wanted["metadata"]["labels"] | {names.MACHINE_LABEL: name}
        manifests.append(wanted | {"metadata": wanted["metadata"] | {"name": claim, "labels": labels}})
        disks.append(disk.model_copy(update={"claim": claim, "volume": claim}))
    return entry.model_copy(update={"target_name": name, "disks": tuple(disks), "manifests": tuple(manifests)})


def job_of(small: Entry, disk: PlannedDisk, way: DiskRef | None, action: str) -> MoverJob:
    """A job of the trial's machine."""
    return MoverJob.model_validate(
        {
            "name": f"{disk.claim}-{action}",
            "action": action,
            "machine": small.name,
            "disk": disk.disk,
            "source": None if action == "verify" else way,
            "target": names.disk_ref(small, disk),
            "state_dir": names.state_dir(small, disk.disk),
            "makes_target": disk.volume_mode == "Filesystem",
            "plan": small.target_name,
        }
    )


def _key(entry: Entry) -> str:
    """What movers that are alike have in common."""
    kinds = sorted({_kind(entry, disk) for disk in entry.disks})
    return json.dumps([entry.namespace, entry.machine.source, kinds, claims.placement(entry)], sort_keys=True)


def _kind(entry: Entry, disk: PlannedDisk) -> str:
    """What makes a claim another kind than another one: all that the plan asks for but its size."""
    spec = claims.planned_claim(entry, disk)["spec"]
    return json.dumps([spec.get("storageClassName"), spec.get("accessModes"), spec.get("volumeMode")])


# --- edge ------------------------------------------------------------------------------------------------------------


def _try(cluster: Cluster, config: TargetConfig, entry: Entry, way: DiskRef | None) -> None:
    """Try one machine's movers. Raises KubeferryError with what is in the way; nothing is left."""
    small, uploads = small_machine(entry), config.transfer == "upload"
    settings = config.movers.model_copy(update={"deadline_seconds": RUN_SECONDS, "kept_seconds": KEPT_SECONDS})
    movers = jobs.Jobs(cluster, config.model_copy(update={"movers": settings}))
    for action in UPLOADED if uploads else MOVED:
        movers.submit_dry(job_of(small, small.disks[0], way, action), claims.placement(entry))
    if uploads:
        return
    try:
        _make_room(cluster, small, settings)
        for disk in small.disks:
            _run(movers, job_of(small, disk, way, "trial"))
    finally:
        _take_back(cluster, small)


def _make_room(cluster: Cluster, small: Entry, settings: MoverSettings) -> None:
    """The trial's claims are there. Those that another trial of the same machine has just taken away are waited for."""
    try:
        claims.prepare(cluster, small, _unwritten, settings)
    except TargetUnavailable:
        stopping.pause(SETTLE_SECONDS)
        claims.prepare(cluster, small, _unwritten, settings)


def _run(movers: jobs.Jobs, job: MoverJob) -> None:
    """One mover to its end. One whose Job is taken away, as another trial of the same machine may, is tried again."""
    for last in (False, True):
        movers.submit(job, _unwritten)
        result = movers.watch(job, lambda _progress: None)
        if result.ok:
            return
        if last or result.error is None or result.error.what != jobs.GONE:
            raise _unknown_to(job, result) or error_of(job, result)


def _unknown_to(job: MoverJob, result: MoverResult) -> TargetRefused | None:
    """The error of a mover that refuses its job as a document: its image is of an earlier version."""
    if result.error is None or UNKNOWN not in result.error.why:
        return None
    fix = "Build the image of this version (`kubeferry manifests`), and name it as target.movers.image."
    return TargetRefused(
        "the movers' image is of an earlier version", why=result.error.why, fix=fix, machine=job.machine
    )


def _take_back(cluster: Cluster, small: Entry) -> None:
    """Everything of the trial goes: first what could use a claim."""
    jobs.end_all(cluster, small)
    state = names.state_claim(small.target_name)
    removal.drop(cluster, small, [(CLAIM, state), *((CLAIM, disk.claim) for disk in small.disks)])
    cluster.delete(NETWORK_POLICY, names.network_policy(small.target_name), small.namespace)


def _sweep(cluster: Cluster, namespace: str) -> None:
    """What trials of other machines left that were killed, a while ago."""
    for kind, label in ((JOB, names.MACHINE_LABEL), (CLAIM, names.MACHINE_LABEL), (NETWORK_POLICY, names.PLAN_LABEL)):
        for one in cluster.list(kind, namespace, {names.MANAGED_BY: names.MANAGER}):
            metadata = one["metadata"]
            made = datetime.fromisoformat(str(metadata["creationTimestamp"]))
            if str(metadata["labels"].get(label, "")).startswith(PREFIX) and datetime.now(UTC) - made > OLD:
                cluster.delete(kind, metadata["name"], namespace, uid=metadata["uid"])


def _unwritten(_thing: External) -> None:
    """A trial stands in no ledger: what it makes is found again by its names."""
