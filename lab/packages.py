"""Debian packages that are taken apart, not installed: their kernel, agent and boot loader go into the lab's guests.

apt finds the newest version, checks its signature and downloads it; the archive is kept in the user's cache, so that a
second build needs no network.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import ToolMissing
from kubeferry.outside.process import ProgramFailed, run

# apt drops to its own user for downloads, and that user cannot write into a private cache folder.
APT = ("apt-get", "-q", "-o", "APT::Sandbox::User=root")


@dataclass(frozen=True, slots=True)
class Package:
    """The version of a Debian package that apt would install. `depends` are the names it needs, first one first."""

    name: str
    version: str
    depends: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name that apt-get gives the downloaded archive, without its architecture."""
        return f"{self.name}_{self.version.replace(':', '%3a')}"


def parse(text: str) -> dict[str, Package]:
    """Packages by name, from what `apt-cache show --no-all-versions` prints."""
    found = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Depends): (.*)$", stanza, re.MULTILINE))
        if "Package" in fields and "Version" in fields:
            names = (part.split("|")[0].split()[0] for part in fields.get("Depends", "").split(",") if part.strip())
            found[fields["Package"]] = Package(fields["Package"], fields["Version"], tuple(names))
    return found


def cache_folder(*parts: str) -> Path:
    """A folder of the lab in the user's cache, made if it is not there."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base.joinpath("kubeferry", "lab", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def candidates(*names: str) -> dict[str, Package]:
    """The newest version of each package. Raises ToolMissing where apt does not know one even after an update."""
    found = _shown(names)
    if len(found) < len(names) and os.geteuid() == 0:
        run([*APT, "update"])
        found = _shown(names)
    missing = sorted(set(names) - set(found))
    if missing:
        raise ToolMissing(
            f"apt does not know {', '.join(missing)}",
            why="the lab's guests are made from these packages of Debian 12",
            fix="Run `apt-get update` as root, on a Debian 12 machine with network access.",
        )
    return found


def _shown(names: tuple[str, ...]) -> dict[str, Package]:
    return parse(run(["apt-cache", "show", "--no-all-versions", *names], check=False).out)


@contextlib.contextmanager
def unpacked(package: Package) -> Iterator[Path]:
    """A temporary folder with the files of the package, as they would lie below `/`."""
    with tempfile.TemporaryDirectory(prefix=f"{package.name}.", dir=cache_folder("work")) as folder:
        run(["dpkg-deb", "-x", str(_fetched(package)), folder])
        yield Path(folder)


def _fetched(package: Package) -> Path:
    """The archive of the package in the cache, downloaded if it is not there."""
    store = cache_folder("debs")
    if found := sorted(store.glob(f"{package.file}_*.deb")):
        return found[0]
    with tempfile.TemporaryDirectory(dir=store) as arriving:
        _download(package, Path(arriving))
        archive = next(Path(arriving).glob("*.deb"))
        # Renamed when it is whole: a download that was cut off must not be found by the next run.
        return archive.rename(store / archive.name)


def _download(package: Package, folder: Path) -> None:
    command = [*APT, "download", f"{package.name}={package.version}"]
    try:
        run(command, cwd=folder, timeout=600)
    except ProgramFailed:
        if os.geteuid() != 0:
            raise
        # A list that is weeks old names versions that the mirror has dropped. Its newest one may differ from ours, so
        # that is not taken silently: the second try is for the same version.
        run([*APT, "update"])
        run(command, cwd=folder, timeout=600)
