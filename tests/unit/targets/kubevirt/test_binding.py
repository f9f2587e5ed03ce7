"""Where volumes are made that wait for their first pod: where their machine can run. The cluster is a double: lists of
objects by kind, and claims that are kept as they were asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeferry.documents import MoverSettings
from kubeferry.errors import TargetRefused
from kubeferry.targets.kubevirt import binding, claims, job_spec
from kubeferry.targets.kubevirt.kinds import CLAIM, KUBEVIRT, LIMIT_RANGE, NODE, STORAGE_CLASS, Kind
from tests.unit.targets.kubevirt.test_jobs_without_results import WORK

Object = dict[str, Any]
EMULATED = {"developerConfiguration": {"useEmulation": True}}


class Lists:
    """`unseen` are the kinds that are not for us to see."""

    def __init__(self, **found: Any) -> None:
        self.found = {Kinds[kind].name: list(objects) for kind, objects in found.items()}
        self.unseen: set[str] = set()
        self.made: dict[str, Object] = {}

    def list(self, kind: Kind, _namespace: str = "", _labels: object = None) -> list[Object]:
        if kind.name in self.unseen:
            raise TargetRefused("GET: forbidden")
        return self.found.get(kind.name, [])

    def get(self, kind: Kind, name: str, _namespace: str = "") -> Object | None:
        return self.made.get(name) if kind is CLAIM else None

    def create(self, manifest: Object, _kind: Kind) -> Object:
        return self.made.setdefault(manifest["metadata"]["name"], manifest)


Kinds = {"nodes": NODE, "classes": STORAGE_CLASS, "kubevirts": KUBEVIRT, "limits": LIMIT_RANGE}


def noted(cluster: Any, entry: Any, settings: MoverSettings | None = None) -> Object:
    """Where the machine's movers go, as its state claim notes it."""
    claims.prepare(cluster, entry, lambda _thing: None, settings or MoverSettings())
    told = cluster.made["web-kubeferry-state"]["metadata"]["annotations"][claims.PLACEMENT]
    made: Object = json.loads(told)
    return made


def expressions(placement: Object) -> list[tuple[str, str]]:
    of_nodes = placement["affinity"]["nodeAffinity"][binding.REQUIRED]["nodeSelectorTerms"]
    return [(one["key"], one["operator"]) for term in of_nodes for one in term["matchExpressions"]]


def test_a_mover_whose_volume_is_made_where_it_runs_goes_where_the_machine_can_run(make: Any) -> None:
    cpu = {
        "model": "Haswell",
        "features": [{"name": "avx2"}, {"name": "sgx", "policy": "forbid"}, {"name": "x", "policy": "optional"}],
    }
    entry = make.entry(template={"domain": {"cpu": cpu}, "nodeSelector": {"zone": "a"}})
    placement = noted(Lists(classes=[make.storage_class("fast")], nodes=[make.node()]), entry)
    assert placement["nodeSelector"] == {
        "kubevirt.io/schedulable": "true",
        "kubernetes.io/arch": "amd64",
        "cpu-model.node.kubevirt.io/Haswell": "true",
        "cpu-feature.node.kubevirt.io/avx2": "true",
        "zone": "a",
    }
    assert expressions(placement) == [("cpu-feature.node.kubevirt.io/sgx", "DoesNotExist")]


@pytest.mark.parametrize(("model", "avoided"), [("host-model", True), (None, True), ("host-passthrough", False)])
def test_a_machine_with_its_node_s_processor_avoids_those_that_kubevirt_cannot_name(
    make: Any, model: str | None, avoided: bool
) -> None:
    placement = noted(
        Lists(classes=[make.storage_class("fast")]), make.entry(template={"domain": {"cpu": {"model": model}}})
    )
    assert "cpu-model.node.kubevirt.io/" not in json.dumps(placement)
    assert (binding.OBSOLETE in json.dumps(placement)) is avoided


@pytest.mark.parametrize("classes", [{"volumeBindingMode": "Immediate"}, {"volumeBindingMode": None}])
def test_a_volume_that_is_made_at_once_leaves_its_mover_where_it_was_told_to_go(make: Any, classes: Object) -> None:
    entry = make.entry(template={"nodeSelector": {"zone": "a"}})
    cluster = Lists(classes=[make.storage_class("fast", **classes)], nodes=[make.node()])
    assert noted(cluster, entry) == {"nodeSelector": {"zone": "a"}}


def test_the_default_class_and_that_of_the_state_count_and_no_class_does_not(make: Any) -> None:
    default = make.storage_class(
        "slow", metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    )
    at_once = make.storage_class("fast", volumeBindingMode="Immediate")
    unnamed = make.entry(claim={"storageClassName": None})
    assert binding.SCHEDULABLE in noted(Lists(classes=[default, at_once]), unnamed)["nodeSelector"]
    state = MoverSettings(state_storage_class="slow")
    assert binding.SCHEDULABLE in noted(Lists(classes=[default, at_once]), make.entry(), state)["nodeSelector"]
    assert noted(Lists(classes=[default, at_once]), make.entry()) == {}
    assert noted(Lists(classes=[default, at_once]), make.entry(claim={"storageClassName": ""})) == {}


