"""Uploads into a real cluster, as the pipeline's own account: sent through CDI's proxy, read back by a real Job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from converters.endpoints.upload import Upload
from converters.engine.disks import copy_disk, parse_ref, prepare_target
from kubeferry.documents import (
    Entry,
    Inventory,
    MoverJob,
    MoverProgress,
    MoverResult,
    Policy,
    Probe,
    StoragePolicy,
    TargetConfig,
)
from kubeferry.errors import Interrupted, TargetRefused
from kubeferry.ledger import External
from kubeferry.model import DiskRef, Guest
from kubeferry.outside import stopping
from kubeferry.targets import open_target
from kubeferry.targets.kubevirt import api, kinds, upload_spec
from kubeferry.targets.kubevirt.target import KubevirtTarget
from lab import guests
from lab.ground import Ground
from lab.machines import a_disk, a_machine
from lab.tenant import Tenant
from mappings.plan import make_plan

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(200), pytest.mark.usefixtures("kubevirt")]

NAMESPACE = "kubeferry-uploads"
MIB = 1 << 20
SIZE = 48 * MIB


@pytest.fixture(scope="module")
def account(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant(NAMESPACE)


@pytest.fixture(scope="module")
def config(own: Ground, account: Tenant, tmp_path_factory: pytest.TempPathFactory) -> TargetConfig:
    """CDI tells neither address nor authorities where nobody exposed its proxy: so both are given, as one would."""
    authorities = tmp_path_factory.mktemp("proxy") / "proxy-ca.crt"
    authorities.write_text(
        own.read("get", "configmap", "cdi-uploadproxy-signer-bundle", "-n=cdi")["data"]["ca-bundle.crt"]
    )
    return TargetConfig(
        kind="kubevirt",
        kubeconfig=str(account.kubeconfig),
        transfer="upload",
        upload_url=f"https://{own.read('get', 'service', 'cdi-uploadproxy', '-n=cdi')['spec']['clusterIP']}",
        upload_ca=str(authorities),
        upload_server_name="cdi-uploadproxy",
        movers=own.movers(),
    )


@dataclass
class Moving:
    """One machine on its way in."""

    ground: Ground
    target: KubevirtTarget
    entry: Entry
    source: Path
    written: list[External] = field(default_factory=list)

    def ledger(self, thing: External) -> None:
        if thing.kind != "network-policy":  # all machines of a plan share it
            assert not self.target.exists(thing), f"{thing} was made before the ledger had it"
        self.written.append(thing)

    def job(self, action: Any, attempt: int = 0) -> MoverJob:
        room = self.target.prepare(self.entry, self.ledger)["vda"]
        return MoverJob(
            name=f"{self.entry.target_name}-vda-{action}-{attempt}",
            action=action,
            machine=self.entry.name,
            disk="vda",
            source=None
            if action == "verify"
            else DiskRef(uri=self.source.as_uri(), size_bytes=self.source.stat().st_size),
            target=room.ref,
            state_dir=room.state_dir,
            makes_target=room.makes_target,
            plan="0123456789abcdef",
        )

    def move(self, action: Any, attempt: int = 0) -> tuple[MoverResult, list[MoverProgress]]:
        job = self.job(action, attempt)
        shown: list[MoverProgress] = []
        self.target.submit(job, self.ledger)
        return self.target.watch(job, shown.append), shown

    def claim(self) -> dict[str, Any]:
        return dict(self.ground.read("get", "pvc", self.entry.disks[0].claim, f"--namespace={NAMESPACE}"))

    def volumes(self) -> list[str]:
        return self.ground.names("datavolumes", NAMESPACE)


@pytest.fixture
def moving(own: Ground, config: TargetConfig, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Moving]:
    """A machine with a disk of data, zeros and holes; `mode` and `storage_class` by indirect parameters."""
    mode, storage_class = getattr(request, "param", ("Block", "lab"))
    source = tmp_path / "disk.img"
    with source.open("wb") as disk:
        disk.write(os.urandom(5 * MIB) + bytes(3 * MIB) + b"\x55" * MIB)
        disk.seek(SIZE - 3 * MIB - 512)
        disk.write(os.urandom(MIB))
        disk.truncate(SIZE)
    name = f"{request.node.originalname.removeprefix('test_')[:30].replace('_', '-').strip('-')}-{mode[0].lower()}"
    moved = Moving(own, connect(config), an_entry(name, source, mode, storage_class), source)
    yield moved
    stopping.reset()
    moved.target.remove(moved.entry)
    for thing in moved.written:
        if thing.kind != "network-policy":
            assert not moved.target.exists(thing), f"{thing} is left"
    moved.target.close()


def connect(config: TargetConfig) -> KubevirtTarget:
    target = open_target(config)
    assert isinstance(target, KubevirtTarget)
    return target


def an_entry(name: str, source: Path, mode: Any, storage_class: str, **machine: Any) -> Entry:
    facts = {"power": "off", "guest": Guest(os_id="debian12", agent_channel=True)} | machine
    made = a_machine(name, a_disk(source), memory_bytes=256 * MIB, **facts)
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01", machines=(made,))
    policy = Policy(
        namespace=NAMESPACE,
        storage=StoragePolicy(storage_class=storage_class, volume_mode=mode),
        probes=(Probe(kind="agent"),),
    )
    plan = make_plan(inventory, policy, name="uploads", created_at="2026-01-01")
    assert not plan.excluded, plan.excluded
    return plan.entries[0]


def root_of(source: Path, tmp_path: Path) -> str:
    """The root of the source by the ordinary way: a local copy of it."""
    target, fingerprint = parse_ref(str(tmp_path / "local.img")), tmp_path / "local.kff"
    prepare_target(target, source.stat().st_size, fingerprint)
    return copy_disk(parse_ref(str(source)), target, fingerprint).root


@pytest.mark.parametrize(
    "moving", [("Block", "lab"), ("Filesystem", "lab"), ("Block", "lab-first-consumer")], indirect=True
)
def test_a_disk_is_uploaded_and_proven_in_the_cluster(moving: Moving, tmp_path: Path) -> None:
    sent, _ = moving.move("copy")
    assert sent.ok, sent.error
    assert sent.root == root_of(moving.source, tmp_path)
    assert (sent.size_bytes, sent.action) == (SIZE, "copy")
    assert sent.read_bytes <= 10 * MIB + MIB, "holes are not read"
    assert moving.volumes() == [], "the DataVolume is gone"
    assert not moving.claim()["metadata"].get("ownerReferences"), "the claim is owned by nothing"
    assert moving.move("copy")[0] == sent, "the same job is not sent twice"
    verified, _ = moving.move("verify")
    assert verified.ok, verified.error
    assert verified.root == sent.root
    assert "Job" in verified.where
    told = moving.target.apply(moving.entry, moving.ledger, dry_run=True)
    assert any("PersistentVolumeClaim" in line and "refused" not in line for line in told)


def test_damage_is_found_and_sent_again(moving: Moving) -> None:
    sent, _ = moving.move("copy")
    assert sent.ok, sent.error
    with Path(moving.ground.device(NAMESPACE, moving.entry.disks[0].claim)).open("r+b") as device:
        device.seek(2 * MIB + 7)
        device.write(b"damaged")
        os.fsync(device.fileno())
    found, _ = moving.move("verify")
    assert (found.ok, found.differing, found.first_differing_offset) == (False, 1, None)
    assert found.error is not None
    assert found.error.type == "IntegrityFailed"
    repaired, _ = moving.move("repair")
    assert repaired.ok, repaired.error
    assert (repaired.action, repaired.root) == ("repair", sent.root)
    assert moving.move("verify", attempt=1)[0].ok


def test_what_was_begun_and_did_not_end_begins_anew(moving: Moving) -> None:
    job = moving.job("copy").model_copy(update={"bandwidth_bytes_per_second": 2 * MIB})
    moving.target.submit(job, moving.ledger)

    def stop(progress: MoverProgress) -> None:
        if progress.phase == "uploading" and progress.done_bytes:
            stopping.request()

    with pytest.raises(Interrupted):
        moving.target.watch(job, stop)
    stopping.reset()
    first = moving.claim()["metadata"]["uid"]
    sent, _ = moving.move("copy")
    assert sent.ok, sent.error
    assert moving.claim()["metadata"]["uid"] != first, "another claim"
    assert moving.move("verify")[0].ok


def test_a_disk_that_looks_like_an_image_is_refused_before_it_is_sent(moving: Moving) -> None:
    with moving.source.open("r+b") as disk:
        disk.write(b"QFI\xfb\x00\x00\x00\x03")
    result, _ = moving.move("copy")
    assert not result.ok
    assert result.error is not None
    assert result.error.type == "HostileImage"
    assert "qcow2" in result.error.what


def test_a_disk_that_is_too_large_is_refused_before_anything_is_made(config: TargetConfig, moving: Moving) -> None:
    target = connect(config.model_copy(update={"upload_limit_bytes": SIZE - 1}))
    with pytest.raises(TargetRefused, match="cannot be uploaded"):
        target.prepare(moving.entry, lambda thing: pytest.fail(f"{thing} was to be made"))
    told = [one.id for one in target.concerns((moving.entry,))]
    assert "upload.too-large" in told
    target.close()


def test_a_proxy_that_is_not_the_one_we_know_gets_nothing(config: TargetConfig, moving: Moving) -> None:
    moving.target = connect(config.model_copy(update={"upload_server_name": "elsewhere.example"}))
    result, _ = moving.move("copy")
    assert result.error is not None
    assert (result.error.type, result.ok) == ("TargetRefused", False)
    assert "not the one that we know" in result.error.what


def test_the_real_proxys_refusals_are_told(config: TargetConfig, account: Tenant, moving: Moving) -> None:
    """A token that is none; and, with a good one, a claim whose upload has ended."""
    cluster = api.connect(str(account.kubeconfig), None)
    proxy = upload_spec.proxy_of(config, [])
    assert proxy is not None
    with pytest.raises(TargetRefused, match="token"):
        Upload(proxy.url, "nonsense", ca=config.upload_ca, server_name=config.upload_server_name)
    assert moving.move("copy")[0].ok
    claim = moving.entry.disks[0].claim
    token = cluster.create(upload_spec.token_request(NAMESPACE, claim), kinds.UPLOAD_TOKEN_REQUEST)["status"]["token"]
    with pytest.raises(TargetRefused, match="already"):
        Upload(proxy.url, token, ca=config.upload_ca, server_name=config.upload_server_name)
    cluster.close()


def test_a_guest_boots_from_what_was_uploaded(own: Ground, config: TargetConfig, tmp_path: Path) -> None:
    source = guests.build_guest(guests.Spec("cluster"), tmp_path / "guest.img")
    moved = Moving(own, connect(config), an_entry("uploaded-guest", source, "Block", "lab"), source)
    try:
        assert moved.move("copy")[0].ok
        assert moved.move("verify")[0].ok
        moved.target.apply(moved.entry, moved.ledger, dry_run=True)
        moved.target.apply(moved.entry, moved.ledger, dry_run=False)
        moved.target.start(moved.entry, moved.ledger)
        seen = moved.target.observe(moved.entry, {})
        assert [answer.ok for answer in seen.probes] == [True], seen
        assert seen.screenshot is not None, "the account's rights are enough for a picture"
    finally:
        moved.target.stop(moved.entry)
        moved.target.remove(moved.entry)
        moved.target.close()
