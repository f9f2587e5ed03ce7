"""What `virsh dumpxml` printed, in files: one domain each, or several after each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.facts.byte_marks import known, no_text, of_xml
from kubeferry.sources.facts.readings import Reading, readable, shown
from kubeferry.sources.facts.xml_tree import MAX_CHARACTERS, read_tree
from kubeferry.sources.libvirt.domain.dialect import DOMAIN
from kubeferry.sources.libvirt.domain.machine import read_domain
from kubeferry.sources.libvirt.several_domains import Text, apart

HOW = "what `virsh dumpxml` prints, one file per domain, named *.xml"
_DOMAIN = re.compile(r"<domain[\s>]")
# What else libvirt prints, or keeps in its folders.
_HOST_KINDS = {
    "capabilities": "what a host can do",
    "cpu": "a model of processors",
    "device": "a device of a host",
    "domainCapabilities": "what a host can do for domains",
    "domainbackup": "a backup job of a domain",
    "domaincheckpoint": "a checkpoint of a domain",
    "domainsnapshot": "a snapshot of a domain",
    "filter": "a filter of networks",
    "filterbinding": "the filter of a card",
    "interface": "a network card of a host",
    "network": "a network",
    "networkport": "a port of a network",
    "pool": "a storage pool",
    "secret": "a secret's name",
    "sources": "a list of places for storage pools",
    "storagepoolCapabilities": "what a host can do for storage pools",
    "sysinfo": "what a host's firmware says",
    "volume": "a volume",
}


def read_all(paths: Sequence[Path], source: str) -> Reading:
    """The machines of all files. What libvirt wrote about something else is passed over; what cannot be read is left
    out, each domain alone, with all its problems and their lines."""
    reading = Reading()
    for path in readable(paths, reading):
        try:
            text = _text(path)
        except InputInvalid as error:
            reading.failed(error, path)
            continue
        if not text.strip():
            reading.left_out(path, "it is empty, as after a failed `virsh dumpxml`", "Export the domain again.")
            continue
        texts = apart(text)
        for one in texts:
            where = shown(path) if len(texts) == 1 else f"{shown(path)}:{one.line}"
            try:
                reading.take(path, _machines(one, path, where, source, reading))
            except InputInvalid as error:
                reading.failed(error, where)
    return reading


def _machines(text: Text, path: Path, where: str, source: str, reading: Reading) -> list[Machine]:
    """The machine of a text; none, and a word, where it is about something else. Raises InputInvalid."""
    root = read_tree(text.content, str(path), DOMAIN, first_line=text.line)
    if (kind := _HOST_KINDS.get(root.tag)) is not None:
        reading.passed_over(where, f"it is {kind}, no domain")
        return []
    if root.tag.rpartition(":")[2] == "Envelope":
        fix = "Name it *.ovf, and discover again."
        raise InputInvalid("this is no domain", [Problem(where, "it is an OVF, and is not read by its name", fix)])
    return [read_domain(root, source=source)]


def is_domain(start: bytes) -> bool:
    """Whether a file that begins so, whatever its name, is what `virsh dumpxml` prints."""
    text = start.decode(_encoding(start), errors="ignore").lstrip()
    return text.startswith("<") and _DOMAIN.search(text) is not None


def _encoding(content: bytes) -> str:
    """By its first bytes, else as it declares; what is declared and not known may be UTF-8 all the same."""
    encoding = of_xml(content)
    return encoding if known(encoding) else "utf-8"


def _text(path: Path) -> str:
    """Raises InputInvalid."""
    try:
        if path.stat().st_size > MAX_CHARACTERS:
            what, fix = "it is larger than 4 MiB", "Export fewer domains into a file; best one."
            raise InputInvalid("too large", [Problem(str(path), what, fix)])
        content = path.read_bytes()
        return content.decode(_encoding(content))
    except OSError as error:
        what, fix = error.strerror or str(error), "Check its permissions."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), what, fix)]) from error
    except UnicodeDecodeError as error:
        fix = "Export the domain again with `virsh dumpxml`, or save it as UTF-8."
        raise InputInvalid(f"{path} cannot be read", [Problem(str(path), no_text(error), fix)]) from error