def test_a_class_that_nobody_may_look_at_may_be_one_that_waits(make: Any) -> None:
    cluster = Lists()
    cluster.unseen = {STORAGE_CLASS.name, NODE.name, KUBEVIRT.name}
    assert noted(cluster, make.entry())["nodeSelector"][binding.SCHEDULABLE] == "true"


def test_a_node_that_can_never_hold_the_machine_is_left_out(make: Any) -> None:
    small = make.node("small", status={"allocatable": {"memory": "1Gi"}})
    without = make.node("without", status={"allocatable": {"devices.kubevirt.io/kvm": "0"}})
    nodes = [make.node("one"), make.node("two"), make.node("three"), small, without]
    classes = [make.storage_class("fast")]
    told = noted(Lists(classes=classes, nodes=nodes, kubevirts=[make.kubevirt()]), make.entry())
    assert last_values(told) == ("NotIn", ["small", "without"])
    told = noted(Lists(classes=classes, nodes=nodes, kubevirts=[make.kubevirt(**EMULATED)]), make.entry())
    assert last_values(told) == ("NotIn", ["small"])
    told = noted(Lists(classes=classes, nodes=[nodes[0], small, without], kubevirts=[make.kubevirt()]), make.entry())
    assert last_values(told) == ("In", ["one"])


def test_where_no_node_is_large_enough_none_is_left_out_and_the_checks_say_so(make: Any) -> None:
    small = make.node("small", status={"allocatable": {"memory": "1Gi"}})
    told = noted(Lists(classes=[make.storage_class("fast")], nodes=[small]), make.entry())
    assert (binding.HOSTNAME, "NotIn") not in expressions(told)


def test_processors_of_its_own_are_given_by_nodes_of_either_label(make: Any) -> None:
    entry = make.entry(template={"domain": {"cpu": {"dedicatedCpuPlacement": True}}})
    marked = [make.node(str(at), metadata={"labels": {label: "true"}}) for at, label in enumerate(binding.CPU_MANAGER)]
    told = noted(Lists(classes=[make.storage_class("fast")], nodes=[*marked, make.node("plain")]), entry)
    assert last_values(told) == ("NotIn", ["plain"])


def test_each_term_of_the_machine_s_own_affinity_is_narrowed_and_the_rest_is_kept(make: Any) -> None:
    terms = [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"matchFields": []}]
    own = {"podAffinity": {"x": 1}, "nodeAffinity": {binding.REQUIRED: {"nodeSelectorTerms": terms}}}
    told = noted(Lists(classes=[make.storage_class("fast")]), make.entry(template={"affinity": own}))["affinity"]
    assert told["podAffinity"] == {"x": 1}
    narrowed = told["nodeAffinity"][binding.REQUIRED]["nodeSelectorTerms"]
    assert [[one["key"] for one in term["matchExpressions"]] for term in narrowed] == [
        ["a", binding.OBSOLETE],
        [binding.OBSOLETE],
    ]
    assert narrowed[1]["matchFields"] == []


def test_what_was_noted_first_stays_so_that_a_second_run_finds_its_movers(make: Any) -> None:
    cluster = Lists(classes=[make.storage_class("fast")], nodes=[make.node()])
    first = noted(cluster, make.entry())
    cluster.found[NODE.name] = [make.node(), make.node("small", status={"allocatable": {"memory": "1Gi"}})]
    assert noted(cluster, make.entry()) == first


@pytest.mark.parametrize(("said", "wanted"), [("amd64", "amd64"), ("arm64", "arm64"), (None, None)])
def test_a_mover_goes_to_nodes_that_its_image_is_built_for(said: str | None, wanted: str | None) -> None:
    pod = job_spec.job_manifest(WORK, MoverSettings(architecture=said), {})["spec"]["template"]["spec"]
    assert (pod.get("nodeSelector") or {}).get("kubernetes.io/arch") == wanted


def test_the_state_claim_is_as_large_as_the_namespace_asks(make: Any) -> None:
    bounds = [{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}, {"type": "Container", "min": {"cpu": "1"}}]
    limits = [{"metadata": {"name": "least"}, "spec": {"limits": bounds}}]
    cluster = Lists(classes=[make.storage_class("fast")], limits=limits)
    noted(cluster, make.entry())
    assert cluster.made["web-kubeferry-state"]["spec"]["resources"]["requests"]["storage"] == str(1 << 30)


def last_values(placement: Object) -> tuple[str, list[str]]:
    (term,) = placement["affinity"]["nodeAffinity"][binding.REQUIRED]["nodeSelectorTerms"]
    last = term["matchExpressions"][-1]
    assert last["key"] == binding.HOSTNAME
    return last["operator"], last["values"]
