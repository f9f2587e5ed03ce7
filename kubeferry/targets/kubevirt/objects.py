"""A plan's manifests as objects of the cluster: tried first, then put in place, by server-side apply.

Nothing may start by being applied, nor may the cluster start a machine again on its own while its source could still
be the one: a VirtualMachine whose plan says that it always runs is put there halted, is run by hand for its proof, and
gets its strategy when the move is committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeferry.documents import Entry
from kubeferry.errors import TargetRefused
from kubeferry.ledger import External, Ledger
from kubeferry.targets.kubevirt import names
from kubeferry.targets.kubevirt.api import Cluster
from kubeferry.targets.kubevirt.kinds import CLAIM, DATA_VOLUME, NETWORK_POLICY, VIRTUAL_MACHINE, Kind, kind_of

ADOPTION_SECONDS = 60.0
POLL_SECONDS = 0.5
TRIALS = 5
SHOWN_FIELDS = 8
LEDGER_KINDS = {
    CLAIM.name: "disk",
    DATA_VOLUME.name: names.DATA_VOLUME,
    NETWORK_POLICY.name: names.NETWORK_POLICY,
    VIRTUAL_MACHINE.name: names.VIRTUAL_MACHINE,
}
# What a machine is at before it is started, and after it was stopped, by what the plan says it is to be.
WAITING = {"Always": "Halted", "RerunOnFailure": "Halted", "Manual": "Manual", "Halted": "Halted"}
# ... and while it runs, until the move is committed.
RUNNING = "Manual"
# Strategies by which the cluster starts a machine that nobody asked it to start.
STARTING = frozenset({"Always", "RerunOnFailure"})
# Written by the server, or by controllers for themselves.
_THEIRS = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "finalizers"})

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One object: as it is wanted, as it is, and as it would be."""

    kind: Kind
    wanted: Object
    live: Object | None
    after: Object

    @property
    def name(self) -> str:
        return str(self.wanted["metadata"]["name"])

    @property
    def word(self) -> str:
        if self.live is None:
            return "created"
        return "changed" if differences(self.live, self.after) else "unchanged"

    def told(self) -> str:
        """The change in a line."""
        fields = differences(self.live, self.after) if self.live is not None else []
        shown = "; ".join(fields[:SHOWN_FIELDS]) + (" …" if len(fields) > SHOWN_FIELDS else "")
        return f"{self.word} {self.kind.name} {self.name}" + (f": {shown}" if shown else "")


def apply(cluster: Cluster, entry: Entry, ledger: Ledger, *, dry_run: bool) -> list[str]:
    """Put the manifests in place, after the server has taken all of them on trial; a line for each.

    What somebody changed between trial and deed is told in a line of its own, and is as the plan has it afterwards;
    what another manager has made its own is refused (Conflict). Raises TargetRefused with everything that the server
    refuses, before anything is written.
    """
    changes = tried(cluster, entry)
    lines = [change.told() for change in changes]
    if dry_run:
        return lines
    for change in changes:
        if change.live is None:
            ledger(External(LEDGER_KINDS[change.kind.name], change.name, f"{entry.namespace}/{change.name}"))
        drifted = list(_drift(cluster, entry, change))
        lines += drifted
        if drifted or change.word != "unchanged":
            cluster.apply(change.wanted, change.kind)
    for change in changes:
        if change.kind is DATA_VOLUME:
            _await_adoption(cluster, entry, change.name)
    return lines


def check_applied(cluster: Cluster, entry: Entry) -> None:
    """What is started is what was reviewed and applied. Raises TargetRefused where the objects say something else."""
    differing = [change.told() for change in tried(cluster, entry) if change.word != "unchanged"]
    if differing:
        raise TargetRefused(
            "the objects in the cluster are not those of the plan",
            why="; ".join(differing),
            fix="Apply them again; a change belongs into the policy.",
            machine=entry.name,
        )


def put_strategy(cluster: Cluster, entry: Entry, strategy: str, *, version: str = "", force: bool = False) -> None:
    """The machine's object gets this strategy; all else is as the plan has it. With a `version` only where it is that
    very object still: raises Changed. `force`: even where somebody else has made its fields their own since."""
    wanted = _with_strategy(_marked(entry, virtual_machine(entry)), strategy)
    if version:
        wanted = wanted | {"metadata": wanted["metadata"] | {"resourceVersion": version}}
    cluster.apply(wanted, VIRTUAL_MACHINE, force=force)


def tried(cluster: Cluster, entry: Entry) -> list[Change]:
    """Every manifest, taken by the server on trial. Raises TargetRefused with all that it refuses."""
    changes, problems = [], []
    for manifest in entry.manifests:
        kind = kind_of(manifest)
        live = cluster.get(kind, manifest["metadata"]["name"], entry.namespace)
        if live is not None and (why := names.objection(entry, live)):
            problems.append(TargetRefused(why, fix="Give the machine another name in the policy."))
            continue
        try:
            changes.append(_trial(cluster, entry, manifest, live))
        except TargetRefused as refused:
            problems.append(refused)
    if problems:
        raise TargetRefused(
            "the cluster refuses the machine's manifests",
            why="; ".join(one.reason for one in problems),
            fix=" ".join(dict.fromkeys(one.fix for one in problems)),
            machine=entry.name,
        )
    return changes


