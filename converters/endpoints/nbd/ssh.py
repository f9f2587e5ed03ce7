"""Endpoint on an NBD export behind a unix socket of another host: OpenSSH forwards the socket, our NBD client reads it.

    Nbd, one a worker ──> FOLDER/socket ── ssh -N -L ──────────────> sshd ──> the socket there ──> qemu-nbd
                          several of these, where the server lets several in

The host's key is pinned and comes with the reference; the private key is a file that `KUBEFERRY_SSH_KEY` names. Nothing
of a user's own SSH is looked at: no configuration, no agent, no known hosts. An SSH connection is as
fast as one processor enciphers: each worker has one of its own, as far as that many are allowed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from converters.endpoints.nbd.client import Nbd
from converters.endpoints.nbd.private_folder import SOCKET, private_folder, reachable
from converters.uris import invalid
from kubeferry.errors import KubeferryError, SourceUnavailable, TargetUnavailable
from kubeferry.faults import Side, refused, unavailable
from kubeferry.outside import ssh_client, stopping
from kubeferry.outside.process import Child, child
from kubeferry.outside.ssh_client import KEY
from kubeferry.uris import NbdSsh, nbd_ssh
from kubeferry.values import DiskRef

START_SECONDS = 40
MANY_FROM_BYTES = 256 << 20  # a small disk is read before a second tunnel stands
POLL_SECONDS = 0.02
SETTLE_SECONDS = 1.0  # the tunnel's end closes our socket a moment before its process has ended
WORDS = 600
# What `-L` takes literally: it has a syntax of its own for colons, percent signs and dollars.
PLAIN_PATH = re.compile(r"/[\w./@+,=~-]*", re.ASCII)
Found = TypeVar("Found")
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Words of OpenSSH, what they mean, what to do, and whether trying again can help."""

    signs: tuple[str, ...]
    what: str
    fix: str
    passing: bool = False


OTHER_HOST = Finding(
    ("Host key verification failed", "no matching host key type found"),
    "the hypervisor is not the one that is pinned: its host key is another one",
    "If its key was changed on purpose, correct the source's ssh.hostKey; else find out who answers there.",
)
FINDINGS = (
    OTHER_HOST,
    Finding(
        ("no matching cipher found",),
        "the hypervisor has none of the ciphers that are asked for",
        "Name others as the source's ssh.ciphers, or none: then the fastest that both have is taken.",
    ),
    Finding(
        ("error in libcrypto", "invalid format", "bad permissions", "UNPROTECTED PRIVATE KEY FILE"),
        "the private key cannot be used",
        "Put an OpenSSH private key without a passphrase into the Secret, as ssh-privatekey.",
    ),
    Finding(
        (": Permission denied (", "Too many authentication failures"),
        "the hypervisor does not accept the private key",
        "Put its public key into the account's authorized_keys there; in the Secret it must have no passphrase.",
    ),
    Finding(
        ("No user exists for uid",),
        "OpenSSH does not start for a user without a name",
        "Use an image of the mover that has the user in /etc/passwd, or libnss-wrapper, which gives it a name.",
    ),
    Finding(
        ("open failed: administratively prohibited",),
        "the hypervisor's SSH server forbids forwarding",
        "Allow it for this account: AllowStreamLocalForwarding yes, and port-forwarding in authorized_keys.",
    ),
    Finding(
        ("open failed: connect failed",),
        "the hypervisor does not serve the disk",
        # OpenSSH's server says the same of a socket that is not there, may not be opened, and must not be forwarded.
        "Run the same command again: the export is made anew. The account that logs in must be able to open it, and to "
        "forward it: port-forwarding in authorized_keys, and AllowStreamLocalForwarding.",
        passing=True,
    ),
)


# --- what to run, and what its words mean; pure -----------------------------------------------------------------------


def place_of(uri: str) -> NbdSsh:
    """What a URI says, fit for OpenSSH's command line. Raises InputInvalid."""
    place = nbd_ssh(uri)
    if place is None:
        raise invalid(
            uri,
            "it does not say who, where, which socket and which host key",
            "Write nbd+ssh://USER@HOST:PORT/EXPORT?socket=/full/path&host-key=TYPE%20KEY",
        )
    if not PLAIN_PATH.fullmatch(place.socket):
        fix = "Give the socket a path of letters, digits and -._/@+,=~ there."
        raise invalid(uri, f"the socket's path {place.socket!r} has signs that SSH reads otherwise", fix)
    if fingerprint_of(place.host_key) is None:
        fix = "Give one line of the host's /etc/ssh/ssh_host_*_key.pub: its type and its key."
        raise invalid(uri, f"{place.host_key[:80]!r} is not a host key", fix)
    return place


def fingerprint_of(host_key: str) -> str | None:
    """`SHA256:…` of a public key, as OpenSSH writes it; None for what is no key."""
    kind, _, text = host_key.partition(" ")
    try:
        blob = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if not kind or not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()):
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def command(place: NbdSsh) -> list[str]:
    """OpenSSH's client, to be started in its private folder: it forwards one socket, and runs nothing there."""
    forward = ["-N", "-L", f"./{SOCKET}:{place.socket}"]
    speed = ssh_client.Speed(place.ciphers, place.compression)
    return ssh_client.command(place.host, place.port, place.user, place.host_key, *forward, speed=speed)


