"""An estate from a folder of exported files (`virsh dumpxml NAME > NAME.xml`), with no libvirtd at hand.

What only a running libvirtd knows, sizes of disks above all, stays unknown and becomes a concern.
"""

from __future__ import annotations

from pathlib import Path

from kubeferry import clock
from kubeferry.documents import Inventory
from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.domain.tree import MAX_CHARACTERS
from kubeferry.sources.domain_xml import clashes, parse_domain


def read_exported(directory: Path, source: str) -> Inventory:
    """The machines of all `*.xml` files in a folder. Raises InputInvalid with the problems of all files at once."""
    files = sorted(directory.glob("*.xml")) if directory.is_dir() else []
    if not files:
        what = "no *.xml file is in it" if directory.is_dir() else "it is no folder"
        fix = "Give a folder with what `virsh dumpxml` prints, one file per domain, named *.xml."
        raise InputInvalid(f"{directory} holds no exported machines", [Problem(str(directory), what, fix)])
    read: list[tuple[str, Machine]] = []
    problems: list[Problem] = []
    for path in files:
        try:
            read.append((str(path), parse_domain(_text(path), source=source, where=str(path))))
        except InputInvalid as error:
            problems += error.problems
    problems += clashes(read)
    if problems:
        raise InputInvalid(f"{directory} cannot be read as an estate", problems)
    return Inventory(
        source=source,
        source_kind="libvirt-export",
        observed_at=clock.now("seconds"),
        machines=tuple(machine for _, machine in read),
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_CHARACTERS:
            raise InputInvalid(
                "too large", [Problem(str(path), "it is larger than 4 MiB", "Export one domain per file.")]
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        fix = "Check its permissions, and that it is what `virsh dumpxml` prints."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), reason, fix)]) from error
