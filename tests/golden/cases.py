"""What golden tests have in common: an assessment as it is reviewed, and the file that it is held against."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from kubeferry.documents import NetworkMap, Policy, Probe, StoragePolicy
from kubeferry.model import Carried, Machine
from mappings.admission.check import check_all
from mappings.admission.schema import check_manifest
from mappings.assessment import Assessment
from mappings.fates.carried import leaves

LAN = NetworkMap(target="multus", multus_name="lab/lan")
VM_NETWORK = NetworkMap(source_kind="network", source_name="VM Network", target="pod")


def policy_with(*networks: NetworkMap) -> Policy:
    """What users usually say, with these networks."""
    return Policy(
        namespace="migrated",
        storage=StoragePolicy(storage_class="fast"),
        probes=(Probe(kind="tcp", port=22),),
        networks=networks,
    )


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


def assert_reviewed(content: Any, expected: Path) -> None:
    """The content is what stands in the file; it is written where it is missing or asked for."""
    if os.environ.get("KUBEFERRY_REGENERATE") == "1" or not expected.exists():
        missing = not expected.exists()
        text = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=160)
        expected.write_text(text, encoding="utf-8")
        assert not missing, f"{expected.name} was missing and has been written: read it, then run the test again"
    assert content == yaml.safe_load(expected.read_text(encoding="utf-8"))


def assert_a_cluster_takes(found: Assessment) -> None:
    """Its manifests have the right fields, and those of a machine that can be planned pass admission."""
    assert [problem for manifest in found.manifests for problem in check_manifest(manifest)] == []
    if found.verdict not in {"blocked", "incomplete"}:
        assert check_all(found.manifests) == []


def assert_every_fact_is_told(machine: Machine, found: Assessment) -> None:
    """Each fact of the machine has one line, and that line a rule."""
    assert [leaf.path for leaf in leaves(machine)] == [line.field for line in found.carried]
    assert len({line.field for line in found.carried}) == len(found.carried)
    assert not [line for line in found.carried if line.reason == "kubeferry has no rule for it"]
