"""One small machine on its way into a cluster: the source's disk, the plan's entry, the target as the pipeline sees it.

For tests of what goes wrong while movers work. The machine is never booted; its disk is random bytes, served by the
lab's hypervisor as a real source serves it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubeferry.documents import Entry, Inventory, MoverJob, MoverProgress, MoverResult, Policy, SshAccess, TargetConfig
from kubeferry.documents.policy import StoragePolicy
from kubeferry.errors import TargetUnavailable
from kubeferry.ledger import AT_SOURCE, External
from kubeferry.model import DiskRef, Power
from kubeferry.sources.disks import exports
from kubeferry.targets.kubevirt.target import KubevirtTarget, connect
from lab.ground import Ground, until
from lab.machines import a_disk, a_machine
from lab.tenant import Tenant
from mappings.plan import make_plan

MIB = 1 << 20
SIZE = 24 * MIB
SLOW = 3 * MIB
PLAN = "f" * 64


@dataclass
class Rig:
    """`written` is the ledger, `shown` the progress that was told."""

    ground: Ground
    entry: Entry
    target: KubevirtTarget
    access: SshAccess
    disk: Path
    written: list[External] = field(default_factory=list)
    shown: list[MoverProgress] = field(default_factory=list)

    def ledger(self, thing: External) -> None:
        self.written.append(thing)

    @property
    def namespace(self) -> str:
        return self.entry.namespace

    def job(self, action: str = "copy", *, fence: int = 1, attempt: int = 1, slow: bool = False) -> MoverJob:
        """A mover's job; a copy's source is served from now on, and the claims are there."""
        room = self.target.prepare(self.entry, self.ledger)["vda"]
        ref = DiskRef(uri=self.disk.as_uri(), format="raw", size_bytes=SIZE)
        served = exports.open_all(self.access, self.entry.machine, {"vda": ref}, self.ledger)["vda"]
        return MoverJob.model_validate(
            {
                "name": f"{self.entry.target_name}-vda-{action}-{attempt}",
                "action": action,
                "machine": self.entry.name,
                "disk": "vda",
                "source": None if action == "verify" else served,
                "target": room.ref,
                "state_dir": room.state_dir,
                "makes_target": room.makes_target,
                "fence": fence,
                "plan": PLAN,
                "bandwidth_bytes_per_second": SLOW if slow else None,
            }
        )

    def run(self, job: MoverJob) -> MoverResult:
        """A mover from its submission to its end."""
        self.target.submit(job, self.ledger)
        return self.target.watch(job, self.shown.append)

    @contextmanager
    def under_way(self) -> Iterator[Future[MoverResult]]:
        """A slow copy that has begun to move bytes; the block is what happens meanwhile, the result comes after it."""
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(self.run, self.job(slow=True))
            until(lambda: self.moved() > 4 * MIB or result.done(), seconds=90, what="the first bytes")
            if result.done():
                raise TargetUnavailable(f"the copy ended before anything could happen: {result.result()}")
            yield result

    def moved(self) -> int:
        """The bytes that the mover told of last."""
        return self.shown[-1].done_bytes if self.shown else 0

    def pods(self) -> list[str]:
        """The movers' pods, by name."""
        return [name for name in self.ground.names("pods", self.namespace) if name.startswith("kf-")]

    def arrived(self) -> bool:
        """Whether the claim holds the source's bytes, read below the cluster's back."""
        (planned,) = self.entry.disks
        with self.ground.disk(self.namespace, planned.claim) as raw:
            return raw.read_bytes()[:SIZE] == self.disk.read_bytes()

    def left(self) -> list[External]:
        """What the ledger knows and is still there."""
        return [
            thing
            for thing in self.written
            if (exports.exists(thing) if thing.kind in AT_SOURCE else self.target.exists(thing))
        ]

    def end(self) -> None:
        """Everything of it is gone, at both ends."""
        exports.close_all(self.access, self.entry.machine)
        self.target.remove(self.entry)


@contextmanager
def rig(ground: Ground, tenant: Tenant, folder: Path, name: str, **options: Any) -> Iterator[Rig]:
    """A machine called `name`. Options: `storage` (of the policy), `movers` and `access` (changes), `kubeconfig`."""
    disk = folder / f"{name}.img"
    disk.write_bytes(random.Random(name).randbytes(SIZE))  # noqa: S311 (bytes that differ by name)
    config = TargetConfig(
        kind="kubevirt",
        kubeconfig=str(options.get("kubeconfig") or tenant.kubeconfig),
        movers=ground.movers().model_copy(update=options.get("movers", {})),
        stop_seconds=10,  # what it boots is no system, and hears nobody
    )
    entry = an_entry(name, tenant.namespace, disk, options.get("storage") or {})
    access = (ground.access() if ground.own else NOWHERE).model_copy(update=options.get("access", {}))
    made = Rig(ground, entry, connect(config), access, disk)
    try:
        yield made
    finally:
        made.end()
        made.target.close()


NOWHERE = SshAccess(host="192.0.2.1", host_key="ssh-ed25519 AAAA", folder="/run/kubeferry-nowhere")
"""For clusters that cannot reach the lab's hypervisor: rooms and objects can be made, no byte can be read."""


def an_entry(name: str, namespace: str, disk: Path, storage: dict[str, Any]) -> Entry:
    """The machine as the product plans it."""
    facts = {"power": Power.OFF, "machine_type": "pc-q35-7.2"}
    machine = a_machine(name, a_disk(disk, capacity_bytes=SIZE), memory_bytes=256 * MIB, **facts)
    modes = {"volume_mode": "Block", "access_mode": "ReadWriteOnce"}
    asked = StoragePolicy.model_validate(modes | storage)
    policy = Policy(namespace=namespace, storage=asked, run_strategy="Manual")
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=(machine,))
    made = make_plan(inventory, policy, name="rig", created_at="2026-01-01T00:00:00Z")
    return made.entries[0]
