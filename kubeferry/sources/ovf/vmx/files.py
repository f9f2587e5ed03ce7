"""A VMX, and the disks beside it. Nothing is extracted or copied: a disk is read where it lies."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.facts.file_names import name_problem
from kubeferry.sources.facts.leftovers import cut
from kubeferry.sources.facts.lists import bounded
from kubeferry.sources.ovf.files import beside
from kubeferry.sources.ovf.headers import held_against
from kubeferry.sources.ovf.vmx import leftovers
from kubeferry.sources.ovf.vmx.chains import looked_at
from kubeferry.sources.ovf.vmx.dictionary import LIMIT_BYTES, read_dictionary
from kubeferry.sources.ovf.vmx.disks import Found
from kubeferry.sources.ovf.vmx.machine import parse_vmx
from kubeferry.uris import Packed, Part

TEMPLATE = ".vmtx"
SUFFIXES = (".vmx", TEMPLATE)
HOW = "the *.vmx of a datastore of ESXi, or of Workstation and Fusion, with its disks or without"
_STORE = re.compile(r"/vmfs/volumes/([^/]+)/(.+)")


def read_machines(path: Path, source: str, *, complete: bool = True, called: str | None = None) -> list[Machine]:
    """The machine of a VMX. With `complete`, a disk that is not there is told as one that cannot be read. `called` is
    what its id begins with, the file's name unless it is told. Raises InputInvalid with all problems of the file."""
    if (odd := name_problem(path)) is not None:
        raise InputInvalid(f"{odd.where} cannot be read as a VMX", [odd])
    vmx, lines = read_dictionary(_content(path), str(path))
    names: list[str] = []

    def locate(name: str) -> Found:
        names.append(name.replace("\\", "/"))
        return _located(path, name, complete=complete)

    template, called = path.suffix.lower() == TEMPLATE, called or path.name
    machine = parse_vmx(vmx, source=source, name=path.stem, called=called, locate=locate, template=template)
    noted = [*lines, *leftovers.in_use(path, names)]
    known = {"unmodelled": bounded((*noted, *machine.unmodelled)), "snapshots": leftovers.snapshots(path)}
    return [held_against(machine.model_copy(update=known))]


def _located(path: Path, name: str, *, complete: bool) -> Found:
    """A disk's file in the VMX's folder or below it. Nothing is taken for one that lies elsewhere: disks of one machine
    on two datastores have one name."""
    file = beside(path, name)
    if file is not None:
        return looked_at(file.path, Packed("vmdk+file", (Part(file.path, 0, file.size),)).uri())
    store = _STORE.fullmatch(name)
    if store is not None or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        uri = f"datastore:///{quote(store[1], safe='')}/{quote(store[2])}" if store else f"elsewhere:{quote(name)}"
        what = f"its file lies outside the folder of the VMX, at {name!r}: put it there, and its new name into the VMX"
        return Found(uri, kind="datastore", wrong=cut(what) if complete else None)
    return Found(f"file:{quote(name)}", wrong=cut(f"its file {name!r} is not beside the VMX") if complete else None)


def _content(path: Path) -> bytes:
    """The file's bytes. Raises InputInvalid."""
    what, fix = "it is no file", "Check its path."
    try:
        if path.is_file():
            if path.stat().st_size <= LIMIT_BYTES:
                return path.read_bytes()
            what, fix = f"it is larger than {LIMIT_BYTES >> 20} MiB, which no VMX is", "Look at what it is."
    except OSError as error:
        what, fix = error.strerror or str(error), "Check its permissions."
    raise InputInvalid(f"{path} cannot be read", [Problem(str(path), what, fix)])
