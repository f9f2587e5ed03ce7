"""What usual clusters have and a fresh one has not: a constraint on users, default limits, injected containers, gates.

Each is an object of the administrator's, or a context in which the cluster has it. Of OpenShift's constraints these
are two rules only: the user of a pod lies in its namespace's range, unless its account may use the constraint of
`deploy/constraint.yaml`; and who names none gets the first of it, and a group alike (`lab/injector.py` asks for that).
SELinux labels are not filled in, and nobody gives the user a name, as OpenShift's runtime does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubeferry.targets.kubevirt.checks.namespaces import UID_RANGE
from lab.ground import Ground

Object = dict[str, Any]

CONSTRAINT = "kubeferry-lab-constraint"
KUBEVIRT = "system:serviceaccount:kubevirt:"
FIRST_USER, USERS = 1000650000, 10000
LAST_USER = FIRST_USER + USERS - 1
GATES = ("DeclarativeHotplugVolumes", "VideoConfig", "PanicDevices")
"""What is off in KubeVirt 1.6 unless somebody switches it on, and on in 1.9; where only the first is a gate still: the
others are written and not heeded there."""

# The order and the words are OpenShift's (pod admission of security context constraints).
_MESSAGE = (
    "'unable to validate against any security context constraint: [provider restricted-v2: .containers[0].runAsUser: "
    "Invalid value: ' + string(variables.user) + ': must be in the ranges: "
    f"[{FIRST_USER}, {LAST_USER}]]'"
)
_GRANTED = (
    "authorizer.serviceAccount(object.metadata.namespace, object.spec.serviceAccountName)"
    ".group('security.openshift.io').resource('securitycontextconstraints')"
    ".namespace(object.metadata.namespace).name('kubeferry-mover')"
    ".check('use').allowed() && variables.user == 107"
)


def constraint(namespace: str) -> list[Object]:
    """Pods of the namespace run as a user of its range, or are refused in OpenShift's words. KubeVirt's own are let
    pass: there, its controllers may use a constraint of their own."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    user = "has(object.spec.securityContext.runAsUser) ? object.spec.securityContext.runAsUser : 0"
    allowed = f"variables.user == 0 || (variables.user >= {FIRST_USER} && variables.user <= {LAST_USER})"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "ours", "expression": f"!request.userInfo.username.startsWith('{KUBEVIRT}')"}],
        "variables": [{"name": "user", "expression": user}, {"name": "granted", "expression": _GRANTED}],
        "validations": [{"expression": f"variables.granted || {allowed}", "messageExpression": _MESSAGE}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": CONSTRAINT, "validationActions": ["Deny"], "matchResources": here}
    version = "admissionregistration.k8s.io/v1"
    marked = {"name": namespace, "annotations": {UID_RANGE: f"{FIRST_USER}/{USERS}"}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": marked},
        {
            "apiVersion": version,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": CONSTRAINT},
            "spec": spec,
        },
        {
            "apiVersion": version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": f"{CONSTRAINT}-{namespace}"},
            "spec": binding,
        },
    ]


def given(pod: Object) -> list[Object]:
    """A patch of what OpenShift fills in for a pod that names no user: each container's, and the group of the
    volumes."""
    spec = pod["spec"]
    whole = spec.get("securityContext") or {}
    if "runAsUser" in whole:
        return []
    patch = [{"op": "add", "path": "/spec/securityContext", "value": {"fsGroup": FIRST_USER} | whole}]
    for number, container in enumerate(spec["containers"]):
        own = {"runAsUser": FIRST_USER} | (container.get("securityContext") or {})
        patch.append({"op": "add", "path": f"/spec/containers/{number}/securityContext", "value": own})
    return patch


def remove_constraint(ground: Ground, namespace: str) -> None:
    """The cluster takes every user again."""
    for kind, name in (
        ("validatingadmissionpolicybinding", f"{CONSTRAINT}-{namespace}"),
        ("validatingadmissionpolicy", CONSTRAINT),
    ):
        ground.kubectl("delete", kind, name, "--ignore-not-found")


def limits(namespace: str, *, memory: str) -> Object:
    """Containers that name no limit get this one, as administrators set it for what people deploy themselves."""
    spec = {"limits": [{"type": "Container", "default": {"memory": memory}, "defaultRequest": {"memory": "64Mi"}}]}
    metadata = {"name": "defaults", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": spec}


@contextmanager
def gates_off(ground: Ground) -> Iterator[None]:
    """KubeVirt with `GATES` off; afterwards they are what they were."""
    before = _gates(ground)
    _set_gates(ground, [*before, *GATES])
    try:
        yield
    finally:
        _set_gates(ground, before)


def _gates(ground: Ground) -> list[str]:
    found = ground.read("get", "kubevirt", "kubevirt", "--namespace=kubevirt")
    developer = found["spec"]["configuration"].get("developerConfiguration") or {}
    return [name for name in developer.get("disabledFeatureGates") or [] if name not in GATES]


def _set_gates(ground: Ground, off: list[str]) -> None:
    patch = {"spec": {"configuration": {"developerConfiguration": {"disabledFeatureGates": off}}}}
    ground.kubectl(
        "patch", "kubevirt", "kubevirt", "--namespace=kubevirt", "--type=merge", f"--patch={json.dumps(patch)}"
    )
