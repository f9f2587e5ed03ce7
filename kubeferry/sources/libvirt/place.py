"""Where a view of a running machine is served on its hypervisor, and where it keeps what is overwritten meanwhile.

    FOLDER/MACHINE-live/NAME.frozen.sock        made by QEMU, in a folder of QEMU's user
    IMAGE'S FOLDER/.kubeferry-MACHINE-DISK.scratch   made by libvirt; it grows by what the guest writes during the view

QEMU may be in a guest's hands: what it makes is never followed as a link, and none of our files is in its folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.model import Machine
from kubeferry.sources.disks.exports import answers, digest
from kubeferry.sources.libvirt.far_host import FarHost
from kubeferry.uris import local_path

SOCKET_LIMIT_BYTES = 107  # the kernel's own, for a socket's path
SPACIOUS = Path("/var/tmp")  # noqa: S108 (for disks that lie in no folder; libvirt makes the file, for QEMU only)


@dataclass(frozen=True, slots=True)
class Place:
    """The places of one machine. `group` is the one that SSH logs in with, None where nobody reads from elsewhere."""

    base: Path
    machine: Machine
    group: int | None = None

    @property
    def folder(self) -> Path:
        return self.base / f"{digest(f'{self.machine.source}/{self.machine.id}')}-live"

    @property
    def guard(self) -> Path:
        """Where the pid of the process is that thaws the guest if we do not."""
        return self.folder.with_suffix(".pid")

    def socket(self, name: str, consistency: str) -> Path:
        """The socket of a view. Raises SourceRefused where its path is too long for one."""
        path = self.folder / f"{name}.{consistency}.sock"
        if len(os.fsencode(path)) > SOCKET_LIMIT_BYTES:
            fix = "Name a shorter folder as the source's ssh.folder."
            raise SourceRefused(f"{path} is too long for a socket", fix=fix, machine=self.machine.name)
        return path

    def scratch(self, disk: str) -> Path:
        """Where the view of a disk keeps what is overwritten: beside its image, where there is room for a disk."""
        near = next((folder for one, folder in self._folders() if one == disk), None)
        first = next((folder for _, folder in self._folders()), SPACIOUS)
        name = digest(f"{self.machine.source}/{self.machine.id}")
        return (near or first) / f".kubeferry-{name}-{digest(disk)}.scratch"

    def make(self, owner: tuple[int, int] | None) -> None:
        """The folder is there: QEMU's to write, the group's to enter, nobody else's. Raises SourceRefused."""
        uid, gid = owner or (os.geteuid(), os.getegid())
        try:
            self.base.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(self.folder, uid, gid if self.group is None else self.group)
            self.folder.chmod(0o710)
        except OSError as error:
            raise SourceRefused(
                f"{self.folder} cannot be made for a running machine's disks",
                why=str(error),
                fix="Run as root on the hypervisor, or copy the machine cold.",
                machine=self.machine.name,
            ) from error

    def admit(self, socket: Path) -> None:
        """Let the group in. Raises SourceUnavailable where no socket is there any more."""
        if self.group is None:
            return
        try:
            fd = os.open(socket, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                    raise SourceRefused(f"{socket} is no socket", fix="Find out what QEMU does there.")
                os.chown(f"/proc/self/fd/{fd}", -1, self.group)
                Path(f"/proc/self/fd/{fd}").chmod(0o660)
            finally:
                os.close(fd)
        except FileNotFoundError as error:
            fix = "Run the same command again."
            raise SourceUnavailable(f"{socket} is gone", fix=fix, machine=self.machine.name) from error

    def serves(self, socket: Path) -> bool:
        """Whether the view is still read from there."""
        return answers(socket)

    def left(self) -> list[Path]:
        """What is there of a view, without the job that it belongs to."""
        scratches = [self.scratch(disk.id) for disk in self.machine.data_disks]
        return [path for path in (*scratches, self.folder) if os.path.lexists(path)]

    def clear(self) -> list[str]:
        """Nothing is there any more; returns what was. Only when no view is open."""
        found = self.left()
        for path in found:
            if path == self.folder:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self.guard.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.base.rmdir()
        return [str(path) for path in found]

    def _folders(self) -> Iterator[tuple[str, Path]]:
        for disk in self.machine.data_disks:
            path = local_path(disk.uri or "")
            if path is not None and disk.uri is not None and disk.uri.startswith("file:"):
                yield disk.id, path.parent


# $1 base, $2 folder, $3 owner
MAKE = """\
set -eu
mkdir -p "$1" && chmod 755 "$1"
mkdir -p "$2" && chown -h "$3" "$2" && chmod 710 "$2"
"""
# $1 folder, $2… files
CLEAR = """\
folder=$1
for path in "$@"; do
    if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\\n' "$path"; fi
    if [ "$path" != "$folder" ]; then rm -f "$path"; fi
done
rm -rf "$folder"
rmdir "$(dirname "$folder")" 2>/dev/null || :
"""


@dataclass(frozen=True, slots=True)
class FarPlace(Place):
    """The places of a machine whose hypervisor is another host: who logs in there is root, and needs no admission."""

    host: FarHost = field(kw_only=True)

    @property
    def guard(self) -> Path:
        return Path(tempfile.gettempdir()) / f"kubeferry-{os.geteuid()}-{self.folder.name}.pid"

    def make(self, owner: tuple[int, int] | None) -> None:
        uid, gid = owner or (0, 0)
        self.host.must(MAKE, str(self.base), str(self.folder), f"{uid}:{gid}")

    def admit(self, socket: Path) -> None:
        """Nobody needs to be let in."""

    def serves(self, socket: Path) -> bool:
        return self.host.script('[ -S "$1" ]', str(socket)).code == 0

    def clear(self) -> list[str]:
        scratches = [str(self.scratch(disk.id)) for disk in self.machine.data_disks]
        return self.host.must(CLEAR, str(self.folder), *scratches).splitlines()
