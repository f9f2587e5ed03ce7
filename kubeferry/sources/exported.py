"""An estate from a folder of exported files, with no access to where they come from: a reader for each kind of file.

    *.xml            `virsh dumpxml NAME > NAME.xml`
    *.ovf, *.ova     descriptors of any product; disks need not be beside an OVF
    *.json           `aws ec2 describe-instances > instances.json`, and what else describes them beside it
    *.csv            the tabs of a vSphere inventory (vInfo, vDisk, vNetwork, …), as RVTools writes them

What only the running source knows (sizes of disks, above all) stays unknown and becomes a concern.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeferry.documents import Inventory
from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Machine, Severity
from kubeferry.outside import clock
from kubeferry.sources.ec2 import files as ec2_files
from kubeferry.sources.facts.clashes import same_macs, same_names
from kubeferry.sources.facts.file_names import name_problem
from kubeferry.sources.libvirt import domain_files
from kubeferry.sources.ovf import files as ovf_files
from kubeferry.sources.vsphere import tab_files

# A domain begins with its element, or with a short comment of libvirt's before it.
_START_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Reader:
    """How files of one kind are read: `kind` is the inventory's word for their source, `read` gives the machines of a
    file for a source's name, and concerns for those that cannot be read, and raises InputInvalid with its problems; it
    may look at files beside it. `how` says to a person how to make such files."""

    kind: str
    read: Callable[[Path, str], Sequence[Machine | Concern]]
    how: str


def read_exported(directory: Path, source: str) -> Inventory:
    """The machines of all files in a folder that have a reader. Raises InputInvalid with the problems of all files."""
    there = sorted(directory.iterdir()) if directory.is_dir() else []
    files = [path for path in there if path.suffix.lower() in READERS]
    if not files:
        what = f"no file in it is one of {', '.join(sorted(READERS))}" if directory.is_dir() else "it is no folder"
        fix = f"Give a folder of exported files: {'; '.join(dict.fromkeys(one.how for one in READERS.values()))}."
        raise InputInvalid(f"{directory} holds no exported machines", [Problem(str(directory), what, fix)])
    read: list[tuple[str, Machine]] = []
    unreadable: list[tuple[str, Concern]] = []
    problems: list[Problem] = []
    for path in files:
        if (odd := name_problem(path)) is not None:
            problems.append(odd)
            continue
        try:
            for found in READERS[path.suffix.lower()].read(path, source):
                if isinstance(found, Machine):
                    read.append((str(path), found))
                else:
                    unreadable.append((str(path), found))
        except InputInvalid as error:
            problems += error.problems
    problems += same_names(read)
    if problems:  # everything at once: also what alone would keep nobody out
        problems += [*same_macs(read), *(Problem(where, one.what, one.fix) for where, one in unreadable)]
        raise InputInvalid(f"{directory} cannot be read as an estate", problems)
    kinds = {READERS[path.suffix.lower()].kind for path in files}
    return Inventory(
        source=source,
        source_kind=kinds.pop() if len(kinds) == 1 else "export",
        observed_at=clock.now("seconds"),
        machines=tuple(machine for _, machine in read),
        unreadable=(*(one for _, one in unreadable), *_misnamed(there)),
    )


def _misnamed(there: list[Path]) -> Iterator[Concern]:
    """Files that hold a domain and are not called so: they are not read, and not passed over in silence."""
    for path in there:
        if path.suffix.lower() in READERS or not path.is_file() or not os.access(path, os.R_OK):
            continue
        with path.open("rb") as stream:
            start = stream.read(_START_BYTES)
        if domain_files.is_domain(start):
            what = f"{path.name.encode(errors='backslashreplace').decode()} holds a domain, and is not read by its name"
            fix = "Rename it to *.xml, and discover again."
            yield Concern(id="machine.unreadable", severity=Severity.WARNING, what=what, fix=fix)


def _ovf(path: Path, source: str) -> list[Machine]:
    return ovf_files.read_machines(path, source, complete=False)


_OVF = Reader("ovf-export", _ovf, "what your product exports as OVF, named *.ovf or *.ova")
READERS = {
    ".xml": Reader("libvirt-export", domain_files.read_machines, domain_files.HOW),
    ".ovf": _OVF,
    ".ova": _OVF,
    ".json": Reader("aws-export", ec2_files.read_machines, f"{ec2_files.HOW}, named *.json"),
    ".csv": Reader("vmware-export", tab_files.read_machines, tab_files.HOW),
}
"""By the end of a file's name, small letters."""
