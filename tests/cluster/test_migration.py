"""The demo's three machines move from a local libvirtd into a real cluster, and each is proven there.

With the product's own commands, as the account that `kubeferry manifests` makes, in a namespace that enforces
`restricted`: movers read the hypervisor's disks over SSH, real KubeVirt boots what they wrote. Our own look at the
result trusts none of that: boot counters are read from the stopped sources' disks and, at the end, from the volumes
below the claims.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Config, load
from kubeferry.model import Power
from kubeferry.sources import open_source
from lab import estate, guests
from lab import ground as grounds
from lab.domains import MACHINES
from lab.ground import Ground
from lab.tenant import Tenant
from tests.cluster.moves import Move, moving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.xdist_group("libvirt")]

NAMESPACE = "kubeferry-demo"
PREFIX = "kf-"
# Both kinds of claims, both kinds of binding; the class of the first is left to the cluster's default.
STORAGE = {
    "web": {"volumeMode": "Block", "accessMode": "ReadWriteOnce"},
    "db": {"volumeMode": "Filesystem", "accessMode": "ReadWriteOnce", "storageClass": "lab-first-consumer"},
    "legacy": {"volumeMode": "Filesystem", "accessMode": "ReadWriteOnce"},
}
PROBES = [
    {"kind": "agent", "timeoutSeconds": 240},
    {"kind": "http", "port": 80, "path": "/boots", "timeoutSeconds": 240},
    {"kind": "http", "port": 80, "path": "/nowhere", "status": 404, "host": "shop.example", "timeoutSeconds": 240},
    {"kind": "screen", "stillSeconds": 5, "expect": "is up", "timeoutSeconds": 240},
    {"kind": "tcp", "port": 80, "timeoutSeconds": 240},
    {"kind": "counter", "path": "/data/boots", "timeoutSeconds": 240},
]
POLICY: dict[str, Any] = {
    "stop": {"agentSeconds": 60, "acpiSeconds": 60, "lastWords": ["/data/boots"]},
    "probes": PROBES,
    "machines": {f"{PREFIX}{name}": {"storage": storage} for name, storage in STORAGE.items()},
}


def names() -> list[str]:
    return [f"{PREFIX}{name}" for name in MACHINES]


@pytest.fixture(scope="module")
def move(
    own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant], prefect: str, tmp_path_factory: Any
) -> Iterator[Move]:
    """Everything up to the report, once."""
    with moving(own, make_tenant(NAMESPACE), tmp_path_factory, POLICY) as made:
        estate.up(made.estate, prefix=PREFIX)
        made.kubeferry("discover", *(word for name in names() for word in ("-m", name)))
        made.kubeferry("assess", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml")
        planning = ("--policy", "policy.yaml", "--config", "kubeferry.yaml", "--name", "demo")
        made.kubeferry("plan", "inventory.yaml", *planning)
        made.kubeferry("migrate", "plan.yaml")
        made.kubeferry("report", "plan.yaml", "--out", ".")
        yield made


def test_all_three_are_proven(move: Move) -> None:
    report = json.loads((move.folder / "report.json").read_text())
    assert report["verdict"] == "proven", report["sentence"]
    assert {one["name"]: one["verdict"] for one in report["machines"]} == dict.fromkeys(names(), "proven")


@pytest.mark.parametrize("name", MACHINES)
def test_the_copy_booted_once_more_than_its_source_and_its_agent_is_connected(move: Move, name: str) -> None:
    boots = estate.boots(move.estate, name)
    probes = {probe["kind"]: probe["evidence"] for probe in move.report[PREFIX + name]["probes"]}
    assert probes["counter"] == f"{boots} at the source, {boots + 1} here"
    assert f"the screen says '{name} is up'" in probes["screen"]
    pages = [one["evidence"] for one in move.report[PREFIX + name]["probes"] if one["kind"] == "http"]
    assert [page[:3] for page in pages] == ["200", "404"]
    assert str(boots + 1) in pages[0]
    assert probes["tcp"] == "port 80 took a connection"
    compared = {one["what"]: one for one in move.report[PREFIX + name]["boot"]["compared"]}
    assert {compared[what]["outcome"] for what in ("host name", "mount /data", "clock")} == {"same"}, compared
    assert [one["before"] for what, one in compared.items() if what.endswith(": name")] != []
    assert "possible" in move.report[PREFIX + name]["boot"]["seen"]["live migration"]
    instance = move.ground.read("get", "vmi", PREFIX + name, f"--namespace={NAMESPACE}")
    conditions = {one["type"]: one["status"] for one in instance["status"]["conditions"]}
    assert conditions["AgentConnected"] == "True"
    assert instance["status"]["guestOSInfo"]["kernelRelease"]


def test_each_has_the_hardware_that_the_plan_says(move: Move) -> None:
    domains = {name: move.vm(PREFIX + name)["spec"]["template"]["spec"]["domain"] for name in MACHINES}
    loaders = {name: set(domain["firmware"]["bootloader"]) for name, domain in domains.items()}
    assert loaders == {"web": {"bios"}, "db": {"efi"}, "legacy": {"bios"}}
    buses = {name: [disk["disk"]["bus"] for disk in domain["devices"]["disks"]] for name, domain in domains.items()}
    assert buses == {"web": ["virtio"], "db": ["virtio", "virtio"], "legacy": ["sata"]}
    assert domains["legacy"]["devices"]["interfaces"][0]["model"] == "e1000"
    assert {domain["machine"]["type"] for domain in domains.values()} == {"q35"}


def test_claims_have_the_modes_classes_and_marks_of_the_plan(move: Move) -> None:
    for name, storage in STORAGE.items():
        entry = move.plan.entry(PREFIX + name)
        for disk in entry.disks:
            claim = move.ground.read("get", "pvc", disk.claim, f"--namespace={NAMESPACE}")
            assert claim["spec"]["volumeMode"] == storage["volumeMode"]
            assert claim["spec"]["storageClassName"] == storage.get("storageClass", "lab")
            assert claim["metadata"]["labels"]["kubeferry.io/machine"] == entry.target_name
            assert claim["metadata"]["annotations"]["kubeferry.io/machine-id"] == entry.machine.id
            assert "ownerReferences" not in claim["metadata"], "its data must outlive its VirtualMachine"


@pytest.mark.parametrize("name", MACHINES)
def test_every_disk_was_verified_inside_the_cluster_before_the_start(move: Move, name: str) -> None:
    events = move.events(PREFIX + name)
    kinds = [str(event.kind) for event in events]
    verified = [event for event in events if event.kind == "disk-verified"]
    copied = {event.disk: event for event in events if event.kind == "disk-copied"}
    assert kinds.index("started") > max(at for at, kind in enumerate(kinds) if kind == "disk-verified")
    assert (
        {event.disk for event in verified}
        == set(copied)
        == {disk.disk for disk in move.plan.entry(PREFIX + name).disks}
    )
    for event in verified:
        assert (event.differing, event.root) == (0, copied[event.disk].root)
        assert event.where.startswith(f"Job {NAMESPACE}/kf-")
        assert event.where.endswith(" on node lab")


def test_movers_and_machines_ran_under_restricted(move: Move) -> None:
    labels = move.ground.read("get", "namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for job in move.ground.read("get", "jobs", f"--namespace={NAMESPACE}")["items"]:
        pod = job["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsUser"] == 107
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_movers_may_reach_the_hypervisor_and_nothing_else(move: Move) -> None:
    policies = move.ground.read("get", "networkpolicies", f"--namespace={NAMESPACE}")["items"]
    (spec,) = [one["spec"] for one in policies]
    there = move.ground.hypervisor()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [] if "ingress" in spec else True
    assert [rule["to"] for rule in spec["egress"]] == [[{"ipBlock": {"cidr": f"{there.host}/32"}}]]
    assert spec["egress"][0]["ports"] == [{"protocol": "TCP", "port": there.port}]


@pytest.mark.parametrize("name", MACHINES)
def test_the_report_names_claims_jobs_nodes_and_shows_the_screen(move: Move, name: str) -> None:
    html = (move.folder / "report.html").read_text()
    shown = move.report[PREFIX + name]
    assert shown["boot"]["screenshot"].startswith("data:image/png;base64,")
    assert shown["boot"]["seen"]["node"] == "lab"
    assert shown["boot"]["where"] == f"KubeVirt, {NAMESPACE}/{PREFIX}{name} on node lab"
    for disk in shown["disks"]:
        assert f"claim {disk['claim']}" in shown["boot"]["seen"]
        for done in ("copied", "readBack"):
            assert disk[done]["where"] in html
            assert disk[done]["where"].startswith(f"Job {NAMESPACE}/kf-")
    assert html.count("data:image/png;base64,") >= len(MACHINES)


def test_the_hypervisor_serves_nothing_any_more(move: Move) -> None:
    assert [path for path in Path(grounds.SOCKETS).rglob("*") if not path.is_dir()] == []


def test_the_account_reaches_no_other_namespace(move: Move, make_tenant: Callable[[str], Tenant]) -> None:
    other = make_tenant("kubeferry-neighbour")
    as_pipeline = Ground(move.ground.program, move.tenant.kubeconfig, own=True, kubevirt=True)
    for verb, kind in (("get", "pvc"), ("get", "vm"), ("get", "secrets"), ("get", "pods"), ("get", "jobs")):
        with pytest.raises(Exception, match="forbidden"):
            as_pipeline.kubectl(verb, kind, f"--namespace={other.namespace}")
    with pytest.raises(Exception, match="forbidden"):
        as_pipeline.kubectl("get", "secrets", f"--namespace={NAMESPACE}")


def test_the_sources_are_off_and_still_there(move: Move) -> None:
    settings = load(move.folder / "kubeferry.yaml", Config)
    source = open_source("lab", settings.sources["lab"])
    powers = {entry.name: source.power(entry.machine) for entry in move.plan.entries}
    source.close()
    assert powers == dict.fromkeys(names(), Power.OFF)


def test_a_second_migrate_changes_nothing(move: Move) -> None:
    before = {name: len(move.events(name)) for name in names()}
    move.kubeferry("migrate", "plan.yaml")
    assert {name: len(move.events(name)) for name in names()} == before


def test_release_leaves_the_machines_and_nothing_that_only_the_move_needed(move: Move) -> None:
    told = move.kubeferry("release", "plan.yaml").out
    for kind in ("jobs", "networkpolicies"):
        assert move.ground.names(kind, NAMESPACE) == []
    claims = {disk.claim for entry in move.plan.entries for disk in entry.disks}
    claims |= {entry.variables.claim for entry in move.plan.entries if entry.variables}
    assert set(move.ground.names("pvc", NAMESPACE)) == claims
    assert "kept: virtual-machine" in told
    running = {vmi["metadata"]["name"]: vmi["status"]["phase"] for vmi in instances(move)}
    assert running == dict.fromkeys(names(), "Running")
    assert {move.vm(name)["spec"]["runStrategy"] for name in names()} == {"Always"}, "as they ran at their source"


def instances(move: Move) -> list[Any]:
    found: list[Any] = move.ground.read("get", "vmi", f"--namespace={NAMESPACE}")["items"]
    return found


def test_the_counter_on_the_volumes_themselves_went_up_by_one(move: Move) -> None:
    """With the machines stopped by KubeVirt, the bytes below each claim, read by nobody's word but debugfs'."""
    for name in names():
        patch = json.dumps({"spec": {"runStrategy": "Halted"}})
        move.ground.kubectl("patch", "vm", name, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")
    grounds.until(lambda: not instances(move), seconds=90, what="the end of the machines")
    for name, machine in MACHINES.items():
        for disk, planned in zip(machine.disks, move.plan.entry(PREFIX + name).disks, strict=True):
            with move.ground.disk(NAMESPACE, planned.claim) as raw:
                assert guests.boot_count(raw, start=disk.start) == estate.boots(move.estate, name) + 1


def test_release_of_everything_leaves_nothing_in_the_cluster(move: Move) -> None:
    move.kubeferry("release", "plan.yaml", "--everything")
    for kind in ("vm", "vmi", "pvc", "jobs", "pods", "networkpolicies"):
        grounds.until(
            lambda kind=kind: not move.ground.names(kind, NAMESPACE), seconds=60, what=f"the end of all {kind}"
        )
    status = json.loads(move.kubeferry("status", "plan.yaml", "--json").out)
    assert status["open"] == []
    for name in MACHINES:
        assert estate.boots(move.estate, name) > 0, "the source's disks are as they were"
