"""The URIs of disks: local paths, exports behind SSH, and servers known by their certificate. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urldefrag, urlencode, urlsplit


def local_path(uri: str) -> Path | None:
    """The absolute path of a `file:` or `block:` URI; None for anything else: a host, a query, a relative path."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    local = parts.scheme in {"file", "block"} and not (parts.netloc or parts.query or parts.fragment)
    return Path(path) if local and path.startswith("/") and "\0" not in path else None


_PIN = re.compile(r"sha256=(?P<pin>[0-9a-f]{64})(&login=(?P<login>[A-Za-z_][A-Za-z0-9_]*))?", re.ASCII)


def pinned(uri: str, sha256: str, login: str | None = None) -> str:
    """A URI of an HTTPS server that is trusted by its certificate alone: `https://…#sha256=DIGEST&login=PREFIX`.
    `login` is what the names of the environment's variables start with that hold user and password."""
    return f"{urldefrag(uri).url}#sha256={sha256}{f'&login={login}' if login else ''}"


def pin_of(uri: str) -> tuple[str, str | None, str | None]:
    """The URI without its fragment, the digest of the certificate, the prefix of the login. Raises ValueError for
    another fragment: a pin that is not understood must not be left out."""
    plain, fragment = urldefrag(uri)
    found = _PIN.fullmatch(fragment)
    if fragment and found is None:
        raise ValueError(f"{fragment[:40]!r} is not sha256=DIGEST")
    return plain, found and found["pin"], found and found["login"]


@dataclass(frozen=True, slots=True)
class NbdSsh:
    """An NBD export behind a unix socket of another host, reached through SSH. `host_key` is the host's public key."""

    user: str
    host: str
    port: int
    socket: str
    host_key: str
    export: str = ""

    def uri(self) -> str:
        """`nbd+ssh://USER@HOST:PORT/EXPORT?socket=PATH&host-key=KEY`"""
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = urlencode({"socket": self.socket, "host-key": self.host_key}, quote_via=quote)
        return f"nbd+ssh://{quote(self.user)}@{host}:{self.port}/{quote(self.export)}?{query}"


def nbd_ssh(uri: str) -> NbdSsh | None:
    """What an `nbd+ssh:` URI says; None for anything else, and for one that leaves out who, where or which key."""
    try:
        parts = urlsplit(uri)
        port = parts.port or 22
        asked = parse_qs(parts.query, strict_parsing=True)
    except ValueError:
        return None
    socket, keys = asked.get("socket", []), asked.get("host-key", [])
    whole = parts.scheme == "nbd+ssh" and parts.username and parts.hostname and not parts.password
    if not whole or len(socket) != 1 or len(keys) != 1 or not socket[0].startswith("/") or "\0" in socket[0]:
        return None
    user, host = unquote(parts.username or ""), parts.hostname or ""
    return NbdSsh(user, host, port, socket[0], keys[0], unquote(parts.path).removeprefix("/"))
