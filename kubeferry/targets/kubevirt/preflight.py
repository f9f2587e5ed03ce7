"""What speaks against a plan in this cluster: asked of the cluster here, judged by `checks`. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator

from kubeferry.documents import Entry, TargetConfig
from kubeferry.errors import TargetRefused
from kubeferry.model import Concern, Severity
from kubeferry.targets.kubevirt.api import Cluster, NotThere
from kubeferry.targets.kubevirt.checks import (
    apis,
    instancetypes,
    movers,
    namespaces,
    nodes,
    priorities,
    probes,
    quotas,
    rights,
    storage,
)
from kubeferry.targets.kubevirt.checks.facts import Facts, Place, Request, Seen, networks_of
from kubeferry.targets.kubevirt.checks.told import not_checked
from kubeferry.targets.kubevirt.kinds import (
    CDI,
    CDI_CONFIG,
    CLAIM,
    DATA_VOLUME,
    INSTANCE,
    JOB,
    KUBEVIRT,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_ATTACHMENT,
    NETWORK_POLICY,
    NODE,
    PRIORITY_CLASS,
    QUOTA,
    RUNTIME_CLASS,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    VIRTUAL_MACHINE,
    Kind,
)

CHECKS = (
    apis.concerns,
    instancetypes.concerns,
    namespaces.concerns,
    storage.concerns,
    quotas.concerns,
    nodes.concerns,
    priorities.concerns,
    movers.concerns,
    probes.concerns,
)
ORDER = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


def concerns(cluster: Cluster, config: TargetConfig, entries: tuple[Entry, ...]) -> list[Concern]:
    """Everything at once, the worst first. Without entries: what concerns the cluster as such."""
    request = Request(entries, config)
    facts = gather(cluster, request)
    told = [*permissions(cluster, request, facts), *judged(facts, request)]
    return sorted(dict.fromkeys(told), key=lambda one: ORDER.index(one.severity))


def judged(facts: Facts, request: Request) -> Iterator[Concern]:
    """What the facts come to. Pure."""
    for check in CHECKS:
        yield from check(facts, request)


# --- asking ----------------------------------------------------------------------------------------------------------


def gather(cluster: Cluster, request: Request) -> Facts:
    """Look at all that the checks judge. What may not be looked at is remembered with the reason."""
    return Facts(
        version=cluster.version(),
        served={version: _served(cluster, version) for version in {kind.api_version for kind in apis.wanted(request)}},
        kubevirts=_list(cluster, KUBEVIRT),
        cdis=_list(cluster, CDI),
        cdi_configs=_list(cluster, CDI_CONFIG),
        classes=_list(cluster, STORAGE_CLASS),
        profiles=_list(cluster, STORAGE_PROFILE),
        nodes=_list(cluster, NODE) if request.entries else Seen(),
        runtimes=_list(cluster, RUNTIME_CLASS) if request.runtime_classes else Seen(),
        priorities=_list(cluster, PRIORITY_CLASS) if priorities.are_named(request) else Seen(),
        types={kind.name: _list(cluster, kind) for kind in _types(request)},
        places={name: _place(cluster, request, name) for name in request.namespaces},
    )


def _types(request: Request) -> set[Kind]:
    """The kinds of instance types and preferences that the plan names."""
    return {kind for entry in request.entries for _word, kind, _name in instancetypes.named(entry)}


def permissions(cluster: Cluster, request: Request, facts: Facts) -> Iterator[Concern]:
    """Each right that the plan needs, asked of the API server; not of namespaces that are not there."""
    missing = []
    for namespace, right in rights.needed(request):
        if namespace and facts.places[namespace].missing:
            continue
        resource, _, part = right.resource.partition("/")
        for verb in right.verbs:
            try:
                allowed = cluster.allowed(verb, right.group, resource, subresource=part, namespace=namespace)
            except TargetRefused as refused:
                yield not_checked("our account's permissions", refused.why)
                return
            if not allowed:
                missing.append(rights.Missing(right, verb, namespace))
    yield from rights.concerns(tuple(missing))


def _place(cluster: Cluster, request: Request, name: str) -> Place:
    namespace = _get(cluster, NAMESPACE, name)
    if namespace.known and not namespace.objects:
        return Place(namespace)
    wanted = {place for entry in request.within(name) for place in networks_of(entry)}
    return Place(
        namespace=namespace,
        quotas=_list(cluster, QUOTA, name),
        limits=_list(cluster, LIMIT_RANGE, name),
        claims=_list(cluster, CLAIM, name),
        volumes=_list(cluster, DATA_VOLUME, name),
        machines=_list(cluster, VIRTUAL_MACHINE, name),
        policies=_list(cluster, NETWORK_POLICY, name) if request.has(NETWORK_POLICY) else Seen(),
        instances=_list(cluster, INSTANCE, name),
        jobs=_list(cluster, JOB, name),
        networks={f"{space}/{one}": _get(cluster, NETWORK_ATTACHMENT, one, space) for space, one in sorted(wanted)},
    )


def _list(cluster: Cluster, kind: Kind, namespace: str = "") -> Seen:
    """What is there of a kind; nothing where the cluster does not know it."""
    try:
        return Seen(tuple(cluster.list(kind, namespace)))
    except NotThere:
        return Seen()
    except TargetRefused as refused:
        return Seen(why=refused.why)


def _get(cluster: Cluster, kind: Kind, name: str, namespace: str = "") -> Seen:
    try:
        found = cluster.get(kind, name, namespace)
    except TargetRefused as refused:
        return Seen(why=refused.why)
    return Seen((found,) if found else ())


def _served(cluster: Cluster, version: str) -> frozenset[str]:
    """The plural names of the kinds of a group and version; none where it is not served."""
    try:
        return cluster.kinds(version)
    except NotThere:
        return frozenset()
