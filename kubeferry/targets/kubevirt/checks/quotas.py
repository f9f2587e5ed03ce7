"""The demand of a plan against the quotas and limit ranges of its namespaces. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from kubeferry.documents import Entry
from kubeferry.model import Concern
from kubeferry.targets.kubevirt.checks.demand import Amounts, Room, arrived, demand, mover_footprint, rooms
from kubeferry.targets.kubevirt.checks.facts import Facts, Object, Place, Request, machine_of
from kubeferry.targets.kubevirt.checks.launcher import Footprint, console_log, footprint
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.quantities import amount, shown

# Other names that quotas have for the same.
SAME = {
    "cpu": "requests.cpu",
    "memory": "requests.memory",
    "ephemeral-storage": "requests.ephemeral-storage",
    "count/persistentvolumeclaims": "persistentvolumeclaims",
}
# Scopes that our pods are in; a quota with any other scope does not count them.
OUR_SCOPES = frozenset({"NotTerminating", "NotBestEffort"})
EPHEMERAL_LIMITS = "limits.ephemeral-storage"
QUOTA_FIX = "Raise the quota, or move fewer machines into this namespace at once."
LIMIT_FIX = (
    "Change the namespace's limit range, or the sizes in the policy and target.movers. A machine does without its "
    "console's log where a `patch` sets logSerialConsole of its devices to false."
)


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """Everything that does not fit, for each namespace."""
    for name, place in facts.places.items():
        if place.missing:
            continue
        if not place.quotas.known:
            yield not_checked(f"the quotas of namespace {name}", place.quotas.why)
        needed, unlimited = demand(facts, request, name), _unlimited(facts, request, place, name)
        for quota in place.quotas.objects:
            yield from _quota(name, quota, needed, unlimited)
        if not place.limits.known:
            yield not_checked(f"the limit ranges of namespace {name}", place.limits.why)
        for limits in place.limits.objects:
            yield from _limits(facts, request, place, name, limits)


# --- quotas ----------------------------------------------------------------------------------------------------------


def _quota(namespace: str, quota: Object, needed: Amounts, unlimited: set[str]) -> Iterator[Concern]:
    if not counts_us(quota):
        return
    where = f"quota {namespace}/{quota['metadata']['name']}"
    for resource, need, left in over(quota, needed):
        what = f"the plan needs {shown(need, resource)} more {resource}, and {where} leaves {shown(left, resource)}"
        yield concern("quota.exceeded", what, QUOTA_FIX)
    if EPHEMERAL_LIMITS in unlimited and EPHEMERAL_LIMITS in _hard(quota):
        what = f"{where} is on {EPHEMERAL_LIMITS}, which KubeVirt gives no machine's pod: they are all refused"
        yield concern("quota.limit-missing", what, "Set a default for ephemeral-storage in a limit range.")
    for resource in sorted((unlimited - {EPHEMERAL_LIMITS}) & set(_hard(quota))):
        what = f"{where} is on {resource}, and machines of the plan have no such limit: their pods may be refused"
        fix = "Set default limits in a limit range, or see that KubeVirt sets them."
        yield concern("quota.limits-unset", what, fix)


def _unlimited(facts: Facts, request: Request, place: Place, namespace: str) -> set[str]:
    """Limits that quotas know, that some machine to come has not, and that no limit range gives it."""
    pods = [footprint(entry, facts.kubevirt) for entry in _coming(place, request.within(namespace))]
    given = {name for one in place.limits.objects for limit in _containers(one) for name in limit.get("default") or {}}
    names = ("cpu", "memory", "ephemeral-storage")
    return {f"limits.{name}" for name in names if name not in given and any(name not in pod.limits for pod in pods)}


def counts_us(quota: Object) -> bool:
    """Whether a quota counts our claims and pods at all."""
    spec = quota.get("spec") or {}
    return not spec.get("scopeSelector") and OUR_SCOPES.issuperset(spec.get("scopes") or ())


def over(quota: Object, needed: Amounts) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Each resource of which more is needed than the quota leaves: its name, the need, what is left."""
    used = (quota.get("status") or {}).get("used") or {}
    scoped = bool((quota.get("spec") or {}).get("scopes"))
    for resource, hard in sorted(_hard(quota).items()):
        need = needed.get(resource, needed.get(SAME.get(resource, resource), Fraction()))
        if resource.startswith("hugepages-"):
            need = needed.get(f"requests.{resource}", Fraction())
        if scoped and not _of_pods(resource):
            continue
        left = amount(hard) - amount(used.get(resource, 0))
        if need and need > left:
            yield resource, need, left


