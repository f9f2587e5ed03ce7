"""The mark that a machine has moved, as an annotation of its object and of its disks' claims: either may outlive the
other, and a claim alone still holds what was written since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeferry.documents import Entry
from kubeferry.marks import MoveMark, read_move, written_move
from kubeferry.targets.kubevirt import fences, names
from kubeferry.targets.kubevirt.api import Cluster, NotThere
from kubeferry.targets.kubevirt.kinds import CLAIM, VIRTUAL_MACHINE, Kind

MOVED = "kubeferry.io/moved"

Object = dict[str, Any]


def mark(cluster: Cluster, entry: Entry, told: MoveMark, fence: int = 0) -> None:
    """Put the mark on each object of the machine that is there. Raises Fenced where a newer runner had it."""
    fences.raise_fence(cluster, entry, fence)
    for kind, name, _ in _objects(cluster, entry):
        _put(cluster, entry, kind, name, written_move(told))


def marked(cluster: Cluster, entry: Entry) -> MoveMark | None:
    """The first mark that is found."""
    for _, _, found in _objects(cluster, entry):
        if told := read_move((found["metadata"].get("annotations") or {}).get(MOVED)):
            return told
    return None


def unmark(cluster: Cluster, entry: Entry, fence: int = 0) -> None:
    """Take it off each object. Raises Fenced where a newer runner had it."""
    fences.raise_fence(cluster, entry, fence)
    for kind, name, found in _objects(cluster, entry):
        if MOVED in (found["metadata"].get("annotations") or {}):
            _put(cluster, entry, kind, name, None)


def _objects(cluster: Cluster, entry: Entry) -> Iterator[tuple[Kind, str, Object]]:
    """The machine's object and its disks' claims, those that are there and its own."""
    for kind, name in ((VIRTUAL_MACHINE, entry.target_name), *((CLAIM, planned.claim) for planned in entry.disks)):
        found = cluster.get(kind, name, entry.namespace)
        if found is not None and names.objection(entry, found) is None:
            yield kind, name, found


def _put(cluster: Cluster, entry: Entry, kind: Kind, name: str, text: str | None) -> None:
    try:
        cluster.merge(kind, name, entry.namespace, {"metadata": {"annotations": {MOVED: text}}})
    except NotThere:
        return  # gone since the look
