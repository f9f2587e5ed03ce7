"""The URIs of disks: local paths, exports behind SSH, CDI's upload proxy. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit


def local_path(uri: str) -> Path | None:
    """The absolute path of a `file:` or `block:` URI; None for anything else: a host, a query, a relative path."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    local = parts.scheme in {"file", "block"} and not (parts.netloc or parts.query or parts.fragment)
    return Path(path) if local and path.startswith("/") and "\0" not in path else None


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


UPLOAD = "cdi-upload+"
# What an upload needs beside its URI comes through the mover's environment: the token is a secret.
UPLOAD_TOKEN = "KUBEFERRY_UPLOAD_TOKEN"  # noqa: S105 (the name of a variable)
UPLOAD_CA = "KUBEFERRY_UPLOAD_CA"
UPLOAD_SERVER_NAME = "KUBEFERRY_UPLOAD_SERVER_NAME"


def upload_uri(url: str) -> str:
    """`cdi-upload+https://HOST/PATH`: a disk that is sent there in one go."""
    return f"{UPLOAD}{url}"


def upload_url(uri: str) -> str | None:
    """The address in an upload's URI; None for anything else."""
    return uri.removeprefix(UPLOAD) if uri.startswith(UPLOAD) else None
