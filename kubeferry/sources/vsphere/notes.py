"""What people have written of a machine in its notes, below the line of a mark that may stand there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from kubeferry.errors import SourceUnavailable
from kubeferry.sources.vsphere.client import Client
from kubeferry.sources.vsphere.marks import NOTES, below

_VERSION = "config.changeVersion"


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes of one machine. A task is waited for so many `seconds`. Raises what the client's library raises."""

    client: Client
    vm: Any
    content: Any
    machine: str
    seconds: float

    def told(self) -> str | None:
        """None for none, and for blanks alone: to some servers no text means no change, and a blank stands for it."""
        return _told(self._all())

    def put(self, notes: str | None, was: str | None) -> None:
        """Let these be the notes. Raises SourceUnavailable where they are not what they were; vSphere itself refuses
        what somebody has changed since they were read."""
        version, now = self._raw(_VERSION), self._all()
        if _told(now) != was:
            fix = "Run the same again."
            raise SourceUnavailable("what is written about it changes", fix=fix, machine=self.machine)
        text = f"{now.removesuffix(below(now))}{notes or ''}"
        self._write(text, version)
        if not text and _told(self._all()):
            self._write(" ", self._raw(_VERSION))

    def _write(self, text: str, version: Any) -> None:
        task = self.vm.ReconfigVM_Task(spec=vim.vm.ConfigSpec(annotation=text, changeVersion=version))
        self.client.finished(task, self.seconds, "writing its notes", content=self.content, machine=self.machine)

    def _all(self) -> str:
        return str(self._raw(NOTES) or "")

    def _raw(self, path: str) -> Any:
        return self.client.raw(self.vm, path, content=self.content)


def _told(notes: str) -> str | None:
    left = below(notes)
    return left if left.strip() else None
