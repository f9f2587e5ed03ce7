"""What a guest has sealed to its TPM at libvirt opens in its copy in real KubeVirt, and again after a stop and a start.

With the product's own commands and account (`moves`). The guest is a Debian with tpm2-tools: at its first boot it makes
a secret and seals it, at each later one it opens that and says in a file whether it is the same. What lies on the claim
is read from the volume below it. The firmware is not part of it: nothing is sealed to PCRs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.errors import KubeferryError
from kubeferry.images.tpm import FILE
from kubeferry.life.events import TpmCarried
from kubeferry.outside.process import run
from kubeferry.targets.kubevirt import api
from kubeferry.targets.kubevirt.guest_access import GuestAccess
from lab import debian, estate
from lab.cluster import provisioner
from lab.daemons import virsh
from lab.domains import DiskFile, Machine, Place, identity
from lab.ground import Ground, until
from lab.guests import MIB, Spec
from lab.tenant import Tenant
from tests.cluster.moves import Move, moving
from tests.needs import needs

pytestmark = [
    needs("swtpm", "swtpm_setup", *debian.PROGRAMS),
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("libvirt"),
]

NAMESPACE = "kubeferry-tpm"
PREFIX = "kftpm-"
NAME = f"{PREFIX}sealed"
SAID = "/opened"
# The secret is on no disk: only its digest is, and what the TPM has made of it.
SEALING = """\
export TPM2TOOLS_TCTI=device:/dev/tpmrm0
cd /root
tpm2_createprimary -Q -C o -c /run/primary
if [ -e digest ]; then
    tpm2_load -Q -C /run/primary -u sealed.pub -r sealed.priv -c /run/object
    tpm2_unseal -Q -c /run/object | sha256sum | cmp - digest
    echo "boot $(cat /boots) has opened it" >/opened
else
    secret=$(od -An -N16 -tx1 /dev/urandom)
    printf %s "$secret" | tpm2_create -Q -C /run/primary -i - -u sealed.pub -r sealed.priv
    printf %s "$secret" | sha256sum >digest.new
    mv digest.new digest
    sync
fi
"""
SEALED = Machine(
    "sealed",
    "Keeps a secret",
    "A TPM with something in it.",
    Spec("sealed", size=1024 * MIB, payload=0, units=(("lab-sealing.service", SEALING),)),
    (DiskFile("vda", "virtio", "sealed.raw", "raw"),),
    memory_mib=512,
    tpm=True,
)
POLICY = {
    "stop": {"agentSeconds": 120, "acpiSeconds": 60},
    "probes": [
        {"kind": "agent", "timeoutSeconds": 240},
        {"kind": "file", "path": SAID, "expect": "boot 2 has opened it", "timeoutSeconds": 240},
    ],
    "storage": {"volumeMode": "Filesystem", "accessMode": "ReadWriteOnce"},
}


@pytest.fixture(scope="module")
def move(
    own: Ground, kubevirt: Ground, make_tenant: Callable[[str], Tenant], prefect: str, tmp_path_factory: Any
) -> Iterator[Move]:
    with moving(own, make_tenant(NAMESPACE), tmp_path_factory, POLICY) as made:
        domain = estate.add(SEALED, made.estate, prefix=PREFIX)
        until(lambda: bool(estate.read_inside(domain, "/root/digest")), seconds=120, what="the guest to seal a secret")
        made.run(domain)
        yield made


def test_the_copy_opens_what_was_sealed_at_the_source(move: Move) -> None:
    told = move.report[NAME]
    assert told["verdict"] == "proven", told["why"]
    (carried,) = [event for event in move.events(NAME) if isinstance(event, TpmCarried)]
    source = at_source(move)
    assert carried.size_bytes == len(source)
    assert not any(one.id == "tpm.state-lost" for one in move.plan.entries[0].concerns)


def test_kubevirt_has_taken_the_claim_and_made_no_other(move: Move) -> None:
    entry = move.plan.entries[0]
    claims = move.ground.read("get", "pvc", f"--namespace={NAMESPACE}", "--selector=persistent-state-for")["items"]
    assert [one["metadata"]["name"] for one in claims] == [entry.tpm and entry.tpm.claim]


def test_no_secret_of_a_mover_is_left(move: Move) -> None:
    ours = "--selector=app.kubernetes.io/managed-by=kubeferry"
    assert move.ground.read("get", "secret", f"--namespace={NAMESPACE}", ours)["items"] == []


def test_it_opens_after_a_stop_and_a_start_there(move: Move) -> None:
    put_strategy(move, "Halted")
    until(lambda: not instances(move), seconds=120, what="the copy to be off")
    assert stored(move) != at_source(move), "KubeVirt's TPM counts its starts: it went on with what was carried"
    put_strategy(move, "Always")
    until(lambda: said(move) == "boot 3 has opened it", seconds=200, what="the copy to open it once more")


def test_a_rollback_leaves_nothing_there_and_the_source_opens_it_still(move: Move) -> None:
    before = at_source(move)
    move.kubeferry("rollback", "plan.yaml", "--machine", NAME, "--lose-writes")
    entry = move.plan.entries[0]
    assert entry.tpm is not None
    assert entry.tpm.claim not in move.ground.names("pvc", NAMESPACE)
    assert not instances(move)
    assert virsh("domstate", NAME).strip() == "running"
    assert len(at_source(move)) == len(before)
    opened = "boot 2 has opened it\n"
    until(lambda: estate.read_inside(NAME, SAID) == opened, seconds=200, what="the source to open it once more")


def at_source(move: Move) -> bytes:
    """What libvirt keeps of the machine's TPM."""
    name = str(identity(SEALED, Place(move.estate.resolve(), PREFIX)))
    return (Path("/var/lib/libvirt/swtpm") / name / "tpm2" / FILE).read_bytes()


def instances(move: Move) -> list[str]:
    return move.ground.names("vmi", NAMESPACE)


def put_strategy(move: Move, strategy: str) -> None:
    """As its owner stops it, and starts it again."""
    name, patch = move.plan.entries[0].target_name, json.dumps({"spec": {"runStrategy": strategy}})
    move.ground.kubectl("patch", "vm", name, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")


def said(move: Move) -> str:
    """What the copy's guest says of what it has opened; empty where it says nothing yet."""
    access = GuestAccess(api.connect(str(move.tenant.kubeconfig), None), move.plan.entries[0], 0)
    try:
        return "" if access.died() else access.read_file(SAID, 10).decode().strip()
    except KubeferryError:
        return ""


def stored(move: Move) -> bytes:
    """What lies on the volume below the claim."""
    entry = move.plan.entries[0]
    assert entry.tpm is not None
    claim = move.ground.read("get", "pvc", entry.tpm.claim, f"--namespace={NAMESPACE}")
    volume = move.ground.read("get", "pv", claim["spec"]["volumeName"])
    image, dest = volume["metadata"]["annotations"][provisioner.BACKING_FILE], move.folder / "stored"
    run(["sync", "--file-system", image])
    run(["debugfs", "-R", f"dump /{entry.tpm.file} {dest}", image])
    return dest.read_bytes()
