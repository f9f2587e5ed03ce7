"""The user's own patches: what they may change, what they may not, and that it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Inventory, MachinePolicy, Policy
from kubeferry.errors import InputInvalid
from kubeferry.model import Concern, Machine
from mappings.machine import Mapped, to_manifests
from mappings.names import machine_names
from mappings.patches import merge
from mappings.plan import make_plan

Build = Callable[..., Machine]


def mapped(machine: Machine, patch: Any) -> Mapped:
    policy = Policy(machines={machine.name: MachinePolicy(patch=patch)})
    return to_manifests(machine, policy, machine_names([machine], policy)[machine.name])


def concern(made: Mapped) -> Concern:
    (found,) = [one for one in made.concerns if one.id.startswith("policy.patch")]
    return found


# The examples of RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("content", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_standard_says(content: Any, patch: Any, expected: Any) -> None:
    assert merge(content, patch) == expected


def test_a_merge_patch_and_operations_change_the_machine_and_are_told(machine: Build) -> None:
    patch = [
        {"spec": {"template": {"spec": {"startStrategy": "Paused"}}}},
        {"op": "replace", "path": "/spec/template/spec/domain/devices/disks/0/disk/bus", "value": "scsi"},
    ]
    made = mapped(machine(), patch)
    spec = made.manifests[-1]["spec"]["template"]["spec"]
    assert spec["startStrategy"] == "Paused"
    assert spec["domain"]["devices"]["disks"][0]["disk"]["bus"] == "scsi"
    told = concern(made)
    assert told.severity == "info"
    assert "/spec/template/spec/startStrategy" in told.what
    assert "/disks/0/disk/bus" in told.what


def test_a_single_merge_patch_needs_no_list(machine: Build) -> None:
    made = mapped(machine(), {"metadata": {"annotations": {"team": "cash"}}})
    assert made.manifests[-1]["metadata"]["annotations"]["team"] == "cash"


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ([{"op": "remove", "path": "/spec/nothing"}], "number 1 cannot be applied"),
        ([{"op": "boil", "path": "/spec"}], "number 1 cannot be applied"),
        ([{"op": "test", "path": "/kind", "value": "Pod"}], "number 1 cannot be applied"),
        ({"kind": "Pod"}, "its kind"),
        ({"metadata": {"name": "other"}}, "its name or namespace"),
        ({"metadata": {"namespace": "other"}}, "its name or namespace"),
        ({"metadata": None}, "its name or namespace"),
        ({"metadata": {"labels": {"kubeferry.io/machine": "x"}}}, "the marks of kubeferry.io"),
        ({"metadata": {"annotations": {"kubeferry.io/machine-id": None}}}, "the marks of kubeferry.io"),
        (
            {"spec": {"template": {"metadata": {"labels": {"kubeferry.io/machine": "x"}}}}},
            "the marks of kubeferry.io",
        ),
        ({"spec": {"template": {"spec": {"volumes": []}}}}, "the claims of its disks"),
        ({"spec": None}, "the claims of its disks"),
    ],
)
def test_what_cannot_be_applied_or_changes_what_the_machine_is_refuses_it(machine: Build, patch: Any, why: str) -> None:
    made = mapped(machine(), patch)
    told = concern(made)
    assert told.severity == "critical"
    assert why in told.what
    assert made.manifests == mapped(machine(), ()).manifests


def test_a_patch_that_changes_nothing_is_told(machine: Build) -> None:
    assert concern(mapped(machine(), {"kind": "VirtualMachine"})).id == "policy.patch-idle"


def test_a_patched_machine_is_held_against_what_a_cluster_takes(machine: Build) -> None:
    policy = Policy(machines={"web": MachinePolicy(patch={"spec": {"template": {"spec": {"colour": "red"}}}})})
    inventory = Inventory(
        source="lab", source_kind="libvirt", observed_at="2026-01-01T00:00:00Z", machines=(machine(),)
    )
    with pytest.raises(InputInvalid) as refused:
        make_plan(inventory, policy, name="p", created_at="2026-01-01T00:00:00Z")
    assert "colour" in refused.value.problems[0].where