def finding(place: NbdSsh, side: Side, said: str) -> KubeferryError | None:
    """What OpenSSH's words mean; None for words that are not known."""
    for found in FINDINGS:
        if any(sign in said for sign in found.signs):
            kind = unavailable if found.passing else refused
            why = _keys(place, said) if found is OTHER_HOST else _words(said)
            return kind(side, found.what, why=f"{place.host}:{place.port}: {why}", fix=found.fix)
    return None


def _keys(place: NbdSsh, said: str) -> str:
    kind = place.host_key.partition(" ")[0]
    shown = FINGERPRINT.search(said)
    return f"pinned is {kind} {fingerprint_of(place.host_key)}, it shows {shown[0] if shown else _words(said)}"


def _words(said: str) -> str:
    lines = (line.strip(" @\r") for line in said.splitlines())
    return " ".join(line for line in lines if line)[-WORDS:]


# --- the connection ---------------------------------------------------------------------------------------------------


def open_endpoint(ref: DiskRef, side: Side, *, direct: bool = False, work: Path | None = None) -> TunnelledNbd:
    """Open `nbd+ssh://USER@HOST:PORT/EXPORT?socket=PATH&host-key=KEY`. `direct` has no meaning here; in `work` the
    tunnel has its folder.

    Raises SourceRefused for a host key that is not the pinned one, or a private key that is not accepted or not there;
    SourceUnavailable when the host does not answer or does not serve the disk.
    """
    del direct
    place = place_of(ref.uri)
    return TunnelledNbd.opened(Way(place, side, _private_key(side), ref.changed, work))


def _private_key(side: Side) -> Path:
    path = ssh_client.private_key()
    if path is None:
        named = os.environ.get(KEY, "")
        why = f"{KEY} names {named}, which cannot be read" if named else f"{KEY} is not set"
        fix = f"Name a private key that can be read in {KEY}; in a cluster it comes from the source's Secret."
        raise refused(side, "there is no private key for the hypervisor", why=why, fix=fix)
    return path


@dataclass(frozen=True, slots=True)
class Way:
    """What every SSH connection to one disk is made from. `clones` counts the clones."""

    place: NbdSsh
    side: Side
    key: Path
    changed: str | None = None
    work: Path | None = None
    clones: Iterator[int] = field(default_factory=itertools.count)


class Tunnel:
    """OpenSSH's client, running, with the near end of what it forwards."""

    def __init__(self, way: Way, near: Path, ssh: Child) -> None:
        self.way = way
        self.place = way.place
        self.side = way.side
        self.near = near
        self._ssh = ssh

    def connected(self, first: Callable[[], Found]) -> Found:
        """The first connection: waits until the server at the far end has answered the handshake."""
        limit = time.monotonic() + START_SECONDS
        while self._ssh.wait(POLL_SECONDS) is None and time.monotonic() < limit:
            stopping.check()
            if self.near.exists():
                try:
                    return first()
                except KubeferryError as error:
                    if not isinstance(error.__cause__, ConnectionRefusedError):  # bound, and not yet listening
                        raise
        raise self.trouble() or self._unreachable("it did not answer in time")

    def trouble(self) -> KubeferryError | None:
        """Why the tunnel does not carry; None while it does, and the far end is the one that hung up."""
        ended = self._ssh.wait(SETTLE_SECONDS) is not None
        said = self._ssh.tail()
        return finding(self.place, self.side, said) or (self._unreachable(_words(said)) if ended else None)

    def _unreachable(self, why: str) -> KubeferryError:
        what = f"there is no connection to the hypervisor {self.place.host}:{self.place.port}"
        fix = "Check that it runs and that its SSH port is reachable from here; then run the same command again."
        return unavailable(self.side, what, why=why, fix=fix)


class TunnelledNbd(Nbd):
    """An NBD connection through a tunnel, which belongs to the first one through it."""

    owned: contextlib.ExitStack | None = None

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        place = tunnel.place
        where = f"{place.socket} on {place.host}"
        super().__init__(str(tunnel.near), place.export, tunnel.side, tunnel.way.changed, where=where)

    @classmethod
    def opened(cls, way: Way) -> Self:
        """An SSH connection, and the first NBD connection through it."""
        with contextlib.ExitStack() as opening:
            folder = opening.enter_context(private_folder(way.work, "ssh"))
            near = opening.enter_context(reachable(folder))
            ssh_client.furnish(folder, way.key, way.place.host_key)
            argv = ["env", f"--chdir={folder.absolute()}", *command(way.place)]
            tunnel = Tunnel(way, near / SOCKET, opening.enter_context(child(argv, log=folder / "log")))
            endpoint = tunnel.connected(lambda: cls(tunnel))
            endpoint.owned = opening.pop_all()
        return endpoint

    def clone(self) -> Self:
        """The first shares this one's tunnel, the next have tunnels of their own. Where no further one is let in (a
        host may have a limit), the one that there is carries them."""
        way = self._tunnel.way
        if next(way.clones) % way.place.connections and self.size >= MANY_FROM_BYTES:
            with contextlib.suppress(SourceUnavailable, TargetUnavailable):
                return self._twin(self.opened(way))
        return self._twin(type(self)(self._tunnel))

    def close(self) -> None:
        super().close()
        if self.owned is not None:
            self.owned.close()

    def _lost(self, error: OSError) -> KubeferryError:
        refusing = isinstance(error, ConnectionRefusedError)
        return (None if refusing else self._tunnel.trouble()) or super()._lost(error)
