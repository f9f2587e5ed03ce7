"""The URIs of disks: local paths, exports behind SSH, snapshots in a cloud. Pure."""

from __future__ import annotations

import re
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


_REGION = re.compile(r"[a-z0-9-]{2,32}", re.ASCII)
_SNAPSHOT = re.compile(r"snap-[0-9a-f]{8,17}", re.ASCII)
_ASKED = {"profile": "profile", "role": "role_arn", "external-id": "external_id", "endpoint": "endpoint_url"}


@dataclass(frozen=True, slots=True)
class EbsSnapshot:
    """A snapshot of an EBS volume, and how its account is entered: never with a key, only with the name of one."""

    region: str
    snapshot: str
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    endpoint_url: str | None = None

    def uri(self) -> str:
        """`ebs://REGION/SNAPSHOT?profile=NAME&role=ARN&external-id=ID&endpoint=URL`, all that is asked optional."""
        asked = {name: value for name, field in _ASKED.items() if (value := getattr(self, field)) is not None}
        return f"ebs://{self.region}/{self.snapshot}" + (f"?{urlencode(asked, quote_via=quote)}" if asked else "")


def ebs_snapshot(uri: str) -> EbsSnapshot | None:
    """What an `ebs:` URI says; None for anything else, and for one that says what is not understood."""
    try:
        parts = urlsplit(uri)
        asked = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        return None
    snapshot = parts.path.removeprefix("/")
    plain = parts.scheme == "ebs" and _REGION.fullmatch(parts.netloc) and _SNAPSHOT.fullmatch(snapshot)
    if not plain or not asked.keys() <= _ASKED.keys() or any(len(values) != 1 for values in asked.values()):
        return None
    return EbsSnapshot(parts.netloc, snapshot, **{_ASKED[name]: values[0] for name, values in asked.items()})


def is_snapshot(name: str) -> bool:
    """Whether this is the name of an EBS snapshot."""
    return _SNAPSHOT.fullmatch(name) is not None
