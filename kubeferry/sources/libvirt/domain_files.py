"""What `virsh dumpxml` printed, in files: one domain each."""

from __future__ import annotations

from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.facts.xml_tree import MAX_CHARACTERS
from kubeferry.sources.libvirt.domain.machine import parse_domain

HOW = "what `virsh dumpxml` prints, one file per domain, named *.xml"


def read_machines(path: Path, source: str) -> list[Machine]:
    """The machine of a file, for a source's name. Raises InputInvalid with all problems, each with its line."""
    return [parse_domain(_text(path), source=source, where=str(path))]


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
