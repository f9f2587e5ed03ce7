"""The pure half of the kubevirt target: answers as errors, why a pod does not run, names, Jobs, what changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import MoverJob, MoverSettings
from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable
from kubeferry.model import DiskRef
from kubeferry.targets.kubevirt import answers, claims, job_spec, names, objects, pods
from kubeferry.uris import NbdSsh

FAR = NbdSsh("kubeferry", "192.0.2.7", 22, "/run/kubeferry/a/b.sock", "ssh-ed25519 AAAA")


def status(message: str, reason: str = "", **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "reason": reason} | more).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (401, status("Unauthorized"), TargetUnavailable),
        (404, status("not found"), answers.NotThere),
        (409, status("already exists", "AlreadyExists"), answers.AlreadyThere),
        (409, status('Apply failed with 1 conflict: conflict with "x": .spec'), answers.Conflict),
        (409, status("Operation cannot be fulfilled: the object has been modified", "Conflict"), answers.Changed),
        (422, status("invalid"), TargetRefused),
        (429, status("slow down"), TargetUnavailable),
        (500, status("failed calling webhook: connection refused"), TargetUnavailable),
        (500, status("failed to create typed patch object: .spec.x: field not declared in schema"), TargetRefused),
        (503, b"<html>bad gateway</html>", TargetUnavailable),
        (403, status("pods is forbidden: exceeded quota: tight"), TargetRefused),
        (403, status('jobs.batch "a" is forbidden: User "x" cannot get resource "jobs"'), answers.Forbidden),
    ],
)
def test_an_answer_is_the_error_that_it_means(code: int, body: bytes, kind: type[KubeferryError]) -> None:
    error = answers.error_of(code, body, "create Job a/b")
    assert type(error) is kind
    assert error.what.startswith("create Job a/b")
    assert error.fix


@given(st.integers(400, 599), st.binary(max_size=400))
def test_any_body_is_understood_somehow(code: int, body: bytes) -> None:
    assert str(answers.error_of(code, body, "ask"))


def job(**changes: Any) -> MoverJob:
    facts: dict[str, Any] = {
        "name": "1234abcd-web-vda-copy-1-0",
        "action": "copy",
        "machine": "web",
        "disk": "vda",
        "source": DiskRef(uri=FAR.uri(), format="raw", size_bytes=1, credential="kubeferry-ssh"),
        "target": DiskRef(uri="block:///kubeferry/apps/web/disks/web-vda", format="raw", size_bytes=1),
        "state_dir": "/kubeferry/apps/web/state/vda",
        "plan": "f" * 64,
    }
    return MoverJob(**facts | changes)


def test_a_movers_pod_passes_restricted_and_mounts_its_own_claims_only() -> None:
    pod = job_spec.job_manifest(job(), MoverSettings(), {})["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeDevices"] == [{"name": "disk", "devicePath": "/kubeferry/apps/web/disks/web-vda"}]
    used = {
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    }
    assert used == {"web-vda", "web-kubeferry-state"}


def test_the_same_work_of_another_runner_is_the_same_job() -> None:
    first, second = (job_spec.job_manifest(job(fence=fence), MoverSettings(), {}) for fence in (1, 2))
    other = job_spec.job_manifest(job(workers=4), MoverSettings(), {})
    hashes = [one["metadata"]["annotations"][job_spec.HASH_ANNOTATION] for one in (first, second, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_policy_allows_what_it_is_read_back_as() -> None:
    ends = {("192.0.2.7", 22), ("2001:db8::1", 2222)}
    policy = job_spec.network_policy("apps", "f" * 64, ends)
    assert job_spec.allowed_ends(policy) == ends
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


@given(st.text(min_size=1, max_size=80))
def test_a_disks_state_folder_stays_in_its_machines(disk: str) -> None:
    made = names.label_value(disk)
    assert len(made) <= 63
    assert not made.startswith("-")
    assert not made.endswith("-")


def test_a_job_names_its_claims_and_anything_else_is_refused() -> None:
    site = names.site_of(job())
    assert (site.namespace, site.machine, site.claim, site.block) == ("apps", "web", "web-vda", True)
    with pytest.raises(ValueError, match="no disk of this target"):
        names.site_of(job(target=DiskRef(uri="file:///etc/passwd", size_bytes=1)))


def waiting(reason: str) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "m"}}}]}}


def event(reason: str, message: str) -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "involvedObject": {"kind": "Job", "name": "kf"}}


@pytest.mark.parametrize(
    ("pod", "events", "final", "fix"),
    [
        (waiting("ErrImageNeverPull"), [], True, pods.IMAGE_FIX),
        (waiting("ImagePullBackOff"), [], False, pods.IMAGE_FIX),
        (None, [event("FailedCreate", "exceeded quota: tight")], True, pods.QUOTA_FIX),
        (None, [event("FailedCreate", "violates PodSecurity")], True, pods.POLICY_FIX),
        ({"status": {}}, [event("FailedMount", 'secret "x" not found')], False, pods.SECRET_FIX),
        (
            {"status": {}},
            [event("FailedMount", "MountVolume.MountDevice failed: exit status 1")],
            False,
            pods.MOUNT_FIX,
        ),
    ],
)
def test_why_a_pod_does_not_run(pod: Any, events: list[Any], final: bool, fix: str) -> None:
    found = pods.hindrance(pod, events)
    assert found is not None
    assert (found.final, found.fix) == (final, fix)


def test_a_pod_that_only_starts_is_not_held_up() -> None:
    assert (
        pods.hindrance({"status": {"phase": "Pending"}}, [event("Scheduled", "assigned") | {"type": "Normal"}]) is None
    )


@given(st.text(alphabet="abcdef0123456789", min_size=8, max_size=40))
def test_keys_and_tokens_do_not_get_into_words(secret: str) -> None:
    log = f"Authorization: Bearer {secret}\ntoken={secret}\n-----BEGIN KEY-----\n{secret}\n-----END KEY-----"
    assert secret not in pods.redacted(log)


def test_differences_are_told_by_their_field() -> None:
    before = {"metadata": {"labels": {"a": "1"}, "resourceVersion": "1"}, "spec": {"x": [{"y": 1}], "z": 1}}
    after = {"metadata": {"labels": {"a": "2"}, "resourceVersion": "2"}, "spec": {"x": [{"y": 2}], "z": 1}}
    assert objects.differences(before, after) == ["metadata.labels.a: 1 -> 2", "spec.x[0].y: 1 -> 2"]
    assert objects.differences(before, before) == []


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("1Ki", 1024), ("1.5Gi", 3 * 2**29), ("2k", 2000), ("68157440", 68157440)]
)
def test_quantities(text: str, size: int) -> None:
    assert claims.quantity(text) == size
