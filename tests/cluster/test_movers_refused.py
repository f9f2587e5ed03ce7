"""What a cluster or a hypervisor refuses, and what never comes: a clear error with a fix, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import MoverResult
from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable
from lab.ground import Ground
from lab.relay import Fault, relay
from lab.rig import Rig, rig
from lab.tenant import KEY_SECRET, Tenant, account

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def tenant(ground: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-refused")


@pytest.fixture
def make(ground: Ground, tenant: Tenant, tmp_path: Path) -> Callable[..., Any]:
    def made(name: str, **options: Any) -> Any:
        return rig(ground, tenant, tmp_path, name, **options)

    return made


@contextmanager
def standing(ground: Ground, namespace: str, *objects: dict[str, Any]) -> Iterator[None]:
    """Objects of the administrator that stand in the way."""
    ground.apply(*objects)
    yield
    for one in objects:
        kind, name = one["kind"], one["metadata"]["name"]
        ground.kubectl("delete", kind, name, f"--namespace={namespace}")


def quota(namespace: str, **hard: str) -> dict[str, Any]:
    spec = {"hard": {key.replace("_", "."): value for key, value in hard.items()}}
    metadata = {"name": "tight", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def check_told(result: MoverResult, kind: str, *words: str) -> None:
    """The error says what, why, and what to do."""
    assert not result.ok
    assert result.error is not None
    assert result.error.type == kind, result.error
    said = f"{result.error.what} {result.error.why} {result.error.fix}"
    assert [word for word in words if word not in said] == [], said
    assert result.error.fix


def check_gone(moved: Rig) -> None:
    moved.end()
    assert moved.left() == []
    assert moved.pods() == []


# --- room -------------------------------------------------------------------------------------------------------------


def test_a_quota_that_has_no_room_for_the_claims(make: Callable[..., Any], ground: Ground, tenant: Tenant) -> None:
    with make("no-storage") as moved:
        with (
            standing(ground, tenant.namespace, quota(tenant.namespace, requests_storage="1Mi")),
            pytest.raises(TargetRefused) as refused,
        ):
            moved.target.prepare(moved.entry, moved.ledger)
        assert "exceeded quota" in refused.value.why
        assert "Raise the namespace's quota" in refused.value.fix
        check_gone(moved)


def test_a_quota_that_has_no_room_for_the_mover(make: Callable[..., Any], own: Ground, tenant: Tenant) -> None:
    with make("no-pods") as moved:
        with standing(own, tenant.namespace, quota(tenant.namespace, pods="0")):
            check_told(moved.run(moved.job()), "TargetRefused", "exceeded quota", "Raise the namespace's quota")
        assert moved.run(moved.job()).ok, "with room, the same call goes through"
        check_gone(moved)


def test_a_claim_that_stays_pending(make: Callable[..., Any], own: Ground, tenant: Tenant) -> None:
    nowhere = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "kubeferry-nowhere"},
        "provisioner": "example.com/nobody",
    }
    with standing(own, tenant.namespace, nowhere):
        storage = {"storage_class": "kubeferry-nowhere"}
        with make("pending", storage=storage, movers={"start_seconds": 6}) as moved:
            result = moved.run(moved.job())
            check_told(result, "TargetRefused", "does not run, after", "laim", "storage class")
            assert any("waiting" in shown.phase for shown in moved.shown), "the wait was told while it lasted"
            check_gone(moved)


# --- movers that cannot start, or reach nothing -----------------------------------------------------------------------


def test_an_image_that_is_not_there(make: Callable[..., Any], own: Ground) -> None:
    with make("no-image", movers={"image": "localhost/kubeferry-lab/nothing:1"}) as moved:
        check_told(moved.run(moved.job()), "TargetRefused", "ErrImageNeverPull", "target.movers.image")
        check_gone(moved)


def test_a_secret_that_is_not_there(make: Callable[..., Any], own: Ground) -> None:
    with make("no-key", access={"secret": "nothing"}, movers={"start_seconds": 6}) as moved:
        check_told(moved.run(moved.job()), "TargetRefused", 'secret "nothing" not found', "Make the Secret")
        check_gone(moved)


def test_a_hypervisor_with_another_key(make: Callable[..., Any], own: Ground) -> None:
    other = " ".join(own.hypervisor().key.with_suffix(".pub").read_text().split()[:2])
    with make("wrong-host", access={"host_key": other}) as moved:
        check_told(moved.run(moved.job()), "SourceRefused", "host")
        check_gone(moved)


def test_a_key_that_the_hypervisor_does_not_know(make: Callable[..., Any], own: Ground, tenant: Tenant) -> None:
    host_key = own.hypervisor().key.with_name("host")
    own.kubectl(
        "create",
        "secret",
        "generic",
        "other",
        f"--namespace={tenant.namespace}",
        f"--from-file=ssh-privatekey={host_key}",
    )
    with make("wrong-key", access={"secret": "other"}) as moved:
        check_told(moved.run(moved.job()), "SourceRefused", "private key", "authorized_keys")
        check_gone(moved)


def test_a_namespace_that_takes_no_pod_of_ours(make: Callable[..., Any], own: Ground, tenant: Tenant) -> None:
    """A runtime class that nobody has: the Job's pods are refused one by one, and the Job alone would wait for ever."""
    with make("no-runtime", movers={"runtime_classes": {"copy": "nothing"}}) as moved:
        check_told(moved.run(moved.job()), "TargetRefused", "RuntimeClass", "target.movers.runtimeClasses")
        check_gone(moved)


