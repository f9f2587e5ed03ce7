"""A folder of exports, with all below it: which files are read, by whom, and which look like exports and are not."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.model import Machine
from kubeferry.sources.facts.file_names import name_problem
from kubeferry.sources.facts.packing import is_archive, of_name, unpacking
from kubeferry.sources.ovf import files
from kubeferry.sources.ovf.files import FOREIGN
from kubeferry.sources.ovf.vmx import files as vmx_files

LIMIT_FILES = 10_000
SUFFIXES = (*files.SUFFIXES, *vmx_files.SUFFIXES)


@dataclass(frozen=True, slots=True)
class Exports:
    """What is in a folder: `files` to read, in order, by the name that their machines' ids begin with; `left`, what was
    not, with the reasons; and `others`, of which no name says that they are exports."""

    files: dict[str, Path]
    left: list[Problem]
    others: list[Path] = field(default_factory=list)


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
            else:
                found.others.append(one)
    if len(found.files) > LIMIT_FILES:
        problem = Problem(str(path), f"{len(found.files)} exports are in it", "Use several folders.")
        raise InputInvalid(f"{path} holds too many exports", [problem])
    return Exports(dict(sorted(found.files.items())), left.problems, found.others)


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


def read(path: Path, source: str, called: str) -> list[Machine]:
    """The machines of an export; `called` is what their ids begin with. Raises InputInvalid with all problems."""
    if path.suffix.lower() in vmx_files.SUFFIXES:
        return vmx_files.read_machines(path, source, called=called)
    return files.read_machines(path, source, called=called)


def unread(path: Path) -> Problem | None:
    """Why a file is not read that is an export in a packing, or an archive that may hold one; None for any other."""
    packing, inner = of_name(path.name), Path(path.stem).suffix.lower()
    if packing is not None and (inner in SUFFIXES or is_archive(path.name)):
        fix = f"Unpack it: `{unpacking(path.name)}`."
        return Problem(str(path), f"it is packed with {packing.name}, and not read", fix)
    return None
