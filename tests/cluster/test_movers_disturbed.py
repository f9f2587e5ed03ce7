"""Movers on a cluster where things end: API server, kubelet, pods, nodes that are drained. The copy arrives, whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.targets.kubevirt import api
from lab.ground import Ground, until
from lab.rig import SIZE, Rig, rig
from lab.tenant import Tenant, account

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

MIB = 1 << 20


@pytest.fixture(scope="module")
def tenant(own: Ground, make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant("kubeferry-disturbed")


@pytest.fixture
def make(own: Ground, tenant: Tenant, tmp_path: Path) -> Callable[..., Any]:
    """Makes a rig; afterwards nothing of it is left, at either end."""

    def made(name: str, **options: Any) -> Any:
        return rig(own, tenant, tmp_path, name, **options)

    return made


def check(moved: Rig, *, fence: int = 1) -> None:
    """The bytes are there, and are proven by a mover that reads them back."""
    verified = moved.run(moved.job("verify", fence=fence))
    assert verified.ok, verified.error
    assert moved.arrived()
    moved.end()
    assert moved.left() == []
    assert moved.pods() == []


@pytest.mark.parametrize("mode", ["Block", "Filesystem"])
def test_a_copy_into_each_kind_of_claim(make: Callable[..., Any], mode: str) -> None:
    with make(f"plain-{mode.lower()}", storage={"volume_mode": mode}) as moved:
        copied = moved.run(moved.job())
        assert copied.ok, copied.error
        assert copied.where == f"Job {moved.namespace}/{moved.written[-1].name} on node lab"
        assert (copied.size_bytes, copied.resumed_bytes) == (SIZE, 0)
        assert moved.run(moved.job()) == copied, "a Job that ended well is left, and answers again"
        check(moved)


def test_the_api_server_is_killed_and_comes_back(
    make: Callable[..., Any], own: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PATIENCE_SECONDS", 2.0)
    with make("api-server") as moved:
        with moved.under_way() as result:
            own.kill("kube-apiserver")
            until(lambda: "waiting" in moved.shown[-1].phase, seconds=40, what="a word about the API server")
            own.revive()
        assert result.result().ok, result.result().error
        assert result.result().resumed_bytes == 0, "the mover went on meanwhile"
        check(moved)


def test_the_kubelet_is_killed_and_comes_back(make: Callable[..., Any], own: Ground) -> None:
    with make("kubelet") as moved:
        with moved.under_way() as result:
            own.kill("kubelet")
            own.revive()
        assert result.result().ok, result.result().error
        check(moved)


@pytest.mark.parametrize("force", [False, True], ids=["deleted", "deleted by force"])
def test_the_movers_pod_is_deleted(make: Callable[..., Any], own: Ground, force: bool) -> None:
    with make(f"pod-{'forced' if force else 'deleted'}") as moved:
        with moved.under_way() as result:
            (pod,) = moved.pods()
            how = ("--grace-period=0", "--force") if force else ()
            own.kubectl("delete", "pod", pod, f"--namespace={moved.namespace}", "--wait=false", *how)
        assert result.result().ok, result.result().error
        assert result.result().resumed_bytes > 2 * MIB, "it went on from the last durable block"
        check(moved)


def test_the_movers_pod_is_evicted(make: Callable[..., Any], own: Ground) -> None:
    """As a drain does it, by the Eviction API: it is nobody's failure, however often it happens."""
    with make("evicted") as moved:
        with moved.under_way() as result:
            (pod,) = moved.pods()
            path = f"/api/v1/namespaces/{moved.namespace}/pods/{pod}/eviction"
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
            own.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))
        assert result.result().ok, result.result().error
        assert result.result().resumed_bytes > 0
        (job,) = own.read("get", "jobs", f"--namespace={moved.namespace}")["items"]
        assert not job["status"].get("failed"), "it does not count towards the Job's end"
        check(moved)


def test_the_job_is_deleted_and_the_next_call_goes_on(make: Callable[..., Any], own: Ground) -> None:
    with make("job-gone") as moved:
        with moved.under_way() as result:
            own.kubectl("delete", "jobs", "--all", f"--namespace={moved.namespace}")
        assert not result.result().ok
        assert result.result().error.type == "TargetUnavailable"
        assert "Run the same command again" in result.result().error.fix
        again = moved.run(moved.job(fence=2))
        assert again.ok, again.error
        assert again.resumed_bytes > 0
        check(moved, fence=2)


def test_a_token_that_is_revoked_in_mid_copy_and_renewed(
    make: Callable[..., Any], own: Ground, tenant: Tenant, tmp_path: Path
) -> None:
    """A token that is bound to an object ends with it, as one that expires does: the API server answers 401."""
    way = account(own.kubectl, tenant.namespace, tmp_path / "short", bound_to=secret(own, tenant))
    with make("token", kubeconfig=way) as moved:
        with moved.under_way() as result:
            own.kubectl("delete", "secret", "token-life", f"--namespace={tenant.namespace}")
            until(lambda: "credentials" in moved.shown[-1].phase, seconds=60, what="a word about the token")
            account(own.kubectl, tenant.namespace, way)
        assert result.result().ok, result.result().error
        check(moved)


def secret(own: Ground, tenant: Tenant) -> str:
    own.kubectl("create", "secret", "generic", "token-life", f"--namespace={tenant.namespace}")
    return "token-life"
