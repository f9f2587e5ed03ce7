"""Movers as Jobs: the same work is the same Job, whoever asks for it, and however often.

A Job outlives us: the next run finds it by its name and attaches. Of one disk there is one Job at a time, so a result
stands for as long as its Job is the newest of its disk, and two movers never write to one volume.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from kubeferry.documents import Entry, MoverError, MoverJob, MoverProgress, MoverResult, TargetConfig
from kubeferry.errors import Interrupted, KubeferryError, SourceRefused, TargetRefused, TargetUnavailable
from kubeferry.ledger import External, Ledger
from kubeferry.outside import stopping
from kubeferry.targets.kubevirt import claims, job_secrets, job_spec, names, pods
from kubeferry.targets.kubevirt.answers import Forbidden
from kubeferry.targets.kubevirt.api import AlreadyThere, Cluster
from kubeferry.targets.kubevirt.kinds import CLAIM, EVENT, JOB, NETWORK_POLICY, POD, SECRET
from kubeferry.uris import HELD

POLL_SECONDS = 1.0
GONE_SECONDS = 120.0
# How long an API server may be away while a Job runs on: a restart, an upgrade of the control plane.
BEARABLE_SECONDS = 180.0
# How long one that is back may take to know again what the account may do.
ROLES_SECONDS = 30.0
# A pod that ended and a Job that has not seen it yet.
SETTLE_SECONDS = 15.0
LOG_LINES = 15
GONE = "the mover's Job is gone"
# What a mover says of a device that it may not open.
NO_ACCESS = frozenset(map(os.strerror, (errno.EACCES, errno.EPERM)))

Object = dict[str, Any]


class Jobs:
    """Submits movers and waits for them. See `kubeferry.targets.Target` for what both methods promise."""

    def __init__(self, cluster: Cluster, config: TargetConfig) -> None:
        self._cluster = cluster
        self._settings = config.movers

    def submit(self, job: MoverJob, ledger: Ledger, held: bytes | None = None) -> None:
        """The Job is there: made now, found running, or found ended well. What it is handed is there after it, and its
        own: its pod waits for that, and it goes with the Job."""
        manifest = self._manifest(job)
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        self._admit(job, namespace, ledger)
        labels = {key: manifest["metadata"]["labels"][key] for key in (names.MACHINE_LABEL, names.DISK_LABEL)}
        there = self._cluster.list(JOB, namespace, labels)
        standing = [other for other in there if other["metadata"]["name"] == name and _stands(other, manifest)]
        for other in there:
            if other not in standing:
                end(self._cluster, other)
        attached = bool(standing)
        if not attached:
            ledger(External(names.JOB, name, f"{namespace}/{name}"))
            try:
                self._cluster.create(manifest, JOB)
            except AlreadyThere:
                attached = True  # to one whose making was not answered
        if held is not None:
            self._hand(job, namespace, held, attached=attached)

    def submit_dry(self, job: MoverJob, placement: Object) -> None:
        """The server says whether it would take the Job. Raises TargetRefused."""
        addresses = tuple(address for address, _ in _ends(job))
        self._cluster.create(job_spec.job_manifest(job, self._settings, placement, addresses), JOB, dry_run=True)

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        """Wait for the Job's end. Interrupted ends the Job too: what it reads is closed after us. One that was handed
        something goes when it has ended, and with it what it was handed."""
        site = names.site_of(job)
        watched = _Watched(self._cluster, job, site.namespace, names.job_name(job), self._settings.start_seconds)
        try:
            result = watched.follow(on_progress)
        except Interrupted:
            there = self._cluster.get(JOB, watched.name, site.namespace)
            if there is not None and (is_held(job) or not _ended(there)):
                end(self._cluster, there, patiently=False)
            raise
        if is_held(job) and (there := self._cluster.get(JOB, watched.name, site.namespace)) is not None:
            end(self._cluster, there, patiently=False)
        return result

    def close(self) -> None:
        """Jobs go on without us."""

    def _hand(self, job: MoverJob, namespace: str, held: bytes, *, attached: bool) -> None:
        """The Secret of a Job that is there. One that is there already is the Job's where we are `attached` to that:
        its name says of what. Else it is of an earlier Job of this name, and goes as that has gone."""
        there = self._cluster.get(JOB, names.job_name(job), namespace)
        limit = time.monotonic() + GONE_SECONDS
        while there is not None and time.monotonic() < limit:
            try:
                self._cluster.create(job_secrets.held_secret(there, held), SECRET)
            except AlreadyThere:
                if attached:
                    return
                stopping.pause(POLL_SECONDS / 2)
                stopping.check()
            else:
                return
        what = GONE if there is None else "the Secret of an earlier mover does not go"
        raise TargetUnavailable(what, fix="Run the same command again.", machine=job.machine, disk=job.disk)

    def _manifest(self, job: MoverJob) -> Object:
        site = names.site_of(job)
        state = self._cluster.get(CLAIM, names.state_claim(site.machine), site.namespace)
        if state is None:
            fix = "Prepare the machine's room first."
            raise TargetRefused("the movers' state claim is not there", fix=fix, machine=job.machine, disk=job.disk)
        placement = json.loads(state["metadata"].get("annotations", {}).get(claims.PLACEMENT, "{}"))
        return job_spec.job_manifest(job, self._settings, placement, tuple(address for address, _ in _ends(job)))

    def _admit(self, job: MoverJob, namespace: str, ledger: Ledger) -> None:
        """The plan's NetworkPolicy lets this job reach its source. It is widened, never narrowed, while movers run."""
        if not job.plan:
            return
        ends = set(_ends(job))
        name = names.network_policy(job.plan)
        there = self._cluster.get(NETWORK_POLICY, name, namespace)
        known = job_spec.allowed_ends(there) if there else set()
        # Written down by every machine that uses it, since the last one must see it go.
        ledger(External(names.NETWORK_POLICY, name, f"{namespace}/{name}"))
        if there is None or not ends <= known:
            self._cluster.apply(job_spec.network_policy(namespace, job.plan, ends | known), NETWORK_POLICY)


