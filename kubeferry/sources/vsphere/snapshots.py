"""Snapshots of ours on a machine, and its change tracking: made, found again after a crash, taken back.

Ours are known by their name, whoever runs. That we turned change tracking on is noted in the machine's own settings, in
the same change, so that it can be turned off again by any later process.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from kubeferry.errors import KubeferryError, SourceUnavailable
from kubeferry.ledger import CHANGE_TRACKING, SNAPSHOT, External, Ledger
from kubeferry.model import Machine
from kubeferry.sources.vsphere.client import Client
from kubeferry.sources.vsphere.plain import Plain

MARK = "kubeferry-"
NOTE = "kubeferry.changeTracking"
DESCRIPTION = "Made by kubeferry for a copy of the disks; it is removed after that."


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot of ours. `managed` is the library's handle."""

    managed: Any
    name: str
    quiesced: bool
    taken_at: str


class Snapshots:
    """What one machine needs for rounds. `vm` is the library's handle, `seconds` how long a task may take."""

    def __init__(self, client: Client, content: Any, vm: Any, machine: Machine, seconds: float) -> None:
        self._client = client
        self._content = content
        self._vm = vm
        self._machine = machine
        self._seconds = seconds

    @property
    def name(self) -> str:
        """The name of ours: the same for every run on this machine."""
        return MARK + hashlib.sha256(f"{self._machine.source}/{self._machine.id}".encode()).hexdigest()[:12]

    def ours(self) -> list[Kept]:
        """Those that are there, the oldest first."""
        told = self._client.raw(self._vm, "snapshot", content=self._content)
        waiting = list(told.rootSnapshotList) if told is not None else []
        found = []
        while waiting:
            one = waiting.pop(0)
            waiting += one.childSnapshotList
            if one.name == self.name:
                found.append(Kept(one.snapshot, one.name, bool(one.quiesced), one.createTime.isoformat()))
        return found

    def made(self, ledger: Ledger, *, quiesce: bool) -> Kept:
        """Ours, made if it is not there. A guest that does not become quiet is taken as it is."""
        if found := self.ours():
            return found[-1]
        ledger(External(SNAPSHOT, self.name, self._machine.id))
        for quiet in (True, False) if quiesce else (False,):
            try:
                self._wait(self._create(quiesce=quiet), "the snapshot")
                break
            except (vim.fault.ApplicationQuiesceFault, vim.fault.SnapshotFault, vim.fault.ToolsUnavailable):
                if not quiet:
                    raise
                self.removed()  # a failed one can leave its entry
        if not (found := self.ours()):
            fix = "Look at the machine's events in vSphere; then run the same again."
            raise SourceUnavailable("the snapshot is not there", fix=fix, machine=self._machine.name)
        return found[-1]

    def _create(self, *, quiesce: bool) -> Any:
        return self._vm.CreateSnapshot_Task(name=self.name, description=DESCRIPTION, memory=False, quiesce=quiesce)

    def devices(self, kept: Kept) -> list[Plain]:
        """The machine's devices at the moment of the snapshot."""
        told = self._client.properties(kept.managed, ("config.hardware.device",), content=self._content)
        found: list[Plain] = told.get("config.hardware.device", [])
        return found

    def removed(self) -> list[str]:
        """Remove ours; what was removed, in words."""
        words = []
        for kept in reversed(self.ours()):
            with contextlib.suppress(vmodl.fault.ManagedObjectNotFound):
                self._wait(
                    kept.managed.RemoveSnapshot_Task(removeChildren=False, consolidate=True), "removing a snapshot"
                )
                words.append(f"snapshot {kept.name}")
        return words

    # --- change tracking -------------------------------------------------------------------------------------------

    def tracked(self, props: Plain, ledger: Ledger) -> bool:
        """Whether the machine tracks changes from the next snapshot on; turned on if need be and possible."""
        if props.get("config.changeTrackingEnabled"):
            return True
        # Tracking that begins on top of snapshots does not know what lies below them.
        if props.get("snapshot") or _version(props) < 7:
            return False
        ledger(External(CHANGE_TRACKING, self._machine.name, self._machine.id))
        try:
            self._configure(enabled=True, note="on")
        except (vmodl.MethodFault, KubeferryError):
            return False  # all of the disks is read again then
        return True

    def untracked(self, props: Plain) -> list[str]:
        """Turn change tracking off if it was ours; what was done, in words."""
        if not is_noted(props):
            return []
        self._configure(enabled=False, note="")
        return ["change tracking"]

    def _configure(self, *, enabled: bool, note: str) -> None:
        noted = [vim.option.OptionValue(key=NOTE, value=note)]
        spec = vim.vm.ConfigSpec(changeTrackingEnabled=enabled, extraConfig=noted)
        self._wait(self._vm.ReconfigVM_Task(spec=spec), "a change of the machine's settings")

    def _wait(self, task: Any, what: str) -> Any:
        return self._client.finished(task, self._seconds, what, content=self._content, machine=self._machine.name)


def is_noted(props: Plain) -> bool:
    """Whether change tracking of a machine was turned on by us."""
    return any(one.get("key") == NOTE and one.get("value") for one in props.get("config.extraConfig", []))


def _version(props: Plain) -> int:
    digits = str(props.get("config.version", "")).removeprefix("vmx-")
    return int(digits) if digits.isdigit() else 0


def disks_of(devices: list[Plain]) -> Iterator[Plain]:
    """The disks among devices."""
    return (one for one in devices if one["_type"] == "VirtualDisk")
