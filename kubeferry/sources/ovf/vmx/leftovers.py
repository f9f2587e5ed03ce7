"""Files that lie beside a VMX while its machine runs, and what its list of snapshots says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kubeferry.errors import InputInvalid
from kubeferry.model import SourceFact
from kubeferry.sources.facts.leftovers import cut
from kubeferry.sources.facts.readings import shown
from kubeferry.sources.ovf.vmx.dictionary import LIMIT_BYTES, read_dictionary

IN_USE = "inUse"
"""What the facts are called that name them."""
_MOST = 8
_VMX = (".vmx", ".vmtx")
# Locks, memory and its swap file; the memory of a snapshot stays when the machine is off.
_SIGNS = re.compile(r".*\.(lck|vmem|vmss|vswp)|\.lck-.*", re.IGNORECASE)
_OF_SNAPSHOT = re.compile(r".*snapshot\d+\.vmem", re.IGNORECASE)
_OF_ANY = ".lck-"  # of NFS: it does not say whose it is
_BEHIND = ".-_"


def in_use(path: Path, disks: Iterable[str]) -> list[SourceFact]:
    """Files that say that the machine of this VMX runs, or did when it was copied: those called like it or one of its
    `disks`, and all of them where it is alone in its folder."""
    try:
        names = sorted(one.name for one in path.parent.iterdir())
    except OSError:  # what cannot be read says so when it is
        return []
    alone = sum(name.lower().endswith(_VMX) for name in names) < 2
    stems = {PurePosixPath(one).stem.lower() for one in (path.name, *disks)}
    own = (_OF_ANY, *(f"{start}{stem}{mark}" for stem in stems for mark in _BEHIND for start in ("", "vmx-")))
    signs = (name for name in names if _SIGNS.fullmatch(name) and not _OF_SNAPSHOT.fullmatch(name))
    found = [name for name in signs if alone or name.lower().startswith(own)]
    return [
        SourceFact(path=f"{IN_USE}[{at}]", value=cut(shown(Path(name)))) for at, name in enumerate(found[:_MOST], 1)
    ]


def snapshots(path: Path) -> int | None:
    """How many snapshots the machine has; None where nothing beside it says so."""
    try:
        told = path.with_suffix(".vmsd")
        content = told.read_bytes() if told.is_file() and told.stat().st_size <= LIMIT_BYTES else b""
        settings, _ = read_dictionary(content, str(told))
        return settings.number("snapshot.numSnapshots")
    except (OSError, InputInvalid):
        return None
