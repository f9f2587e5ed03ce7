"""Movers of a real cluster that read EBS snapshots of the lab's cloud, over the link between node and machine.

What this does not show: the lab's network enforces no NetworkPolicy, and its cloud has no name to ask DNS for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import MoverJob
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import job_spec, names
from kubeferry.uris import EbsSnapshot
from lab.cluster import mover_image
from lab.cluster.network import OUTSIDE_ADDRESS
from lab.ec2 import Cloud
from lab.ground import IMAGE_SETTING, Ground
from lab.rig import PLAN, SIZE, Rig, rig
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

SECRET = "kubeferry-aws"  # noqa: S105 (the name of a Secret)
VOLUME, SNAPSHOT = "vol-1", "snap-00000001"
BLOCK_BYTES = 512 << 10

Make = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(scope="module")
def tenant(own: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-ec2")


@pytest.fixture
def cloud(own: Ground) -> Iterator[Cloud]:
    with Cloud(OUTSIDE_ADDRESS) as made:
        yield made


@pytest.fixture
def make(own: Ground, tenant: Tenant, tmp_path: Path) -> Make:
    image = os.environ.get(IMAGE_SETTING, mover_image.MOVER)

    def made(name: str, **movers: Any) -> AbstractContextManager[Rig]:
        return rig(own, tenant, tmp_path, name, storage={"volume_mode": "Filesystem"}, movers={"image": image} | movers)

    return made


def keys(ground: Ground, tenant: Tenant, values: dict[str, str]) -> None:
    """The Secret, as docs/operations.md says."""
    metadata = {"name": SECRET, "namespace": tenant.namespace}
    ground.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})


def job(moved: Rig, cloud: Cloud, action: Any, secret: str = SECRET) -> MoverJob:
    room = moved.target.prepare(moved.entry, moved.ledger)["vda"]
    uri = EbsSnapshot("eu-west-1", SNAPSHOT, endpoint_url=cloud.url).uri()
    return MoverJob(
        name=f"{moved.entry.target_name}-vda-{action}-1",
        action=action,
        machine=moved.entry.name,
        disk="vda",
        source=None if action == "verify" else DiskRef(uri=uri, size_bytes=SIZE, credential=secret),
        target=room.ref,
        state_dir=room.state_dir,
        makes_target=room.makes_target,
        fence=1,
        plan=PLAN,
        workers=8,
    )


def frozen(moved: Rig, cloud: Cloud) -> None:
    """The rig's disk is a volume's content, and there is a snapshot of it."""
    cloud.load(VOLUME, moved.disk)
    cloud.store.freeze(SNAPSHOT, VOLUME, SIZE, 0)


def test_a_snapshot_is_copied_into_a_claim_and_read_back(make: Make, own: Ground, tenant: Tenant, cloud: Cloud) -> None:
    keys(own, tenant, cloud.environment)
    with make("from-ec2") as moved:
        frozen(moved, cloud)
        copied = moved.run(job(moved, cloud, "copy"))
        assert copied.ok, copied.error
        assert copied.calls["GetSnapshotBlock"] == SIZE // BLOCK_BYTES
        assert copied.peak_memory_bytes < 256 << 20, "half of what its pod may take"
        verified = moved.run(job(moved, cloud, "verify"))
        assert verified.ok, verified.error
        assert verified.root == copied.root
        assert moved.arrived()
        policy = own.read("get", "networkpolicy", names.network_policy(PLAN), f"--namespace={tenant.namespace}")
        assert job_spec.allowed_ends(policy) == {(OUTSIDE_ADDRESS, int(cloud.url.rpartition(":")[2]))}


def test_keys_that_aws_does_not_know_are_told_and_not_shown(
    make: Make, own: Ground, tenant: Tenant, cloud: Cloud
) -> None:
    secret = "not-to-be-seen-anywhere"  # noqa: S105
    keys(own, tenant, cloud.environment | {"AWS_ACCESS_KEY_ID": "AKIASTRANGER", "AWS_SECRET_ACCESS_KEY": secret})
    with make("stranger") as moved:
        frozen(moved, cloud)
        result = moved.run(job(moved, cloud, "copy"))
        assert result.error is not None
        assert result.error.type == "LoginLost"
        assert "AWS does not accept our credentials" in result.error.what
        seen = result.model_dump_json() + own.kubectl("get", "jobs,pods", "-o=yaml", f"--namespace={tenant.namespace}")
        assert secret not in seen


def test_a_secret_that_is_not_there_is_told(make: Make, cloud: Cloud) -> None:
    with make("no-keys", start_seconds=6) as moved:
        result = moved.run(job(moved, cloud, "copy", secret="nothing"))  # noqa: S106 (the name of a Secret)
        assert result.error is not None
        assert result.error.type == "TargetRefused"
        assert 'CreateContainerConfigError: secret "nothing" not found' in result.error.why
        assert "Make the Secret" in result.error.fix
