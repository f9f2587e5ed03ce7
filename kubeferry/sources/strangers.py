"""The files of a folder and below it, and those among them that no reader takes: none is passed over in silence."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.sources.facts.packing import of_name, unpacking
from kubeferry.sources.facts.readings import Reading, shown
from kubeferry.words import counted, first_of

MOST_FILES = 100_000
SHOWN = 12
# A domain begins with its element, or with a short comment of libvirt's before it; a description of Proxmox's has up to
# 8 KiB, with three characters for one.
START_BYTES = 32 << 10
# What lies beside descriptors and is read through them, or is not needed to read them.
_PARTS = {
    ".vmdk", ".mf", ".cert", ".iso", ".nvram", ".img", ".qcow2", ".raw", ".vhd", ".vhdx", ".vmsd", ".vmxf", ".flp",
    ".vmsn", ".vmss", ".vmem", ".vswp", ".lck", ".vmx~", ".hlog", ".scoreboard", ".vmfd", ".vmpl", ".rdm", ".psf",
}  # fmt: skip
# What ESXi and Workstation write there by names of their own.
_OWN_NAMES = re.compile(r"vmware(-\d+)?\.log|\.lck-.*", re.IGNORECASE)
_LOCK = ".lck"  # of Workstation, a folder
_AUX, _DOMAIN = "-aux.xml", b"<domain"
_OURS = ".kubeferry"  # logs and readings; the list of pages that `assess` wrote begins with it, too


def files_below(directory: Path, reading: Reading) -> list[Path]:
    """All files, sorted; folders that cannot be read, and links to folders, are told. Raises InputInvalid where there
    are more than a folder of exports has."""
    found: list[Path] = []

    def refused(error: OSError) -> None:
        reading.left_out(Path(error.filename), f"{error.strerror}", "Check its permissions.")

    for folder, folders, names in os.walk(directory, onerror=refused):
        here = Path(folder)
        folders[:] = [name for name in sorted(folders) if not _is_ours(here / name, reading)]
        for name in folders:
            if (here / name).is_symlink():
                reading.passed_over(here / name, "it is a link to a folder, which is not followed")
        found += [here / name for name in sorted(names) if _is_file(here / name, reading)]
        if len(found) > MOST_FILES:
            what, fix = f"it holds more than {MOST_FILES} files", "Give a folder that holds exported files alone."
            raise InputInvalid(f"{directory} is too large", [Problem(str(directory), what, fix)])
    return found


def _is_ours(folder: Path, reading: Reading) -> bool:
    """What we keep or wrote beside the exports, and no export."""
    ours = folder.name == _OURS or (folder / f"{_OURS}-pages.json").is_file()
    if ours:
        reading.passed_over(folder, "it is kubeferry's own")
    return ours


def _is_file(path: Path, reading: Reading) -> bool:
    """A pipe would be waited for."""
    if path.is_file():
        return True
    if path.is_symlink():
        reading.left_out(path, "it is a link to no file", "Bring back what it names, or remove it.")
    else:
        reading.passed_over(path, "it is no file, but a device, a pipe or a socket")
    return False


Known = Callable[[bytes], tuple[str, str] | None]
"""What a file that begins so may well be, and what to do to have it read; None where it is nothing of that kind."""


def tell_strangers(paths: Iterable[Path], reading: Reading, *, known: Known) -> None:
    """What each file is that no reader takes by its name."""
    parts: list[Path] = []
    others: list[Path] = []
    for path in paths:
        if is_part(path):
            parts.append(path)
        elif (told := _meant(path, known)) is not None:
            reading.left_out(path, *told)
        else:
            others.append(path)
    _tell(reading, parts, "of exported machines, which are read through their descriptors")
    _tell(reading, others, "of no kind that holds machines")


def is_part(path: Path) -> bool:
    """Whether a file is part of a machine that another one describes, by its name; ESXi calls its list of snapshots
    `NAME-aux.xml`, and a domain may be called so, too."""
    if path.suffix.lower() in _PARTS or path.parent.suffix.lower() == _LOCK:
        return True
    if path.name.lower().endswith(_AUX):
        return _DOMAIN not in start_of(path)
    return _OWN_NAMES.fullmatch(path.name) is not None


def _tell(reading: Reading, paths: list[Path], what: str) -> None:
    """One line for all of them, however many."""
    if paths:
        folder = Path(os.path.commonpath([path.parent for path in paths]))
        names = first_of([shown(path.relative_to(folder)) for path in paths], SHOWN)
        reading.passed_over(shown(folder), f"{counted(len(paths), 'file')} {what}: {names}")


def _meant(path: Path, known: Known) -> tuple[str, str] | None:
    """What may well be an export, and what to do to have it read."""
    if (packing := of_name(path.name)) is not None:
        return f"it is packed with {packing.name}", f"Unpack it here: `{unpacking(path.name)}`."
    return known(start_of(path))


def start_of(path: Path) -> bytes:
    """The first bytes of a file; none of one that cannot be read."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return b""
    with path.open("rb") as stream:
        return stream.read(START_BYTES)
