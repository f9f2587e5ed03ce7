"""What `virsh dumpxml` printed, in files: one domain each."""

from __future__ import annotations

import re
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.sources.facts.byte_marks import marked, no_text
from kubeferry.sources.facts.readings import PASSED_OVER, UNREADABLE
from kubeferry.sources.facts.xml_tree import MAX_CHARACTERS, read_tree
from kubeferry.sources.libvirt.domain.dialect import DOMAIN
from kubeferry.sources.libvirt.domain.machine import read_domain

HOW = "what `virsh dumpxml` prints, one file per domain, named *.xml"
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding=[\"'](iso-8859-1|windows-1252|us-ascii)[\"']", re.IGNORECASE)
_DOMAIN = re.compile(r"<domain[\s>]")
_HOST_KINDS = {
    "domainsnapshot": "a snapshot of a domain",
    "domaincheckpoint": "a checkpoint of a domain",
    "network": "a network",
    "pool": "a storage pool",
    "volume": "a volume",
}


def read_machines(path: Path, source: str) -> list[Machine | Concern]:
    """The machine of a file, for a source's name; a concern for a file that libvirt wrote about something else, or
    wrote nothing into. Raises InputInvalid with all problems, each with its line."""
    text = _text(path)
    if not text.strip():
        what = f"{path}: it is empty, as after a failed `virsh dumpxml`"
        return [Concern(id=UNREADABLE, severity=Severity.WARNING, what=what, fix="Export the domain again.")]
    root = read_tree(text, str(path), DOMAIN)
    if (kind := _HOST_KINDS.get(root.tag)) is not None:
        return [Concern(id=PASSED_OVER, severity=Severity.INFO, what=f"{path}: it is {kind}, no domain", fix="")]
    return [read_domain(root, source=source)]


def is_domain(start: bytes) -> bool:
    """Whether a file that begins so, whatever its name, is what `virsh dumpxml` prints."""
    text = start.decode(_encoding(start), errors="ignore").lstrip()
    return text.startswith("<") and _DOMAIN.search(text) is not None


def _encoding(content: bytes) -> str:
    """By its first bytes, else as it declares."""
    declared = _DECLARED.match(content)
    return marked(content) or (declared[1].decode() if declared else "utf-8")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_CHARACTERS:
            raise InputInvalid(
                "too large", [Problem(str(path), "it is larger than 4 MiB", "Export one domain per file.")]
            )
        content = path.read_bytes()
        return content.decode(_encoding(content))
    except (OSError, UnicodeDecodeError) as error:
        reason = no_text(error) if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
        fix = "Check its permissions, and that it is what `virsh dumpxml` prints."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), reason, fix)]) from error
