"""Endpoint on an NBD export behind a unix socket of another host: OpenSSH forwards the socket, our NBD client reads it.

The host's key is pinned and comes with the reference; the private key is a file that `KUBEFERRY_SSH_KEY` names. Nothing
of a user's own SSH is looked at: no configuration, no agent, no known hosts. One SSH connection carries all workers.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Self

from converters.nbd import Nbd
from converters.uris import invalid
from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable, TargetRefused, TargetUnavailable
from kubeferry.faults import Side
from kubeferry.process import Child, child
from kubeferry.uris import NbdSsh, nbd_ssh

KEY = "KUBEFERRY_SSH_KEY"
ALIAS = "kubeferry-source"  # the name that the pinned key has for the client, whatever host and port are
CONNECT_SECONDS = 15
ALIVE_SECONDS, ALIVE_COUNT = 10, 3
START_SECONDS = 40
POLL_SECONDS = 0.05
# RSA keys sign with SHA-2; the key's own name stands for a signature that nobody takes any more.
SIGNATURES = {"ssh-rsa": "rsa-sha2-512,rsa-sha2-256"}

# Words of OpenSSH: what they mean, what to do, and whether trying again can help.
FINDINGS = (
    (
        ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "no matching host key type"),
        "the hypervisor is not the one that is pinned: its host key is another one",
        "If the key was changed on purpose, correct the source's ssh.hostKey; else find out who answers there.",
        False,
    ),
    (
        ("Permission denied", "Too many authentication failures"),
        "the hypervisor does not accept the key",
        "Put the public key into the account's authorized_keys there, and the private one into the Secret.",
        False,
    ),
    (
        ("error in libcrypto", "invalid format", "bad permissions", "UNPROTECTED PRIVATE KEY"),
        "the private key cannot be used",
        "Put an OpenSSH private key without a passphrase into the Secret, as ssh-privatekey.",
        False,
    ),
    (
        ("administratively prohibited",),
        "the hypervisor's SSH server forbids forwarding",
        "Allow it for this account: AllowStreamLocalForwarding yes, and port-forwarding in authorized_keys.",
        False,
    ),
    (
        ("open failed", "connect failed"),
        "the hypervisor does not serve the disk",
        "Run the same command again: the export is made anew. The account must be able to open its socket.",
        True,
    ),
)


def open_endpoint(uri: str, side: Side, *, direct: bool = False) -> TunnelledNbd:
    """Open `nbd+ssh://USER@HOST:PORT/EXPORT?socket=PATH&host-key=KEY`. `direct` has no meaning here.

    Raises SourceRefused for a wrong host key, a key that is not accepted or cannot be read; SourceUnavailable when the
    host does not answer or does not serve the disk.
    """
    del direct
    place = nbd_ssh(uri)
    if place is None:
        raise invalid(
            uri,
            "it does not say who, where, which socket and which host key",
            "Write nbd+ssh://USER@HOST:PORT/EXPORT?socket=/full/path&host-key=TYPE%20KEY",
        )
    with contextlib.ExitStack() as opening:
        folder = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="kubeferry-ssh-")))
        argv = command(place, _key(side), folder)
        (folder / "known_hosts").write_text(f"{ALIAS} {place.host_key}\n", encoding="ascii")
        tunnel = opening.enter_context(child(argv, log=folder / "log"))
        endpoint = _connected(place, folder, side, tunnel)
        endpoint.owned = opening.pop_all()
    return endpoint


class TunnelledNbd(Nbd):
    """An NBD connection through a tunnel. The first one owns the tunnel; its clones only use it."""

    owned: contextlib.ExitStack | None = None

    def clone(self) -> Self:
        return type(self)(self.path, self._name, self.side, self._contexts)

    def close(self) -> None:
        super().close()
        if self.owned is not None:
            self.owned.close()


def command(place: NbdSsh, key: Path, folder: Path) -> list[str]:
    """OpenSSH's client that forwards the socket to `folder`, and runs nothing there."""
    kind = place.host_key.partition(" ")[0]
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": ALIAS,
        "HostKeyAlgorithms": SIGNATURES.get(kind, kind),
        "UserKnownHostsFile": str(folder / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentityFile": str(key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ControlPath": "none",
        "ExitOnForwardFailure": "yes",
        "StreamLocalBindMask": "0177",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "ServerAliveInterval": str(ALIVE_SECONDS),
        "ServerAliveCountMax": str(ALIVE_COUNT),
        "Compression": "no",
        "LogLevel": "INFO",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    forward = ["-L", f"{folder / 'socket'}:{place.socket}"]
    return [
        "ssh",
        "-F",
        "none",
        "-N",
        "-T",
        *words,
        *forward,
        "-p",
        str(place.port),
        "-l",
        place.user,
        "--",
        place.host,
    ]


def _key(side: Side) -> Path:
    path = Path(os.environ.get(KEY, ""))
    if not os.access(path, os.R_OK) or not path.is_file():
        why = f"{KEY} names {path}" if os.environ.get(KEY) else f"{KEY} is not set"
        fix = f"Name a private key that can be read in {KEY}; in a cluster it comes from the Secret of the reference."
        raise _refused(side)("there is no private key for the hypervisor", why=why, fix=fix)
    return path


def _connected(place: NbdSsh, folder: Path, side: Side, tunnel: Child) -> TunnelledNbd:
    """Wait until the server at the other end has answered the handshake."""
    limit = time.monotonic() + START_SECONDS
    while True:
        ended = tunnel.wait(POLL_SECONDS) is not None
        try:
            if not ended and (folder / "socket").exists():
                return TunnelledNbd(str(folder / "socket"), place.export, side)
        except (SourceUnavailable, TargetUnavailable) as error:
            # The tunnel is up, and nothing (yet) serves at its other end; its own words come a moment later.
            time.sleep(POLL_SECONDS)
            if (said := _finding(place, side, tunnel.tail())) is not None:
                raise said from error
        if ended or time.monotonic() > limit:
            raise _finding(place, side, tunnel.tail()) or _unavailable(side)(
                f"the hypervisor {place.host}:{place.port} cannot be reached",
                why=tunnel.tail().strip() or "it did not answer in time",
                fix="Check that it runs and that its SSH port is reachable from here; then run the same command again.",
            )


def _finding(place: NbdSsh, side: Side, said: str) -> KubeferryError | None:
    """What OpenSSH's words mean; None for words that are not known."""
    for signs, what, fix, passing in FINDINGS:
        if any(sign in said for sign in signs):
            lines = [line.strip(" @\r") for line in said.splitlines()]
            why = f"{place.host}:{place.port}: " + " ".join(line for line in lines if line)[-600:]
            return (_unavailable(side) if passing else _refused(side))(what, why=why, fix=fix)
    return None


def _refused(side: Side) -> type[KubeferryError]:
    return SourceRefused if side is Side.SOURCE else TargetRefused


def _unavailable(side: Side) -> type[KubeferryError]:
    return SourceUnavailable if side is Side.SOURCE else TargetUnavailable
