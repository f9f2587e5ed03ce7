"""What the pipeline may have to do in a cluster: one table, which the Roles in deploy/ are held to. Pure.

A right that code uses and this table lacks fails a test, and so does one that the Roles and this table do not share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kubeferry.documents import Entry
from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.facts import Request, networks_of
from kubeferry.targets.kubevirt.checks.instancetypes import named
from kubeferry.targets.kubevirt.checks.priorities import are_named
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.kinds import (
    CDI,
    CDI_CONFIG,
    CLAIM,
    DATA_VOLUME,
    EVENT,
    INSTANCE,
    INSTANCE_TYPES,
    JOB,
    KUBEVIRT,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_ATTACHMENT,
    NETWORK_POLICY,
    NODE,
    POD,
    PREFERENCES,
    PRIORITY_CLASS,
    QUOTA,
    RUNTIME_CLASS,
    SECRET,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    UPLOAD_TOKEN_REQUEST,
    VIRTUAL_MACHINE,
    Kind,
)

SUBRESOURCES = "subresources.kubevirt.io"


def _always(_request: Request) -> bool:
    return True


def _never(_request: Request) -> bool:
    return False


def _volumes(request: Request) -> bool:
    return request.uploads or request.has(DATA_VOLUME)


def _uploads(request: Request) -> bool:
    return request.uploads


def _tpms(request: Request) -> bool:
    return any(entry.tpm is not None for entry in request.entries)


def _networks(request: Request) -> bool:
    return any(True for entry in request.entries for _ in networks_of(entry))


def _typed(request: Request) -> bool:
    return any(True for entry in request.entries for _ in named(entry))


def runs_commands(entry: Entry) -> bool:
    """Whether a plan needs commands in the machine's pod: there is no other way to files and programs of its guest."""
    hooks = any(hook.kind == "guest" and not hook.on.at_source for hook in entry.hooks or ())
    return bool(entry.stop.services) or hooks or any(probe.kind in {"file", "counter"} for probe in entry.all_probes)


def _watches_screens(request: Request) -> bool:
    return any(probe.kind == "screen" for entry in request.entries for probe in entry.all_probes)


def _looks_inside(request: Request) -> bool:
    return any(map(runs_commands, request.entries))


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on one resource (`RESOURCE` or `RESOURCE/SUBRESOURCE`) of a group, what they are for, and which plans need
    them. `looks`: without it something stays unchecked, and the migration works, unless it is one that `must` have
    it."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    needed: Callable[[Request], bool] = _always
    looks: bool = False
    must: Callable[[Request], bool] = _never


def _on(kind: Kind, verbs: str, purpose: str, *, looks: bool = False, part: str = "") -> Right:
    return Right(kind.group, kind.plural + part, tuple(verbs.split()), purpose, looks=looks)


def _sub(resource: str, verb: str, purpose: str) -> Right:
    return Right(SUBRESOURCES, resource, (verb,), purpose)


def _screen(resource: str) -> Right:
    return Right(SUBRESOURCES, resource, ("get",), "take a picture of the screen", looks=True, must=_watches_screens)


_WHOLE = "get list create patch delete"

