"""A VirtualMachine started and stopped, whatever its strategy says."""

from __future__ import annotations

import time
from typing import Any

from kubeferry.documents import Entry, TargetConfig
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.ledger import External, Ledger
from kubeferry.targets import runs_from_it, users_of
from kubeferry.targets.kubevirt import fences, names, objects
from kubeferry.targets.kubevirt.api import Cluster, Conflict, NotThere
from kubeferry.targets.kubevirt.kinds import INSTANCE, POD, VIRTUAL_MACHINE

SUBRESOURCES = "/apis/subresources.kubevirt.io/v1"
# KubeVirt's words where a request to stop changes nothing: the strategy has stopped it, or nothing runs.
STOPPED_ALREADY = ("not running", "only supports manual stop requests with a shorter graceperiod")
OVER = frozenset({"Succeeded", "Failed"})
FORCED_SECONDS = 60.0
ASKED_SECONDS = 60.0
POLL_SECONDS = 1.0

Object = dict[str, Any]


def subresource(namespace: str, plural: str, name: str, what: str) -> str:
    """The path of something that KubeVirt serves of a machine (`virtualmachines`) or an instance of it."""
    return f"{SUBRESOURCES}/namespaces/{namespace}/{plural}/{name}/{what}"


def pods_of(cluster: Cluster, namespace: str, name: str) -> list[Object]:
    """The pods that run an instance. By KubeVirt's annotation: its label of that kind holds the guest's host name."""
    found = cluster.list(POD, namespace, {"kubevirt.io": "virt-launcher"})
    return [pod for pod in found if (pod["metadata"].get("annotations") or {}).get("kubevirt.io/domain") == name]


def start(cluster: Cluster, entry: Entry, ledger: Ledger, fence: int = 0) -> None:
    """Start the machine from what was applied, by hand, whatever it is to be later. One that runs is left alone.

    Raises TargetRefused where the objects are not the plan's, Fenced where a newer runner had it.
    """
    objects.check_applied(cluster, entry)
    fences.raise_fence(cluster, entry, fence)
    name = entry.target_name
    there = cluster.get(INSTANCE, name, entry.namespace)
    if there is not None and there.get("status", {}).get("phase") not in OVER:
        return
    ledger(External("process", name, f"{entry.namespace}/{name}"))
    fences.put_strategy(cluster, entry, objects.RUNNING, fence)
    try:
        cluster.call("PUT", subresource(entry.namespace, VIRTUAL_MACHINE.plural, name, "start"), body={})
    except Conflict as running:
        if "already running" not in running.why:
            raise
    fences.check(cluster, entry, fence)  # that request has no condition: asleep before it, we come too late


def hand_over(cluster: Cluster, entry: Entry, fence: int = 0) -> str:
    """The machine gets the strategy of its plan, and is the cluster's to run from now on; one that runs goes on as it
    is. Returns the strategy. Raises TargetRefused where the objects are not the plan's, Fenced as `start` does."""
    objects.check_applied(cluster, entry)
    planned = objects.strategy_of(objects.virtual_machine(entry))
    there = fences.raise_fence(cluster, entry, fence)
    if there is not None and str(there["spec"].get("runStrategy")) != planned:
        fences.put_strategy(cluster, entry, planned, fence)
    return planned


def stop(cluster: Cluster, config: TargetConfig, entry: Entry, fence: int = 0) -> None:
    """Stop the machine and return when its instance and pod are gone; after `config.stop_seconds` it is cut off.

    It is a copy: until the move is committed, nothing that it wrote is wanted. So it goes down whoever has changed its
    object since, but for a newer runner: raises Fenced. Nothing to stop is no error.
    """
    there = cluster.get(VIRTUAL_MACHINE, entry.target_name, entry.namespace)
    if there is None:  # what it ran may outlive it, and nobody is left to ask
        if not _await_gone(cluster, entry, config.stop_seconds):
            raise _goes_on(entry)
        return
    if why := names.objection(entry, there):
        raise TargetRefused(why, fix="Stop it by hand if that is meant.", machine=entry.name)
    there = fences.raise_fence(cluster, entry, fence) or there
    waiting = objects.WAITING[objects.strategy_of(objects.virtual_machine(entry))]
    found = str(there["spec"].get("runStrategy"))
    if found in objects.STARTING:  # whoever stops first and asks later meets a machine that was started again
        fences.put_strategy(cluster, entry, waiting, fence, force=True)
    _await_asked(cluster, entry)
    if cluster.get(INSTANCE, entry.target_name, entry.namespace) is not None:
        _ask_to_stop(cluster, entry, None)
    if not _await_gone(cluster, entry, config.stop_seconds):
        _ask_to_stop(cluster, entry, 0)
        if not _await_gone(cluster, entry, FORCED_SECONDS):
            raise _goes_on(entry)
    if found not in {waiting, *objects.STARTING}:
        fences.put_strategy(cluster, entry, waiting, fence, force=True)