def used_and_hard(quota: Object) -> Iterator[tuple[str, Any, Any]]:
    """Each resource of a quota, by the name that all have for it: its most, and what is taken of it."""
    used = (quota.get("status") or {}).get("used") or {}
    for resource, hard in sorted(_hard(quota).items()):
        yield SAME.get(resource, resource), hard, used.get(resource, 0)


def _hard(quota: Object) -> Object:
    return dict((quota.get("status") or {}).get("hard") or (quota.get("spec") or {}).get("hard") or {})


def _of_pods(resource: str) -> bool:
    words = ("cpu", "memory", "ephemeral-storage")
    return resource == "pods" or resource.removeprefix("requests.").removeprefix("limits.") in words


# --- limit ranges ----------------------------------------------------------------------------------------------------


def _limits(facts: Facts, request: Request, place: Place, namespace: str, limits: Object) -> Iterator[Concern]:
    entries = request.within(namespace)
    where = f"limit range {namespace}/{limits['metadata']['name']}"
    for limit in (limits.get("spec") or {}).get("limits") or []:
        if limit.get("type") == "PersistentVolumeClaim":
            told = [*_claims_beyond(limit, list(rooms(facts, place, request, entries)))]
        else:
            whole = limit.get("type") == "Pod"
            pods = _pods(facts, request, place, entries) | ({} if whole else _consoles(facts, place, entries))
            given = {who: _given(pod, place, whole=whole) for who, pod in pods.items()}
            told = [*_pods_beyond(limit, given), *_beyond_ratio(limit, given)]
            if not whole:
                told += _refused_defaults(limit, pods)
                yield from _throttled(limit, pods, where)
        for what in told:
            yield concern("limit-range.exceeded", f"{what} ({where})", LIMIT_FIX)


def _claims_beyond(limit: Object, claimed: list[Room]) -> Iterator[str]:
    most, least = (limit.get("max") or {}).get("storage"), (limit.get("min") or {}).get("storage")
    for room in claimed:
        if most is not None and room.size > amount(most):
            yield f"claim {room.name} asks for {shown(room.size)}, and {most} is the most that one may have"
        if least is not None and room.size < amount(least):
            yield f"claim {room.name} asks for {shown(room.size)}, and {least} is the least that one may have"


def _pods(facts: Facts, request: Request, place: Place, entries: tuple[Entry, ...]) -> dict[str, Footprint]:
    """The pods that will be made, in words, and what each asks for."""
    found = {f"the pod of {one.name}": footprint(one, facts.kubevirt) for one in _coming(place, entries)}
    if entries:
        found["a mover"] = mover_footprint(request.config.movers)
    return found


def _consoles(facts: Facts, place: Place, entries: tuple[Entry, ...]) -> dict[str, Footprint]:
    """The small containers beside guests, which a limit range for containers is for, too."""
    logs = {one.name: console_log(one, facts.kubevirt) for one in _coming(place, entries)}
    return {f"the container that keeps the console's log of {name}": log for name, log in logs.items() if log}


def _coming(place: Place, entries: tuple[Entry, ...]) -> list[Entry]:
    """Those whose machines are yet to be made here."""
    return [one for one in entries if machine_of(one) is not None and not arrived(place, one)]


