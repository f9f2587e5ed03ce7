"""A Ceph of one monitor and one OSD, on loopback, in memory: what it holds is gone with it.

Of a cluster it does little: no second copy, no manager, no second monitor. Who asks needs a key, as everywhere.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.serving.ports import free_port
from kubeferry.errors import SourceUnavailable
from kubeferry.outside import process

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "rbd")
POOL = "vms"
START_SECONDS = 60.0
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = {address}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
osd objectstore = memstore
memstore device bytes = 268435456
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
"""


@dataclass(frozen=True, slots=True)
class Ceph:
    """A running one; its monitor listens on `port` of 127.0.0.1."""

    folder: Path
    port: int

    @property
    def key(self) -> str:
        """The key of client.admin, in base64."""
        return self.ask("ceph-authtool", str(self.folder / "keyring"), "-n", "client.admin", "-p").strip()

    def store(self, name: str, content: Path) -> None:
        """An image of the pool has what a file has."""
        self.ask("rbd", "import", "--no-progress", str(content), f"{POOL}/{name}")

    def fetch(self, name: str, to: Path) -> bytes:
        """What an image of the pool has now, through a file of this name."""
        to.unlink(missing_ok=True)
        self.ask("rbd", "export", "--no-progress", f"{POOL}/{name}", str(to))
        return to.read_bytes()

    def ask(self, *argv: str) -> str:
        """What one of Ceph's programs says. Raises ProgramFailed."""
        return process.run(argv, env={"CEPH_CONF": str(self.folder / "ceph.conf")}, timeout=START_SECONDS).out


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Ceph]:
    """A Ceph with a pool that is empty, for as long as the block lasts. Raises ProgramFailed, SourceUnavailable."""
    for name in ("mon", "osd"):
        (folder / name).mkdir(parents=True)
    ceph, fsid, osd = Ceph(folder, free_port()), str(uuid.uuid4()), str(uuid.uuid4())
    address = f"[v2:127.0.0.1:{ceph.port}]"
    config, keys, osd_keys = folder / "ceph.conf", str(folder / "keyring"), str(folder / "osd" / "keyring")
    config.write_text(CONFIGURATION.format(fsid=fsid, address=address, folder=folder))
    ceph.ask("ceph-authtool", "--create-keyring", keys, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    rights = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
    ceph.ask("ceph-authtool", keys, "--gen-key", "-n", "client.admin", *rights)
    ceph.ask("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, str(folder / "monmap"))
    ceph.ask("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"), "--keyring", keys)
    with process.child(["ceph-mon", "-f", "-c", str(config), "-i", "a"], log=folder / "mon.out"):
        ceph.ask("ceph", "osd", "new", osd)
        ceph.ask("ceph-authtool", "--create-keyring", osd_keys, "--gen-key", "-n", "osd.0")
        ceph.ask("ceph", "auth", "add", "osd.0", "mon", "allow profile osd", "osd", "allow *", "-i", osd_keys)
        ceph.ask("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd, "--keyring", osd_keys)
        started = ["ceph-osd", "-f", "-c", str(config), "-i", "0", "--keyring", osd_keys]
        with process.child(started, log=folder / "osd.out") as server:
            limit = time.monotonic() + START_SECONDS
            while " 1 up" not in ceph.ask("ceph", "osd", "stat"):
                if server.poll() is not None or time.monotonic() > limit:
                    raise SourceUnavailable("ceph-osd does not come up", why=server.tail().strip())
                time.sleep(0.2)
            ceph.ask("ceph", "osd", "pool", "create", POOL, "8")
            yield ceph
