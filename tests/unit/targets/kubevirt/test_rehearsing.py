"""A rehearsal in a cluster: what is made of the plan's machine, and who begins and ends it. The cluster is a double: it
keeps objects with versions, starts what it is asked to at once, and boots nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Probe, TargetConfig
from kubeferry.errors import Fenced, TargetRefused
from kubeferry.ledger import REHEARSAL, External
from kubeferry.targets.kubevirt import names, rehearsal_spec, rehearsing
from kubeferry.targets.kubevirt.kinds import CLAIM, INSTANCE, NETWORK_POLICY, VIRTUAL_MACHINE, Kind
from mappings.admission.check import admit

Object = dict[str, Any]
CONFIG = TargetConfig(kind="kubevirt", stop_seconds=0.05)
RICH: Object = {
    "domain": {
        "firmware": {"uuid": "5d3f4f6e-0000-4000-8000-000000000001", "bootloader": {"efi": {"persistent": True}}},
        "devices": {
            "disks": [
                {"name": "vda", "bootOrder": 1, "serial": "S1", "cache": "none", "disk": {"bus": "virtio"}},
                {"name": "raw", "lun": {"bus": "scsi", "reservation": True}, "shareable": True},
                {"name": "drive", "cdrom": {"bus": "sata"}},
                {"name": "host", "disk": {"bus": "virtio"}},
            ],
            "interfaces": [{"name": "net0", "masquerade": {}, "macAddress": "52:54:00:00:00:01"}],
            "hostDevices": [{"name": "card", "deviceName": "vendor.com/card"}],
            "gpus": [{"name": "gpu", "deviceName": "vendor.com/gpu"}],
            "tpm": {"persistent": True},
        },
    },
    "nodeSelector": {"zone": "a"},
    "livenessProbe": {"tcpSocket": {"port": 80}},
    "subdomain": "apps",
    "evictionStrategy": "LiveMigrate",
    "terminationGracePeriodSeconds": 180,
    "volumes": [
        {"name": "vda", "persistentVolumeClaim": {"claimName": "web-vda"}},
        {"name": "raw", "dataVolume": {"name": "web-raw"}},
        {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config"}},
        {"name": "host", "hostDisk": {"path": "/x", "type": "Disk"}},
    ],
}


@pytest.fixture
def rich(make: Any) -> Any:
    entry = make.entry(template=RICH)
    manifest = copy.deepcopy(entry.manifests[1])
    manifest["spec"]["template"]["metadata"] = {
        "labels": {"app": "shop", "tier": "web"},
        "annotations": {"k8s.v1.cni.cncf.io/networks": "outside"},
    }
    manifest["metadata"]["labels"] |= {"app": "shop"}
    manifest["spec"]["runStrategy"] = "Always"
    return entry.model_copy(update={"manifests": (entry.manifests[0], manifest)})


def test_every_claim_is_a_layer_and_nothing_leads_out(rich: Any) -> None:
    made = rehearsal_spec.virtual_machine(rich)
    spec = made["spec"]["template"]["spec"]
    devices = spec["domain"]["devices"]
    assert made["metadata"]["name"] == "web-rehearsal"
    assert spec["volumes"] == [
        {"name": "vda", "ephemeral": {"persistentVolumeClaim": {"claimName": "web-vda", "readOnly": True}}},
        {"name": "raw", "ephemeral": {"persistentVolumeClaim": {"claimName": "web-raw", "readOnly": True}}},
        {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config"}},
    ]
    assert devices == {
        "autoattachPodInterface": False,
        "disks": [
            {"name": "vda", "bootOrder": 1, "serial": "S1", "disk": {"bus": "virtio"}},
            {"name": "raw", "disk": {"bus": "scsi"}},
            {"name": "drive", "cdrom": {"bus": "sata"}},
        ],
        "tpm": {},
    }
    assert spec["domain"]["firmware"]["bootloader"] == {"efi": {}}
    assert {"networks", "livenessProbe", "subdomain"}.isdisjoint(spec)
    assert (spec["nodeSelector"], spec["evictionStrategy"]) == ({"zone": "a"}, "None")
    assert made["spec"]["runStrategy"] == "Manual"


def test_nothing_that_selects_the_machine_selects_its_rehearsal(rich: Any) -> None:
    made = rehearsal_spec.virtual_machine(rich)
    assert made["spec"]["template"]["metadata"] == {"labels": {names.REHEARSAL_LABEL: "web"}}
    assert "app" not in made["metadata"]["labels"]
    policy = rehearsal_spec.network_policy(rich)
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {names.REHEARSAL_LABEL: "web"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [],
    }


def test_the_plan_s_own_manifest_stays_as_it_is_and_a_cluster_takes_both(rich: Any) -> None:
    before = copy.deepcopy(rich.manifests)
    made = rehearsal_spec.virtual_machine(rich)
    assert rich.manifests == before
    spec = made["spec"]["template"]["spec"]
    assert [problem for problem in admit(made) if "ephemeral" in problem.what or "network" in problem.what] == []
    assert not spec["domain"]["devices"].get("interfaces")


def test_what_it_cannot_show_is_listed(rich: Any) -> None:
    told = rehearsal_spec.unshown(rich)
    assert [line.partition(":")[0] for line in told] == [
        *("domain.devices.interfaces", "domain.devices.hostDevices", "domain.devices.gpus", "volumes[]"),
        *("domain.firmware.bootloader.efi.persistent", "domain.devices.tpm.persistent"),
    ]


class Cluster:
    """`before` is called before each request that changes something, with what it is: others act there. `given` are
    networks that something adds to whatever is started."""

    def __init__(self, *objects: Object) -> None:
        self.objects = {(one["kind"], one["metadata"]["name"]): self._as_kept(one) for one in objects}
        self.before: Callable[[str], None] = lambda _what: None
        self.given: list[Object] = []
        self.log: list[str] = []

    def _as_kept(self, one: Object) -> Object:
        made = copy.deepcopy(one)
        made["metadata"] |= {"resourceVersion": "1", "uid": f"uid-{made['metadata']['name']}"}
        made["metadata"].setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        return made

    def get(self, kind: Kind, name: str, _namespace: str = "") -> Object | None:
        return copy.deepcopy(self.objects.get((kind.name, name)))

    def list(self, *_asked: object) -> list[Object]:
        return []

    def apply(self, wanted: Object, kind: Kind, *, dry_run: bool = False, **_more: Any) -> Object:
        key = (kind.name, wanted["metadata"]["name"])
        there = self.objects.get(key)
        made = self._as_kept(wanted)
        if there is not None:
            notes = (there["metadata"].get("annotations") or {}) | (made["metadata"].get("annotations") or {})
            made = (
                there
                | {"metadata": there["metadata"] | {"annotations": notes}}
                | ({"spec": there.get("spec", {}) | wanted["spec"]} if "spec" in wanted else {})
            )
        if not dry_run:
            self.before(f"apply {kind.name}")
            self.log.append(f"apply {kind.name} {key[1]}")
            self.objects[key] = copy.deepcopy(made)
        return made

    def call(self, _method: str, path: str, **_more: object) -> bytes:
        name, _, what = path.rpartition("/virtualmachines/")[2].partition("/")
        self.before(what)
        self.log.append(f"{what} {name}")
        if what == "start":
            spec = copy.deepcopy(self.objects[VIRTUAL_MACHINE.name, name]["spec"]["template"]["spec"])
            spec["networks"] = self.given
            instance = {"kind": INSTANCE.name, "metadata": {"name": name}, "spec": spec, "status": {"phase": "Running"}}
            self.objects[INSTANCE.name, name] = self._as_kept(instance)
        elif what == "stop":
            self.objects.pop((INSTANCE.name, name), None)
        return b""

    def delete(self, kind: Kind, name: str, _namespace: str = "", **_more: object) -> None:
        self.log.append(f"delete {kind.name} {name}")
        self.objects.pop((kind.name, name), None)

    def kinds(self, kind: Kind) -> list[str]:
        return [name for found, name in self.objects if found == kind.name]


@pytest.fixture
def ready(make: Any) -> tuple[Cluster, Any]:
    """The machine's claims are there, as after a round."""
    entry = make.entry()
    claim = entry.manifests[0]
    state = copy.deepcopy(claim) | {"metadata": claim["metadata"] | {"name": names.state_claim("web")}}
    return Cluster(claim, state), entry


