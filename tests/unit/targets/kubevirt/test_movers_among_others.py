"""Movers on clusters with rules of their own: meshes, constraints, policy engines.

The cluster is a double: it says what the test says.
"""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import MoverResult, MoverSettings, TargetConfig
from kubeferry.targets.kubevirt import job_spec, jobs, pods
from kubeferry.targets.kubevirt.kinds import JOB, POD
from tests.unit.targets.kubevirt.test_jobs_without_results import NAME, WORK, Double

Object = dict[str, Any]


def template(**settings: Any) -> Object:
    made: Object = job_spec.job_manifest(WORK, MoverSettings(**settings), {})["spec"]["template"]
    return made


def test_meshes_leave_movers_alone() -> None:
    marks = template()["metadata"]
    assert marks["labels"]["sidecar.istio.io/inject"] == "false"
    assert marks["labels"]["istio.io/dataplane-mode"] == "none"
    assert marks["annotations"]["linkerd.io/inject"] == "disabled"


def test_what_a_cluster_asks_for_comes_from_the_configuration_and_never_in_place_of_ours() -> None:
    made = template(
        labels={"team": "cash", "kubeferry.io/machine": "other"},
        annotations={"cost": "7", job_spec.JOB_ANNOTATION: "{}"},
        priority_class="low",
        service_account="movers",
        environment={"HTTPS_PROXY": "http://proxy.example:3128"},
    )
    assert made["metadata"]["labels"]["team"] == "cash"
    assert made["metadata"]["labels"]["kubeferry.io/machine"] == "web"
    assert made["metadata"]["annotations"]["cost"] == "7"
    assert made["metadata"]["annotations"][job_spec.JOB_ANNOTATION] != "{}"
    spec = made["spec"]
    assert (spec["priorityClassName"], spec["serviceAccountName"]) == ("low", "movers")
    assert spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["env"] == [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}]


def test_the_user_is_kubevirts_own_or_left_to_the_cluster() -> None:
    assert template()["spec"]["securityContext"]["runAsUser"] == 107
    left = template(user=0)["spec"]["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & left.keys()
    assert left["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        (
            'pods "a-" is forbidden: unable to validate against any security context constraint: [fsGroup: 107]',
            pods.CONSTRAINT_FIX,
        ),
        (
            'admission webhook "validate.kyverno.svc-fail" denied the request: policy Pod/a- for resource violation',
            pods.ADMISSION_FIX,
        ),
        (
            'pods "a-" is forbidden: cpu max limit to request ratio per Container is 10, but provided ratio is 20.00',
            pods.LIMITS_FIX,
        ),
        ('pods "a-" is forbidden: maximum memory usage per Container is 256Mi, but limit is 512Mi', pods.LIMITS_FIX),
        ('pods "a-" is forbidden: minimum cpu usage per Pod is 1, but request is 100m', pods.LIMITS_FIX),
        (
            'pods "a-" is forbidden: error looking up service account apps/gone: serviceaccount "gone" not found',
            pods.ACCOUNT_FIX,
        ),
    ],
)
def test_a_rule_of_the_cluster_is_a_hindrance_that_does_not_pass(message: str, fix: str) -> None:
    event = {"type": "Warning", "reason": "FailedCreate", "message": message}
    found = pods.hindrance(None, [event])
    assert found is not None
    assert (found.final, found.fix) == (True, fix)


def beside(cluster: Double, state: Object) -> None:
    """The mover's pod runs, with something beside the mover, which is in this state."""
    statuses = [{"name": job_spec.CONTAINER, "state": state}, {"name": "proxy", "state": {"running": {}}}]
    cluster.objects[POD.name, "pod"] = {
        "metadata": {"name": "pod", "uid": "pod-uid", "creationTimestamp": "2026-01-01T00:00:01Z"},
        "status": {"phase": "Running", "containerStatuses": statuses},
    }


def test_a_mover_has_ended_when_its_container_has() -> None:
    cluster: Any = Double()
    movers = jobs.Jobs(cluster, TargetConfig(kind="kubevirt"))
    movers.submit(WORK, lambda _thing: None)
    said = MoverResult(name=WORK.name, action="verify", ok=True).model_dump_json(by_alias=True)
    beside(cluster, {"terminated": {"exitCode": 0, "message": said}})
    assert movers.watch(WORK, lambda _told: None).ok
    assert (JOB.name, NAME) not in cluster.objects, "what runs on beside it would hold the volumes"


def test_a_mover_that_was_killed_beside_something_that_runs_on_has_failed() -> None:
    cluster: Any = Double()
    movers = jobs.Jobs(cluster, TargetConfig(kind="kubevirt"))
    movers.submit(WORK, lambda _thing: None)
    beside(cluster, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    failed = movers.watch(WORK, lambda _told: None)
    assert not failed.ok
    assert failed.error is not None
    assert "OOMKilled" in failed.error.why
