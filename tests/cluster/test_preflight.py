"""The preflight against a real cluster, as the pipeline's own account: what is wrong is found, and nothing else."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import (
    Entry,
    Inventory,
    MachinePolicy,
    Policy,
    Probe,
    StoragePolicy,
    TargetConfig,
)
from kubeferry.model import Cpu, Memory, Tpm
from kubeferry.targets import open_target
from kubeferry.targets.kubevirt import api, preflight
from kubeferry.targets.kubevirt.checks.demand import demand
from kubeferry.targets.kubevirt.checks.facts import Request
from kubeferry.targets.kubevirt.checks.launcher import footprint
from kubeferry.targets.kubevirt.quantities import amount
from lab import tenant
from lab.cluster import services
from lab.ground import Ground
from lab.machines import a_disk, a_machine
from lab.tenant import Tenant
from mappings.plan import make_plan

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(200), pytest.mark.usefixtures("kubevirt")]

NAMESPACE = "kubeferry-preflight"
MIB = 1 << 20


@pytest.fixture(scope="module")
def config(own: Ground, make_tenant: Callable[[str], Tenant]) -> TargetConfig:
    return TargetConfig(kind="kubevirt", kubeconfig=str(make_tenant(NAMESPACE).kubeconfig), movers=own.movers())


def an_entry(name: str = "web", namespace: str = NAMESPACE, probe: Any = None, **machine: Any) -> Entry:
    disk = a_disk(Path("/images/web.img"), capacity_bytes=64 * MIB)
    made = a_machine(name, disk, memory_bytes=512 * MIB, **{"power": "off", "cpu": Cpu(vcpus=2)} | machine)
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01", machines=(made,))
    storage = StoragePolicy(storage_class=services.CLASS, volume_mode="Block")
    accepted = MachinePolicy(
        accept=("tpm.state-lost",) if "tpm" in machine else (), probes=(probe or Probe(kind="agent"),)
    )
    policy = Policy(namespace=namespace, storage=storage, machines={name: accepted})
    plan = make_plan(inventory, policy, name="preflight", created_at="2026-01-01")
    assert not plan.excluded, plan.excluded
    return plan.entries[0]


def ids(config: TargetConfig, *entries: Entry) -> list[str]:
    target = open_target(config)
    try:
        return [one.id for one in target.concerns(entries)]
    finally:
        target.close()


def test_nothing_speaks_against_a_plan_that_fits(config: TargetConfig) -> None:
    assert ids(config) == []
    assert ids(config, an_entry()) == []
    assert ids(config, an_entry(probe=Probe(kind="file", path="/etc/hostname"))) == []


def test_nothing_is_written(own: Ground, config: TargetConfig) -> None:
    ids(config, an_entry())
    kinds = "pvc,pods,jobs,vm,vmi,dv,networkpolicies"
    assert own.kubectl("get", kinds, f"--namespace={NAMESPACE}", "--output=name") == ""


def test_a_namespace_that_is_not_there_is_one_concern(config: TargetConfig) -> None:
    """And since our account has no Role there, nothing else is said of it."""
    assert ids(config, an_entry(namespace="nowhere-at-all")) == ["namespace.missing"]


def test_another_tenants_namespace_is_out_of_reach(config: TargetConfig) -> None:
    told = ids(config, an_entry(namespace="default"))
    assert "cluster.permission-missing" in told
    assert set(told) == {"cluster.permission-missing", "cluster.not-checked"}


def test_without_its_cluster_role_what_cannot_be_seen_is_said(own: Ground, config: TargetConfig) -> None:
    name = f"kubeferry-{NAMESPACE}"
    own.kubectl("delete", "clusterrolebinding", name)
    try:
        told = ids(config, an_entry())
    finally:
        subject = f"--serviceaccount={NAMESPACE}:{tenant.ACCOUNT}"
        own.kubectl("create", "clusterrolebinding", name, "--clusterrole=kubeferry", subject)
    assert told.count("cluster.permission-missing") == 1, "storage classes: nothing can be planned without"
    assert told.count("cluster.not-checked") >= 6
    assert set(told) == {"cluster.permission-missing", "cluster.not-checked", "mover.image-nowhere"}


def test_names_that_are_taken_are_found(own: Ground, config: TargetConfig) -> None:
    entry = an_entry("taken")
    claim = entry.manifests[0]
    own.apply({**claim, "metadata": {"name": claim["metadata"]["name"], "namespace": NAMESPACE}})
    try:
        assert ids(config, entry) == ["name.taken"]
    finally:
        own.kubectl("delete", "pvc", claim["metadata"]["name"], f"--namespace={NAMESPACE}")


def test_processors_that_no_node_has_are_found(config: TargetConfig) -> None:
    assert ids(config, an_entry(cpu=Cpu(vcpus=1, model="Opteron_G4", mode="custom"))) == ["node.none-fits"]


def test_a_machine_that_is_too_large_is_found(config: TargetConfig) -> None:
    told = ids(config, an_entry(memory=Memory(size_bytes=1 << 42)))
    assert told == ["node.none-fits", "node.little-room"]


def test_a_real_quota_of_exactly_the_demand_is_enough_and_one_less_is_not(own: Ground, config: TargetConfig) -> None:
    entry = an_entry()
    cluster = api.connect(config.kubeconfig, None)
    request = Request((entry,), config)
    needed = demand(preflight.gather(cluster, request), request, NAMESPACE)
    cluster.close()
    hard = {name: str(-(-value.numerator // value.denominator)) for name, value in needed.items()}
    watched = ("requests.storage", "persistentvolumeclaims", "requests.memory", "pods", "count/jobs.batch")
    for less in ("", *watched):
        with_less = {name: str(int(hard[name]) - (name == less)) for name in watched}
        quota(own, with_less)
        assert ids(config, entry) == (["quota.exceeded"] if less else []), less
    own.kubectl("delete", "resourcequota", "quota", f"--namespace={NAMESPACE}")


def quota(own: Ground, hard: dict[str, str]) -> None:
    metadata = {"name": "quota", "namespace": NAMESPACE}
    own.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    limit = time.monotonic() + 30
    while own.read("get", "resourcequota", "quota", f"--namespace={NAMESPACE}")["status"].get("hard") != hard:
        assert time.monotonic() < limit, "the quota is not counted"
        time.sleep(0.3)


SHAPES: dict[str, dict[str, Any]] = {
    "usual": {},
    "large": {"memory": Memory(size_bytes=2048 * MIB), "cpu": Cpu(vcpus=4)},
    "tpm": {"tpm": Tpm(model="tpm-crb", version="2.0")},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_machines_pod_asks_for_what_we_say(own: Ground, shape: str, config: TargetConfig) -> None:
    """KubeVirt's own pod of the plan's own manifests."""
    entry = an_entry(f"pod-{shape}", **SHAPES[shape])
    claim, machine = (dict(one) for one in entry.manifests)
    machine["spec"] = copy.deepcopy(machine["spec"]) | {"runStrategy": "Always"}
    # Its disk is empty: nothing in it hears that it is to shut down, and all of its grace would be waited for.
    machine["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    own.apply(claim, machine)
    labels = f"--selector=vm.kubevirt.io/name={entry.target_name}"
    limit = time.monotonic() + 60
    while not (pods := own.read("get", "pods", f"--namespace={NAMESPACE}", labels)["items"]):
        assert time.monotonic() < limit, "KubeVirt makes no pod"
        time.sleep(0.5)
    spec = pods[0]["spec"]
    stays = [one for one in spec.get("initContainers", []) if one.get("restartPolicy") == "Always"]
    asked = [one["resources"].get("requests", {}) for one in (*spec["containers"], *stays)]
    said = footprint(entry, {})
    own.kubectl("delete", "vm", entry.target_name, f"--namespace={NAMESPACE}", "--wait=true")
    own.kubectl("delete", "pvc", claim["metadata"]["name"], f"--namespace={NAMESPACE}", "--wait=false")
    for resource in ("cpu", "memory", "ephemeral-storage"):
        assert said.of(resource) == sum(amount(one.get(resource, 0)) for one in asked), resource


def test_doctor_tells_it_and_ends_with_2(config: TargetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.doctor import examine
    from kubeferry.documents import Config, JournalConfig, Plan, SourceConfig, Wave, freeze, save

    (tmp_path / "source").mkdir()
    settings = Config(
        sources={"lab": SourceConfig(kind="memory", uri=f"memory://{tmp_path / 'source'}")},
        target=config,
        journal=JournalConfig(url=f"sqlite:///{tmp_path / 'journal.db'}"),
    )
    save(settings, tmp_path / "kubeferry.yaml")
    entry = an_entry(namespace="nowhere-at-all")
    plan = freeze(
        Plan(
            name="p",
            created_at="2026-01-01",
            source="lab",
            inventory_digest="0",
            waves=(Wave(name="one", machines=(entry.name,)),),
            entries=(entry,),
        )
    )
    save(plan, tmp_path / "plan.yaml")
    told = [one.id for one in examine(tmp_path / "kubeferry.yaml", tmp_path / "plan.yaml")]
    assert {"namespace.missing", "source.no-way"} <= set(told)
