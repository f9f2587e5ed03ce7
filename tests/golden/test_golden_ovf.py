"""Golden cases: an OVF, the machines that are read from it, and everything that is made of them.

`ova/expected/NAME.yaml` holds, by machine, what becomes of `ova/NAME.ovf`. The OVFs are ours, in the words of the
products that they are called after. After a wanted change: `KUBEFERRY_REGENERATE=1 .venv/bin/pytest tests/golden`, then
read the difference line by line: it is what users' machines would get.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kubeferry.documents import Inventory
from kubeferry.model import Machine
from kubeferry.sources.ovf.files import Export, uri_of
from kubeferry.sources.ovf.machines import parse_ovf
from kubeferry.sources.ovf.manifest import Manifest
from kubeferry.sources.ovf.references import File
from kubeferry.sources.ovf.tar_members import Member
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
INPUTS = sorted((HERE / "ovf").glob("*.ovf"))
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
POLICY = policy_with(VM_NETWORK, LAN)


def export_of(path: Path) -> Export:
    """An OVA in which everything is that the OVF names, with a manifest unless its name says that there is none."""
    members: dict[str, Member] = {}
    for file in ET.fromstring(path.read_bytes()).iter():  # noqa: S314 (ours)
        told = {key.rpartition("}")[2]: value for key, value in file.attrib.items()}
        if file.tag.rpartition("}")[2] != "File":
            continue
        size, step = int(told.get("size", "65536")), int(told.get("chunkSize", "0"))
        names = [f"{told['href']}.{at:09}" for at in range(-(-size // step))] if step else [told["href"]]
        for at, name in enumerate(names):
            own = min(step, size - at * step) if step else size
            members[name] = Member(name, Path(f"/exports/{path.stem}.ova"), 512 * (len(members) + 1), own)
    digests = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in members}
    told_digests = Manifest({} if "no-manifest" in path.stem else digests, "it.mf")
    return Export(Path(f"/exports/{path.stem}.ova"), members, Member("x", path, 0, 0), told_digests, None, True)


def machines_from(path: Path) -> list[Machine]:
    export = export_of(path)

    def locate(file: File, shape: str | None, stream: bool) -> str:
        return uri_of(export, file, shape, stream=stream)

    text = path.read_text(encoding="utf-8")
    return parse_ovf(text, source="exports", where=path.name, name=f"{path.stem}.ova", locate=locate)


def assessed(path: Path) -> list[Assessment]:
    inventory = Inventory(
        source="exports",
        source_kind="ova",
        observed_at="2026-11-24T00:00:00Z",
        machines=tuple(machines_from(path)),
    )
    return assess(inventory, POLICY)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_becomes_of_an_ovf_is_what_was_reviewed(path: Path) -> None:
    content = {found.name: content_of(found) for found in assessed(path)}
    assert_reviewed(content, HERE / "ovf" / "expected" / f"{path.stem}.yaml")


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_its_manifests_are_ones_that_a_cluster_takes(path: Path) -> None:
    for found in assessed(path):
        assert_a_cluster_takes(found)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_fact_has_one_line_and_a_rule(path: Path) -> None:
    for machine, found in zip(machines_from(path), assessed(path), strict=True):
        assert_every_fact_is_told(machine, found)


def test_there_are_enough_cases_and_each_has_its_input() -> None:
    assert len(INPUTS) >= 10
    assert {path.stem for path in (HERE / "ovf" / "expected").glob("*.yaml")} == {path.stem for path in INPUTS}


def test_the_cases_show_most_rules_of_exports() -> None:
    raised = {concern.id for path in INPUTS for found in assessed(path) for concern in found.concerns}
    assert {one for one in raised if one.startswith("ova.")} >= {
        "ova.format-unread",
        "ova.original",
        "ova.no-digest",
        "ova.required",
        "ova.environment",
        "ova.start-order",
        "ova.options",
    }
    assert len(raised) >= 30