def _trial(cluster: Cluster, entry: Entry, manifest: Object, live: Object | None) -> Change:
    """One manifest on trial, against an object that stood still meanwhile: controllers write into it, too."""
    kind = kind_of(manifest)
    for _ in range(TRIALS):
        wanted = as_applied(entry, manifest, live)
        after = cluster.apply(wanted, kind, dry_run=True)
        now = cluster.get(kind, manifest["metadata"]["name"], entry.namespace)
        if (live is None) == (now is None) and not differences(live or {}, now or {}):
            break
        live = now
    return Change(kind, wanted, live, after)


# --- pure ------------------------------------------------------------------------------------------------------------


def virtual_machine(entry: Entry) -> Object:
    """The plan's VirtualMachine. Raises TargetRefused for a plan without one."""
    for manifest in entry.manifests:
        if manifest.get("kind") == VIRTUAL_MACHINE.name:
            return manifest
    raise TargetRefused("the plan has no VirtualMachine", fix="Plan again.", machine=entry.name)


def strategy_of(manifest: Object) -> str:
    """What the plan says about running."""
    return str(manifest["spec"].get("runStrategy", "Manual"))


def as_applied(entry: Entry, manifest: Object, live: Object | None) -> Object:
    """The manifest as it is put there: marked as the machine's, and a machine that does not run stays so."""
    marked = _marked(entry, manifest)
    if manifest.get("kind") != VIRTUAL_MACHINE.name:
        return marked
    planned = strategy_of(manifest)
    now = str(live["spec"].get("runStrategy")) if live else ""
    return _with_strategy(marked, now if now in {WAITING[planned], RUNNING, planned} else WAITING[planned])


def differences(before: Object, after: Object) -> list[str]:
    """The fields that differ in what is wanted of an object, `path: old -> new`."""
    found: list[str] = []
    for part in ("metadata", "spec"):
        found += _differences(before.get(part), after.get(part), part)
    return found


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if path != "metadata" or key not in _THEIRS:
                yield from _differences(before.get(key), after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{number}]")
    elif before != after:
        yield f"{path}: {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}…"


def _marked(entry: Entry, manifest: Object) -> Object:
    metadata = manifest["metadata"]
    labels = names.labels(entry) | (metadata.get("labels") or {})
    annotations = names.origin(entry) | (metadata.get("annotations") or {})
    marked = metadata | {"namespace": entry.namespace, "labels": labels, "annotations": annotations}
    return manifest | {"metadata": marked}


def _with_strategy(manifest: Object, strategy: str) -> Object:
    return manifest | {"spec": manifest["spec"] | {"runStrategy": strategy}}


# --- edge ------------------------------------------------------------------------------------------------------------


def _drift(cluster: Cluster, entry: Entry, change: Change) -> Iterator[str]:
    """What became of an object since it was looked at for the trial."""
    now = cluster.get(change.kind, change.name, entry.namespace)
    if now is None or change.live is None:
        if now is not change.live:
            word = "is gone" if now is None else "was made by somebody"
            yield f"drift {change.kind.name} {change.name}: it {word} since the trial"
        return
    for field in differences(_without_notes(change, change.live), _without_notes(change, now))[:SHOWN_FIELDS]:
        yield f"drift {change.kind.name} {change.name}: {field} since the trial"


def _without_notes(change: Change, found: Object) -> Object:
    """The object without what controllers note in it all the time: labels and annotations that nobody asked for, a
    claim's volume."""
    wanted, metadata = change.wanted["metadata"], dict(found.get("metadata", {}))
    for notes in ("labels", "annotations"):
        asked = wanted.get(notes) or {}
        metadata[notes] = {key: value for key, value in (metadata.get(notes) or {}).items() if key in asked}
    spec = {key: value for key, value in found.get("spec", {}).items() if key != "volumeName"}
    return found | {"metadata": metadata, "spec": spec}


def _await_adoption(cluster: Cluster, entry: Entry, name: str) -> None:
    """A DataVolume takes over the claim as it is, bytes included. Raises TargetRefused for one that does not."""
    limit = time.monotonic() + ADOPTION_SECONDS
    while True:
        volume = cluster.get(DATA_VOLUME, name, entry.namespace) or {}
        phase = volume.get("status", {}).get("phase")
        if phase == "Succeeded":
            return
        if phase == "Failed" or time.monotonic() > limit:
            conditions = volume.get("status", {}).get("conditions") or []
            said = "; ".join(str(one.get("message")) for one in conditions if one.get("message"))
            raise TargetRefused(
                f"DataVolume {entry.namespace}/{name} does not take over its claim",
                why=f"it is {phase or 'without a phase'}: {said}",
                fix="Check that CDI runs here and adopts claims; or plan without storage.dataVolumes.",
                machine=entry.name,
            )
        time.sleep(POLL_SECONDS)