# --- answers of the API server ----------------------------------------------------------------------------------------


def status(method: str, path: str, code: int, message: str = "try again", **more: Any) -> Fault:
    return Fault(method, path, code, message, **more)


def test_too_many_requests_are_waited_for(make: Callable[..., Any], tenant: Tenant, tmp_path: Path) -> None:
    faults = [
        status("POST", "/persistentvolumeclaims", 429, headers={"Retry-After": "1"}, times=2),
        status("GET", "/persistentvolumeclaims/", 429, headers={"Retry-After": "1"}),
        status("GET", "/persistentvolumeclaims/", 503),
    ]
    with relay(tenant.kubeconfig, faults, tmp_path / "relay") as way, make("busy", kubeconfig=way) as moved:
        rooms = moved.target.prepare(moved.entry, moved.ledger)
        assert rooms["vda"].created
        assert [fault.met for fault in faults] == [2, 1, 1]
        check_gone(moved)


def test_an_answer_that_was_lost_is_found_by_the_next_call(
    make: Callable[..., Any], own: Ground, tenant: Tenant, tmp_path: Path
) -> None:
    lost = status("POST", "/jobs", 504, after=True)
    with relay(tenant.kubeconfig, [lost], tmp_path / "relay") as way, make("lost", kubeconfig=way) as moved:
        job = moved.job()
        with pytest.raises(TargetUnavailable):
            moved.target.submit(job, moved.ledger)
        (made,) = own.read("get", "jobs", f"--namespace={tenant.namespace}")["items"]
        assert moved.run(job).ok
        (still,) = own.read("get", "jobs", f"--namespace={tenant.namespace}")["items"]
        assert made["metadata"]["uid"] == still["metadata"]["uid"], "it was attached to, not made anew"
        check_gone(moved)


def test_an_object_that_changed_meanwhile_is_asked_for_again(
    make: Callable[..., Any], tenant: Tenant, tmp_path: Path, kubevirt: Ground
) -> None:
    said = (
        "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version"
    )
    changed = status("PATCH", "/virtualmachines/", 409, said, reason="Conflict", times=2)
    with relay(tenant.kubeconfig, [changed], tmp_path / "relay") as way, make("changed", kubeconfig=way) as moved:
        moved.target.prepare(moved.entry, moved.ledger)
        assert [line.split()[0] for line in moved.target.apply(moved.entry, moved.ledger, dry_run=False)]
        assert changed.met == 2
        check_gone(moved)


def test_a_token_that_is_not_accepted(make: Callable[..., Any], ground: Ground, tenant: Tenant, tmp_path: Path) -> None:
    way = tmp_path / "expired"
    account(ground.kubectl, tenant.namespace, way)
    way.write_text(way.read_text().replace("token: ", "token: x"))
    with make("expired") as moved, make("expired", kubeconfig=way) as late:
        with pytest.raises(KubeferryError) as told:
            late.target.prepare(late.entry, late.ledger)
        assert isinstance(told.value, TargetUnavailable)
        assert "does not accept our credentials" in told.value.what
        assert "Renew the credentials in the kubeconfig" in told.value.fix
        assert "eyJ" not in str(told.value), "no token stands in an error"
        account(ground.kubectl, tenant.namespace, way)
        check_gone(moved)


def test_the_pipelines_key_is_out_of_its_own_reach(ground: Ground, own: Ground, tenant: Tenant) -> None:
    as_pipeline = Ground(ground.program, tenant.kubeconfig, own=True, kubevirt=True)
    with pytest.raises(KubeferryError, match="forbidden"):
        as_pipeline.kubectl("get", "secret", KEY_SECRET, f"--namespace={tenant.namespace}")
