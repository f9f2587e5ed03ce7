"""An iSCSI target of its own on loopback: tgt, one process for each, on a port and a control socket of its own.

Its LUNs are files of this host. Who asks for them must know the account where there is one; it says nothing else about
itself. Of what arrays do it does little: no second portal, no reservations that outlive it, nothing thin.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.serving.ports import free_port
from kubeferry.errors import SourceUnavailable
from kubeferry.outside import process

PROGRAMS = ("tgtd", "tgtadm")
DRIVERS = tuple(Path("/usr/lib").glob("*/qemu/block-iscsi.so"))
"""QEMU's own driver, from Debian's qemu-block-extra."""
START_SECONDS = 10.0
CONTROL = Path("/run/tgtd/socket")
CONTROL_LIMIT = 32768


@dataclass(frozen=True, slots=True)
class Target:
    """A running one."""

    name: str
    port: int

    @property
    def number(self) -> int:
        """That of its own control socket."""
        return self.port % CONTROL_LIMIT

    @property
    def control(self) -> tuple[str, str]:
        """The words for it."""
        return "-C", str(self.number)

    def lun(self, number: int, image: Path) -> None:
        """What the target has under a number, from now on, is this file."""
        self.tell("logicalunit", "new", "--tid", "1", "--lun", str(number), "-b", str(image))

    def take_away(self, number: int) -> None:
        """Nothing is under this number any more."""
        self.tell("logicalunit", "delete", "--tid", "1", "--lun", str(number))

    def want(self, user: str, password: str) -> None:
        """Let in only who knows this."""
        self.tell("account", "new", "--user", user, "--password", password)
        self.tell("account", "bind", "--tid", "1", "--user", user)

    def tell(self, mode: str, verb: str, *words: str) -> None:
        """Say something to it, in tgtadm's words."""
        process.run(["tgtadm", *self.control, "--lld", "iscsi", "--mode", mode, "--op", verb, *words], timeout=20)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Target]:
    """A target without LUNs, for as long as the block lasts. Raises SourceUnavailable where it does not come up."""
    target = Target(f"iqn.2026-01.io.kubeferry.lab:{os.getpid()}", free_port())
    portal = f"portal=127.0.0.1:{target.port}"
    try:
        with process.child(["tgtd", "-f", *target.control, "--iscsi", portal], log=folder / "tgtd.log") as server:
            limit = time.monotonic() + START_SECONDS
            while process.run(["tgtadm", *target.control, "--mode", "sys", "--op", "show"], check=False).code:
                if server.poll() is not None or time.monotonic() > limit:
                    raise SourceUnavailable("tgtd does not come up", why=server.tail().strip())
                time.sleep(0.05)
            target.tell("target", "new", "--tid", "1", "-T", target.name)
            target.tell("target", "bind", "--tid", "1", "-I", "ALL")
            yield target
    finally:
        for ending in ("", ".lock"):  # it leaves them
            Path(f"{CONTROL}.{target.number}{ending}").unlink(missing_ok=True)
