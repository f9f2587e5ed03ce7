"""The hypervisor's own files and servers: on this host, or on another one that a `qemu+ssh://` URI names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from kubeferry.documents import SshAccess
from kubeferry.errors import KubeferryError, SourceRefused
from kubeferry.images import qcow2
from kubeferry.images.network import Logins
from kubeferry.images.nodes import confinement
from kubeferry.ledger import External, Ledger
from kubeferry.model import DiskRef, Machine
from kubeferry.outside import process
from kubeferry.outside.process import Completed
from kubeferry.sources import Round
from kubeferry.sources.disks import exports
from kubeferry.sources.disks.local_disks import Trouble
from kubeferry.sources.libvirt import far_exports
from kubeferry.sources.libvirt.far_host import FarHost
from kubeferry.sources.libvirt.place import FarPlace, Place

RUN_SECONDS = 60
ASK_SECONDS = 20
ASKED = ("timeout", str(ASK_SECONDS))


class Host(Protocol):
    """Where the images are."""

    trouble: Trouble | None

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Bytes of an image, fewer at its end."""

    def run(self, argv: Sequence[str]) -> Completed:
        """Run a program that may write to images, whatever its end."""

    def is_reached(self) -> bool:
        """Whether there is a way to it at all."""

    def ask(self, argv: Sequence[str], stdin: str | None) -> Completed:
        """Run a program that asks a server, from where the hypervisor asks, whatever its end; it ends within
        `ASK_SECONDS`. `stdin` may be secret."""

    def place(self, machine: Machine, *, remote: bool = False) -> Place:
        """Where views of the running machine are; `remote`: readers elsewhere are let in."""

    def stopped(
        self, machine: Machine, refs: dict[str, DiskRef], logins: Logins, ledger: Ledger, *, remote: bool
    ) -> Round:
        """A round of a machine that is off, served where that is needed; `logins` are those of disks on servers."""

    def way(self, machine: Machine, own: DiskRef | None, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        """As `Source.way`; `own` is a disk of the machine that nobody uses."""

    def running(self, opened: Round, *, remote: bool) -> Round:
        """A round of a running machine, with references that lead to it from where it is read."""

    def end(self, machine: Machine) -> list[str]:
        """Nothing is served of a machine that is off; returns what was ended."""

    def exists(self, thing: External) -> bool:
        """Whether a file, folder or export of the ledger is still there."""

    def close(self) -> None:
        """Let go of what is held open."""


def host_of(source: str, uri: str, ssh: SshAccess | None) -> Host:
    """The host of a libvirt URI. Another one without `ssh` counts as this one: its files are refused before."""
    return There(ssh) if ssh is not None and urlsplit(uri).hostname else Here(source, ssh)


def is_missing(path: Path, host: Host) -> bool:
    """Whether there is no such file, or not even its folder. Of one in a folder that may not be entered nobody
    knows."""
    if path == path.parent or host.run(["test", "-e", str(path)]).code != 1:
        return False
    return host.run(["test", "-x", str(path.parent)]).code == 0 or is_missing(path.parent, host)


class Here:
    """This host."""

    trouble: Trouble | None = None

    def __init__(self, source: str, ssh: SshAccess | None) -> None:
        self._source = source
        self._ssh = ssh
        self._near = exports.Near(ssh.folder if ssh is not None else str(_base()))

    def read(self, path: Path, offset: int, length: int) -> bytes:
        return qcow2.read_piece(path, offset, length)

    def run(self, argv: Sequence[str]) -> Completed:
        return process.run([*confinement(writes=True), *argv], check=False, timeout=RUN_SECONDS)

    def is_reached(self) -> bool:
        return True

    def ask(self, argv: Sequence[str], stdin: str | None) -> Completed:
        command = [*confinement(network=True), *ASKED, *argv]
        return process.run(command, check=False, timeout=RUN_SECONDS, stdin=stdin)

    def place(self, machine: Machine, *, remote: bool = False) -> Place:
        return Place(Path(self._near.folder), machine, exports.group(self._access(machine)) if remote else None)

    def stopped(
        self, machine: Machine, refs: dict[str, DiskRef], logins: Logins, ledger: Ledger, *, remote: bool
    ) -> Round:
        access = self._access(machine) if remote else self._near
        wanted = {disk: ref for disk, ref in refs.items() if remote or disk in logins}
        if not wanted:
            return Round(machine, refs)
        return Round(machine, refs | exports.open_all(access, machine, wanted, ledger, logins), served=True)

    def way(self, machine: Machine, own: DiskRef | None, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        return exports.trial(self._access(machine), machine) if remote else contextlib.nullcontext(own)

    def running(self, opened: Round, *, remote: bool) -> Round:
        return exports.reached(self._access(opened.machine), opened) if remote else opened

    def end(self, machine: Machine) -> list[str]:
        return exports.close_all(self._near, machine)

    def exists(self, thing: External) -> bool:
        return exports.exists(thing)

    def close(self) -> None:
        """Nothing is held open."""

    def _access(self, machine: Machine) -> SshAccess:
        if self._ssh is None:
            raise SourceRefused(
                "movers in a cluster have no way to its disks",
                why=f"the source {self._source} has no `ssh` in the configuration",
                fix="Add ssh with host, user and hostKey to the source, and make its Secret: docs/operations.md.",
                machine=machine.name,
            )
        return self._ssh


class There:
    """Another host: what is read goes through SSH from wherever it is read."""

    def __init__(self, ssh: SshAccess) -> None:
        self._host = FarHost(ssh)
        self.trouble: Trouble | None = self._host.trouble
        self.read = self._host.read
        self.run = self._host.run

    def is_reached(self) -> bool:
        with contextlib.suppress(KubeferryError):
            return self._host.run(["true"]).code == 0
        return False

    def ask(self, argv: Sequence[str], stdin: str | None) -> Completed:
        return self._host.run([*ASKED, *argv], stdin=stdin)

    def place(self, machine: Machine, *, remote: bool = False) -> Place:
        del remote
        return FarPlace(Path(self._host.access.folder), machine, host=self._host)

    def stopped(
        self, machine: Machine, refs: dict[str, DiskRef], logins: Logins, ledger: Ledger, *, remote: bool
    ) -> Round:
        del remote
        return Round(machine, far_exports.open_all(self._host, machine, refs, ledger, logins), served=True)

    def way(self, machine: Machine, own: DiskRef | None, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        del own, remote
        return far_exports.trial(self._host, machine)

    def running(self, opened: Round, *, remote: bool) -> Round:
        del remote
        return exports.reached(self._host.access, opened)

    def end(self, machine: Machine) -> list[str]:
        return far_exports.close_all(self._host, machine)

    def exists(self, thing: External) -> bool:
        return self._host.script('[ -e "$1" ] || [ -L "$1" ]', thing.where).code == 0

    def close(self) -> None:
        self._host.close()


def _base() -> Path:
    """Where folders for sockets are made when the configuration names none."""
    return Path("/run/kubeferry") if os.geteuid() == 0 else Path(f"/run/user/{os.geteuid()}/kubeferry")
