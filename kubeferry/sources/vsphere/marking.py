"""Writing a machine's mark and taking it away, in its settings or, where that is refused, in its notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from kubeferry.sources.vsphere.client import Client, words
from kubeferry.sources.vsphere.marks import NAME, NOTES, SETTINGS, is_ours, line, setting, text_of, without
from kubeferry.sources.vsphere.plain import Plain

_FORBIDDEN = (vim.fault.NoPermission, vim.fault.RestrictedByAdministrator, vmodl.fault.NotSupported)


@dataclass(frozen=True, slots=True)
class Marks:
    """The mark of one machine. A task is waited for so many `seconds`. Raises what the client's library raises."""

    client: Client
    vm: Any
    content: Any
    machine: str
    seconds: float

    def found(self) -> str | None:
        """The mark that is there now."""
        return text_of(self._props())

    def leave(self, text: str) -> str:
        """Write the mark. Returns where and why, in words, where that is not the setting."""
        there = setting(self._props())
        if there and not is_ours(there):
            self._write_line(text)
            return f"in its notes, since its setting {NAME} holds what is not ours"
        try:
            self._set(text)
        except _FORBIDDEN as refused:
            try:
                self._write_line(text)
            except _FORBIDDEN:
                raise refused from None
            return f"in its notes, since its settings are not ours to write ({_why(refused)})"
        return ""

    def take_away(self) -> list[str]:
        """What was taken away, in words."""
        props = self._props()
        if text_of(props) is None:
            return []
        if is_ours(setting(props)):
            self._set("")
        if line(props):
            self._write_line("")
        return ["mark"]

    def _props(self) -> Plain:
        return self.client.properties(self.vm, (SETTINGS, NOTES), content=self.content)

    def _set(self, text: str) -> None:
        self._configured(extraConfig=[vim.option.OptionValue(key=NAME, value=text)])

    def _write_line(self, text: str) -> None:
        """In the place of an older line. Refused by vSphere, as passing, where somebody has changed the machine since
        its notes were read: they may have been what was changed."""
        notes = without(str(self.client.raw(self.vm, NOTES, content=self.content) or "")) or ""
        marked = f"{NAME}: {text}" if text else ""
        self._write_notes("\n".join(filter(None, (marked, notes))))
        if not (marked or notes) and line(self._props()):  # to some servers, no text means no change
            self._write_notes(" ")

    def _write_notes(self, notes: str) -> None:
        version = self.client.raw(self.vm, "config.changeVersion", content=self.content)
        self._configured(annotation=notes, changeVersion=version)

    def _configured(self, **changes: Any) -> None:
        task = self.vm.ReconfigVM_Task(spec=vim.vm.ConfigSpec(**changes))
        self.client.finished(task, self.seconds, "marking the machine", content=self.content, machine=self.machine)


def _why(error: Any) -> str:
    privilege = getattr(error, "privilegeId", "")
    return f"the privilege {privilege} is missing" if privilege else words(error)
