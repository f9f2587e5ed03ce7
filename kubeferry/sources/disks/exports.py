"""Disks of this hypervisor, served read-only for readers elsewhere: one qemu-nbd a disk, on a unix socket. So are, for
readers here as well, disks that only QEMU can read.

An export outlives the process that made it, so that a mover in a cluster reads on while nobody here runs; the next run
finds it again by its place, which follows from the machine and the disk alone:

    FOLDER/MACHINE/DISK.sock        the socket, for the group that SSH logs in with
                  /DISK.json        what is served, to know it again
                  /DISK.pid, .log
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, quote, unquote, urlsplit

from kubeferry.documents import SshAccess
from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.images import network, whole
from kubeferry.images.network import Login, Logins
from kubeferry.images.nodes import SERVER_ENV, bitmap_of, block_options, check, confinement
from kubeferry.ledger import EXPORT, External, Ledger
from kubeferry.model import DiskRef, Machine
from kubeferry.outside import atomic, process, stopping
from kubeferry.sources import Round

PROGRAM = "qemu-nbd"
GREETING = b"NBDMAGIC"
START_SECONDS = 30.0
POLL_SECONDS = 0.02
TAIL_BYTES = 2000
NOBODY: Logins = MappingProxyType({})
TRIAL = "trial"
TRIAL_BYTES = 1 << 20
ZEROS = "json:" + json.dumps({"driver": "null-co", "size": TRIAL_BYTES, "read-zeroes": True})
"""What QEMU serves for a trial: nothing of anybody's."""


@dataclass(frozen=True, slots=True)
class Near:
    """Readers on this host, with our own rights: in the place of who comes by SSH."""

    folder: str


@dataclass(frozen=True, slots=True)
class Serving:
    """What a qemu-nbd is told of one disk: its own words, what it reads from standard input, and whether a server has
    the disk."""

    words: list[str]
    stdin: str | None = field(default=None, repr=False)
    network: bool = False