class _Watched:
    """One Job under way, as this run sees it."""

    def __init__(self, cluster: Cluster, job: MoverJob, namespace: str, name: str, start_seconds: float) -> None:
        self._cluster = cluster
        self._job = job
        self._namespace = namespace
        self.name = name
        self._start_seconds = start_seconds
        self._idle_since = time.monotonic()
        self._away_since: float | None = None
        self._shown: MoverProgress | None = None

    def follow(self, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        """Look until there is a result."""
        while True:
            stopping.check()
            try:
                result = self._look(on_progress)
                self._away_since = None
            except (TargetUnavailable, Forbidden) as error:
                self._away_since = self._away_since or time.monotonic()
                bearable = ROLES_SECONDS if isinstance(error, Forbidden) else BEARABLE_SECONDS
                if time.monotonic() - self._away_since > bearable:
                    raise
                result = None
                self._show(MoverProgress(phase=f"waiting: {error.what}"), on_progress)
            if result is not None:
                return result
            stopping.pause(POLL_SECONDS)

    def _look(self, on_progress: Callable[[MoverProgress], None]) -> MoverResult | None:
        job = self._cluster.get(JOB, self.name, self._namespace)
        if job is None:
            return self._failed(GONE, "somebody deleted it", "Run the same command again.")
        pod = self._newest_pod()
        if _ended(job):
            return self._result(pod) or self._lost(job, pod)
        if pod is not None and pods.outlives(pod, job_spec.CONTAINER):
            end(self._cluster, job)
            return self._result(pod) or self._without_result(job, pod)
        running = pod is not None and pod.get("status", {}).get("phase") == "Running"
        if running and pod is not None:
            self._idle_since = time.monotonic()
            self._show(self._progress(pod), on_progress)
            return None
        return self._held_up(job, pod, on_progress)

    def _held_up(
        self, job: Object, pod: Object | None, on_progress: Callable[[MoverProgress], None]
    ) -> MoverResult | None:
        """No pod runs: why, and whether to go on waiting."""
        waited = time.monotonic() - self._idle_since
        found = pods.hindrance(pod, self._events(job, pod))
        late = waited > self._start_seconds
        if found is None and not late:
            self._show(MoverProgress(phase="waiting for its pod"), on_progress)
            return None
        found = found or pods.Hindrance("nothing says why", "Look at the Job and its events with kubectl.")
        if found.final or late:
            end(self._cluster, job, patiently=False)
            what = "the mover's pod does not run" + ("" if found.final else f", after {waited:.0f} s")
            return self._failed(what, found.why, found.fix, TargetRefused)
        self._show(MoverProgress(phase=f"waiting: {found.why}"), on_progress)
        return None

    def _newest_pod(self) -> Object | None:
        found = self._cluster.list(POD, self._namespace, {"batch.kubernetes.io/job-name": self.name})
        return max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    def _events(self, job: Object, pod: Object | None) -> list[Object]:
        """Events of the Job, the pod and the claims, the oldest first."""
        site, since = names.site_of(self._job), str(job["metadata"]["creationTimestamp"])
        found = [
            event
            for event in self._cluster.list(EVENT, self._namespace)
            if _is_about(event, [job, *([pod] if pod else [])], {site.claim, names.state_claim(site.machine)}, since)
        ]
        return sorted(found, key=_when)

    def _progress(self, pod: Object) -> MoverProgress | None:
        said = self._cluster.logs(self._namespace, pod["metadata"]["name"], job_spec.CONTAINER, tail_lines=1)
        try:
            return MoverProgress.model_validate_json(said.strip())
        except ValueError:
            return None

    def _show(self, progress: MoverProgress | None, on_progress: Callable[[MoverProgress], None]) -> None:
        if progress is not None and progress != self._shown:
            self._shown = progress
            on_progress(progress)

    def _result(self, pod: Object | None) -> MoverResult | None:
        """What the mover said at its end, if it could."""
        for status in (pod or {}).get("status", {}).get("containerStatuses") or []:
            said = ((status.get("state") or {}).get("terminated") or {}).get("message") or ""
            try:
                result = MoverResult.model_validate_json(said)
            except ValueError:
                continue
            if result.name == self._job.name:
                error = _passed_on(result.error, self._job)
                return result.model_copy(update={"where": self._where(pod), "error": error})
        return None

    def _lost(self, job: Object, pod: Object | None) -> MoverResult:
        """A Job without a result. One that ended well would stand for its work, and say nothing of it, for as long as
        it is kept: it goes, and the work is done again."""
        failed = self._without_result(job, pod)
        if _condition(job, "Complete") is not None:
            end(self._cluster, job, patiently=False)
        return failed

    def _without_result(self, job: Object, pod: Object | None) -> MoverResult:
        reasons = [
            f"{condition.get('reason')}: {condition.get('message')}"
            for condition in job.get("status", {}).get("conditions") or []
            if condition.get("status") == "True"
        ]
        if pod is None:
            why = "; ".join(reasons) or "its pod is gone"
            return self._failed("the mover left no result", why, "Run the same command again.")
        log = self._cluster.logs(
            self._namespace, pod["metadata"]["name"], job_spec.CONTAINER, tail_lines=LOG_LINES, limit_bytes=8192
        )
        told = pods.redacted(log).strip()
        why = "; ".join([*reasons, pods.ending(pod), *([f"its log ends: {told}"] if told else [])])
        late = any("DeadlineExceeded" in reason for reason in reasons)
        fix = "Raise target.movers.deadlineSeconds; it goes on from its checkpoint." if late else ""
        return self._failed(
            "the mover failed", why, fix or "Run the same command again: it goes on from its checkpoint."
        )

    def _where(self, pod: Object | None) -> str:
        node = (pod or {}).get("spec", {}).get("nodeName") or "unknown"
        return f"Job {self._namespace}/{self.name} on node {node}"

    def _failed(self, what: str, why: str, fix: str, kind: type[KubeferryError] = TargetUnavailable) -> MoverResult:
        error = MoverError(type=kind.__name__, what=what, why=why, fix=fix)
        where = f"Job {self._namespace}/{self.name}"
        return MoverResult(name=self._job.name, action=self._job.action, ok=False, where=where, error=error)


def is_held(job: MoverJob) -> bool:
    """Whether a job reads what it is handed, and nobody else may."""
    return job.source is not None and job.source.uri == HELD


def end(cluster: Cluster, job: Object, *, patiently: bool = True) -> None:
    """End a Job; with `patiently`, return when its pods are gone. Raises TargetUnavailable if they do not go."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    cluster.delete(JOB, name, namespace, uid=job["metadata"]["uid"])
    limit = time.monotonic() + (GONE_SECONDS if patiently else job_spec.GRACE_SECONDS + 10)
    while cluster.list(POD, namespace, {"batch.kubernetes.io/job-name": name}) or _same(cluster, job):
        if time.monotonic() > limit:
            if not patiently:
                return
            raise TargetUnavailable(
                f"Job {namespace}/{name} does not end",
                why="its pod is still there",
                fix="Look at the pod and its node; then run the same command again.",
            )
        time.sleep(POLL_SECONDS / 2)


def end_all(cluster: Cluster, entry: Entry) -> list[str]:
    """End every Job of the machine; returns them in words."""
    labels = names.labels(entry) | {names.PART_LABEL: names.MOVER}
    found = cluster.list(JOB, entry.namespace, labels)
    for job in found:
        end(cluster, job)
    return [f"Job {entry.namespace}/{job['metadata']['name']}" for job in found]


def _same(cluster: Cluster, job: Object) -> bool:
    there = cluster.get(JOB, job["metadata"]["name"], job["metadata"]["namespace"])
    return there is not None and bool(there["metadata"]["uid"] == job["metadata"]["uid"])


def _stands(there: Object, wanted: Object) -> bool:
    """Whether a Job of this name is this work, and runs or ended well."""
    hashes = [(one["metadata"].get("annotations") or {}).get(job_spec.HASH_ANNOTATION) for one in (there, wanted)]
    deleted = there["metadata"].get("deletionTimestamp")
    return hashes[0] == hashes[1] and not deleted and _condition(there, "Failed") is None and not _failing(there)


def _failing(job: Object) -> bool:
    return _condition(job, "FailureTarget") is not None


def _ended(job: Object) -> bool:
    return _condition(job, "Complete") is not None or _condition(job, "Failed") is not None


def _condition(job: Object, kind: str) -> Object | None:
    for condition in job.get("status", {}).get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == "True":
            return dict(condition)
    return None


def _passed_on(error: MoverError | None, job: MoverJob) -> MoverError | None:
    """What a mover says, as it is here. One that was interrupted there is a target that failed: nobody asked us to
    stop. A device of its own claim that it may not open is not for it to check: its node decides whose that is."""
    if error is None:
        return None
    if error.type == Interrupted.__name__:
        return error.model_copy(update={"type": TargetUnavailable.__name__})
    site = names.site_of(job)
    if site.block and error.why in NO_ACCESS and error.what.startswith(f"{site.disk_path} "):
        why = f"{error.why}: container runtimes leave block devices to root where nobody says otherwise"
        return error.model_copy(update={"why": why, "fix": pods.DEVICE_FIX})
    return error


def _is_about(event: Object, things: list[Object], volumes: set[str], since: str) -> bool:
    """Whether an event tells of one of these very objects (an earlier Job had the same name), or of a claim lately."""
    about = event.get("involvedObject", {})
    if about.get("kind") == CLAIM.name:
        return about.get("name") in volumes and _when(event) >= since
    return about.get("uid") in {thing["metadata"]["uid"] for thing in things}


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _ends(job: MoverJob) -> list[tuple[str, int]]:
    """Addresses and port of the job's source, as `network_policy` takes them. Raises SourceRefused for a name that
    nobody knows."""
    far = job_spec.far_end(job)
    if far is None or far[0] == job_spec.ANYWHERE:
        return [far] if far else []
    host, port = far
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SourceRefused(
            f"the source's host {host} has no address",
            why=str(error),
            fix="Correct the host in the source's configuration.",
            machine=job.machine,
            disk=job.disk,
        ) from error
    ends = sorted({(str(address[0]), port) for *_, address in found if not ip_address(address[0]).is_link_local})
    if not ends:
        raise SourceRefused(
            f"the source's host {host} is reached on this host's own link only",
            why="its addresses are link-local, and no pod has a way there",
            fix="Name an address in the source's configuration that the cluster's nodes reach.",
            machine=job.machine,
            disk=job.disk,
        )
    return ends
