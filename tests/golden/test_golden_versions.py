"""Every golden machine, for every version of KubeVirt that is supported: what is made for it passes its admission."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kubeferry.documents import Inventory, Policy
from kubeferry.model import Machine
from kubeferry.versions import SUPPORTED
from mappings.admission.check import check_all, check_version
from mappings.assessment import assess
from mappings.choices import platform_for
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


def test_the_goldens_have_what_older_versions_refuse() -> None:
    """Else the test above would show nothing."""
    told = set()
    for machine, given in libvirt():
        inventory = Inventory(source="lab", source_kind="golden", observed_at="2026-01-01", machines=(machine,))
        (found,) = assess(inventory, given.model_copy(update={"kubevirt": "1.5"}))
        told |= {one.what.split(":")[0] for one in found.concerns if one.id == "kubevirt.left-out"}
    assert len(told) >= 4, told
