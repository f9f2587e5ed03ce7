"""Varied domains, and what holds for all of them: nothing is lost, nothing secret is told, order does not matter."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.model import Machine
from kubeferry.sources.facts.clashes import clashes
from kubeferry.sources.libvirt.domain.machine import parse_domain

HERE = Path(__file__).parent
CASES = sorted([*(HERE / "domains").glob("*.xml"), *(HERE.parents[2] / "golden" / "libvirt").glob("*.xml")])

# Subtrees that are left out on purpose, each for its reason.
LEFT_OUT = {
    "alias",  # a name for one run
    "vcpus",  # which vCPUs are on is counted in vcpu/@current
    "partition",  # where the host accounts for it
    "seclabel",  # of the host, chosen for each run
    "encryption",  # told as `encrypted`; what is in it are references to secrets
}


def read(path: Path) -> Machine:
    return parse_domain(path.read_text(encoding="utf-8"), source="lab", where=path.name)


def elements(root: ET.Element) -> Iterator[ET.Element]:
    """All elements that must be told; PCI bridges are told by model and count."""
    for child in root:
        bridge = child.tag == "controller" and child.get("type") == "pci"
        if child.tag not in LEFT_OUT and not bridge:
            yield child
            yield from elements(child)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 25


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_word_that_nobody_knows_is_told_wherever_it_stands(path: Path) -> None:
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 (ours)
    needles = []
    for index, element in enumerate([root, *elements(root)]):
        needles.append(f"needle-{index}-")
        element.set("unheardof", needles[-1])
    machine = parse_domain(ET.tostring(root, encoding="unicode"), source="lab")
    told = machine.model_dump_json()
    hidden = told.count("it may be a secret")
    missing = [needle for needle in needles if needle not in told]
    assert len(missing) <= hidden, missing


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_order_of_elements_does_not_matter(path: Path) -> None:
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 (ours)
    for element in root.iter():
        if element.tag not in {"devices", "boot"}:
            element[:] = sorted(element, key=lambda child: child.tag, reverse=True)
    before, after = read(path), parse_domain(ET.tostring(root, encoding="unicode"), source="lab")
    facts = {"unmodelled", "metadata", "features", "hyperv", "devices"}
    assert after.model_dump(exclude=facts) == before.model_dump(exclude=facts)
    assert after.features == before.features
    assert after.hyperv == before.hyperv
    assert sorted(fact.value for fact in after.unmodelled) == sorted(fact.value for fact in before.unmodelled)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_machine_survives_being_written_down(path: Path) -> None:
    machine = read(path)
    assert Machine.model_validate_json(machine.model_dump_json(by_alias=True)) == machine


def test_no_password_token_or_cookie_is_told_anywhere() -> None:
    told = "".join(read(path).model_dump_json() for path in CASES)
    for secret in ("hunter2", "geheim", "0123456789abcdef", ">abc<", '"abc"'):
        assert secret not in told


def test_the_cases_are_different_machines() -> None:
    own = [(path.name, read(path)) for path in CASES if path.parent.name == "domains"]
    assert list(clashes(own)) == []
