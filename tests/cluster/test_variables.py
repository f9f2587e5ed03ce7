"""UEFI variables that a guest has set at libvirt are there when real KubeVirt boots its copy, and after each stop.

With the product's own commands and account (`moves`). What the guest says of its firmware is read through its agent;
what lies on the claim is read from the volume below it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeferry.images.variables import variables_of
from kubeferry.life.events import VariablesCarried
from kubeferry.outside.process import run
from lab import estate
from lab.cluster import provisioner
from lab.domains import DiskFile, Machine, Place, variables
from lab.ground import Ground
from lab.guests import Spec
from lab.tenant import Tenant
from tests.cluster.moves import Move, moving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.xdist_group("libvirt")]

NAMESPACE = "kubeferry-variables"
PREFIX = "kfv-"
MARKED = Machine(
    "marked",
    "Keeps a mark",
    "UEFI, with a variable of its own.",
    Spec("marked"),
    (DiskFile("vda", "virtio", "marked.raw", "raw"),),
    firmware="uefi",
)
MARK = "LabMark-0b5f4a3e-6d2c-4f8e-9a71-c0ffee000001"
SAID = "set at the source"
POLICY = {
    "stop": {"agentSeconds": 60, "acpiSeconds": 60},
    "probes": [
        {"kind": "agent", "timeoutSeconds": 240},
        {"kind": "file", "path": "/www/mark", "expect": SAID, "timeoutSeconds": 240},
    ],
    "storage": {"volumeMode": "Filesystem", "accessMode": "ReadWriteOnce"},
}


@pytest.fixture(scope="module")
def move(
    own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant], prefect: str, tmp_path_factory: Any
) -> Iterator[Move]:
    with moving(own, make_tenant(NAMESPACE), tmp_path_factory, POLICY) as made:
        domain = estate.add(MARKED, made.estate, prefix=PREFIX)
        estate.write_variable(domain, MARK, SAID)
        made.run(domain)
        yield made


def test_the_guest_finds_its_variable_in_real_kubevirt(move: Move) -> None:
    told = move.report[f"{PREFIX}marked"]
    assert told["verdict"] == "proven"
    probes = {probe["kind"]: probe["evidence"] for probe in told["probes"]}
    assert SAID in probes["file"]


def test_what_was_carried_is_what_the_source_has(move: Move) -> None:
    (carried,) = [event for event in move.events(f"{PREFIX}marked") if isinstance(event, VariablesCarried)]
    store = variables(MARKED, Place(move.estate, PREFIX)).read_bytes()
    assert carried.source_digest == hashlib.sha256(store).hexdigest()
    assert "LabMark" in carried.names
    assert not any(one.id == "firmware.nvram-lost" for one in move.plan.entries[0].concerns)


def test_kubevirt_has_taken_the_claim_and_made_no_other(move: Move) -> None:
    entry = move.plan.entries[0]
    claims = move.ground.read("get", "pvc", f"--namespace={NAMESPACE}", "--selector=persistent-state-for")["items"]
    assert [one["metadata"]["name"] for one in claims] == [entry.variables and entry.variables.claim]
    instance = move.ground.read("get", "vmi", entry.target_name, f"--namespace={NAMESPACE}")
    kept = [one for one in instance["status"]["volumeStatus"] if one["name"].startswith("persistent-state-for")]
    assert kept[0]["persistentVolumeClaimInfo"]["claimName"] == claims[0]["metadata"]["name"]
    assert SAID.encode() in {one.data for one in variables_of(stored(move, claims[0])) if one.name == "LabMark"}


def stored(move: Move, claim: Any) -> bytes:
    """The store as it lies on the volume below a claim."""
    volume = move.ground.read("get", "pv", claim["spec"]["volumeName"])
    image, dest = volume["metadata"]["annotations"][provisioner.BACKING_FILE], move.folder / "variables.fd"
    run(["sync", "--file-system", image])
    run(["debugfs", "-R", f"dump /nvram/{claim['metadata']['labels']['persistent-state-for']}_VARS.fd {dest}", image])
    return dest.read_bytes()
