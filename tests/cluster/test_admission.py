"""What our own rules take, real KubeVirt takes: every golden machine, and what the policy may wish for it.

Nothing is made: in a dry run the server is asked whether it would.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.documents import Inventory, PolicyRule
from kubeferry.outside.process import ProgramFailed
from lab.ground import Ground
from lab.tenant import Tenant
from mappings.admission.check import check_all
from mappings.assessment import assess
from tests.golden.test_golden_traffic import INPUTS, content_of, read
from tests.golden.test_golden_versions import WISHES, Golden, ec2, libvirt, ovf, vsphere
from tests.unit.mappings.admission.affinities import REFUSED, TAKEN, Affinity

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# Instance types would have to be there: `test_instancetypes.py` has them.
PLAIN: list[dict[str, Any]] = [{}, *(said for said, _ in WISHES.values() if "instancetype" not in said)]


@pytest.fixture(scope="module")
def tenant(kubevirt: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-admission")


def taken(goldens: Callable[[], Iterator[Golden]], namespace: str) -> Iterator[dict[str, Any]]:
    """The manifests that our rules have nothing against, those of machines that must not be moved as well."""
    for said in PLAIN:
        rule = PolicyRule.model_validate({"match": {}, **said})
        for machine, given in goldens():
            policy = given.model_copy(update={"rules": (*given.rules, rule)})
            facts = Inventory(source="lab", source_kind="golden", observed_at="2026-01-01", machines=(machine,))
            (found,) = assess(facts, policy)
            if not check_all(found.manifests):
                for manifest in copy.deepcopy(found.manifests):
                    manifest["metadata"]["namespace"] = namespace
                    yield manifest


@pytest.mark.parametrize("goldens", [libvirt, vsphere, ovf, ec2])
def test_what_our_rules_take_kubevirt_takes(
    goldens: Callable[[], Iterator[Golden]], kubevirt: Ground, tenant: Tenant
) -> None:
    manifests = list(taken(goldens, tenant.namespace))
    machines = sum(one["kind"] == "VirtualMachine" for one in manifests)
    assert machines >= len(PLAIN) * 5
    asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    words = ("create", "--dry-run=server", "--output=name", "--filename=-")
    assert len(kubevirt.kubectl(*words, stdin=asked, timeout=500).splitlines()) == len(manifests)


def test_policies_of_what_the_source_lets_through_are_taken(kubevirt: Ground, tenant: Tenant) -> None:
    manifests = [
        policy | {"metadata": policy["metadata"] | {"namespace": tenant.namespace, "name": f"{path.stem}-{machine}"}}
        for path in INPUTS
        for machine, planned in content_of(read(path)).items()
        for policy in planned["policies"]
    ]
    assert len(manifests) >= len(INPUTS)
    asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    words = ("create", "--dry-run=server", "--validate=strict", "--output=name", "--filename=-")
    assert len(kubevirt.kubectl(*words, stdin=asked).splitlines()) == len(manifests)


@pytest.fixture(scope="module")
def small(kubevirt: Ground, tenant: Tenant) -> dict[str, Any]:
    """A machine that KubeVirt takes."""
    return next(one for one in taken(libvirt, tenant.namespace) if one["kind"] == "VirtualMachine")


def answer(kubevirt: Ground, machine: dict[str, Any], affinity: Affinity) -> str:
    """What KubeVirt has against the machine with this affinity; empty where nothing."""
    asked = copy.deepcopy(machine)
    asked["spec"]["template"]["spec"]["affinity"] = affinity
    try:
        kubevirt.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(asked))
    except ProgramFailed as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("name", TAKEN)
def test_an_affinity_that_our_rules_take_kubevirt_takes(kubevirt: Ground, small: dict[str, Any], name: str) -> None:
    assert answer(kubevirt, small, TAKEN[name]) == ""


@pytest.mark.parametrize("name", REFUSED)
def test_an_affinity_that_our_rules_refuse_kubevirt_refuses(kubevirt: Ground, small: dict[str, Any], name: str) -> None:
    assert "affinity" in answer(kubevirt, small, REFUSED[name][0]).lower()
