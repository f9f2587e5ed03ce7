"""Asked before the source stops, on a real cluster: what a mover would find out too late is found out by one on trial,
the machine is refused, its source runs on, and nothing is left of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.model import Power
from kubeferry.sources.disks import exports
from kubeferry.sources.memory.source import MemorySource
from lab.ground import Ground, until
from lab.rig import an_entry, rig
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "kubeferry-asked"
SIZE = 24 << 20
LEFT = ("jobs", "pods", "pvc", "networkpolicies", "vm")


@pytest.fixture(scope="module")
def tenant(own: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant(NAMESPACE)


class Estate:
    """A machine that runs at a memory source, its disk served by the lab's hypervisor, and the product's commands."""

    def __init__(self, own: Ground, tenant: Tenant, folder: Path, **wrong: Any) -> None:
        self.own, self.folder = own, folder
        disk = folder / "web.img"
        disk.write_bytes(os.urandom(SIZE))
        self.source = MemorySource("lab", folder)
        machine = an_entry("web", NAMESPACE, disk, {}).machine.model_copy(update={"power": Power.RUNNING})
        self.source.write_machines(machine)
        self.source.write_power("web", Power.RUNNING)
        self.machine, self.access = machine, own.access().model_copy(update=wrong.get("access", {}))
        movers = own.movers().model_copy(update={"start_seconds": 8.0} | wrong.get("movers", {}))
        told = {"mode": "json", "by_alias": True}
        config = {
            "apiVersion": "kubeferry.io/v1alpha1",
            "kind": "Config",
            "sources": {"lab": {"kind": "memory", "uri": f"memory://{folder}", "ssh": self.access.model_dump(**told)}},
            "target": {
                "kind": "kubevirt",
                "kubeconfig": str(tenant.kubeconfig),
                "movers": movers.model_dump(exclude_none=True, **told),
            },
            "journal": {"url": f"sqlite:///{folder}/journal.db"},
        }
        storage = {"volumeMode": "Block", "accessMode": "ReadWriteOnce"} | wrong.get("storage", {})
        policy = {
            "apiVersion": "kubeferry.io/v1alpha1",
            "kind": "Policy",
            "namespace": NAMESPACE,
            "storage": storage,
        }
        (folder / "kubeferry.yaml").write_text(yaml.safe_dump(config))
        (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        self.kubeferry("discover")
        code, said = self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")  # the cluster is not asked yet
        assert code == 0, said

    def started(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "flows", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "KUBEFERRY_CONFIG": "kubeferry.yaml", "KUBECONFIG": ""}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, cwd=self.folder, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def kubeferry(self, *words: str) -> tuple[int, str]:
        """One command as a user types it: its exit code and what it printed."""
        running = self.started(*words)
        said, _ = running.communicate(timeout=200)
        return running.returncode, said

    def check_untouched(self) -> None:
        """The source runs, was never stopped, and serves nothing; the cluster holds nothing of ours."""
        assert self.source.power(self.machine) is Power.RUNNING
        assert json.loads((self.folder / "starts.json").read_text()) == {"web": 1}
        assert not exports.trial_of(self.access, self.machine).folder.exists()
        assert self.left() == []

    def left(self) -> list[str]:
        return [f"{kind}/{name}" for kind in LEFT for name in self.own.names(kind, NAMESPACE)]


WRONG = {
    "no-secret": ({"access": {"secret": "nothing"}}, 'secret "nothing" not found'),
    "wrong-host": ({"access": {"host": "192.0.2.7"}}, "192.0.2.7"),
    "no-class": ({"storage": {"storageClass": "there-is-none"}}, "there-is-none"),
    "no-image": ({"movers": {"image": "localhost/kubeferry-lab/nothing:1"}}, "ErrImageNeverPull"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_mover_would_find_is_found_before_the_source_stops(
    own: Ground, tenant: Tenant, tmp_path: Path, case: str
) -> None:
    wrong, word = WRONG[case]
    estate = Estate(own, tenant, tmp_path, **wrong)
    code, said = estate.kubeferry("migrate", "plan.yaml")
    assert code in {1, 2}, said
    assert word in said
    assert "fix" in said
    estate.check_untouched()


def test_doctor_tries_it_and_leaves_nothing(own: Ground, tenant: Tenant, tmp_path: Path) -> None:
    estate = Estate(own, tenant, tmp_path, movers={"start_seconds": 90.0})
    code, said = estate.kubeferry("doctor", "plan.yaml", "--json")
    told = {one["id"]: one for one in json.loads(said.splitlines()[-1])}
    assert [one for one in told.values() if one["severity"] == "critical"] == []
    assert code == 0
    assert "move.only-the-stop-shows" in told
    assert "mover.secret-not-checked" not in told, "a mover was let in with it"
    estate.check_untouched()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_trial_that_is_ended_leaves_nothing(
    own: Ground, tenant: Tenant, tmp_path: Path, ending: signal.Signals
) -> None:
    """After a kill, the next one of the same machine cleans up."""
    estate = Estate(own, tenant, tmp_path, access={"secret": "nothing"}, movers={"start_seconds": 60.0})
    running = estate.started("doctor", "plan.yaml")
    until(lambda: any("kf-trial" in one for one in estate.left()), seconds=60, what="the trial's mover")
    time.sleep(1)
    running.send_signal(ending)
    running.communicate(timeout=120)
    if ending is signal.SIGKILL:
        assert estate.left() != []
        text = (tmp_path / "kubeferry.yaml").read_text().replace("startSeconds: 60.0", "startSeconds: 5.0")
        (tmp_path / "kubeferry.yaml").write_text(text)
        assert estate.kubeferry("doctor", "plan.yaml")[0] == 2
    estate.check_untouched()


def test_both_kinds_of_claims_are_opened(own: Ground, tenant: Tenant, tmp_path: Path) -> None:
    for mode in ("Block", "Filesystem"):
        with rig(own, tenant, tmp_path, f"asked-{mode.lower()}", storage={"volume_mode": mode}) as moved:
            found = moved.target.trial((moved.entry,), lambda entry: exports.trial(moved.access, entry.machine))
            assert found == {}
