"""Golden cases: a domain's XML, the machine that is read from it, and everything that is made of it.

`libvirt/expected/NAME.yaml` holds manifests, concerns and the list of fates of `libvirt/NAME.xml`;
`libvirt/policies/NAME.yaml`, where it exists, the policy. After a wanted change: `KUBEFERRY_REGENERATE=1
.venv/bin/pytest tests/golden`, then read the difference line by line: it is what users' machines would get.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.documents import Inventory, NetworkMap, Policy, load
from kubeferry.model import Machine, Power
from kubeferry.sources.libvirt.domain.machine import parse_domain
from mappings.assessment import Assessment, assess
from tests.golden.cases import (
    LAN,
    assert_a_cluster_takes,
    assert_every_fact_is_told,
    assert_reviewed,
    content_of,
    policy_with,
)

HERE = Path(__file__).parent
INPUTS = sorted((HERE / "libvirt").glob("*.xml"))
GIB = 1 << 30

# What domain XML does not say and a live source would: sizes, and that there are no snapshots.
DISK_BYTES = 8 * GIB
POLICY = policy_with(NetworkMap(source_kind="network", source_name="default", target="pod"), LAN)


def machine_from(path: Path) -> Machine:
    machine = parse_domain(path.read_text(encoding="utf-8"), source="lab", power=Power.OFF, where=path.name)
    sized = [
        disk if disk.uri is None else disk.model_copy(update={"capacity_bytes": DISK_BYTES}) for disk in machine.disks
    ]
    return machine.model_copy(update={"disks": tuple(sized), "snapshots": 0, "autostart": False})


def assessed(path: Path) -> Assessment:
    policy = HERE / "libvirt" / "policies" / f"{path.stem}.yaml"
    inventory = Inventory(
        source="lab", source_kind="libvirt", observed_at="2026-11-24T00:00:00Z", machines=(machine_from(path),)
    )
    return assess(inventory, load(policy, Policy) if policy.exists() else POLICY)[0]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_becomes_of_a_domain_is_what_was_reviewed(path: Path) -> None:
    assert_reviewed(content_of(assessed(path)), HERE / "libvirt" / "expected" / f"{path.stem}.yaml")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    assert_a_cluster_takes(assessed(path))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    assert_every_fact_is_told(machine_from(path), assessed(path))


def test_there_are_enough_cases_and_each_has_its_input() -> None:
    assert len(INPUTS) >= 20
    stray = {path.stem for path in (HERE / "libvirt" / "expected").glob("*.yaml")} - {path.stem for path in INPUTS}
    stray |= {path.stem for path in (HERE / "libvirt" / "policies").glob("*.yaml")} - {path.stem for path in INPUTS}
    assert stray == set()


def test_the_cases_show_every_verdict_and_most_rules() -> None:
    found = [assessed(path) for path in INPUTS]
    assert {one.verdict for one in found} >= {"blocked", "ready-with-warnings"}
    assert len({concern.id for one in found for concern in one.concerns}) >= 35
