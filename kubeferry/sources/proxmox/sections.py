"""The text of a configuration of Proxmox: lines of `key: value`, and behind them sections of snapshots. Pure.

Facts of PVE::QemuServer (parse_vm_config): lines that begin with `#` are the description, percent-encoded; `[pending]`
holds what takes hold at the next start; `[special:…]` is Proxmox's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from kubeferry.model import SourceFact
from kubeferry.sources.facts.leftovers import cut, shown
from kubeferry.sources.facts.settings import Settings

AGAIN = "Write it anew with `qm config VMID`, one machine per file."
NOTED_LINES = 20  # of those that are no settings
_SETTING = re.compile(r"([a-z][a-z0-9_-]{0,63}):\s?(.*)", re.ASCII)
_SECTION = re.compile(r"\[([^\]]{1,200})\]")
_BACKUP = "#qmdump#"  # notes of vzdump's, in the configuration of a backup
_PENDING, _SPECIAL = "pending", "special:"


@dataclass(slots=True)
class Sections:
    """The settings `now`, the `description`, names of `snapshots`, keys that are `pending`, and `odd` lines."""

    now: Settings
    description: str | None = None
    snapshots: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    odd: list[SourceFact] = field(default_factory=list)


def read_sections(text: str, where: str) -> Sections:
    """What a configuration says, section by section."""
    found, notes, section = Sections(Settings(where, AGAIN)), [], ""
    for number, line in enumerate(text.split("\n"), 1):
        plain = line.strip(" \t\r\0")
        if (heading := _SECTION.fullmatch(plain)) is not None:
            section = heading[1].lower()
            if section != _PENDING and not section.startswith(_SPECIAL):
                found.snapshots.append(heading[1])
        elif plain.startswith("#"):
            notes += [] if section or plain.startswith(_BACKUP) else [unquote(plain[1:])]
        elif plain and section == _PENDING:
            found.pending.append(plain.partition(":")[0][:80])
        elif plain and not section:
            _take(plain, number, found, notes)
    found.description = "\n".join(notes).strip() or None
    return found


def _take(line: str, number: int, found: Sections, notes: list[str]) -> None:
    """One line of the machine as it is."""
    if (told := _SETTING.fullmatch(line)) is None:
        if len(found.odd) < NOTED_LINES:
            path = f"line[{number}]"
            found.odd.append(SourceFact(path=path, value=shown(path, line)))
    elif told[1] == "description":
        notes.append(unquote(told[2]))
    else:
        found.now.add(told[1], told[2].strip(), number)


def options(told: str | None, first: str = "") -> dict[str, str]:
    """`virtio=AA:…,bridge=vmbr0` by key. A first word without a key is that of `first`; other words are on."""
    found: dict[str, str] = {}
    for place, word in enumerate((told or "").split(",")):
        key, has, value = word.strip().partition("=")
        if has:
            found.setdefault(key, value)
        elif key:
            found.setdefault(first if not place and first else key, key if not place and first else "1")
    return found


def left(key: str, told: dict[str, str], read: set[str]) -> list[SourceFact]:
    """The options of a setting that are not among those that are `read`, and are not off."""
    return [
        SourceFact(path=cut(f"{key}/{name}"), value=shown(name, value))
        for name, value in told.items()
        if name not in read and is_on(value) is not False
    ]


def is_on(told: str | None) -> bool | None:
    """Yes or no in Proxmox's words; None for anything else."""
    return {
        "1": True,
        "on": True,
        "yes": True,
        "true": True,
        "0": False,
        "off": False,
        "no": False,
        "false": False,
    }.get((told or "").lower())
