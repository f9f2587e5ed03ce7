"""What goes: the movers and their state after a move, or the whole machine; and what is still there."""

from __future__ import annotations

import time
from typing import Any

from kubeferry.documents import Entry, TargetConfig
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.ledger import REHEARSAL, External
from kubeferry.targets import still_attached, users_of
from kubeferry.targets.kubevirt import jobs, machine, names
from kubeferry.targets.kubevirt.api import Cluster, Owned
from kubeferry.targets.kubevirt.kinds import CLAIM, DATA_VOLUME, INSTANCE, JOB, NETWORK_POLICY, VIRTUAL_MACHINE, Kind

GONE_SECONDS = 120.0
POLL_SECONDS = 0.5

KINDS = {
    "disk": CLAIM,
    "process": INSTANCE,
    REHEARSAL: VIRTUAL_MACHINE,
    names.STATE_CLAIM: CLAIM,
    names.JOB: JOB,
    names.NETWORK_POLICY: NETWORK_POLICY,
    names.VIRTUAL_MACHINE: VIRTUAL_MACHINE,
    names.DATA_VOLUME: DATA_VOLUME,
}

Object = dict[str, Any]


def tidy(cluster: Cluster, entry: Entry) -> list[str]:
    """The machine's movers and their state go; the plan's network policy goes with the last mover of the plan."""
    plans = _plans_of(cluster, entry)
    removed = jobs.end_all(cluster, entry)
    state = names.state_claim(entry.target_name)
    removed += drop(cluster, entry, [(CLAIM, state)])
    for plan, policy in plans.items():
        if not cluster.list(JOB, entry.namespace, {names.PLAN_LABEL: plan, names.PART_LABEL: names.MOVER}):
            cluster.delete(NETWORK_POLICY, policy, entry.namespace)
            removed.append(f"NetworkPolicy {entry.namespace}/{policy}")
    return removed


def remove(cluster: Cluster, config: TargetConfig, entry: Entry, fence: int = 0) -> list[str]:
    """Everything of this machine goes, its disks included: first what could write, then what is written.

    Raises TargetRefused, before anything is removed, where a name is another machine's, or another machine is there
    that attaches a claim of this one; Fenced where a newer runner has started or stopped it.
    """
    volumes = [m["metadata"]["name"] for m in entry.manifests if m.get("kind") == DATA_VOLUME.name]
    if config.transfer == "upload":  # of one that did not end
        volumes = list(dict.fromkeys([*volumes, *(planned.claim for planned in entry.disks)]))
    machines = [m["metadata"]["name"] for m in entry.manifests if m.get("kind") == VIRTUAL_MACHINE.name]
    policies = [m["metadata"]["name"] for m in entry.manifests if m.get("kind") == NETWORK_POLICY.name]
    things = [(VIRTUAL_MACHINE, name) for name in machines]
    things += [(NETWORK_POLICY, name) for name in policies]
    things += [(DATA_VOLUME, name) for name in volumes]
    things += [(CLAIM, planned.claim) for planned in entry.disks]
    things += [(CLAIM, claim) for claim in dict.fromkeys(kept.claim for kept in (entry.variables, entry.tpm) if kept)]
    _refuse_foreign(cluster, entry, things)
    _refuse_attached(cluster, entry)
    machine.stop(cluster, config, entry, fence)
    removed = tidy(cluster, entry)
    for kind in (VIRTUAL_MACHINE, NETWORK_POLICY, DATA_VOLUME, CLAIM):  # what filters its traffic outlives it
        removed += drop(cluster, entry, [thing for thing in things if thing[0] is kind])
    return removed


def drop_tpm(cluster: Cluster, entry: Entry) -> list[str]:
    """What the machine's TPM holds goes, with its claim and the movers that wrote it: a claim does not go while a pod
    names it. Raises TargetRefused where it is another machine's."""
    if entry.tpm is None:
        return []
    things = [(CLAIM, entry.tpm.claim)]
    if cluster.get(CLAIM, entry.tpm.claim, entry.namespace) is None:
        return []
    _refuse_foreign(cluster, entry, things)
    jobs.end_all(cluster, entry)
    return drop(cluster, entry, things)


