"""A hypervisor that is reached through SSH only: a real sshd on loopback, and disks on unix sockets behind it."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.serving.ports import free_port
from kubeferry.model import DiskRef
from kubeferry.outside import process
from kubeferry.uris import NbdSsh
from tests.listening import listens
from tests.needs import PATH

SSHD = shutil.which("sshd", path=PATH) or "sshd"
MIB = 1 << 20
SIZE = 32 * MIB

CONFIGURATION = """\
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


class Hypervisor:
    """An account behind an sshd on loopback, and disks that it serves on unix sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.key = make_key(folder / "key")
        make_key(folder / "host_key")
        public = (folder / "key.pub").read_text()
        (folder / "authorized_keys").write_text(f'restrict,port-forwarding,command="/bin/false" {public}')
        (folder / "sshd_config").write_text(CONFIGURATION.format(folder=folder))
        self.disk, self.socket = folder / "disk.img", folder / "disk.sock"
        chance = random.Random(7)
        with self.disk.open("wb") as disk:
            for at in range(0, 24, 2):
                disk.seek(at * MIB)
                disk.write(chance.randbytes(MIB))
            disk.truncate(SIZE)

    @contextmanager
    def up(self) -> Iterator[None]:
        if os.geteuid() == 0:
            # Every sshd of a machine wants this folder, which the service makes. It stays: another test may use it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        argv = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config"), "-p", str(self.port)]
        with process.child(argv, log=self.folder / "sshd.log") as self.daemon:
            await_true(self.greets, self.daemon)
            yield
            self.cut()

    def greets(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 and probe.recv(4) == b"SSH-"

    @contextmanager
    def serving(self, *, read_only: bool = True) -> Iterator[process.Child]:
        argv = ["qemu-nbd", "--persistent", "--shared=0", "--format=raw", f"--socket={self.socket}"]
        argv += ["--read-only"] if read_only else []
        with process.child([*argv, str(self.disk)], log=self.folder / "qemu-nbd.log") as server:
            await_true(lambda: listens(self.socket), server)
            yield server
        self.socket.unlink(missing_ok=True)

    def sessions(self) -> list[int]:
        """The pids that sshd started for those who are logged in."""
        return [pid for pid in descendants(self.daemon.pid) if pid != self.daemon.pid]

    def cut(self, number: int = signal.SIGKILL) -> None:
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):  # gone by itself meanwhile
                os.kill(pid, number)

    def place(self, **more: object) -> NbdSsh:
        me = pwd.getpwuid(os.geteuid()).pw_name
        facts = {"user": me, "host": "127.0.0.1", "port": self.port, "socket": str(self.socket), "host_key": self.pin()}
        return NbdSsh(**(facts | more))  # type: ignore[arg-type]

    def pin(self) -> str:
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def ref(self, **more: object) -> DiskRef:
        return DiskRef(uri=self.place(**more).uri(), size_bytes=SIZE)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    process.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)])
    return path


def await_true(holds: Callable[[], bool], program: process.Child | None = None) -> None:
    limit = time.monotonic() + 20
    while not holds():
        assert program is None or program.poll() is None, program and program.tail()
        assert time.monotonic() < limit
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, frontier = [pid], [pid]
    while frontier:
        frontier = [child for child, parent in parents.items() if parent in frontier]
        found += frontier
    return found


def clients(folder: Path) -> list[str]:
    """The command lines of OpenSSH's clients that lead to this hypervisor."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if line.startswith("ssh ") and str(folder) in line:
            found.append(line)
    return found
