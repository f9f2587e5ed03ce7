"""A folder of exports, with all below it: which files are read, and which look like exports and are not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.sources.facts.file_names import name_problem
from kubeferry.sources.ovf.packing import of_name

LIMIT_FILES = 10_000
SUFFIXES = (".ova", ".ovf")
FOREIGN = "._"
"""How macOS begins the name of a file that holds what it knows of another: no export, whatever its end."""
VMX = "it is VMware's own file of a machine (VMX), which is not read: only exports are"
VMX_FIX = "Export the machine as OVF: `ovftool NAME.vmx NAME.ova`, or the export of vSphere, Workstation or Fusion."


@dataclass(frozen=True, slots=True)
class Exports:
    """What is in a folder: `files` to read, in order, by the name that their machines' ids begin with; and `left`, what
    was not, with the reasons."""

    files: dict[str, Path]
    left: list[Problem]


def exports_in(path: Path) -> Exports:
    """The exports of a folder and of all folders below it, or of one file. Raises InputInvalid where the folder cannot
    be read, or holds too many."""
    if not path.is_dir():
        return Exports({path.name: path}, [])
    found, left = Exports({}, []), _Left(path)
    seen = {os.path.realpath(path)}
    for folder, below, names in os.walk(path, followlinks=True, onerror=left.folder):
        here = Path(folder)
        below[:] = sorted(one for one in below if not _is_known(here / one, seen))
        for name in sorted(names):
            one = here / name
            if name.startswith(FOREIGN):
                continue
            if one.suffix.lower() in SUFFIXES:
                found.files[one.relative_to(path).as_posix()] = one
            elif (problem := unread(one)) is not None:
                left.problems.append(name_problem(one) or problem)
    if len(found.files) > LIMIT_FILES:
        problem = Problem(str(path), f"{len(found.files)} exports are in it", "Use several folders.")
        raise InputInvalid(f"{path} holds too many exports", [problem])
    return Exports(dict(sorted(found.files.items())), left.problems)


class _Left:
    """What could not be read. Of the folder itself nothing else is known then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def folder(self, error: OSError) -> None:
        problem = Problem(str(error.filename), error.strerror or str(error), "Check its permissions.")
        problem = name_problem(Path(str(error.filename))) or problem
        if error.filename == str(self.path):
            raise InputInvalid(f"{self.path} cannot be read", [problem]) from error
        self.problems.append(problem)


def _is_known(folder: Path, seen: set[str]) -> bool:
    """Whether a folder was met before: links may lead in circles."""
    place = os.path.realpath(folder)
    known = place in seen
    seen.add(place)
    return known


def unread(path: Path) -> Problem | None:
    """Why a file is not read that holds a machine, or an export in another packing; None for any other."""
    if path.suffix.lower() == ".vmx":
        return Problem(str(path), VMX, VMX_FIX)
    packing, inner = of_name(path.name), Path(path.stem).suffix.lower()
    if packing is not None and inner in SUFFIXES:
        return Problem(str(path), f"it is packed with {packing.name}, and not read", f"Unpack it: `{packing.unpack}`.")
    return None