@dataclass(frozen=True, slots=True)
class Export:
    """The files of one export. Names are digests: a socket's path is short, a disk's id may hold anything."""

    folder: Path
    name: str

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.name}.sock"

    @property
    def served(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def pidfile(self) -> Path:
        return self.folder / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def alive(self) -> bool:
        """Whether its server runs."""
        return process.alive(self.pidfile, program=PROGRAM) is not None


def export_of(access: SshAccess | Near, machine: Machine, disk: str) -> Export:
    """Where the export of one disk is."""
    return Export(_folder(access, machine), digest(disk))


def open_all(
    access: SshAccess | Near, machine: Machine, refs: dict[str, DiskRef], ledger: Ledger, logins: Logins = NOBODY
) -> dict[str, DiskRef]:
    """Every disk is served; the references that lead to it from where it is read. `logins` are those of disks that a
    server has.

    All headers and tables are checked before a first server is started. Raises HostileImage, SourceRefused,
    SourceUnavailable; what was started for this call is ended then.
    """
    process.require(PROGRAM, "setpriv", "unshare")
    for disk, ref in refs.items():
        if disk not in logins:
            check(ref)
            whole.check(ref, stopping.check)
    gid = group(access)
    try:
        return {
            disk: _open(access, machine, disk, ref, serving_of(ref, logins.get(disk)), gid, ledger)
            for disk, ref in refs.items()
        }
    except Exception:
        close_all(access, machine)
        raise


def serving_of(ref: DiskRef, login: Login | None) -> Serving:
    """What a qemu-nbd is told of a disk; `login` is that of one on a server. Raises InputInvalid."""
    if login is not None:
        image, words = network.node(ref.uri, login), list(login.words)
    else:
        bitmap = bitmap_of(ref)
        image, words = block_options(ref), [f"--bitmap={bitmap}"] if bitmap else []
    stdin = None if login is None else login.stdin
    return Serving([*words, f"json:{json.dumps(image, sort_keys=True)}"], stdin, network=login is not None)


def close_all(access: SshAccess | Near, machine: Machine) -> list[str]:
    """Every export of the machine has ended, whoever made it; returns their sockets."""
    folder = _folder(access, machine)
    names = sorted({path.stem for path in folder.glob("*") if path.suffix in {".pid", ".sock", ".json", ".log"}})
    for name in names:
        _end(Export(folder, name))
    with contextlib.suppress(OSError):
        folder.rmdir()
    return [str(Export(folder, name).socket) for name in names]


def reached(access: SshAccess, opened: Round) -> Round:
    """A round whose disks a server of this host gives on a socket, with references that lead to it from elsewhere."""
    return replace(opened, refs={disk: _reached(access, ref) for disk, ref in opened.refs.items()})


def _reached(access: SshAccess, ref: DiskRef) -> DiskRef:
    parts = urlsplit(ref.uri)
    (socket,) = parse_qs(parts.query)["socket"]
    export = unquote(parts.path.removeprefix("/"))
    place = access.place(socket, export)
    return ref.model_copy(update={"uri": place.uri(), "credential": access.secret})


def exists(thing: External) -> bool:
    """Whether a file, folder or export of the ledger is still there."""
    path = Path(thing.where)
    return os.path.lexists(path) or Export(path.parent, path.stem).alive()


@contextlib.contextmanager
def trial(access: SshAccess, machine: Machine) -> Iterator[DiskRef]:
    """A disk of zeros, served beside the machine's own as they are, for as long as the context lasts; the reference
    that leads to it from elsewhere. One that was left by a killed process is taken up, and ends with this one.

    Raises SourceRefused, SourceUnavailable.
    """
    process.require(PROGRAM, "setpriv", "unshare")
    export = trial_of(access, machine)
    gid = group(access)
    _make_folder(access, export.folder, gid)
    try:
        _end(export)
        _start(machine, TRIAL, export, Serving([ZEROS]), gid)
        yield DiskRef(uri=access.place(str(export.socket)).uri(), size_bytes=TRIAL_BYTES, credential=access.secret)
    finally:
        _end(export)
        with contextlib.suppress(OSError):
            export.folder.rmdir()


def trial_of(access: SshAccess, machine: Machine) -> Export:
    """Where the disk of zeros of a trial is: not among the machine's own, which may be read meanwhile."""
    return Export(Path(access.folder) / digest(f"{TRIAL}/{machine.source}/{machine.id}"), TRIAL)


# --- one export ------------------------------------------------------------------------------------------------------


def _open(
    access: SshAccess | Near, machine: Machine, disk: str, ref: DiskRef, what: Serving, group: int, ledger: Ledger
) -> DiskRef:
    export = export_of(access, machine, disk)
    serving = json.dumps(what.words)
    if not (_serves(export, serving) and answers(export.socket)):
        _make_folder(access, export.folder, group)
        _end(export)
        ledger(External(EXPORT, f"{machine.name}/{disk}", str(export.socket)))
        atomic.replace_text(export.served, serving)
        _start(machine, disk, export, what, group)
    if isinstance(access, Near):
        uri, credential = f"nbd+unix:///?socket={quote(str(export.socket))}", None
    else:
        uri, credential = access.place(str(export.socket)).uri(), access.secret
    return DiskRef(uri=uri, format="raw", size_bytes=ref.size_bytes, credential=credential, changed=ref.changed)


def _start(machine: Machine, disk: str, export: Export, what: Serving, group: int) -> None:
    """Start the server, wait until it answers, and let the group in."""
    place = [f"--socket={export.socket}", "--read-only", "--persistent", "--shared=0"]
    command = [*confinement(network=what.network), PROGRAM, *place, *what.words]
    process.detached(command, pidfile=export.pidfile, log=export.log, env=SERVER_ENV, stdin=what.stdin)
    limit = time.monotonic() + START_SECONDS
    while not answers(export.socket):
        ended = not export.alive()
        if ended or time.monotonic() > limit:
            said = export.log.read_text(errors="replace")[-TAIL_BYTES:].strip()
            _end(export)
            if ended:
                raise SourceRefused(
                    "QEMU does not open the disk",
                    why=said or f"{PROGRAM} ended without a word",
                    fix="If it says that a lock cannot be had, something uses the disk: stop that machine first.",
                    machine=machine.name,
                    disk=disk,
                )
            raise SourceUnavailable(
                f"{PROGRAM} did not answer within {START_SECONDS:g} s",
                why=said,
                fix="Run the same command again.",
                machine=machine.name,
                disk=disk,
            )
        time.sleep(POLL_SECONDS)
    os.chown(export.socket, -1, group)
    export.socket.chmod(0o660)


def _end(export: Export) -> None:
    process.end_detached(export.pidfile, program=PROGRAM)
    for path in (export.socket, export.served, export.log):
        path.unlink(missing_ok=True)


def _serves(export: Export, serving: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return export.alive() and export.served.read_text() == serving
    return False


def answers(path: Path) -> bool:
    """Whether an NBD server greets there. It binds its socket before it opens the images, and may then end."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(2)
        asking.connect(str(path))
        return asking.recv(len(GREETING)) == GREETING
    return False


def _folder(access: SshAccess | Near, machine: Machine) -> Path:
    return Path(access.folder) / digest(f"{machine.source}/{machine.id}")


def _make_folder(access: SshAccess | Near, folder: Path, group: int) -> None:
    """The machine's folder: ours to write, the group's to enter, nobody else's."""
    try:
        Path(access.folder).mkdir(mode=0o755, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, -1, group)
        folder.chmod(0o710)
    except OSError as error:
        raise SourceRefused(
            f"{folder} cannot be made for the disks' sockets",
            why=str(error),
            fix="Run as root on the hypervisor, or name another folder as the source's ssh.folder.",
        ) from error


def group(access: SshAccess | Near) -> int:
    """The number of the group that opens the sockets. Raises SourceRefused."""
    if isinstance(access, Near):
        return os.getegid()
    try:
        return grp.getgrnam(access.socket_group).gr_gid
    except KeyError as error:
        raise SourceRefused(
            f"this hypervisor has no group {access.socket_group}",
            why="the account that logs in by SSH opens the disks' sockets as a member of it",
            fix="Name the group of that account as the source's ssh.socketGroup.",
        ) from error


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
