"""The kubevirt target: claims, movers as Jobs, and VirtualMachines on a real cluster.

Bytes move inside the cluster only: this process writes objects and reads what the cluster says of them. It may die at
any moment; Jobs go on, and the next run attaches to them. The exception are uploads, for a cluster that cannot reach
the source: `cluster.uploads`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from kubeferry.documents import (
    Entry,
    KeptTpm,
    KeptVariables,
    MoverJob,
    MoverProgress,
    MoverResult,
    Observation,
    Offer,
    TargetConfig,
)
from kubeferry.errors import TargetRefused
from kubeferry.inside.agent import Ask
from kubeferry.ledger import External, Ledger
from kubeferry.marks import MoveMark
from kubeferry.model import Concern
from kubeferry.targets import Reach, Room, TargetCapabilities
from kubeferry.targets.kubevirt import (
    api,
    claims,
    jobs,
    machine,
    moved,
    objects,
    observing,
    offer,
    preflight,
    rehearsing,
    removal,
    trial,
)
from kubeferry.targets.kubevirt.guest_access import GuestAccess
from kubeferry.targets.kubevirt.uploads import Uploads


def connect(config: TargetConfig) -> KubevirtTarget:
    """The target that a kubeconfig leads to. Asks nothing of the cluster yet.

    Raises InputInvalid where there is no kubeconfig, or it has no such context.
    """
    return KubevirtTarget(config, api.connect(config.kubeconfig, config.context))


class KubevirtTarget:
    """See `kubeferry.targets.Target` for what each method promises."""

    def __init__(self, config: TargetConfig, cluster: api.Cluster) -> None:
        self._config = config
        self._cluster = cluster
        uploading = config.transfer == "upload"
        self.capabilities = TargetCapabilities(keeps_running=True, isolated=False, movers_here=uploading)
        self._movers = jobs.Jobs(cluster, config)
        self._uploads = Uploads(cluster, config, self._movers) if uploading else None

    # --- before anything is written ------------------------------------------------------------------------------

    def offer(self) -> Offer:
        return offer.read(self._cluster, carries=self._uploads is None)

    def concerns(self, entries: tuple[Entry, ...]) -> list[Concern]:
        return preflight.concerns(self._cluster, self._config, entries)

    def trial(self, entries: tuple[Entry, ...], reach: Reach) -> dict[str, list[Concern]]:
        return trial.trial(self._cluster, self._config, entries, reach)

    # --- bytes -----------------------------------------------------------------------------------------------------

    def prepare(self, entry: Entry, ledger: Ledger) -> dict[str, Room]:
        machine.refuse_running(self._cluster, entry)
        rehearsing.refuse(self._cluster, entry)
        if self._uploads is not None:
            return self._uploads.prepare(entry, ledger)
        return claims.prepare(self._cluster, entry, ledger, self._config.movers)

    def submit(self, job: MoverJob, ledger: Ledger, held: bytes | None = None) -> None:
        if self._uploads is not None:
            self._uploads.submit(job, ledger)
        else:
            self._movers.submit(job, ledger, held)

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        return (self._uploads or self._movers).watch(job, on_progress)

    # --- the machine -----------------------------------------------------------------------------------------------

    def variables_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        return self._kept_room(entry, entry.variables, size, fence, ledger)

    def tpm_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        return self._kept_room(entry, entry.tpm, size, fence, ledger)

    def _kept_room(
        self, entry: Entry, kept: KeptVariables | KeptTpm | None, size: int, fence: int, ledger: Ledger
    ) -> Room:
        machine.refuse_running(self._cluster, entry)
        if kept is None or self._uploads is not None:
            what = "the plan keeps no such thing" if kept is None else "no upload takes what lies beside the disks"
            fix = "Plan again with this target, or let movers run in the cluster."
            raise TargetRefused(what, fix=fix, machine=entry.name)
        return claims.kept_room(self._cluster, entry, kept, size, fence, ledger)

    def drop_tpm(self, entry: Entry) -> list[str]:
        return removal.drop_tpm(self._cluster, entry)

    def apply(self, entry: Entry, ledger: Ledger, *, dry_run: bool) -> list[str]:
        return objects.apply(self._cluster, entry, ledger, dry_run=dry_run)

    def start(self, entry: Entry, ledger: Ledger, fence: int = 0) -> None:
        machine.start(self._cluster, entry, ledger, fence)

    def runs(self, entry: Entry) -> bool:
        return machine.runs(self._cluster, entry)

    def observe(self, entry: Entry, last_words: dict[str, str]) -> Observation:
        return observing.observe(self._cluster, entry, last_words)

    def agent(self, entry: Entry) -> Ask:
        return GuestAccess(self._cluster, entry, time.monotonic()).ask

    def rehearse(self, entry: Entry, ledger: Ledger, fence: int = 0, beside: tuple[Entry, ...] = ()) -> None:
        rehearsing.start(self._cluster, self._config, entry, ledger, fence, beside)

    def observe_rehearsal(self, entry: Entry) -> Observation:
        return rehearsing.observe(self._cluster, self._config, entry)

    def end_rehearsal(self, entry: Entry, fence: int = 0) -> list[str]:
        return rehearsing.end(self._cluster, self._config, entry, fence)

    def stop(self, entry: Entry, fence: int = 0) -> None:
        machine.stop(self._cluster, self._config, entry, fence)

    def hand_over(self, entry: Entry, fence: int = 0) -> str:
        return machine.hand_over(self._cluster, entry, fence)

    def mark(self, entry: Entry, mark: MoveMark, fence: int = 0) -> None:
        moved.mark(self._cluster, entry, mark, fence)

    def marked(self, entry: Entry) -> MoveMark | None:
        return moved.marked(self._cluster, entry)

    def unmark(self, entry: Entry, fence: int = 0) -> None:
        moved.unmark(self._cluster, entry, fence)

    def tidy(self, entry: Entry) -> list[str]:
        return removal.tidy(self._cluster, entry)

    def remove(self, entry: Entry, fence: int = 0) -> list[str]:
        if self._uploads is not None:
            self._uploads.mark(entry)
        ended = rehearsing.end(self._cluster, self._config, entry, fence)
        return [*ended, *removal.remove(self._cluster, self._config, entry, fence)]

    def exists(self, thing: External) -> bool:
        return removal.exists(self._cluster, thing)

    def close(self) -> None:
        (self._uploads or self._movers).close()
        self._cluster.close()
