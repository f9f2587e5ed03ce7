"""Golden cases of machines that are told by one file of settings: a VMX, a configuration of Proxmox, and everything
that is made of them.

`vmx/expected/NAME.yaml` holds what becomes of `vmx/NAME.vmx`, without the disks. The files are ours, in the words of
the products. After a wanted change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/golden`, then read the difference
line by line: it is what users' machines would get.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeferry.documents import Inventory
from kubeferry.model import Machine
from kubeferry.sources.ovf.vmx import files as vmx_files
from kubeferry.sources.proxmox import config_files
from mappings.assessment import Assessment, assess
from tests.golden.cases import (
    LAN,
    VM_NETWORK,
    assert_a_cluster_takes,
    assert_every_fact_is_told,
    assert_reviewed,
    content_of,
    policy_with,
)

HERE = Path(__file__).parent
INPUTS = [*sorted((HERE / "vmx").glob("*.vmx")), *sorted((HERE / "proxmox").glob("*.conf"))]
POLICY = policy_with(VM_NETWORK, LAN)


def machine_of(path: Path) -> Machine:
    if path.suffix == ".vmx":
        (machine,) = vmx_files.read_machines(path, "exports", complete=False)
    else:
        (found,) = config_files.read_machines(path, "exports")
        assert isinstance(found, Machine)
        machine = found
    return machine


def assessed(path: Path) -> Assessment:
    inventory = Inventory(
        source="exports", source_kind="export", observed_at="2026-11-24T00:00:00Z", machines=(machine_of(path),)
    )
    (found,) = assess(inventory, POLICY)
    return found


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_becomes_of_a_file_is_what_was_reviewed(path: Path) -> None:
    assert_reviewed(content_of(assessed(path)), path.parent / "expected" / f"{path.stem}.yaml")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    assert_a_cluster_takes(assessed(path))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    assert_every_fact_is_told(machine_of(path), assessed(path))


def test_each_case_has_its_input() -> None:
    for kind in ("vmx", "proxmox"):
        expected = {path.stem for path in (HERE / kind / "expected").glob("*.yaml")}
        assert expected == {path.stem for path in INPUTS if path.parent.name == kind}