def exists(cluster: Cluster, thing: External) -> bool:
    """Whether a thing of the ledger is still there."""
    namespace, _, name = thing.where.partition("/")
    return cluster.get(KINDS[thing.kind], name, namespace) is not None


def _plans_of(cluster: Cluster, entry: Entry) -> dict[str, str]:
    """The network policies of ours in the namespace, by the label of their plan."""
    found = cluster.list(NETWORK_POLICY, entry.namespace, {names.MANAGED_BY: names.MANAGER})
    labelled = {(policy["metadata"]["labels"]).get(names.PLAN_LABEL): policy["metadata"]["name"] for policy in found}
    return {plan: name for plan, name in labelled.items() if plan}


def _refuse_foreign(cluster: Cluster, entry: Entry, things: list[tuple[Kind, str]]) -> None:
    found = [cluster.get(kind, name, entry.namespace) for kind, name in things]
    foreign = [why for there in found if there is not None and (why := names.objection(entry, there))]
    if foreign:
        fix = "Remove it by hand if it is not needed."
        raise TargetRefused("it is not ours to remove", why="; ".join(foreign), fix=fix, machine=entry.name)


def _refuse_attached(cluster: Cluster, entry: Entry) -> None:
    """A claim that a machine still names, or runs from, would wait for it, deleted already."""
    shared = {planned.claim for planned in entry.disks if planned.shared_with}
    users = []
    for user in users_of(entry):
        there = [cluster.get(kind, user.target_name, entry.namespace) for kind in (VIRTUAL_MACHINE, INSTANCE)]
        if any(shared & _claims_of(one) for one in there if one is not None):
            users.append(user.name)
    if users:
        raise still_attached(entry, users)


def _claims_of(found: Object) -> set[str]:
    """The claims that a VirtualMachine, or an instance of one, names."""
    spec = found.get("spec", {})
    volumes = spec.get("template", {}).get("spec", spec).get("volumes") or []
    claims = {one.get("persistentVolumeClaim", {}).get("claimName") for one in volumes}
    return {str(name) for name in claims | {one.get("dataVolume", {}).get("name") for one in volumes} if name}


def drop(cluster: Cluster, entry: Entry, things: list[tuple[Kind, str]]) -> list[str]:
    """Delete these and return when they are gone; what is not ours is left alone."""
    going = []
    for kind, name in things:
        there = cluster.get(kind, name, entry.namespace)
        if there is not None and names.objection(entry, there) is None:
            # A DataVolume that waits for its claim to go first waits for ever: the claim waits for CDI's pod, and CDI
            # ends that only when it has seen the DataVolume go. One that is ended otherwise, CDI begins anew.
            owned: Owned = "Background" if kind in (DATA_VOLUME, CLAIM) else "Foreground"
            cluster.delete(kind, name, entry.namespace, uid=there["metadata"]["uid"], owned=owned)
            going.append((kind, name, there["metadata"]["uid"]))
    limit = time.monotonic() + GONE_SECONDS
    for kind, name, uid in going:
        while _is(cluster, entry, kind, name, uid):
            if time.monotonic() > limit:
                raise TargetUnavailable(
                    f"{kind.name} {entry.namespace}/{name} does not go",
                    why="something still uses it, or a finalizer holds it",
                    fix="Look at it with kubectl; then run the same command again.",
                    machine=entry.name,
                )
            time.sleep(POLL_SECONDS)
    return [f"{kind.name} {entry.namespace}/{name}" for kind, name, _uid in going]


def _is(cluster: Cluster, entry: Entry, kind: Kind, name: str, uid: str) -> bool:
    there: Object | None = cluster.get(kind, name, entry.namespace)
    return there is not None and bool(there["metadata"]["uid"] == uid)
