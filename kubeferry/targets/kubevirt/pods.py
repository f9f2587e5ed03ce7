"""Why a mover's pod does not run, in words: from what the cluster says of the pod, its Job, its claims. Pure.

Most reasons pass by themselves for a while (a node that fills up, an image that is being pulled); some never do, and
waiting for them only hides them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

IMAGE_FIX = "Make the image available to the cluster's nodes and name it in the configuration: target.movers.image."
SECRET_FIX = "Make the Secret in the machine's namespace: docs/operations.md says how."  # noqa: S105
QUOTA_FIX = "Raise the namespace's quota, or move fewer machines into it at once."
LIMITS_FIX = "Change the namespace's limit range, or target.movers' cpuRequest, cpuLimit, memoryRequest, memoryLimit."
CLAIM_FIX = "Look at the claim's events; name a storage class that can make such a volume in the policy."
MOUNT_FIX = "Look at the claim and at the storage on that node; then run the same command again."
NODE_FIX = "Free a node, or correct target.movers.nodeSelector, tolerations or requests."
POLICY_FIX = "Let the namespace take `restricted` pods, which is all that a mover needs."
CONSTRAINT_FIX = "Let its service account use a constraint with that user, or set target.movers.user to 0."
ACCOUNT_FIX = "Apply what `kubeferry manifests --namespace NAMESPACE` prints, or correct target.movers.serviceAccount."
ADMISSION_FIX = "Give movers what the rule asks for: target.movers.labels, annotations, priorityClass, requests."
DEVICE_FIX = (
    "Set device_ownership_from_security_context = true for the container runtime of each node (containerd: in its CRI "
    "plugin; CRI-O: in [crio.runtime]) and restart it; or choose volumes of mode Filesystem in the policy."
)
RUNTIME_FIX = "Install the RuntimeClass, or take it out of target.movers.runtimeClasses."

# What a container waits for: the fix, and whether waiting is of no use.
_WAITING = {
    "ErrImageNeverPull": (IMAGE_FIX, True),
    "InvalidImageName": (IMAGE_FIX, True),
    "ErrImagePull": (IMAGE_FIX, False),
    "ImagePullBackOff": (IMAGE_FIX, False),
    "CreateContainerConfigError": (SECRET_FIX, False),
    "CreateContainerError": ("Look at the pod's events.", False),
    "RunContainerError": ("Look at the pod's events; the image may be for another kind of processor.", False),
}
# Words of events: their fix, and whether waiting is of no use.
_EVENTS = (
    ("exceeded quota", QUOTA_FIX, True),
    ("to request ratio per", LIMITS_FIX, True),
    ("usage per Container is", LIMITS_FIX, True),
    ("usage per Pod is", LIMITS_FIX, True),
    ("violates PodSecurity", POLICY_FIX, True),
    ("security context constraint", CONSTRAINT_FIX, True),
    ("error looking up service account", ACCOUNT_FIX, True),
    ("denied the request", ADMISSION_FIX, True),
    ("RuntimeClass", RUNTIME_FIX, True),
    ("ProvisioningFailed", CLAIM_FIX, False),
    ("no persistent volumes available", CLAIM_FIX, False),
    ('secret "', SECRET_FIX, False),
    ("FailedMount", MOUNT_FIX, False),
    ("FailedAttachVolume", CLAIM_FIX, False),
    ("FailedCreate", "Look at the Job's events.", False),
)
_KEY_MATERIAL = re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|$)", re.DOTALL)
_SECRETS = re.compile(
    r"(?i)\b(authorization|bearer|token|password|passwd|secret|api[-_]?key)(\s*[:=]\s*|\s+)((bearer|basic)\s+)?\S+"
)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why a pod does not run. `final`: it will not by itself."""

    why: str
    fix: str
    final: bool = False


def hindrance(pod: Object | None, events: Iterable[Object]) -> Hindrance | None:
    """What keeps a mover from running; None where nothing is known to. `events` are those of its Job, pod and claims,
    the oldest first."""
    told = list(events)
    if pod is not None and (waiting := _waiting(pod)):
        return waiting
    from_events = _from_events(told)
    if from_events and from_events.final:
        return from_events
    if pod is not None:
        for condition in pod.get("status", {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                said = str(condition.get("message") or condition.get("reason"))
                if from_events and "unbound" in said:
                    return from_events
                fix = CLAIM_FIX if "PersistentVolumeClaim" in said or "persistentvolumeclaim" in said else NODE_FIX
                return Hindrance(f"no node takes its pod: {said}", fix)
    return from_events


def _waiting(pod: Object) -> Hindrance | None:
    for status in pod.get("status", {}).get("containerStatuses") or []:
        waiting = (status.get("state") or {}).get("waiting") or {}
        known = _WAITING.get(str(waiting.get("reason")))
        if known:
            said = ": ".join(str(waiting[key]) for key in ("reason", "message") if waiting.get(key))
            return Hindrance(f"its container does not start: {said}", known[0], final=known[1])
    return None


def _from_events(events: list[Object]) -> Hindrance | None:
    for event in reversed(events):
        said = f"{event.get('reason')}: {event.get('message')}"
        if event.get("type") == "Normal":
            continue
        for sign, fix, final in _EVENTS:
            if sign in said:
                about = event.get("involvedObject", {})
                return Hindrance(f"{about.get('kind')} {about.get('name')}: {said}", fix, final)
    return None


def outlives(pod: Object, container: str) -> bool:
    """Whether the pod runs on although this container of it has ended: something was put beside it that does not know
    when the work is done."""
    states = {one["name"]: one.get("state") or {} for one in pod.get("status", {}).get("containerStatuses") or []}
    others = any("running" in state for name, state in states.items() if name != container)
    return others and "terminated" in states.get(container, {})


def ending(pod: Object) -> str:
    """How a pod's mover ended, in words."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended:
            reason = str(ended.get("reason") or "")
            more = {"OOMKilled": " (it was out of memory: raise target.movers.memoryLimit)"}.get(reason, "")
            return f"its container ended with code {ended.get('exitCode')}: {reason or 'no reason given'}{more}"
    said = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    return f"its pod is {status.get('phase', 'gone')}" + (f": {said}" if said else "")


def redacted(text: str) -> str:
    """Words of a log without anything that looks like a key, token or password."""
    return _SECRETS.sub(lambda found: f"{found[1]}{found[2]}[removed]", _KEY_MATERIAL.sub("[removed]", text))
