"""An NBD export behind TLS with a key that both ends have in place of certificates (PSK), through a qemu-nbd here.

Python's TLS has such keys only from 3.13 on; QEMU has them, and is here anyway. It asks the server for TLS before
anything else, and knows nothing of what changed since a round before: all of the disk is read.

    Nbd, one a worker ──> FOLDER/socket ──> qemu-nbd ── TLS, one connection ──> the server
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from converters.endpoints.nbd.client import Nbd
from converters.endpoints.nbd.private_folder import SOCKET, private_folder, reachable
from kubeferry.errors import KubeferryError
from kubeferry.faults import Side, refused, unavailable
from kubeferry.images.nodes import SERVER_ENV
from kubeferry.outside import stopping
from kubeferry.outside.process import Child, child
from kubeferry.uris import NbdTls

START_SECONDS = 30
POLL_SECONDS = 0.01
KEYS = "keys.psk"
ANYBODY = "qemu"  # whom QEMU and nbdkit look for in the file where nobody is named


class RelayedNbd(Nbd):
    """A connection to the qemu-nbd here. The first one owns it; its clones only use it."""

    owned: contextlib.ExitStack | None = None

    def close(self) -> None:
        super().close()
        if self.owned is not None:
            self.owned.close()


def relayed(place: NbdTls, side: Side, work: Path | None) -> RelayedNbd:
    """The export, opened. Raises SourceRefused or TargetRefused where the key is not there or not taken, or the server
    has no TLS; SourceUnavailable, TargetUnavailable when it does not answer in time."""
    where = f"{place.host}:{place.port}"
    key = _key_of(place, side)
    with contextlib.ExitStack() as opening:
        folder = opening.enter_context(private_folder(work, "psk"))
        near = opening.enter_context(reachable(folder))
        (folder / KEYS).touch(mode=0o600)
        (folder / KEYS).write_text(key, encoding="utf-8")
        server = opening.enter_context(child(command(place, side, folder), log=folder / "log", env=SERVER_ENV))
        endpoint = _connected(near / SOCKET, server, side, where)
        endpoint.owned = opening.pop_all()
    return endpoint


def command(place: NbdTls, side: Side, folder: Path) -> list[str]:
    """The relay's command, to be started in its private folder; no key is on it."""
    user = place.user or ANYBODY
    upstream: dict[str, object] = {
        "driver": "nbd",
        "server": {"type": "inet", "host": place.host, "port": str(place.port)},
        "export": place.export,
        "tls-creds": "key",
    }
    image = {"driver": "raw", "file": upstream, "read-only": side is Side.SOURCE}
    options = ["--persistent", "--shared=0", *(["--read-only"] if side is Side.SOURCE else [])]
    keys = f"tls-creds-psk,id=key,endpoint=client,dir=.,username={user.replace(',', ',,')}"
    started = ["env", f"--chdir={folder.absolute()}", "qemu-nbd", *options, f"--object={keys}"]
    return [*started, "--socket=/proc/self/cwd/socket", "json:" + json.dumps(image)]


def _key_of(place: NbdTls, side: Side) -> str:
    """The file's line for our user: the relay is given no other."""
    path, user = Path(place.psk_file or ""), place.user or ANYBODY
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or "" if isinstance(error, OSError) else "it is no text"
        fix = "Name a file of USER:KEY lines, as psktool makes them, that can be read here."
        raise refused(side, f"{path} cannot be used for TLS", why=why, fix=fix) from error
    found = [line for line in lines if line.partition(":")[0] == user and line.partition(":")[2]]
    if not found:
        fix = f"Add the line {user}:KEY, or name another user: nbds://USER@{place.host}:{place.port}/…"
        raise refused(side, f"{path} has no key of {user}", fix=fix)
    return f"{found[0]}\n"


def _connected(path: Path, server: Child, side: Side, where: str) -> RelayedNbd:
    """Wait until the relay answers: it has spoken to the server by then, or has ended with its words."""
    limit = time.monotonic() + START_SECONDS
    while True:
        stopping.check()
        try:
            return RelayedNbd(str(path), "", side, where=where)
        except KubeferryError as error:
            if server.wait(POLL_SECONDS) is not None:
                raise _trouble(side, where, server.tail().strip()) from error
            if time.monotonic() > limit:
                what = f"the NBD server at {where} did not answer within {START_SECONDS} s"
                raise unavailable(side, what, why=server.tail().strip(), fix="Run the same again.") from error


def _trouble(side: Side, where: str, said: str) -> KubeferryError:
    why = said.rpartition("\n")[2].rpartition("}': ")[2]
    passing = any(sign in said for sign in ("Failed to connect", "Connection refused", "timed out"))
    if passing:
        fix = "Check that it runs and that its port is reachable from here; then run the same again."
        return unavailable(side, f"there is no connection to {where}", why=why, fix=fix)
    fix = "Check that it has TLS with keys (tls-creds-psk, nbdkit --tls-psk), then user, key, and the export's name."
    return refused(side, f"the NBD server at {where} does not take us", why=why, fix=fix)
