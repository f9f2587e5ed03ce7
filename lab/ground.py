"""The cluster that tests run on: the lab's own, or with KUBECONFIG the user's; and its volumes as files, in the lab.

On a user's cluster everything happens in namespaces that the tests make and delete. The movers' image must be there
(`KUBEFERRY_TEST_MOVER_IMAGE` names it); what needs the lab's own hypervisor, or ends its daemons, does not run.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubeferry.documents import MoverSettings, SshAccess
from kubeferry.errors import SourceUnavailable, TargetUnavailable
from kubeferry.outside.process import alive, run
from lab import tenant
from lab.cluster import binaries, control_plane, hypervisor, kubelet, mover_image, node, place, provisioner, status

IMAGE_SETTING = "KUBEFERRY_TEST_MOVER_IMAGE"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
SOCKETS = "/run/kubeferry-lab"
GONE_SECONDS = 120

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """A cluster, as its administrator sees it. `own`: it is the lab's, and its daemons may be killed."""

    program: str
    kubeconfig: Path
    own: bool
    kubevirt: bool

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 60) -> str:
        """What kubectl says. Raises ProgramFailed."""
        argv = [self.program, f"--kubeconfig={self.kubeconfig}", *words]
        return run(argv, stdin=stdin, timeout=timeout).out

    def read(self, *words: str) -> Any:
        """The same, of objects."""
        return json.loads(self.kubectl(*words, "--output=json"))

    def names(self, kind: str, namespace: str) -> list[str]:
        """The names of all objects of a kind."""
        found = self.kubectl("get", kind, f"--namespace={namespace}", "--output=name").split()
        return [name.partition("/")[2] for name in found]

    def apply(self, *objects: Object) -> None:
        """Put objects in place."""
        text = yaml.safe_dump_all(objects)
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)

    @contextmanager
    def namespace(self, name: str, folder: Path, labels: dict[str, str] | None = None) -> Iterator[tenant.Tenant]:
        """A namespace that is ready for migrations and the pipeline's way in; afterwards it goes, with all in it."""
        self.kubectl("delete", "namespace", name, "--ignore-not-found", timeout=GONE_SECONDS)
        metadata = {"name": name, "labels": RESTRICTED if labels is None else labels}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        folder.mkdir(parents=True, exist_ok=True)
        key = self.hypervisor().key if self.own else None
        try:
            yield tenant.make_ready(self.kubectl, name, folder, key)
        finally:
            self.kubectl("delete", "clusterrolebinding", f"kubeferry-{name}", "--ignore-not-found")
            self.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")

    # --- what movers need ------------------------------------------------------------------------------------------

    def movers(self) -> MoverSettings:
        """The movers' image as this cluster has it."""
        if self.own:
            return MoverSettings(image=mover_image.MOVER, pull_policy="Never", start_seconds=90)
        return MoverSettings(image=os.environ.get(IMAGE_SETTING, "kubeferry-mover"), start_seconds=180)

    def hypervisor(self) -> hypervisor.Hypervisor:
        """The lab's hypervisor. Raises SourceUnavailable where it does not run."""
        found = hypervisor.find(place.own())
        if found is None:
            raise SourceUnavailable("the lab's hypervisor does not run", fix="make lab-up")
        return found

    def access(self) -> SshAccess:
        """How movers reach it."""
        there = self.hypervisor()
        return SshAccess(
            host=there.host,
            port=there.port,
            user=there.user,
            host_key=there.host_key,
            secret=tenant.KEY_SECRET,
            socket_group=there.group,
            folder=SOCKETS,
        )

    # --- the lab's own: volumes and daemons ------------------------------------------------------------------------

    @contextmanager
    def disk(self, namespace: str, claim: str) -> Iterator[Path]:
        """The bytes that a claim holds as a guest's disk, as a raw file. Nothing may be writing to it."""
        found = self.read("get", "pvc", claim, f"--namespace={namespace}")
        volume = self.read("get", "pv", found["spec"]["volumeName"])
        file = Path(volume["metadata"]["annotations"][provisioner.BACKING_FILE])
        run(["sync", "--file-system", str(file)])
        if found["spec"]["volumeMode"] == "Block":
            yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            dest = Path(folder) / "disk.img"
            run(["debugfs", "-R", f"dump /disk.img {dest}", str(file)])
            yield dest

    def device(self, namespace: str, claim: str) -> str:
        """The loop device below a claim: what is written to it, readers in the cluster see."""
        found = self.read("get", "pvc", claim, f"--namespace={namespace}")
        return str(self.read("get", "pv", found["spec"]["volumeName"])["spec"]["local"]["path"])

    def kill(self, daemon: str) -> None:
        """kill -9 to a daemon of the lab's node."""
        lab = place.own()
        running = node.find(lab)
        pid = alive(lab.pidfile(daemon), program=f"--target\0{running.pid}") if running else None
        if pid is None:
            raise TargetUnavailable(f"{daemon} does not run")
        os.killpg(pid, signal.SIGKILL)

    def revive(self) -> None:
        """All daemons of the lab's node run, and the node is Ready."""
        running = node.find(place.own())
        if running is None:
            raise TargetUnavailable("the lab's node is gone")
        control_plane.start(running, binaries.folder())
        kubelet.start(running, binaries.folder())


def find() -> Ground | None:
    """The cluster to test on; None where there is none. With KUBECONFIG it is that one, whatever else runs."""
    lab, given = place.own(), os.environ.get("KUBECONFIG")
    if given and Path(given).resolve() != lab.kubeconfig.resolve():
        ground = Ground("kubectl", Path(given), own=False, kubevirt=False)
        return Ground("kubectl", Path(given), own=False, kubevirt=_has_kubevirt(ground))
    if status.kubeconfig(lab) is None:
        return None
    real = status.phases(lab) == {"KubeVirt": "Deployed", "CDI": "Deployed"}
    return Ground(str(binaries.folder() / "kubectl"), lab.kubeconfig, own=True, kubevirt=real)


def until(holds: Any, *, seconds: float, what: str) -> Any:
    """What `holds()` gives as soon as it is true. Raises TargetUnavailable when it is not in `seconds`."""
    limit = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > limit:
            raise TargetUnavailable(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)
    return found


def _has_kubevirt(ground: Ground) -> bool:
    kinds = ("kubevirts.kubevirt.io", "cdis.cdi.kubevirt.io")
    if len(ground.kubectl("get", "crd", *kinds, "--ignore-not-found", "--output=name").split()) < len(kinds):
        return False  # to ask for objects of a kind that is not there would be an error
    phases = ground.kubectl("get", ",".join(kinds), "-A", "-o=jsonpath={.items[*].status.phase}")
    return phases.split() == ["Deployed", "Deployed"]