def runs(cluster: Cluster, entry: Entry) -> bool:
    """Whether the machine has an instance that is not over, or a pod, or is to get one: by its strategy, or because
    KubeVirt was asked to start it. What outlives its object counts: nobody is left to ask whose it is."""
    name = entry.target_name
    there = cluster.get(VIRTUAL_MACHINE, name, entry.namespace)
    if there is not None and names.objection(entry, there):
        return False
    instance = cluster.get(INSTANCE, name, entry.namespace)
    found = [*([instance] if instance else []), *pods_of(cluster, entry.namespace, name)]
    if any((one.get("status") or {}).get("phase") not in OVER for one in found):
        return True
    return there is not None and _is_to_start(there, instance)


def _is_to_start(there: Object, ended: Object | None) -> bool:
    asked = (there.get("status") or {}).get("stateChangeRequests") or []
    strategy = str((there.get("spec") or {}).get("runStrategy"))
    if strategy == "RerunOnFailure":  # one that was shut down from inside stays down
        return ended is None or (ended.get("status") or {}).get("phase") != "Succeeded"
    return strategy == "Always" or any(one.get("action") == "Start" for one in asked)


def refuse_running(cluster: Cluster, entry: Entry) -> None:
    """Raise TargetRefused where the machine runs, or another one that attaches a disk of it: its disks are then their
    own, whichever plan or person started them."""
    for user in users_of(entry):
        there = cluster.get(INSTANCE, user.target_name, entry.namespace)
        if there is not None and there.get("status", {}).get("phase") not in OVER:
            raise runs_from_it(entry, user.name)
    there = cluster.get(INSTANCE, entry.target_name, entry.namespace)
    phase = (there or {}).get("status", {}).get("phase")
    if there is not None and phase not in OVER:
        raise TargetRefused(
            "it runs in the cluster already, and nothing is written to the disks of a running machine",
            why=f"instance {entry.namespace}/{entry.target_name} is {phase or 'new'}",
            fix="Leave it out if it has moved; else stop it there, or roll it back with the plan that started it.",
            machine=entry.name,
        )


def _goes_on(entry: Entry, what: str = "still has an instance or a pod") -> TargetUnavailable:
    return TargetUnavailable(
        "the machine does not stop in the cluster",
        why=f"{entry.namespace}/{entry.target_name} {what}",
        fix="Look at its virt-launcher pod and its node; then run the same command again.",
        machine=entry.name,
    )


def _ask_to_stop(cluster: Cluster, entry: Entry, grace: int | None) -> None:
    body = {} if grace is None else {"gracePeriod": grace}
    try:
        path = subresource(entry.namespace, VIRTUAL_MACHINE.plural, entry.target_name, "stop")
        cluster.call("PUT", path, body=body)
    except NotThere:
        return
    except Conflict as stopped:
        if not any(said in stopped.why for said in STOPPED_ALREADY):
            raise


def _await_asked(cluster: Cluster, entry: Entry) -> None:
    """A start that KubeVirt was asked for is carried out, or withdrawn: before that, a machine without an instance is
    not one that stays down. Raises TargetUnavailable where KubeVirt does neither."""
    limit, name = time.monotonic() + ASKED_SECONDS, entry.target_name
    while (there := cluster.get(VIRTUAL_MACHINE, name, entry.namespace)) is not None:
        asked = (there.get("status") or {}).get("stateChangeRequests") or []
        if all(one.get("action") != "Start" for one in asked) or cluster.get(INSTANCE, name, entry.namespace):
            return
        if time.monotonic() > limit:
            raise _goes_on(entry, "was asked to start, and KubeVirt has not done it yet")
        time.sleep(POLL_SECONDS)


def _await_gone(cluster: Cluster, entry: Entry, seconds: float) -> bool:
    """Whether neither instance nor pod is left within so many seconds: then its volumes are free."""
    limit, name = time.monotonic() + seconds, entry.target_name
    while cluster.get(INSTANCE, name, entry.namespace) or pods_of(cluster, entry.namespace, name):
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_SECONDS)
    return True
