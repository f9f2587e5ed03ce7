"""Golden cases: properties of a vSphere machine as our reader hands them over, and everything that is made of them.

`expected_vmware/NAME.yaml` holds manifests, concerns and the list of fates of `vmware/NAME.json`. After a wanted
change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/golden`, then read the difference line by line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import Inventory, NetworkMap, Policy, StoragePolicy
from kubeferry.model import Carried, Machine
from kubeferry.sources.vsphere.machine import parse_machine
from mappings.admission import check_all
from mappings.assessment import Assessment, assess
from mappings.carried import leaves
from mappings.schema import check_manifest

HERE = Path(__file__).parent
INPUTS = sorted((HERE / "vmware").glob("*.json"))
POLICY = Policy(
    namespace="migrated",
    storage=StoragePolicy(storage_class="fast"),
    networks=(
        NetworkMap(source_kind="network", source_name="prod-web", target="multus", multus_name="lab/prod-web"),
        NetworkMap(target="multus", multus_name="lab/lan"),
    ),
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


def content_of(found: Assessment) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "concerns": [f"{concern.severity} {concern.id}: {concern.what}" for concern in found.concerns],
        "fates": [line_of(line) for line in found.carried],
        "manifests": list(found.manifests),
    }


def line_of(line: Carried) -> str:
    target = f" -> {line.target}" if line.target else ""
    reason = f" ({line.reason})" if line.reason else ""
    return f"{line.fate} {line.field}: {line.source}{target}{reason}"


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_becomes_of_a_machine_is_what_was_reviewed(path: Path) -> None:
    expected = HERE / "expected_vmware" / f"{path.stem}.yaml"
    content = content_of(assessed(path))
    if os.environ.get("KUBEFERRY_REGENERATE") == "1" or not expected.exists():
        missing = not expected.exists()
        text = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=160)
        expected.write_text(text, encoding="utf-8")
        assert not missing, f"{expected.name} was missing and has been written: read it, then run the test again"
    assert content == yaml.safe_load(expected.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    found = assessed(path)
    assert [problem for manifest in found.manifests for problem in check_manifest(manifest)] == []
    if found.verdict not in {"blocked", "incomplete"}:
        assert check_all(found.manifests) == []


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    machine, found = machine_from(path), assessed(path)
    assert [leaf.path for leaf in leaves(machine)] == [line.field for line in found.carried]
    assert not [line for line in found.carried if line.reason == "kubeferry has no rule for it"]


def test_there_are_enough_cases_and_each_has_its_input() -> None:
    assert len(INPUTS) >= 10
    expected = {path.stem for path in (HERE / "expected_vmware").glob("*.yaml")}
    assert expected <= {path.stem for path in INPUTS}


def test_no_secret_of_a_setting_is_shown() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (HERE / "expected_vmware").glob("*.yaml"))
    assert "guestinfo.userdata" in text
    assert "c3NoX3B3YXV0aDogdHJ1ZQ" not in text
