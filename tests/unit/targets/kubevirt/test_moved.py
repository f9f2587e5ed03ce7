"""The mark of a machine that has moved, on its object and on its claims. The cluster is a double: objects in a dict,
with JSON merge patches of annotations and no versions."""

from __future__ import annotations

import copy
from typing import Any

from kubeferry.marks import MoveMark
from kubeferry.targets.kubevirt import moved
from kubeferry.targets.kubevirt.kinds import CLAIM, VIRTUAL_MACHINE, Kind

MARK = MoveMark("2026-01-01T00:00:00Z", "d1", "2026-01-01T00:00:00Z", "wave 1")
Object = dict[str, Any]


class Patched:
    def __init__(self, entry: Any) -> None:
        claim, machine = copy.deepcopy(entry.manifests)
        self.objects = {
            (VIRTUAL_MACHINE.name, entry.target_name): machine,
            (CLAIM.name, claim["metadata"]["name"]): claim,
        }

    def get(self, kind: Kind, name: str, _namespace: str = "") -> Object | None:
        return copy.deepcopy(self.objects.get((kind.name, name)))

    def merge(self, kind: Kind, name: str, _namespace: str, patch: Object) -> Object:
        notes = self.objects[kind.name, name]["metadata"].setdefault("annotations", {})
        for key, value in patch["metadata"]["annotations"].items():
            notes.update({key: value}) if value is not None else notes.pop(key, None)
        return self.objects[kind.name, name]

    @property
    def marked(self) -> set[str]:
        return {kind for (kind, _), one in self.objects.items() if moved.MOVED in one["metadata"]["annotations"]}


def test_object_and_claims_carry_it_and_either_is_enough(make: Any) -> None:
    entry = make.entry()
    cluster: Any = Patched(entry)
    moved.mark(cluster, entry, MARK)
    assert cluster.marked == {VIRTUAL_MACHINE.name, CLAIM.name}
    for kind in (VIRTUAL_MACHINE.name, CLAIM.name):
        left: Any = Patched(entry)
        left.objects = {key: one for key, one in cluster.objects.items() if key[0] == kind}
        assert moved.marked(left, entry) == MARK, f"only the {kind} is left"
    moved.unmark(cluster, entry)
    assert (cluster.marked, moved.marked(cluster, entry)) == (set(), None)


def test_what_is_another_machine_s_is_neither_read_nor_marked(make: Any) -> None:
    entry = make.entry()
    cluster: Any = Patched(entry)
    moved.mark(cluster, entry, MARK)
    for one in cluster.objects.values():
        one["metadata"]["annotations"]["kubeferry.io/machine-id"] = "id-other"
    assert moved.marked(cluster, entry) is None
    moved.unmark(cluster, entry)
    assert cluster.marked == {VIRTUAL_MACHINE.name, CLAIM.name}
