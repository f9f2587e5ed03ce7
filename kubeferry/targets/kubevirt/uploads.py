"""CDI's way in, for small cold disks of a source that the cluster cannot reach: sent through its upload proxy.

    prepare   a DataVolume that waits for an upload makes the claim
    copy      token ─> mover here: source ─> digests, and one POST ─> proxy ─> claim; then the DataVolume goes, and the
              claim stays, owned by nothing, with the mover's result as an annotation
    verify    a Job in the cluster reads the claim back and compares its root with the one that was computed here

What an upload cannot do: it is not resumed, it takes no deltas, and no single blocks. So whatever was begun and did not
end is begun anew with a fresh claim, a repair is a second upload, and a disk of more than `upload_limit_bytes` is
refused before anything is made.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubeferry.documents import Entry, MoverError, MoverJob, MoverProgress, MoverResult, TargetConfig
from kubeferry.errors import TargetBusy, TargetRefused, TargetUnavailable
from kubeferry.ledger import External, Ledger
from kubeferry.model import DiskRef
from kubeferry.outside import stopping
from kubeferry.targets import Room
from kubeferry.targets.kubevirt import claims, names
from kubeferry.targets.kubevirt import upload_spec as spec
from kubeferry.targets.kubevirt.api import AlreadyThere, Cluster
from kubeferry.targets.kubevirt.jobs import Jobs, end
from kubeferry.targets.kubevirt.kinds import CDI_CONFIG, CLAIM, DATA_VOLUME, JOB, UPLOAD_TOKEN_REQUEST, Kind
from kubeferry.targets.local_movers import LocalMovers
from kubeferry.uris import UPLOAD_CA, UPLOAD_SERVER_NAME, UPLOAD_TOKEN, upload_uri

POLL_SECONDS = 1.0
BUSY_SECONDS = 120.0
SETTLE_SECONDS = 300.0
GONE_SECONDS = 120.0
APPEAR_SECONDS = 30.0

Object = dict[str, Any]
Show = Callable[[MoverProgress], None]


class Uploads:
    """See `kubeferry.targets.Target` for what `prepare`, `submit` and `watch` promise. Belongs to one thread."""

    def __init__(self, cluster: Cluster, config: TargetConfig, jobs: Jobs) -> None:
        self._cluster = cluster
        self._config = config
        self._jobs = jobs
        self._movers = LocalMovers()
        self._volumes: dict[tuple[str, str], Object] = {}

    # --- room --------------------------------------------------------------------------------------------------------

    def prepare(self, entry: Entry, ledger: Ledger) -> dict[str, Room]:
        """A DataVolume for each disk whose claim is not there. Raises TargetRefused, before any is made, with all that
        an upload cannot do and all that is wrong with claims that are there."""
        if objections := spec.objections(self._config, entry):
            fix = "Let movers read the source; or plan it cold, or raise target.uploadLimitBytes."
            raise TargetRefused("it cannot be uploaded", why="; ".join(objections), fix=fix, machine=entry.name)
        wanted = {planned.disk: claims.planned_claim(entry, planned) for planned in entry.disks}
        self.mark(entry)
        found = {disk: self._claim(entry.namespace, one["metadata"]["name"]) for disk, one in wanted.items()}
        claims.refuse(entry, wanted, found)
        claims.make_state(self._cluster, entry, ledger, wanted, self._config.movers)
        rooms = {}
        for planned in entry.disks:
            volume = spec.data_volume(wanted[planned.disk])
            self._volumes[entry.namespace, planned.claim] = volume
            created = found[planned.disk] is None and self._make(volume, ledger)
            ref, state = names.disk_ref(entry, planned), names.state_dir(entry, planned.disk)
            rooms[planned.disk] = Room(ref, state, False, created)
        return rooms

    def mark(self, entry: Entry) -> None:
        """The claims of the machine's uploads are marked as its own: CDI marks what it makes for us as its own."""
        for planned in entry.disks:
            self._mark(spec.data_volume(claims.planned_claim(entry, planned)))

    def _mark(self, volume: Object) -> Object | None:
        """The claim of a DataVolume, marked as ours where the DataVolume is; None where there is none."""
        name, namespace = volume["metadata"]["name"], volume["metadata"]["namespace"]
        claim = self._claim(namespace, name)
        if claim is None or not spec.made_for(claim, self._cluster.get(DATA_VOLUME, name, namespace), volume):
            return claim
        marks = {"labels": volume["metadata"]["labels"]}
        return self._cluster.merge(CLAIM, name, namespace, {"metadata": marks})

    def _make(self, volume: Object, ledger: Ledger) -> bool:
        """Make a DataVolume, and with it its claim; returns whether we were the one that did."""
        name, namespace = volume["metadata"]["name"], volume["metadata"]["namespace"]
        if self._cluster.get(CLAIM, name, namespace) is None:
            ledger(External("disk", name, f"{namespace}/{name}"))
        there = self._cluster.get(DATA_VOLUME, name, namespace)
        if there is not None:
            return False  # its claim is under way
        ledger(External(names.DATA_VOLUME, name, f"{namespace}/{name}"))
        try:
            self._cluster.create(volume, DATA_VOLUME)
        except AlreadyThere:
            return False
        limit = time.monotonic() + APPEAR_SECONDS
        while self._mark(volume) is None and time.monotonic() < limit:
            stopping.check()
            stopping.pause(POLL_SECONDS / 2)
        return True

    # --- bytes -------------------------------------------------------------------------------------------------------

    def submit(self, job: MoverJob, ledger: Ledger) -> None:
        """The claim waits for the upload, or holds this one already; a verification is a Job in the cluster."""
        site = names.site_of(job)
        if job.action == "verify":
            self._jobs.submit(self._expecting(job), ledger)
            return
        if self._stands(job) is not None:
            self._detach(site.namespace, site.claim)
        elif not spec.is_fresh(self._cluster.get(DATA_VOLUME, site.claim, site.namespace)):
            self._renew(job, ledger)

    def watch(self, job: MoverJob, on_progress: Show) -> MoverResult:
        """Wait for the Job, or upload. Interrupted ends either."""
        if job.action == "verify":
            return self._jobs.watch(self._expecting(job), on_progress)
        if (stood := self._stands(job)) is not None:
            return stood
        site = names.site_of(job)
        volume = self._await(site.namespace, site.claim, spec.READY, self._config.movers.start_seconds, on_progress)
        if spec.phase_of(volume) != spec.READY:
            what = f"DataVolume {site.namespace}/{site.claim} does not wait for an upload"
            return _failed(job, what, spec.said_of(volume), "Look at the claim's events and at the upload's pod.")
        result = self._send(job, on_progress)
        if not result.ok:
            return result
        volume = self._await(site.namespace, site.claim, "Succeeded", SETTLE_SECONDS, on_progress)
        if spec.phase_of(volume) != "Succeeded":
            what = f"DataVolume {site.namespace}/{site.claim} does not take the upload over"
            return _failed(job, what, spec.said_of(volume), "Run the same command again: it begins anew.")
        self._remember(site.namespace, site.claim, result)
        self._detach(site.namespace, site.claim)
        return result

    def close(self) -> None:
        """Uploads that nobody watches end; Jobs go on."""
        self._movers.close()
        self._jobs.close()

    # --- one upload --------------------------------------------------------------------------------------------------

    def _send(self, job: MoverJob, on_progress: Show) -> MoverResult:
        """Send it, as often as the proxy says that it takes nothing yet; each try has a token of its own."""
        site = names.site_of(job)
        proxy = spec.proxy_of(self._config, self._cluster.list(CDI_CONFIG))
        if proxy is None:
            fix = "Expose CDI's upload proxy, and name it as target.uploadUrl."
            raise TargetRefused("nobody tells the address of CDI's upload proxy", fix=fix, machine=job.machine)
        mark = {"metadata": {"annotations": {spec.BEGUN: job.name}}}
        self._cluster.merge(DATA_VOLUME, site.claim, site.namespace, mark)
        limit = time.monotonic() + BUSY_SECONDS
        while True:
            result = self._try(job, proxy, on_progress)
            busy = result.error is not None and result.error.type == TargetBusy.__name__
            if not busy or time.monotonic() > limit:
                return result.model_copy(update={"action": job.action})
            on_progress(MoverProgress(phase="waiting for CDI's upload server"))
            stopping.pause(POLL_SECONDS)
            stopping.check()

    def _try(self, job: MoverJob, proxy: spec.Proxy, on_progress: Show) -> MoverResult:
        """One mover on this machine, in a folder that goes with it: there is nothing to go on with."""
        site = names.site_of(job)
        with tempfile.TemporaryDirectory(prefix="kubeferry-upload-") as folder:
            environment = self._environment(site.namespace, site.claim, proxy, Path(folder))
            here = job.model_copy(
                update={
                    "action": "copy",
                    "target": DiskRef(uri=upload_uri(proxy.url), size_bytes=job.target.size_bytes),
                    "state_dir": str(Path(folder) / "state"),
                    "makes_target": False,
                }
            )
            self._movers.submit(here, env=environment)
            result = self._movers.watch(here, on_progress)
        return result.model_copy(update={"where": f"this machine, into claim {site.namespace}/{site.claim}"})

    def _environment(self, namespace: str, claim: str, proxy: spec.Proxy, folder: Path) -> dict[str, str]:
        answer = self._cluster.create(spec.token_request(namespace, claim), UPLOAD_TOKEN_REQUEST)
        found = {UPLOAD_TOKEN: str((answer.get("status") or {}).get("token") or "")}
        authorities = self._config.upload_ca
        if authorities is None and proxy.authorities is not None:
            (folder / "ca.pem").write_text(proxy.authorities)
            authorities = str(folder / "ca.pem")
        if authorities is not None:
            found[UPLOAD_CA] = str(Path(authorities).expanduser())
        if self._config.upload_server_name is not None:
            found[UPLOAD_SERVER_NAME] = self._config.upload_server_name
        return found

    # --- what is there -----------------------------------------------------------------------------------------------

    def _claim(self, namespace: str, name: str) -> Object | None:
        return self._cluster.get(CLAIM, name, namespace)

    def _stands(self, job: MoverJob) -> MoverResult | None:
        """The result of this very job, where the claim holds what it sent."""
        site = names.site_of(job)
        filled = spec.filled_by(self._claim(site.namespace, site.claim))
        return filled if filled is not None and filled.name == job.name else None

    def _expecting(self, job: MoverJob) -> MoverJob:
        """A verification against the root of what was sent. Raises TargetRefused where nothing was."""
        site = names.site_of(job)
        filled = spec.filled_by(self._claim(site.namespace, site.claim))
        if filled is None:
            raise TargetRefused(
                f"nothing says what was uploaded to claim {site.namespace}/{site.claim}",
                fix="Upload it again.",
                machine=job.machine,
                disk=job.disk,
            )
        return job.model_copy(update={"expect_root": filled.root})

    def _remember(self, namespace: str, claim: str, result: MoverResult) -> None:
        said = result.model_dump_json(by_alias=True, exclude_defaults=True)
        self._cluster.merge(CLAIM, claim, namespace, {"metadata": {"annotations": {spec.FILLED: said}}})

    def _detach(self, namespace: str, claim: str) -> None:
        """The DataVolume goes, and its claim stays: no deletion of another object deletes a machine's disk."""
        there = self._cluster.get(DATA_VOLUME, claim, namespace)
        if there is not None and "upload" in there["spec"].get("source", {}):
            self._cluster.delete(DATA_VOLUME, claim, namespace, uid=there["metadata"]["uid"], owned="Orphan")
            self._await_gone(DATA_VOLUME, namespace, claim, there["metadata"]["uid"])

    def _renew(self, job: MoverJob, ledger: Ledger) -> None:
        """A fresh claim in place of one that may hold a part of an upload, or another one."""
        site = names.site_of(job)
        wanted = self._volumes.get((site.namespace, site.claim))
        if wanted is None:
            fix = "Prepare the machine's room first."
            raise TargetRefused("the claim was not prepared", fix=fix, machine=job.machine, disk=job.disk)
        found = [self._cluster.get(kind, site.claim, site.namespace) for kind in (DATA_VOLUME, CLAIM)]
        for there in found:
            if there is not None and (there["metadata"].get("labels") or {}).get(names.MANAGED_BY) != names.MANAGER:
                what = f"{there['kind']} {site.namespace}/{site.claim} is not ours to begin anew with"
                raise TargetRefused(what, fix="Look whose it is.", machine=job.machine, disk=job.disk)
        # A claim does not go while a pod names it, not even one that has ended.
        labels = {names.MACHINE_LABEL: site.machine, names.DISK_LABEL: names.label_value(job.disk)}
        for mover in self._cluster.list(JOB, site.namespace, labels):
            end(self._cluster, mover)
        uids = [there["metadata"]["uid"] if there else None for there in found]
        for kind, uid in zip((DATA_VOLUME, CLAIM), uids, strict=True):
            if uid is not None:
                # The DataVolume first, and alone: CDI ends what it runs for the claim only when it has seen it go.
                self._cluster.delete(kind, site.claim, site.namespace, uid=uid, owned="Background")
                self._await_gone(kind, site.namespace, site.claim, uid)
        self._make(wanted, ledger)

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _await(self, namespace: str, claim: str, phase: str, seconds: float, on_progress: Show) -> Object | None:
        """The DataVolume when it is in this phase, has failed, is gone, or the time is over."""
        limit = time.monotonic() + seconds
        while True:
            stopping.check()
            volume = self._cluster.get(DATA_VOLUME, claim, namespace)
            now = spec.phase_of(volume)
            if volume is None or now == phase or now in spec.OVER or time.monotonic() > limit:
                return volume
            on_progress(MoverProgress(phase=f"waiting: the DataVolume is {now or 'new'}"))
            stopping.pause(POLL_SECONDS)

    def _await_gone(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        limit = time.monotonic() + GONE_SECONDS
        while (there := self._cluster.get(kind, name, namespace)) is not None and there["metadata"]["uid"] == uid:
            if time.monotonic() > limit:
                raise TargetUnavailable(
                    f"{kind.name} {namespace}/{name} does not go",
                    why="something still uses it, or a finalizer holds it",
                    fix="Look at it with kubectl; then run the same command again.",
                )
            stopping.check()
            stopping.pause(POLL_SECONDS / 2)


def _failed(job: MoverJob, what: str, why: str, fix: str) -> MoverResult:
    error = MoverError(type=TargetUnavailable.__name__, what=what, why=why, fix=fix)
    return MoverResult(name=job.name, action=job.action, ok=False, error=error)
