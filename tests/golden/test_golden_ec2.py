"""Golden cases of EC2: what `aws ec2 describe-…` printed, and everything that is made of it.

`aws/inputs/NAME/` holds the files, `aws/expected/NAME.yaml` manifests, concerns and the list of fates. After a wanted
change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/golden`, then read the difference line by line.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.documents import NetworkMap
from kubeferry.model import Machine
from kubeferry.sources.exported import read_exported
from mappings.assessment import Assessment, assess
from mappings.ec2 import looks_like_ec2
from tests.golden.cases import (
    assert_a_cluster_takes,
    assert_every_fact_is_told,
    assert_reviewed,
    content_of,
    policy_with,
)

HERE = Path(__file__).parent / "ec2"
INPUTS = sorted((HERE / "inputs").iterdir())
POLICY = policy_with(
    NetworkMap(source_kind="subnet", source_name="subnet-0aa11bb22cc33dd44"), NetworkMap(target="drop")
)


def assessed(path: Path) -> tuple[Machine, Assessment]:
    inventory = read_exported(path, "cloud")
    assert inventory.unreadable == ()
    return inventory.machines[0], assess(inventory, POLICY)[0]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_what_becomes_of_an_instance_is_what_was_reviewed(path: Path) -> None:
    assert_reviewed(content_of(assessed(path)[1]), HERE / "expected" / f"{path.name}.yaml")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    assert_a_cluster_takes(assessed(path)[1])


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    assert_every_fact_is_told(*assessed(path))


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
