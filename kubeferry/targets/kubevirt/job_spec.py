"""A mover as a Job, and the NetworkPolicy of a plan's movers: manifests from a MoverJob. Pure.

The pod passes Pod Security `restricted`. It has no service-account token, no way out but to the source, and nothing to
write but its claims and a small /tmp. Its work comes with it: an annotation, projected as a file. AWS has no address to
name, so movers that read from there may ask the cluster's DNS and reach its port wherever it is.
"""

from __future__ import annotations

import hashlib
import json
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from kubeferry.documents import MoverJob, MoverSettings
from kubeferry.targets.kubevirt import names
from kubeferry.targets.kubevirt.binding import ARCHITECTURE
from kubeferry.targets.kubevirt.job_secrets import Given, given
from kubeferry.targets.kubevirt.kinds import JOB, NETWORK_POLICY
from kubeferry.uris import EbsSnapshot, ebs_snapshot, nbd_ssh, nbd_tls, web_end

CONTAINER = "mover"
JOB_ANNOTATION = "kubeferry.io/job"
HASH_ANNOTATION = "kubeferry.io/spec-hash"
JOB_FOLDER = "/etc/kubeferry/job"
JOB_FILE = "job.json"
REPORT = "/dev/termination-log"
TMP_SIZE = "64Mi"
TMP_LIMIT = "256Mi"
# Replacements for pods that were lost; what the mover itself reports as final ends the Job at once.
RETRIES = 2
GRACE_SECONDS = 30
EXIT_FINAL = 2
ANYWHERE = "*"
"""In place of an address: the source's is not known beforehand, or changes while it is read."""
# Private ranges are not left out: a private endpoint of AWS's (PrivateLink) lies in them.
EVERYWHERE = ("0.0.0.0/0", "::/0")
DNS_NAMESPACE = "kube-system"
DNS_PORT = 53

# Meshes leave the pod alone: a sidecar has no way to the source, and would outlive the mover.
NO_SIDECAR = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
NO_SIDECAR_NOTES = {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}

Object = dict[str, Any]


def job_manifest(job: MoverJob, settings: MoverSettings, placement: Object, addresses: tuple[str, ...] = ()) -> Object:
    """The Job of a mover. `placement` is the machine's own (nodeSelector, affinity, tolerations) and what its tenant's
    movers run under (runtimeClassName), `addresses` are those of the source's host: a pod has no way to ask."""
    site = names.site_of(job)
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.MACHINE_LABEL: site.machine,
        names.DISK_LABEL: names.label_value(job.disk),
        names.PART_LABEL: names.MOVER,
    } | ({names.PLAN_LABEL: names.label_value(job.plan)} if job.plan else {})
    pod = _pod(job, settings, placement, addresses)
    marks = {
        "labels": settings.labels | NO_SIDECAR | labels,
        "annotations": settings.annotations | NO_SIDECAR_NOTES | {JOB_ANNOTATION: _text(job)},
    }
    template = {"metadata": marks, "spec": pod}
    spec = {
        "backoffLimit": 0 if job.action == "trial" else RETRIES,
        "completions": 1,
        "parallelism": 1,
        # A second mover must not begin before the first one is gone.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_FINAL]},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "activeDeadlineSeconds": settings.deadline_seconds,
        "ttlSecondsAfterFinished": settings.kept_seconds,
        "template": template,
    }
    annotations = {HASH_ANNOTATION: _digest(job, spec), names.MACHINE_NAME: job.machine}
    metadata = {"name": names.job_name(job), "namespace": site.namespace, "labels": labels, "annotations": annotations}
    return {"apiVersion": JOB.api_version, "kind": JOB.name, "metadata": metadata, "spec": spec}


def network_policy(namespace: str, plan: str, ends: set[tuple[str, int]]) -> Object:
    """Movers of the plan reach these addresses and ports of the source, and nothing else; nothing reaches them.

    An address may be `ANYWHERE`; the cluster's DNS is then among what they reach: they must ask for it themselves.
    """
    egress = [_way(address, port) for address, port in sorted(ends)]
    if any(address == ANYWHERE for address, _ in ends):
        egress.append(_dns())
    return {
        "apiVersion": NETWORK_POLICY.api_version,
        "kind": NETWORK_POLICY.name,
        "metadata": {
            "name": names.network_policy(plan),
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.PLAN_LABEL: names.label_value(plan)},
        },
        "spec": {
            "podSelector": {"matchLabels": {names.PART_LABEL: names.MOVER, names.PLAN_LABEL: names.label_value(plan)}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": egress,
        },
    }


def allowed_ends(policy: Object) -> set[tuple[str, int]]:
    """The addresses and ports that a policy of ours lets movers reach, as `network_policy` was given them."""
    return {
        (_address(peer["ipBlock"]["cidr"]), port["port"])
        for rule in policy["spec"].get("egress") or []
        for peer in rule["to"]
        if "ipBlock" in peer
        for port in rule["ports"]
    }


# --- inside ----------------------------------------------------------------------------------------------------------