def test_its_policy_comes_before_it_and_goes_after_it(ready: tuple[Any, Any]) -> None:
    cluster, entry = ready
    written: list[External] = []

    def ledger(thing: External) -> None:
        kind = {REHEARSAL: VIRTUAL_MACHINE, "process": INSTANCE, names.NETWORK_POLICY: NETWORK_POLICY}[thing.kind]
        assert cluster.get(kind, thing.name) is None, "it was made before the ledger had it"
        written.append(thing)

    rehearsing.start(cluster, CONFIG, entry, ledger, 3)
    rehearsing.start(cluster, CONFIG, entry, ledger, 3)
    assert [thing.kind for thing in written] == [names.NETWORK_POLICY, REHEARSAL, "process"]
    assert cluster.kinds(VIRTUAL_MACHINE) == cluster.kinds(INSTANCE) == ["web-rehearsal"]
    with pytest.raises(TargetRefused, match="rehearsal"):
        rehearsing.refuse(cluster, entry)
    removed = rehearsing.end(cluster, CONFIG, entry, 3)
    assert [line.partition(" ")[0] for line in removed] == ["VirtualMachine", "NetworkPolicy"]
    assert not cluster.kinds(VIRTUAL_MACHINE) + cluster.kinds(INSTANCE) + cluster.kinds(NETWORK_POLICY)
    made, gone = [cluster.log.index(f"{what} NetworkPolicy web-rehearsal") for what in ("apply", "delete")]
    assert (
        made
        < cluster.log.index("start web-rehearsal")
        < cluster.log.index("delete VirtualMachine web-rehearsal")
        < gone
    )
    assert rehearsing.end(cluster, CONFIG, entry, 3) == []
    rehearsing.refuse(cluster, entry)


