"""The fence on a machine's own object: the number of the newest runner that started or stopped it, as an annotation.

A runner may sleep just before its deed, for longer than its lease lasts, while another one goes back. So each puts its
number on the object first, and the strategy is taken by the API server only of the very object that was seen with it:
whoever comes with an older number, or acts on an older look, is refused, wherever it slept. The annotation has a field
manager of its own, so that applying a plan's manifests neither lowers it nor takes it away.
"""

from __future__ import annotations

from typing import Any

from kubeferry.documents import Entry
from kubeferry.errors import Fenced, TargetUnavailable
from kubeferry.outside import stopping
from kubeferry.targets import superseded
from kubeferry.targets.kubevirt import objects
from kubeferry.targets.kubevirt.answers import AGAIN, Changed
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.kinds import VIRTUAL_MACHINE, Kind

FENCE = "kubeferry.io/fence"
MANAGER = "kubeferry-fence"
TRIES = 10
PAUSE_SECONDS = 0.2

Object = dict[str, Any]


def fence_of(found: Object) -> int:
    """The number on an object; 0 where there is none, or none that can be read."""
    told = str((found["metadata"].get("annotations") or {}).get(FENCE, ""))
    return int(told) if told.isdecimal() else 0


def _overtaken(entry: Entry, found: Object, fence: int) -> Fenced:
    return superseded(entry, f"{entry.namespace}/{entry.target_name}", fence_of(found), fence)


def check(cluster: Cluster, entry: Entry, fence: int, kind: Kind = VIRTUAL_MACHINE, name: str = "") -> None:
    """Raise Fenced where a newer number stands on the object; after a deed, which is then too late."""
    found = cluster.get(kind, name or entry.target_name, entry.namespace)
    if fence and found is not None and fence_of(found) > fence:
        raise _overtaken(entry, found, fence)


def raise_fence(
    cluster: Cluster, entry: Entry, fence: int, kind: Kind = VIRTUAL_MACHINE, name: str = ""
) -> Object | None:
    """Put the number on the object, where it is not there. Returns the object with it, None where there is no object.
    Raises Fenced where a newer one stands there. `fence` 0 asks for nothing, and looks only. The object is the
    machine's own, but for another `kind` and `name` in its namespace."""
    for _ in range(TRIES):
        found = cluster.get(kind, name or entry.target_name, entry.namespace)
        if found is None or not fence or fence_of(found) == fence:
            return found
        if fence_of(found) > fence:
            raise _overtaken(entry, found, fence)
        try:
            return cluster.apply(_mark(found, fence, kind), kind, force=True, manager=MANAGER)
        except Changed:  # a controller wrote into it, or another runner was quicker: look again
            stopping.pause(PAUSE_SECONDS)
    raise _restless(entry)


def put_strategy(cluster: Cluster, entry: Entry, strategy: str, fence: int, *, force: bool = False) -> None:
    """The machine's object gets this strategy while it carries this number, in one deed. Raises Fenced."""
    for _ in range(TRIES):
        found = raise_fence(cluster, entry, fence)
        version = str(found["metadata"]["resourceVersion"]) if found is not None and fence else ""
        try:
            return objects.put_strategy(cluster, entry, strategy, version=version, force=force)
        except Changed:
            stopping.pause(PAUSE_SECONDS)
    raise _restless(entry)


def _mark(found: Object, fence: int, kind: Kind) -> Object:
    """The number, for the object as it was seen."""
    seen = {name: found["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
    head = {"apiVersion": kind.api_version, "kind": kind.name}
    return head | {"metadata": seen | {"annotations": {FENCE: str(fence)}}}


def _restless(entry: Entry) -> TargetUnavailable:
    what = f"{entry.namespace}/{entry.target_name} changes all the time"
    why = f"it was another object each of {TRIES} times"
    return TargetUnavailable(what, why=why, fix=AGAIN, machine=entry.name)