def _pod(job: MoverJob, settings: MoverSettings, placement: Object, addresses: tuple[str, ...]) -> Object:
    configured = settings.runtime_classes.get("copy" if job.action == "trial" else job.action)
    runtime = placement.get("runtimeClassName") or configured
    tolerations = [item.model_dump(exclude_none=True) for item in settings.tolerations]
    for toleration in tolerations:
        toleration["operator"] = "Equal" if "value" in toleration else "Exists"
    built_for = {ARCHITECTURE: settings.architecture} if settings.architecture else {}
    optional = {
        "runtimeClassName": runtime,
        "nodeSelector": (placement.get("nodeSelector") or {}) | built_for | settings.node_selector,
        "affinity": placement.get("affinity"),
        "tolerations": [*(placement.get("tolerations") or []), *tolerations],
        "hostAliases": _aliases(job, addresses),
        "imagePullSecrets": [{"name": settings.pull_secret}] if settings.pull_secret else None,
        "priorityClassName": settings.priority_class,
        "serviceAccountName": settings.service_account,
    }
    let_in = given(job)
    user = {"runAsUser": settings.user, "runAsGroup": settings.user, "fsGroup": settings.user}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            **(user if settings.user else {}),  # else the cluster gives one, and a group
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, settings, let_in)],
        "volumes": _volumes(job, let_in),
    } | {key: value for key, value in optional.items() if value}


def _container(job: MoverJob, settings: MoverSettings, let_in: Given) -> Object:
    site = names.site_of(job)
    mounts = [
        {"name": "state", "mountPath": str(site.state_root)},
        {"name": "job", "mountPath": JOB_FOLDER, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a volume of the pod's own)
    ]
    devices = []
    if site.block:
        devices = [{"name": "disk", "devicePath": str(site.disk_path)}]
    else:
        mounts.append({"name": "disk", "mountPath": str(site.disk_path)})
    mounts += let_in.mounts
    environment = [{"name": name, "value": value} for name, value in settings.environment.items()]
    optional = {
        "volumeDevices": devices,
        "env": environment + let_in.environment,
        "envFrom": let_in.environment_from,
    }
    return {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["python3", "-m", "converters.mover", f"{JOB_FOLDER}/{JOB_FILE}", "--report", REPORT],
        "terminationMessagePath": REPORT,
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request, "ephemeral-storage": TMP_SIZE},
            "limits": {"cpu": settings.cpu_limit, "memory": settings.memory_limit, "ephemeral-storage": TMP_LIMIT},
        },
        "volumeMounts": mounts,
    } | {key: value for key, value in optional.items() if value}


def _volumes(job: MoverJob, let_in: Given) -> list[Object]:
    site = names.site_of(job)
    field = {"fieldRef": {"fieldPath": f"metadata.annotations['{JOB_ANNOTATION}']"}, "path": JOB_FILE}
    return [
        {"name": "disk", "persistentVolumeClaim": {"claimName": site.claim}},
        {"name": "state", "persistentVolumeClaim": {"claimName": names.state_claim(site.machine)}},
        {"name": "job", "downwardAPI": {"items": [field]}},
        {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
        *let_in.volumes,
    ]


def _aliases(job: MoverJob, addresses: tuple[str, ...]) -> list[Object]:
    """The source's name, where it has one, for a pod that may ask nobody: all its addresses, of which a pod may reach
    those of one family only."""
    far = far_end(job)
    if far is None or far[0] == ANYWHERE or far[0] in addresses:
        return []
    return [{"ip": address, "hostnames": [far[0]]} for address in addresses]


def far_end(job: MoverJob) -> tuple[str, int] | None:
    """Host (or `ANYWHERE`) and port that a job reads its source from, None where it reads none elsewhere."""
    if job.source is None:
        return None
    if (snapshot := ebs_snapshot(job.source.uri)) is not None:
        return _aws_end(snapshot)
    far = nbd_ssh(job.source.uri) or nbd_tls(job.source.uri)
    return (far.host, far.port) if far is not None else web_end(job.source.uri)


def _aws_end(place: EbsSnapshot) -> tuple[str, int] | None:
    """Where AWS answers. Its names have addresses for a minute, and there are two (EBS, and STS for a role), so a name
    is left to the pod; only an endpoint with an address of its own can be named. None for an endpoint that is none."""
    if place.endpoint_url is None:
        return ANYWHERE, 443
    try:
        parts = urlsplit(place.endpoint_url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    host = parts.hostname or ""
    return (host if _is_address(host) else ANYWHERE, port)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _way(address: str, port: int) -> Object:
    """A rule that lets movers reach one port of one address, or of all."""
    ranges = EVERYWHERE if address == ANYWHERE else (f"{address}/{32 if ip_address(address).version == 4 else 128}",)
    return {"to": [{"ipBlock": {"cidr": one}} for one in ranges], "ports": [{"protocol": "TCP", "port": port}]}


def _address(cidr: str) -> str:
    """What `_way` was given for a range."""
    return ANYWHERE if cidr in EVERYWHERE else cidr.partition("/")[0]


def _dns() -> Object:
    """The rule for the cluster's DNS, where Kubernetes has it."""
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": DNS_NAMESPACE}}}
    return {"to": [where], "ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]}


def _text(job: MoverJob) -> str:
    return job.model_dump_json(by_alias=True, exclude_none=True)


def _digest(job: MoverJob, spec: Object) -> str:
    """Of everything but the fence: a new runner has a higher one for the same work."""
    same = job.model_copy(update={"fence": 0})
    template = spec["template"] | {"metadata": {"annotations": {JOB_ANNOTATION: _text(same)}}}
    return hashlib.sha256(json.dumps(spec | {"template": template}, sort_keys=True).encode()).hexdigest()[:32]
