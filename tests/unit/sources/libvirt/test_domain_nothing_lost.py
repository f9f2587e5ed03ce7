"""Whatever somebody adds to a domain, anywhere, is told in a field or in `unmodelled`, and breaks nothing."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.libvirt.domain.machine import parse_domain

GOLDEN = Path(__file__).parents[3] / "golden" / "libvirt"
DOMAINS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("*.xml"))}
NEEDLE = "n33dle"

# What is left out on purpose: names and places of one run, and what is told by other words.
LEFT_OUT = {
    "alias",  # a name for one run
    "seclabel",  # of the host, chosen for each run
    "partition",  # where the host accounts for it
    "vcpus",  # which processors are on is counted in vcpu/@current
    "encryption",  # told as `encrypted`; what is in it are references to secrets
    "privateData",  # libvirt's own
}


def places(root: ET.Element) -> list[ET.Element]:
    """All elements that something may be added to. PCI bridges are told by model and count."""
    bridges = {id(one) for one in root.iter("controller") if one.get("type") == "pci"}
    kept = [child for child in root if child.tag not in LEFT_OUT and id(child) not in bridges]
    return [root, *(place for child in kept for place in places(child))]


def parsed(root: ET.Element) -> Machine:
    return parse_domain(ET.tostring(root, encoding="unicode"), source="lab")


def problems(root: ET.Element) -> list[Problem]:
    """Why a domain is refused; empty where it is read, and its machine can be written down and read again."""
    try:
        machine = parsed(root)
    except InputInvalid as error:
        return error.problems or [Problem("", "refused without a problem", "")]
    assert Machine.model_validate_json(machine.model_dump_json()) == machine
    return []


@settings(max_examples=300)
@given(st.sampled_from(sorted(DOMAINS)), st.sampled_from(["attribute", "element", "text", "deep"]), st.data())
def test_whatever_is_added_is_told(
    name: str, kind: Literal["attribute", "element", "text", "deep"], data: st.DataObject
) -> None:
    root = ET.fromstring(DOMAINS[name])  # noqa: S314 (ours)
    before = parsed(root)
    able = [one for one in places(root) if kind == "attribute" or one.tag != "address"]  # told in a word, as a place
    place = data.draw(st.sampled_from(able), label="place")
    if kind == "attribute":
        place.set("unheardOf", NEEDLE)
    elif kind == "text" and len(place):
        place.text = NEEDLE
    elif kind == "deep":
        ET.SubElement(ET.SubElement(place, "unheard"), "of", state=NEEDLE)
    else:
        ET.SubElement(place, NEEDLE)
    after = parsed(root)
    told, was = after.model_dump_json(), before.model_dump_json()
    hidden = told.count("it may be a secret") > was.count("it may be a secret")
    secret = any(word in place.tag for word in ("secret", "auth", "cookie"))
    replaced = place.tag.endswith("env") or secret or "query" in place.attrib
    assert NEEDLE in told or hidden or replaced, place.tag


@settings(max_examples=200)
@given(st.sampled_from(sorted(DOMAINS)), st.data())
def test_a_domain_that_lacks_something_is_read_or_refused_with_a_line(name: str, data: st.DataObject) -> None:
    root = ET.fromstring(DOMAINS[name])  # noqa: S314 (ours)
    parents = [one for one in root.iter() if len(one)]
    parent = data.draw(st.sampled_from(parents), label="parent")
    parent.remove(data.draw(st.sampled_from(list(parent)), label="removed"))
    assert all(problem.where.startswith("domain.xml:") and problem.fix for problem in problems(root))


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(DOMAINS)), st.sampled_from(["", "-1", "0", "x", "9" * 30, "\u0663", "1e9", " 7 "]), st.data()
)
def test_a_value_that_is_none_is_refused_or_told_and_never_breaks(name: str, value: str, data: st.DataObject) -> None:
    root = ET.fromstring(DOMAINS[name])  # noqa: S314 (ours)
    place = data.draw(st.sampled_from(list(root.iter())), label="place")
    if place.attrib and data.draw(st.booleans(), label="an attribute"):
        place.set(data.draw(st.sampled_from(sorted(place.attrib))), value)
    elif not len(place):
        place.text = value
    assert all(problem.where.startswith("domain.xml:") and problem.fix for problem in problems(root))
