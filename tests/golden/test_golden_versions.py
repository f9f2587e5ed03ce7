"""Every golden machine, for every version of KubeVirt that is supported: what is made for it passes its admission."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.documents import Inventory, Offer, OfferedPreference, OfferedType, Policy, PolicyRule
from kubeferry.model import Machine
from kubeferry.versions import SUPPORTED
from mappings.admission.check import check_all, check_version
from mappings.assessment import assess
from mappings.choices import platform_for
from mappings.instancetypes import MAYBE, conflicts
from mappings.storage import UNASKED
from tests.golden import test_golden_ec2, test_golden_libvirt, test_golden_ovf, test_golden_vsphere

Golden = tuple[Machine, Policy]


def libvirt() -> Iterator[Golden]:
    for path in test_golden_libvirt.INPUTS:
        yield test_golden_libvirt.machine_from(path), test_golden_libvirt.POLICY


def vsphere() -> Iterator[Golden]:
    for path in test_golden_vsphere.INPUTS:
        yield test_golden_vsphere.machine_from(path), test_golden_vsphere.POLICY


def ovf() -> Iterator[Golden]:
    for path in test_golden_ovf.INPUTS:
        for machine in test_golden_ovf.machines_from(path):
            yield machine, test_golden_ovf.POLICY


def ec2() -> Iterator[Golden]:
    for path in test_golden_ec2.INPUTS:
        yield test_golden_ec2.assessed(path)[0], test_golden_ec2.POLICY


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("goldens", [libvirt, vsphere, ovf, ec2])
def test_what_is_made_for_a_version_is_what_it_takes(goldens: Callable[[], Iterator[Golden]], version: str) -> None:
    count = 0
    for machine, given in goldens():
        policy = given.model_copy(update={"kubevirt": version})
        platform = platform_for(policy, UNASKED)
        assert platform is not None
        inventory = Inventory(source="lab", source_kind="golden", observed_at="2026-01-01", machines=(machine,))
        (found,) = assess(inventory, policy)
        assert check_version(found.manifests, platform) == [], machine.name
        if found.verdict not in {"blocked", "incomplete"}:
            assert check_all(found.manifests, platform) == [], machine.name
        count += 1
    assert count >= 8


WISHES: dict[str, tuple[dict[str, Any], Offer]] = {
    "a type that nobody knows": ({"instancetype": {"name": "u1.medium"}}, UNASKED),
    "a type that sets much": (
        {"instancetype": {"name": "cx1.large"}, "preference": {"name": "fedora"}},
        Offer(
            types=(OfferedType(name="cx1.large", vcpus=64, memory_bytes=1 << 44, sets=tuple(MAYBE), hugepages="2Mi"),),
            preferences=(OfferedPreference(name="fedora"),),
        ),
    ),
    "another boot disk": ({"disks": [{"match": {"id": "*1"}, "bootOrder": 1}]}, UNASKED),
    **{
        f"disks on {bus}": ({"disks": [{"match": {}, "bus": bus}]}, UNASKED)
        for bus in ("virtio", "scsi", "sata", "usb")
    },
    "nothing but its first disk": ({"disks": [{"match": {"id": "*[!a1]"}, "include": False}]}, UNASKED),
}


@pytest.mark.parametrize("version", [SUPPORTED[0], "1.6", SUPPORTED[-1]])
@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("goldens", [libvirt, vsphere, ovf, ec2])
def test_what_the_policy_wishes_for_it_is_taken_too(
    goldens: Callable[[], Iterator[Golden]], wish: str, version: str
) -> None:
    """Instance types and choices for single disks: whatever the machine, no manifest holds what would be refused."""
    said, offer = WISHES[wish]
    rule = PolicyRule.model_validate({"match": {}, "accept": ["disk.boot-left-out"], **said})
    moved = 0
    for machine, given in goldens():
        policy = given.model_copy(update={"kubevirt": version, "rules": (*given.rules, rule)})
        inventory = Inventory(source="lab", source_kind="golden", observed_at="2026-01-01", machines=(machine,))
        (found,) = assess(inventory, policy, offer=offer)
        platform = platform_for(policy, offer)
        assert platform is not None
        if found.verdict not in {"blocked", "incomplete"}:
            assert check_all(found.manifests, platform) == [], machine.name
            moved += 1
        for template in (one["spec"]["template"]["spec"] for one in found.manifests if one["kind"] == "VirtualMachine"):
            assert "instancetype" not in said or conflicts(template) == [], machine.name
    assert moved


def test_the_goldens_have_what_older_versions_refuse() -> None:
    """Else the test above would show nothing."""
    told = set()
    for machine, given in libvirt():
        inventory = Inventory(source="lab", source_kind="golden", observed_at="2026-01-01", machines=(machine,))
        (found,) = assess(inventory, given.model_copy(update={"kubevirt": "1.5"}))
        told |= {one.what.split(":")[0] for one in found.concerns if one.id == "kubevirt.left-out"}
    assert len(told) >= 4, told