IN_NAMESPACE = (
    _on(CLAIM, _WHOLE, "make room for disks"),
    _on(JOB, "get list create delete", "run movers"),
    _on(POD, "list", "see movers and machines run"),
    _on(POD, "get", "read what movers and consoles say", part="/log"),
    _on(EVENT, "list", "say why a mover does not start", looks=True),
    _on(NETWORK_POLICY, _WHOLE, "let movers reach their source and nothing else, and filter machines' traffic"),
    _on(VIRTUAL_MACHINE, _WHOLE, "put machines in place"),
    _on(INSTANCE, "get list", "see machines run"),
    _sub("virtualmachines/start", "update", "start machines"),
    _sub("virtualmachines/stop", "update", "stop machines"),
    _sub("virtualmachineinstances/guestosinfo", "get", "ask guest agents"),
    # KubeVirt asks for the second one, and Kubernetes itself for the first, which is all that it reads of the path.
    _screen("virtualmachineinstances/vnc"),
    _screen("virtualmachineinstances/vnc/screenshot"),
    _sub("virtualmachineinstances/portforward", "get", "probe ports and web pages"),
    Right(DATA_VOLUME.group, DATA_VOLUME.plural, tuple(_WHOLE.split()), "make DataVolumes", _volumes),
    Right(SECRET.group, SECRET.plural, ("create",), "hand a mover what a TPM holds", _tpms),
    Right(UPLOAD_TOKEN_REQUEST.group, UPLOAD_TOKEN_REQUEST.plural, ("create",), "upload disks", _uploads),
    _on(QUOTA, "list", "see whether the plan fits the quota", looks=True),
    _on(LIMIT_RANGE, "list", "see whether the plan fits the limits", looks=True),
    Right(
        NETWORK_ATTACHMENT.group, NETWORK_ATTACHMENT.plural, ("get",), "see that networks are there", _networks, True
    ),
)
"""deploy/namespace-role.yaml"""

FOR_FILE_PROBES = (Right("", "pods/exec", ("get", "create"), "look into guests, run hooks", _looks_inside),)
"""deploy/file-probes-role.yaml"""

IN_CLUSTER = (
    _on(STORAGE_CLASS, "list", "know where disks can go"),
    _on(STORAGE_PROFILE, "list", "know how volumes are made", looks=True),
    _on(CDI_CONFIG, "list", "know sizes and the upload proxy", looks=True),
    _on(CDI, "list", "see whether CDI is deployed", looks=True),
    _on(KUBEVIRT, "list", "see whether KubeVirt is deployed, and how it is set up", looks=True),
    _on(NODE, "get list", "know processors, memory and taints", looks=True),
    _on(NAMESPACE, "get", "know the namespace's pod security", looks=True),
    _on(RUNTIME_CLASS, "list", "know kata and gvisor", looks=True),
    Right(PRIORITY_CLASS.group, PRIORITY_CLASS.plural, ("list",), "know priority classes", are_named, looks=True),
    *(
        Right(kind.group, kind.plural, ("list",), "know what instance types and preferences give", _typed, True)
        for kind in (*INSTANCE_TYPES, *PREFERENCES)
    ),
)
"""deploy/cluster-role.yaml"""


@dataclass(frozen=True, slots=True)
class Missing:
    """A verb of a right that the account has not; `namespace` is empty for the cluster's own."""

    right: Right
    verb: str
    namespace: str


def needed(request: Request) -> Iterator[tuple[str, Right]]:
    """Namespace and right of all that this plan needs; an empty namespace for the cluster's own."""
    yield from (("", right) for right in IN_CLUSTER if right.needed(request))
    for namespace in request.namespaces:
        for right in (*IN_NAMESPACE, *FOR_FILE_PROBES):
            if right.needed(request):
                yield namespace, replace(right, looks=right.looks and not right.must(request))


def concerns(missing: tuple[Missing, ...]) -> Iterator[Concern]:
    """One for each resource of each namespace."""
    lacking: dict[tuple[str, str], list[Missing]] = {}
    for one in missing:
        lacking.setdefault((one.namespace, f"{one.right.group}/{one.right.resource}".lstrip("/")), []).append(one)
    for (namespace, resource), ones in lacking.items():
        right, verbs = ones[0].right, " and ".join(one.verb for one in ones)
        where = f"in namespace {namespace}" if namespace else "in the cluster"
        why = f"our account may not {verbs} {resource} {where}, which is needed to {right.purpose}"
        if right.looks:
            yield not_checked(resource + (f" of {namespace}" if namespace else ""), why)
        else:
            yield concern("cluster.permission-missing", why[0].upper() + why[1:], _fix(right, namespace))


def _fix(right: Right, namespace: str) -> str:
    probes = " --file-probes" if right in FOR_FILE_PROBES else ""
    return f"kubeferry manifests --namespace {namespace or 'NAMESPACE'}{probes} | kubectl apply --filename -"