def test_machines_that_are_to_reach_each_other_are_refused_before_anything_is_made(ready: tuple[Any, Any]) -> None:
    cluster, entry = ready
    with pytest.raises(TargetRefused, match="each machine by itself") as caught:
        rehearsing.start(cluster, CONFIG, entry, lambda thing: pytest.fail(f"{thing} is made"), 1, (entry, entry))
    assert "kubeferry plan" in caught.value.fix


def test_who_slept_through_its_end_begins_none(ready: tuple[Any, Any]) -> None:
    cluster, entry = ready
    rehearsing.end(cluster, CONFIG, entry, 5)
    with pytest.raises(Fenced):
        rehearsing.start(cluster, CONFIG, entry, lambda _thing: None, 4)
    assert cluster.kinds(VIRTUAL_MACHINE) == []


@pytest.mark.parametrize("moment", ["apply NetworkPolicy", "apply VirtualMachine", "start"])
def test_who_falls_asleep_before_any_request_leaves_none(ready: tuple[Any, Any], moment: str) -> None:
    cluster, entry = ready

    def overtaken(what: str) -> None:
        if what == moment:
            cluster.before = lambda _what: None
            rehearsing.end(cluster, CONFIG, entry, 9)

    cluster.before = overtaken
    with pytest.raises((Fenced, KeyError)):  # the double knows no start of what is not there
        rehearsing.start(cluster, CONFIG, entry, lambda _thing: None, 4)
    assert cluster.kinds(INSTANCE) == []


def test_one_that_a_cluster_gives_a_network_is_ended_at_once(ready: tuple[Any, Any]) -> None:
    cluster, entry = ready
    cluster.given = [{"name": "default", "pod": {}}]
    rehearsing.start(cluster, CONFIG, entry, lambda _thing: None, 1)
    with pytest.raises(TargetRefused, match="gave it default"):
        rehearsing.observe(cluster, CONFIG, entry.model_copy(update={"probes": (Probe(kind="agent"),)}))
    assert not cluster.kinds(VIRTUAL_MACHINE) + cluster.kinds(INSTANCE)


def test_claims_that_are_not_there_or_another_machine_s_are_refused(ready: tuple[Any, Any]) -> None:
    cluster, entry = ready
    cluster.objects[CLAIM.name, "web-vda"]["metadata"]["annotations"] = {names.MACHINE_ID: "other"}
    with pytest.raises(TargetRefused, match="another machine"):
        rehearsing.start(cluster, CONFIG, entry, lambda _thing: None, 1)
    del cluster.objects[CLAIM.name, "web-vda"]
    with pytest.raises(TargetRefused, match="no claim apps/web-vda"):
        rehearsing.start(cluster, CONFIG, entry, lambda _thing: None, 1)
    assert cluster.log == []
