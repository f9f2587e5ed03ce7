"""Golden cases of EC2: what `aws ec2 describe-…` printed, and everything that is made of it.

`aws/inputs/NAME/` holds the files, `aws/expected/NAME.yaml` manifests, concerns and the list of fates. After a wanted
change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/golden`, then read the difference line by line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import NetworkMap, Policy, StoragePolicy
from kubeferry.model import Carried, Machine
from kubeferry.sources.exported import read_exported
from mappings.admission import check_all
from mappings.assessment import Assessment, assess
from mappings.carried import leaves
from mappings.ec2 import looks_like_ec2
from mappings.schema import check_manifest

HERE = Path(__file__).parent / "aws"
INPUTS = sorted((HERE / "inputs").iterdir())
POLICY = Policy(
    namespace="migrated",
    storage=StoragePolicy(storage_class="fast"),
    networks=(NetworkMap(source_kind="subnet", source_name="subnet-0aa11bb22cc33dd44"), NetworkMap(target="drop")),
)


def assessed(path: Path) -> tuple[Machine, Assessment]:
    inventory = read_exported(path, "cloud")
    assert inventory.unreadable == ()
    return inventory.machines[0], assess(inventory, POLICY)[0]


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


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_what_becomes_of_an_instance_is_what_was_reviewed(path: Path) -> None:
    expected = HERE / "expected" / f"{path.name}.yaml"
    content = content_of(assessed(path)[1])
    if os.environ.get("KUBEFERRY_REGENERATE") == "1" or not expected.exists():
        missing = not expected.exists()
        text = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=160)
        expected.write_text(text, encoding="utf-8")
        assert not missing, f"{expected.name} was missing and has been written: read it, then run the test again"
    assert content == yaml.safe_load(expected.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    _, found = assessed(path)
    assert [problem for manifest in found.manifests for problem in check_manifest(manifest)] == []
    if found.verdict not in {"blocked", "incomplete"}:
        assert check_all(found.manifests) == []


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    machine, found = assessed(path)
    assert [leaf.path for leaf in leaves(machine)] == [line.field for line in found.carried]
    assert len({line.field for line in found.carried}) == len(found.carried)
    assert not [line for line in found.carried if line.reason == "kubeferry has no rule for it"]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_its_uuid_is_its_own_and_none_of_ec2s(path: Path) -> None:
    _, found = assessed(path)
    domain = found.manifests[-1]["spec"]["template"]["spec"]["domain"]
    assert not looks_like_ec2(domain["firmware"]["uuid"])


def test_there_are_enough_cases_and_each_has_its_input() -> None:
    assert len(INPUTS) >= 10
    assert {path.stem for path in (HERE / "expected").glob("*.yaml")} == {path.name for path in INPUTS}


def test_the_cases_show_every_verdict_and_most_rules_of_ec2() -> None:
    found = [assessed(path)[1] for path in INPUTS]
    assert {one.verdict for one in found} >= {"blocked", "incomplete", "ready-with-warnings"}
    ids = {concern.id for one in found for concern in one.concerns}
    assert len([one for one in ids if one.startswith("ec2.")]) >= 14
