"""Golden cases: properties of a vSphere machine as our reader hands them over, and everything that is made of them.

`vmware/expected/NAME.yaml` holds manifests, concerns and the list of fates of `vmware/NAME.json`. After a wanted
change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/golden`, then read the difference line by line.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubeferry.documents import Inventory, NetworkMap
from kubeferry.model import Machine
from kubeferry.sources.vsphere.machine import parse_machine
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
INPUTS = sorted((HERE / "vsphere").glob("*.json"))
POLICY = policy_with(
    NetworkMap(source_kind="network", source_name="prod-web", target="multus", multus_name="lab/prod-web"), LAN
)


def machine_from(path: Path) -> Machine:
    told = json.loads(path.read_text(encoding="utf-8"))
    tags = tuple((category, tag) for category, tag in told["tags"])
    return parse_machine(told["machine"], told["around"], source="vcenter", tags=tags)


def assessed(path: Path) -> Assessment:
    inventory = Inventory(
        source="vcenter",
        source_kind="vmware",
        observed_at="2026-11-24T00:00:00Z",
        machines=(machine_from(path),),
    )
    return assess(inventory, POLICY)[0]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_becomes_of_a_machine_is_what_was_reviewed(path: Path) -> None:
    assert_reviewed(content_of(assessed(path)), HERE / "vsphere" / "expected" / f"{path.stem}.yaml")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    assert_a_cluster_takes(assessed(path))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    assert_every_fact_is_told(machine_from(path), assessed(path))


def test_there_are_enough_cases_and_each_has_its_input() -> None:
    assert len(INPUTS) >= 10
    expected = {path.stem for path in (HERE / "vsphere" / "expected").glob("*.yaml")}
    assert expected <= {path.stem for path in INPUTS}


def test_no_secret_of_a_setting_is_shown() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (HERE / "vsphere" / "expected").glob("*.yaml"))
    assert "guestinfo.userdata" in text
    assert "c3NoX3B3YXV0aDogdHJ1ZQ" not in text
