"""The namespaces of a plan: there or not, which pods they take, names that are taken, networks. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kubeferry.documents import Entry
from kubeferry.model import Concern
from kubeferry.targets.kubevirt import claims, names
from kubeferry.targets.kubevirt.checks.facts import Facts, Object, Place, Request, networks_of
from kubeferry.targets.kubevirt.checks.told import concern, not_checked
from kubeferry.targets.kubevirt.kinds import CLAIM, NETWORK_ATTACHMENT, PLANNED, kind_of

UID_RANGE = "openshift.io/sa.scc.uid-range"
ENFORCE = "pod-security.kubernetes.io/enforce"
# As OpenShift writes it, first and count; or first and last, which it takes too.
_RANGE = re.compile(r"(?P<first>\d{1,10})(/(?P<count>\d{1,10})|-(?P<last>\d{1,10}))")
NAME_FIX = "Remove it if nothing in it is wanted, or give the machine another name in the policy."


def concerns(facts: Facts, request: Request) -> Iterator[Concern]:
    """Everything that is wrong with where the machines are to be."""
    yield from _clashes(request)
    for name, place in facts.places.items():
        if place.missing:
            fix = f"kubectl create namespace {name}, and make it ready: docs/operations.md says how."
            yield concern("namespace.missing", f"namespace {name} is not there", fix)
            continue
        yield from _namespace(facts, request, name, place)
        for entry in request.within(name):
            yield from _names(place, entry)
            yield from _networks(facts, place, entry)
    yield from _runtimes(facts, request)


def _clashes(request: Request) -> Iterator[Concern]:
    counted = Counter((entry.namespace, entry.target_name) for entry in request.entries)
    for (namespace, name), count in counted.items():
        if count > 1:
            sharing = ", ".join(one.name for one in request.within(namespace) if one.target_name == name)
            what = f"{count} machines would be called {namespace}/{name}: {sharing}"
            yield concern("name.clash", what, "Give each a name of its own in the policy.")


def _namespace(facts: Facts, request: Request, name: str, place: Place) -> Iterator[Concern]:
    if not place.namespace.known:
        yield not_checked(f"namespace {name} itself", place.namespace.why)
        return
    metadata = place.namespace.objects[0]["metadata"]
    if metadata.get("deletionTimestamp"):
        what = f"namespace {name} is being deleted"
        yield concern("namespace.terminating", what, "Use another one, or wait and make it again.")
    yield from _users(request, name, metadata)
    level = (metadata.get("labels") or {}).get(ENFORCE)
    if level == "restricted" and not facts.kubevirts.known:
        yield not_checked(f"whether namespace {name}, which enforces restricted, takes machines", facts.kubevirts.why)
    elif level == "restricted" and facts.kubevirts.objects and not _default_profile(facts):
        what = f"namespace {name} enforces the pod security level restricted, and a machine's pod passes baseline only"
        fix = (
            "Set seccompConfiguration.virtualMachineInstanceProfile.customProfile.runtimeDefaultProfile in the "
            f"KubeVirt object, or label the namespace {ENFORCE}=baseline."
        )
        yield concern("namespace.pod-security", what, fix)


def _users(request: Request, name: str, metadata: Object) -> Iterator[Concern]:
    """OpenShift gives each namespace a range of users, and its usual constraint takes no other."""
    found = _RANGE.fullmatch((metadata.get("annotations") or {}).get(UID_RANGE) or "")
    movers = request.config.movers
    if found is None or not movers.user:
        return
    first, last = int(found["first"]), int(found["last"] or int(found["first"]) + int(found["count"] or 1) - 1)
    if first <= movers.user <= last:
        return
    where = f"namespace {name} takes users {first} to {last}"
    if movers.service_account:
        what = f"{where}; whether {movers.service_account} may use a constraint for {movers.user} is not looked at"
        fix = "`kubeferry manifests --openshift` prints the constraint and the right to it."
        yield concern("namespace.constraint-not-checked", what, fix)
        return
    what = f"{where}, and movers run as {movers.user}, without an account that may use another constraint"
    fix = (
        f"Apply what `kubeferry manifests --openshift --namespace {name}` prints, and set "
        "target.movers.serviceAccount: kubeferry-mover; or leave their user to the cluster, by target.movers.user: 0."
    )
    yield concern("namespace.user-range", what, fix)


def _default_profile(facts: Facts) -> bool:
    """Whether machines' pods have the RuntimeDefault seccomp profile, which `restricted` asks for."""
    seccomp = facts.kubevirt.get("seccompConfiguration") or {}
    custom = (seccomp.get("virtualMachineInstanceProfile") or {}).get("customProfile") or {}
    return bool(custom.get("runtimeDefaultProfile"))


def _names(place: Place, entry: Entry) -> Iterator[Concern]:
    """Objects that are there under a name that the machine needs: not ours, of no use, or on their way out."""
    planned = {one.claim: one for one in entry.disks}
    wanted = [(kind_of(one), str(one["metadata"]["name"])) for one in entry.manifests if _is_planned(one)]
    for kind, name in dict.fromkeys([*wanted, (CLAIM, names.state_claim(entry.target_name))]):
        there = place.of(kind).named(name)
        if there is None:
            continue
        if why := names.objection(entry, there):
            yield concern("name.taken", f"{entry.name}: {why}", NAME_FIX)
        elif there["metadata"].get("deletionTimestamp"):
            what = f"{entry.name}: {kind.name} {entry.namespace}/{name} is being deleted"
            yield concern("name.going", what, "Wait until it is gone.")
        elif kind is CLAIM and name in planned:
            disk = planned[name]
            if why := claims.unfit(entry, disk, claims.planned_claim(entry, disk), there):
                yield concern("claim.unfit", f"{entry.name}: {why}", NAME_FIX)


def _is_planned(manifest: dict[str, object]) -> bool:
    return any((kind.api_version, kind.name) == (manifest.get("apiVersion"), manifest.get("kind")) for kind in PLANNED)


def _networks(facts: Facts, place: Place, entry: Entry) -> Iterator[Concern]:
    if NETWORK_ATTACHMENT.plural not in facts.served.get(NETWORK_ATTACHMENT.api_version, ()):
        return  # told already, as a kind that is missing
    for namespace, name in networks_of(entry):
        seen = place.networks.get(f"{namespace}/{name}")
        if seen is None or not seen.known:
            yield not_checked(f"network attachment {namespace}/{name}", seen.why if seen else "nobody asked")
        elif not seen.objects:
            what = f"{entry.name} is plugged into {namespace}/{name}, and no such network attachment is there"
            yield concern("network.missing", what, "Make it, or map the network to another one in the policy.")


def _runtimes(facts: Facts, request: Request) -> Iterator[Concern]:
    wanted = sorted(request.runtime_classes)
    if wanted and not facts.runtimes.known:
        yield not_checked("runtime classes", facts.runtimes.why)
        return
    for name in wanted:
        if facts.runtimes.named(name) is None:
            has = ", ".join(sorted(one["metadata"]["name"] for one in facts.runtimes.objects)) or "none"
            what = f"movers are to run by runtime class {name}, and the cluster has {has}"
            yield concern(
                "runtime-class.missing",
                what,
                "Install it, or take it out of target.movers.runtimeClasses and of the policy's `sandbox`.",
            )