def _given(pod: Footprint, place: Place, *, whole: bool) -> Footprint:
    """A pod as limits see it: with the namespace's defaults; as a `whole`, with the limits of what stands beside its
    main container. Kubernetes sums the limits that there are, and takes a pod for limited where one container is."""
    limits = _defaults(place, "default")
    requests = limits | _defaults(place, "defaultRequest") | pod.limits | pod.requests
    limits |= pod.limits
    if whole:
        more = {name: value for name, value in pod.beside.items() if name not in pod.limits}
        limits |= {name: value + limits.get(name, 0) for name, value in more.items()}
    return replace(pod, requests=requests, limits=limits)


def _defaults(place: Place, word: str) -> dict[str, Fraction]:
    """What a namespace gives containers that say nothing; of several limit ranges the first one does."""
    found = [limit.get(word) or {} for limits in place.limits.objects for limit in _containers(limits)]
    return {resource: amount(value) for one in reversed(found) for resource, value in one.items()}


def _pods_beyond(limit: Object, pods: dict[str, Footprint]) -> Iterator[str]:
    """What is beyond the bounds of a container or a pod: ours have one container that matters. With a most, or a least,
    both what is asked for and its limit are held to it, and there must be a limit to the most."""
    for who, pod in pods.items():
        for resource, most in (limit.get("max") or {}).items():
            asked = max(pod.of(resource), pod.limits.get(resource, Fraction()))
            if asked > amount(most):
                yield f"{who} asks for {shown(asked, resource)} of {resource}, and {most} is the most"
            elif resource not in pod.limits:
                yield f"{who} has no limit of {resource}, and needs one of {most} at most"
        for resource, least in (limit.get("min") or {}).items():
            if resource in pod.requests and pod.of(resource) < amount(least):
                yield f"{who} asks for {shown(pod.of(resource), resource)} of {resource}, and {least} is the least"
            elif pod.limits.get(resource, amount(least)) < amount(least):
                told = shown(pod.limits[resource], resource)
                yield f"{who} has a limit of {told} of {resource}, and {least} is the least"


def _containers(limits: Object) -> list[Object]:
    return [one for one in (limits.get("spec") or {}).get("limits") or [] if one.get("type") == "Container"]


def _refused_defaults(limit: Object, pods: dict[str, Footprint]) -> Iterator[str]:
    """A pod without a limit gets the default one, and is refused where it asks for more than that."""
    for who, pod in pods.items():
        for resource, default in (limit.get("default") or {}).items():
            if resource not in pod.limits and pod.of(resource) > amount(default):
                asked = shown(pod.of(resource), resource)
                yield f"{who} asks for {asked} of {resource} without a limit, and is given one of {default}"


def _throttled(limit: Object, pods: dict[str, Footprint], where: str) -> Iterator[Concern]:
    """A default limit on processors is none that a pod is refused for: its guest runs slower, for good."""
    default = (limit.get("default") or {}).get("cpu")
    for who, pod in pods.items() if default is not None else ():
        if "cpu" not in pod.limits and pod.of("cpu") <= amount(default) < pod.guest_cpus:
            what = (
                f"{who} gets the default limit of {default} of cpu, and its guest has {pod.guest_cpus} processors "
                f"({where})"
            )
            fix = "Give the machine limits of its own (placement.limits), or change the namespace's limit range."
            yield concern("limit-range.throttles", what, fix)


def _beyond_ratio(limit: Object, pods: dict[str, Footprint]) -> Iterator[str]:
    """A pod whose limit is too many times what it asks for; one without a limit is refused, too."""
    for who, pod in pods.items():
        for resource, most in (limit.get("maxLimitRequestRatio") or {}).items():
            told, asked = pod.limits.get(resource), pod.requests.get(resource)
            if not told or not asked:
                yield f"{who} has no limit or request of {resource}, and its ratio may be {most} at most"
            elif told > amount(most) * asked:
                yield f"{who} has a limit of {resource} more than {most} times what it asks for"
