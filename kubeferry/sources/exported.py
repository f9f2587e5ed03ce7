"""An estate from a folder of exported files, with no access to where they come from: a reader for each kind of file.

    *.xml               `virsh dumpxml NAME > NAME.xml`
    *.ovf, *.ova        descriptors of any product; disks need not be beside an OVF
    *.vmx, *.vmtx       machines of VMware's as a datastore holds them, with their disks or without
    any name            what Proxmox keeps of a machine (*.conf), and `qm config VMID` prints
    *.json, *.yaml      `aws ec2 describe-instances > instances.json`, and what else describes them beside it
    *.csv, *.tsv, *.xlsx, *.xlsm
                        the tabs of a vSphere inventory (vInfo, vDisk, vNetwork, …), as RVTools writes them

The folder is read with all below it, as far as it can be: what is left out is told, with its reason, beside the
machines. What only the running source knows (sizes of disks, above all) stays unknown and becomes a concern.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeferry.documents import Inventory
from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Concern, Severity
from kubeferry.outside import clock
from kubeferry.sources.ec2 import files as ec2_files
from kubeferry.sources.facts import signs
from kubeferry.sources.facts.readings import PASSED_OVER, UNREADABLE, Reading, one_by_one
from kubeferry.sources.facts.same_machines import told_apart
from kubeferry.sources.libvirt import domain_files
from kubeferry.sources.ovf import files as ovf_files
from kubeferry.sources.ovf.vmx import files as vmx_files
from kubeferry.sources.proxmox import config_files
from kubeferry.sources.strangers import files_below, is_part, start_of, tell_strangers
from kubeferry.sources.vsphere import tab_files


@dataclass(frozen=True, slots=True)
class Reader:
    """How files of one kind are read: `kind` is the inventory's word for their source, `ends` the ends of their names
    in small letters. `read` gets all of them at once, for some say something about each other, and the source's name.
    `how` says to a person how to make such files. What no reader has by its name is read by the first that `takes` it,
    by the end of its name and its first bytes: what a shell wrote is called anything."""

    kind: str
    ends: tuple[str, ...]
    read: Callable[[Sequence[Path], str], Reading]
    how: str
    takes: Callable[[str, bytes], bool] | None = None


def read_exported(directory: Path, source: str) -> Inventory:
    """The machines of all files in a folder and below it. Raises InputInvalid where there is no machine, with the
    reasons of all files."""
    return read_and_count(directory, source)[0]


def read_and_count(directory: Path, source: str) -> tuple[Inventory, int]:
    """The same, and how many machines and files are left out: fewer than are told, where one has several problems."""
    reading, kinds = read_files(directory, source)
    machines = told_apart(reading, _written)
    told = sorted(reading.told, key=lambda one: one.severity is not Severity.WARNING)
    missing = [one for one in told if one.id in {UNREADABLE, PASSED_OVER}]
    if not machines and (missing or not reading.beside):
        raise _empty(directory, missing)
    inventory = Inventory(
        source=source,
        source_kind=kinds.pop() if len(kinds) == 1 else "export",
        observed_at=clock.now("seconds"),
        machines=machines,
        unreadable=tuple(told),
    )
    return inventory, len(reading.missing)


def read_files(directory: Path, source: str) -> tuple[Reading, set[str]]:
    """What became of each file in a folder and below it, and of which kinds there are machines."""
    reading = Reading()
    files = files_below(directory, reading)
    kinds = set()
    readers = {path: _reader_of(path) for path in files}
    for reader in READERS:
        found = reader.read([path for path, own in readers.items() if own is reader], source)
        kinds |= {reader.kind} if found.machines else set()
        reading += found
    strangers = [path for path, own in readers.items() if own is None]
    tell_strangers(strangers, reading, known=_known)
    return reading, kinds


def _known(start: bytes) -> tuple[str, str] | None:
    """What a file that begins so holds, where that is an export that is read by another name."""
    if domain_files.is_domain(start):
        return "it holds a domain, and is not read by its name", "Rename it to *.xml, and discover again."
    return signs.of_export(start)


def _reader_of(path: Path) -> Reader | None:
    """By the end of its name, else by its beginning."""
    if is_part(path):
        return None
    end = path.suffix.lower()
    if (named := next((one for one in READERS if end in one.ends), None)) is not None:
        return named
    start = start_of(path)
    return next((one for one in READERS if one.takes is not None and one.takes(end, start)), None)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _empty(directory: Path, told: list[Concern]) -> InputInvalid:
    what = "nothing in it is a machine" if directory.is_dir() else "it is no folder"
    fix = f"Give a folder of exported files: {'; '.join(reader.how for reader in READERS)}."
    problems = [Problem(str(directory), what, fix), *(Problem(one.id, one.what, one.fix) for one in told)]
    return InputInvalid(f"{directory} holds no exported machines", problems)


READERS = (
    Reader("libvirt-export", (".xml",), domain_files.read_all, domain_files.HOW),
    Reader(
        "ovf-export",
        ovf_files.SUFFIXES,
        one_by_one(lambda path, source: ovf_files.read_machines(path, source, complete=False)),
        "what your product exports as OVF, named *.ovf or *.ova",
    ),
    Reader(
        "vmx-export",
        vmx_files.SUFFIXES,
        one_by_one(lambda path, source: vmx_files.read_machines(path, source, complete=False)),
        vmx_files.HOW,
    ),
    Reader("proxmox-export", (), one_by_one(config_files.read_machines), config_files.HOW, config_files.takes),
    Reader("aws-export", (".json", ".yaml", ".yml"), ec2_files.read_all, f"{ec2_files.HOW}, named *.json or *.yaml"),
    Reader("vmware-export", tab_files.ENDS, tab_files.read_all, tab_files.HOW),
)
