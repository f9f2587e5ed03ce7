"""A machine's NetworkPolicy is put in place before its machine, and goes after it; and what movers of a tenant's run
under. The cluster is a double: objects by kind and name, no controller."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Entry, MoverSettings, SandboxPolicy, TargetConfig
from kubeferry.ledger import External
from kubeferry.targets.kubevirt import claims, job_spec, objects, preflight, removal
from kubeferry.targets.kubevirt.kinds import CLAIM, NETWORK_POLICY, PLANNED, VIRTUAL_MACHINE
from kubeferry.targets.kubevirt.trial import job_of, small_machine
from tests.unit.targets.kubevirt.test_rehearsing import Cluster

CONFIG = TargetConfig(kind="kubevirt", stop_seconds=0.05)


@pytest.fixture
def guarded(make: Any) -> Entry:
    entry = make.entry()
    claim, machine = entry.manifests
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": claim["metadata"] | {"name": "web-traffic"},
        "spec": {"podSelector": {"matchLabels": {"kubeferry.io/traffic": "web"}}, "policyTypes": ["Ingress"]},
    }
    found: Entry = entry.model_copy(update={"manifests": (claim, policy, machine)})
    return found


def test_it_is_there_before_the_machine_and_in_the_ledger_before_that(guarded: Entry) -> None:
    cluster: Any = Cluster()
    told: list[External] = []

    def ledger(thing: External) -> None:
        assert cluster.get(NETWORK_POLICY, "web-traffic") is None or thing.kind == "virtual-machine"
        told.append(thing)

    lines = objects.apply(cluster, guarded, ledger, dry_run=False)
    assert lines[1:] == ["created NetworkPolicy web-traffic", "created VirtualMachine web"]
    assert cluster.log[1:] == ["apply NetworkPolicy web-traffic", "apply VirtualMachine web"]
    assert External("network-policy", "web-traffic", "apps/web-traffic") in told
    assert objects.apply(cluster, guarded, ledger, dry_run=True)[1] == "unchanged NetworkPolicy web-traffic"


def test_it_goes_after_its_machine(guarded: Entry) -> None:
    cluster: Any = Cluster()
    objects.apply(cluster, guarded, lambda _thing: None, dry_run=False)
    cluster.log.clear()
    removed = removal.remove(cluster, CONFIG, guarded)
    assert "NetworkPolicy apps/web-traffic" in removed
    assert [line for line in cluster.log if line.startswith("delete")] == [
        *("delete VirtualMachine web", "delete NetworkPolicy web-traffic", "delete PersistentVolumeClaim web-vda")
    ]
    assert removal.exists(cluster, External("network-policy", "web-traffic", "apps/web-traffic")) is False


def test_a_plan_holds_nothing_that_the_ledger_has_no_word_for() -> None:
    assert {kind.name for kind in PLANNED} == set(objects.LEDGER_KINDS)
    assert set(objects.LEDGER_KINDS.values()) <= set(removal.KINDS)
    assert {CLAIM, VIRTUAL_MACHINE, NETWORK_POLICY} <= set(PLANNED)


@pytest.mark.parametrize(("own", "runs_under"), [("gvisor", "gvisor"), (None, "kata")])
def test_movers_of_a_tenant_run_under_its_runtime_class_and_others_as_configured(
    guarded: Entry, own: str | None, runs_under: str
) -> None:
    entry = guarded.model_copy(update={"sandbox": SandboxPolicy(tenant="acme", runtime_class=own)})
    small = small_machine(entry)
    job = job_of(small, small.disks[0], None, "verify")
    settings = MoverSettings(runtime_classes={"verify": "kata"})
    made = job_spec.job_manifest(job, settings, claims.placement(entry), ())
    assert made["spec"]["template"]["spec"]["runtimeClassName"] == runs_under


def test_a_policy_of_somebody_else_s_under_its_name_is_told_before_anything_moves(make: Any, guarded: Entry) -> None:
    theirs = {"kind": "NetworkPolicy", "metadata": {"name": "web-traffic"}}
    found = list(preflight.judged(make.facts(place={"policies": make.seen(theirs)}), make.request(guarded)))
    assert [one.id for one in found] == ["name.taken"]
    assert list(preflight.judged(make.facts(), make.request(guarded))) == []


def test_a_runtime_class_that_the_cluster_has_not_is_told_before_anything_moves(make: Any, guarded: Entry) -> None:
    entry = guarded.model_copy(update={"sandbox": SandboxPolicy(runtime_class="gvisor")})
    (told,) = preflight.judged(make.facts(), make.request(entry))
    assert told.id == "runtime-class.missing"
    assert "sandbox" in told.fix
