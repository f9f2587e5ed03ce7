"""Endpoint on an NBD export behind a unix socket of another host: OpenSSH forwards the socket, our NBD client reads it.

    Nbd, one a worker ──> FOLDER/socket ── ssh -N -L ──────────────> sshd ──> the socket there ──> qemu-nbd

The host's key is pinned and comes with the reference; the private key is a file that `KUBEFERRY_SSH_KEY` names. Nothing
of a user's own SSH is looked at: no configuration, no agent, no known hosts. One SSH connection carries all workers.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from converters.endpoints.nbd.client import Nbd
from converters.endpoints.nbd.private_folder import SOCKET, private_folder, reachable
from converters.uris import invalid
from kubeferry.errors import KubeferryError
from kubeferry.faults import Side, refused, unavailable
from kubeferry.outside import ssh_client, stopping
from kubeferry.outside.process import Child, child
from kubeferry.outside.ssh_client import KEY
from kubeferry.uris import NbdSsh, nbd_ssh
from kubeferry.values import DiskRef

START_SECONDS = 40
POLL_SECONDS = 0.02
SETTLE_SECONDS = 1.0  # the tunnel's end closes our socket a moment before its process has ended
WORDS = 600
# What `-L` takes literally: it has a syntax of its own for colons, percent signs and dollars.
PLAIN_PATH = re.compile(r"/[\w./@+,=~-]*", re.ASCII)
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
        "Use an image of the mover that has the user 107 in /etc/passwd.",
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
    return ssh_client.command(place.host, place.port, place.user, place.host_key, *forward)


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
    key = _private_key(side)
    with contextlib.ExitStack() as opening:
        folder = opening.enter_context(private_folder(work, "ssh"))
        near = opening.enter_context(reachable(folder))
        ssh_client.furnish(folder, key, place.host_key)
        argv = ["env", f"--chdir={folder.absolute()}", *command(place)]
        tunnel = Tunnel(place, side, near / SOCKET, opening.enter_context(child(argv, log=folder / "log")), ref.changed)
        endpoint = tunnel.connected()
        endpoint.owned = opening.pop_all()
    return endpoint


def _private_key(side: Side) -> Path:
    path = ssh_client.private_key()
    if path is None:
        named = os.environ.get(KEY, "")
        why = f"{KEY} names {named}, which cannot be read" if named else f"{KEY} is not set"
        fix = f"Name a private key that can be read in {KEY}; in a cluster it comes from the source's Secret."
        raise refused(side, "there is no private key for the hypervisor", why=why, fix=fix)
    return path


class Tunnel:
    """OpenSSH's client, running, with the near end of what it forwards."""

    def __init__(self, place: NbdSsh, side: Side, near: Path, ssh: Child, changed: str | None = None) -> None:
        self.place = place
        self.changed = changed
        self.side = side
        self.near = near
        self._ssh = ssh

    def connected(self) -> TunnelledNbd:
        """The first connection: waits until the server at the far end has answered the handshake."""
        limit = time.monotonic() + START_SECONDS
        while self._ssh.wait(POLL_SECONDS) is None and time.monotonic() < limit:
            stopping.check()
            if self.near.exists():
                try:
                    return TunnelledNbd(self)
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
    """An NBD connection through a tunnel. The first one owns the tunnel; its clones only use it."""

    owned: contextlib.ExitStack | None = None

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        place = tunnel.place
        where = f"{place.socket} on {place.host}"
        super().__init__(str(tunnel.near), place.export, tunnel.side, tunnel.changed, where=where)

    def clone(self) -> Self:
        return type(self)(self._tunnel)

    def close(self) -> None:
        super().close()
        if self.owned is not None:
            self.owned.close()

    def _lost(self, error: OSError) -> KubeferryError:
        refusing = isinstance(error, ConnectionRefusedError)
        return (None if refusing else self._tunnel.trouble()) or super()._lost(error)
