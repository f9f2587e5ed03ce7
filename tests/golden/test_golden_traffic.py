"""Golden cases of traffic: inventories whose cards have filters or VLANs, and the NetworkPolicies that become of them.

`traffic/inputs/NAME.yaml` is an inventory, `traffic/expected/NAME.yaml` what is planned of each machine: its policy,
the labels of its pod, and what is not carried. After a wanted change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest
tests/golden`, then read the difference line by line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Inventory, MachinePolicy, NetworkMap, TrafficPolicy, load
from mappings.assessment import assess
from mappings.plan import make_plan
from tests.golden.cases import LAN, assert_a_cluster_takes, assert_every_fact_is_told, assert_reviewed, policy_with

HERE = Path(__file__).parent / "traffic"
INPUTS = sorted((HERE / "inputs").iterdir())
POLICY = policy_with(LAN.model_copy(update={"source_name": "storage"}), NetworkMap()).model_copy(
    update={
        "network": TrafficPolicy(policies="from-source", segments=True, resolver=True),
        "machines": {"db": MachinePolicy(namespace="data")},
    }
)


def read(path: Path) -> Inventory:
    found = load(path, Inventory)
    assert isinstance(found, Inventory)
    return found


def content_of(inventory: Inventory) -> dict[str, Any]:
    policy = POLICY.model_copy(update={"machines": {}}) if len(inventory.machines) == 1 else POLICY
    plan = make_plan(inventory, policy, name="golden", created_at="2026-11-01T00:00:00Z")
    assert plan.excluded == {}
    return {
        entry.name: {
            "concerns": [f"{one.id}: {one.what}" for one in entry.concerns if one.id.startswith(("traffic.", "nic.f"))],
            "fates": [
                f"{one.fate} {one.field}: {one.source} -> {one.target or 'nothing'}"
                for one in entry.carried
                if ".filter" in one.field
            ],
            "policies": [one for one in entry.manifests if one["kind"] == "NetworkPolicy"],
            "labels": entry.manifests[-1]["spec"]["template"]["metadata"]["labels"],
        }
        for entry in plan.entries
    }


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_becomes_of_filters_is_what_was_reviewed(path: Path) -> None:
    assert_reviewed(content_of(read(path)), HERE / "expected" / path.name)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_its_manifests_are_ones_that_a_cluster_takes_and_every_fact_is_told(path: Path) -> None:
    inventory = read(path)
    for machine, found in zip(
        inventory.machines, assess(inventory, POLICY.model_copy(update={"machines": {}})), strict=True
    ):
        assert_a_cluster_takes(found)
        assert_every_fact_is_told(machine, found)


def test_each_case_has_its_input() -> None:
    assert {path.name for path in (HERE / "expected").iterdir()} == {path.name for path in INPUTS}
