"""Hypervisors beside each other on one machine: libvirtds that know nothing of each other, nor of the machine's own.

Each has folders and a name of its own by namespaces (mounts, host name), and an identity, without which libvirt takes
two of them for one and migrates nothing between them. They share the disks of this machine, as hosts share storage.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubeferry.errors import SourceUnavailable
from kubeferry.outside.process import alive, detached, end_detached, run
from lab.daemons import REAPER

PROGRAMS = ("libvirtd", "virsh", "tini", "unshare", "qemu-system-x86_64", "qemu-img")
FOLDERS = {"etc": "/etc/libvirt", "run": "/run/libvirt", "lib": "/var/lib/libvirt", "cache": "/var/cache/libvirt"}
LOGS = "/var/log/libvirt"
QEMU = """\
stdio_handler = "file"
user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""
START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """One of them, with all that is its own in a folder."""

    name: str
    folder: Path

    @property
    def uri(self) -> str:
        return f"qemu:///system?socket={self.folder / 'run' / 'libvirt-sock'}"

    def virsh(self, *arguments: str) -> str:
        """What virsh says. Raises ProgramFailed."""
        return run(["virsh", "-q", "-c", self.uri, *arguments], timeout=60).out

    def define(self, xml: str) -> None:
        """Make a machine that stays defined."""
        file = self.folder / "defined.xml"
        file.write_text(xml, encoding="utf-8")
        self.virsh("define", str(file))

    def hand_on(self, machine: str, other: Hypervisor, *words: str) -> None:
        """Migrate a machine live. Its disks stay where they are: both see them, which libvirt cannot know."""
        socket = f"unix://{other.folder / 'migration.sock'}"
        live = ("--live", "--persistent", "--undefinesource", "--unsafe")
        self.virsh("migrate", *live, *words, machine, other.uri, "--migrateuri", socket)

    def machines(self, *words: str) -> list[str]:
        return self.virsh("list", "--name", *words).split()


@contextlib.contextmanager
def hypervisor(name: str, folder: Path) -> Iterator[Hypervisor]:
    """It answers for as long as the block lasts, and its machines end with it."""
    made, pidfile, log = Hypervisor(name, folder), folder / "libvirtd.pid", folder / "libvirtd.out"
    for one in (*FOLDERS, "log", "etc/qemu"):
        (folder / one).mkdir(parents=True, exist_ok=True)
    (folder / "etc" / "qemu.conf").write_text(QEMU)
    (folder / "etc" / "libvirtd.conf").write_text(f'host_uuid = "{uuid.uuid4()}"\nauth_unix_rw = "none"\n')
    own = {**FOLDERS, "log": LOGS}
    mounts = [f"mkdir -p {place} && mount --bind {folder / one} {place}" for one, place in own.items()]
    script = " && ".join(
        [f"hostname {name}", *mounts, f"exec {' '.join(REAPER)} /usr/sbin/libvirtd -p /run/libvirt/own.pid"]
    )
    detached(["unshare", "-m", "-u", "sh", "-c", script], pidfile=pidfile, log=log)
    try:
        _wait(made, pidfile, log)
        yield made
    finally:
        with contextlib.suppress(Exception):  # what started it not is told already
            for machine in made.machines():
                made.virsh("destroy", machine)
        end_detached(pidfile, program="libvirtd")


def _wait(made: Hypervisor, pidfile: Path, log: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while run(["virsh", "-q", "-c", made.uri, "uri"], check=False, timeout=30).code:
        if alive(pidfile, program="libvirtd") is None or time.monotonic() > limit:
            raise SourceUnavailable(f"{made.name} did not start", why=log.read_text(errors="replace")[-2000:])
        time.sleep(0.05)
