"""The archive with KubeVirt's and CDI's programs, configuration and manifests, unpacked once into the user's cache.

The archive is not part of this project. It is made from the public sources of KubeVirt and CDI (both Apache-2.0), and
holds `kubevirt/` and `cdi/` with `bin`, `conf` and `manifests` each.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside.process import run
from lab.cluster.archive import file_digest
from lab.cluster.place import SETTING
from lab.cluster.progress import say
from lab.packages import cache_folder

ARCHIVE = "lab-kubevirt.tar.xz"
PARTS = ("kubevirt/bin", "kubevirt/conf", "kubevirt/manifests", "cdi/bin", "cdi/conf", "cdi/manifests")
UNPACK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Bundle:
    """The unpacked archive. `digest` is the SHA-256 of the archive itself."""

    folder: Path
    digest: str

    def program(self, name: str) -> Path:
        """A program of KubeVirt or CDI: their names do not overlap."""
        owner = "cdi" if name.startswith("cdi-") else "kubevirt"
        return self.folder / owner / "bin" / name


def unpacked(source: Path) -> Bundle:
    """The archive in folder `source`, unpacked. Raises InputInvalid where it is not there or holds something else."""
    archive = source / ARCHIVE
    if not archive.is_file():
        fix = f"Set {SETTING} to the folder that holds {ARCHIVE}, or unset it for a cluster without KubeVirt."
        raise InputInvalid(f"{SETTING} cannot be used", [Problem(str(source), f"has no {ARCHIVE}", fix)])
    digest = file_digest(archive)
    dest = cache_folder("kubevirt") / digest[:16]
    if not dest.exists():
        say(f"unpacking {ARCHIVE}")
        with tempfile.TemporaryDirectory(dir=dest.parent) as arriving:
            _unpack(archive, Path(arriving) / "content")
            (Path(arriving) / "content").rename(dest)
    return Bundle(dest, digest)


def _unpack(archive: Path, dest: Path) -> None:
    dest.mkdir()
    command = ["tar", "--extract", "--no-same-owner", f"--file={archive}", f"--directory={dest}"]
    run(command, timeout=UNPACK_SECONDS)
    missing = [Problem(part, "is not in the archive", "Use an archive made for this lab.") for part in PARTS]
    missing = [problem for problem in missing if not (dest / problem.where).is_dir()]
    if missing:
        raise InputInvalid(f"{archive} is not KubeVirt and CDI", missing)
