"""Manifests against the packaged tables of KubeVirt's fields."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import Policy, StoragePolicy
from kubeferry.model import Machine
from mappings.admission.schema import KINDS, check_manifest, parse_table, table
from mappings.machine import to_manifests
from mappings.names import machine_names

Build = Callable[..., Machine]


def manifests_of(machine: Machine, policy: Policy) -> dict[str, dict[str, Any]]:
    mapped = to_manifests(machine, policy, machine_names([machine], policy)[machine.name])
    return {manifest["kind"]: copy.deepcopy(manifest) for manifest in mapped.manifests}


@pytest.fixture
def made(machine: Build) -> dict[str, dict[str, Any]]:
    return manifests_of(machine(), Policy(storage=StoragePolicy(data_volumes=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_packaged_tables_are_read(kind: str) -> None:
    known = table(kind)
    assert known.kind == kind
    assert known.root.fields


def test_tables_know_types_lists_maps_and_limits() -> None:
    template = table("VirtualMachine").root.fields["spec"].fields["template"].fields["spec"]
    disks = template.fields["domain"].fields["devices"].fields["disks"]
    assert (disks.kind, disks.many, disks.limit) == ("obj", "[]", 256)
    assert template.fields["nodeSelector"].many == "{}"
    assert disks.fields["name"].required
    assert template.fields["domain"].fields["memory"].fields["guest"].kind == "quantity"


def test_what_we_make_is_well_shaped(made: dict[str, dict[str, Any]]) -> None:
    assert set(made) == {"PersistentVolumeClaim", "DataVolume", "VirtualMachine"}
    assert [check_manifest(manifest) for manifest in made.values()] == [[], [], []]


def edit(manifest: dict[str, Any], path: str, value: Any) -> None:
    here: Any = manifest
    *parents, last = path.split("/")
    for key in parents:
        here = here[int(key)] if isinstance(here, list) else here[key]
    if value is ...:
        del here[last]
    else:
        here[last] = value


DOMAIN = "spec/template/spec/domain"


@pytest.mark.parametrize(
    ("path", "value", "where", "what"),
    [
        ("spec/runStrategie", "Always", "spec.runStrategie", "is not a field"),
        ("spec/runStrategy", "Sometimes", "spec.runStrategy", "'Sometimes'"),
        ("spec/template", ..., "spec.template", "is missing"),
        (f"{DOMAIN}/cpu/cores", "2", "domain.cpu.cores", "not a whole number"),
        (f"{DOMAIN}/cpu/cores", True, "domain.cpu.cores", "not a whole number"),
        (f"{DOMAIN}/memory/guest", "2 GB", "domain.memory.guest", "not a quantity"),
        (f"{DOMAIN}/devices/disks", {}, "domain.devices.disks", "not a list"),
        (f"{DOMAIN}/devices/disks/0/name", ..., "disks[0].name", "is missing"),
        (f"{DOMAIN}/devices/disks/0/disk/bussss", "sata", "disks[0].disk.bussss", "is not a field"),
        (f"{DOMAIN}/features/acpi/enabled", "yes", "features.acpi.enabled", "not true or false"),
        (f"{DOMAIN}/clock/utcc", {}, "clock.utcc", "is not a field"),
        ("spec/template/spec/nodeSelector", {"a": 1}, "nodeSelector[a]", "not text"),
        ("metadata/label", {}, "metadata.label", "is not a field"),
        ("metadata/name", "", "metadata.name", "is missing"),
        ("metadata", ..., "metadata", "is missing"),
        ("apiVersion", "kubevirt.io/v1alpha3", "apiVersion", "v1alpha3"),
    ],
)
def test_each_kind_of_mistake_is_found(
    made: dict[str, dict[str, Any]], path: str, value: Any, where: str, what: str
) -> None:
    manifest = made["VirtualMachine"]
    edit(manifest, path, value)
    problems = check_manifest(manifest)
    assert len(problems) == 1
    assert where in problems[0].where
    assert what in problems[0].what
    assert problems[0].fix


def test_all_mistakes_are_told_at_once(made: dict[str, dict[str, Any]]) -> None:
    manifest = made["PersistentVolumeClaim"]
    edit(manifest, "spec/volumeMode", "Tape")
    edit(manifest, "spec/accessModes", ["ReadWriteSometimes"])
    edit(manifest, "spec/resources", ...)
    assert len(check_manifest(manifest)) == 3


def test_another_kind_is_refused() -> None:
    assert "'Pod'" in check_manifest({"kind": "Pod"})[0].what


def test_too_many_items_are_refused(made: dict[str, dict[str, Any]]) -> None:
    manifest = made["VirtualMachine"]
    manifest["spec"]["template"]["spec"]["volumes"] *= 257
    assert any("at most 256" in problem.what for problem in check_manifest(manifest))


@pytest.mark.parametrize("text", ["Thing v1\n    spec obj", "Thing v1\nspec obj", "Thing v1\n  spec"])
def test_a_broken_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a line of a field table"):
        parse_table(text)
