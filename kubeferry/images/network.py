"""Disks that a server has and QEMU reads by its own drivers: iSCSI and RBD. Their URIs, and QEMU's words. Pure.

    iscsi://HOST[:PORT]/TARGET[/LUN]      one portal; LUN 0 where none is named
    rbd://[MONITOR[:PORT],…]/POOL[/NAMESPACE]/IMAGE[?snapshot=NAME]
                                          monitors where none is named as Ceph's configuration there says

A URI says which disk it is, and no more. How the server lets its hypervisor in is a `Login`, asked for when the disk is
opened: it stands in no document, and what is secret in it on no command line.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

ISCSI_PORT = 3260
ANY_PORT = "0"  # Ceph tries those that monitors have, old and new
SECRET = "kubeferry"  # noqa: S105 (what QEMU calls it)
SECRET_WORDS = ("--object", f"secret,id={SECRET},format=base64,file=/dev/stdin")
"""What a program of QEMU's is told where a login has a secret; it reads it from its standard input."""
_NUMBER = re.compile(r"\d{1,5}", re.ASCII)
_NAME = re.compile(r"[^/\0]+")
_HOST = re.compile(r"[^,\s\[\]]+")


@dataclass(frozen=True, slots=True)
class Login:
    """How the hypervisor is let in: the name that it gives itself at an iSCSI target, the file of Ceph's configuration
    there, and user and secret, where the server asks for them."""

    initiator: str = ""
    config: str = ""
    user: str = ""
    secret: bytes | None = field(default=None, repr=False)

    @property
    def words(self) -> tuple[str, ...]:
        return SECRET_WORDS if self.secret is not None else ()

    @property
    def stdin(self) -> str | None:
        """What such a program is to read from its standard input."""
        return None if self.secret is None else base64.b64encode(self.secret).decode("ascii")


Logins = Mapping[str, Login]
"""By disk id, of disks that a server has."""


def is_read(uri: str | None) -> bool:
    """Whether this is a disk on a server that QEMU is asked to read."""
    return uri is not None and node(uri, Login()) is not None


def node(uri: str, login: Login) -> dict[str, object] | None:
    """The disk, raw and read-only, in QEMU's words; None for any other URI, and for one that says what is not
    understood."""
    try:
        parts = urlsplit(uri)
        asked = parse_qs(parts.query, strict_parsing=True, keep_blank_values=True) if parts.query else {}
    except ValueError:
        return None
    if parts.fragment or "@" in parts.netloc:
        return None
    make = _NODES.get(parts.scheme)
    found = make(parts, asked, login) if make else None
    return None if found is None else {"driver": "raw", "read-only": True, "file": found | {"read-only": True}}


def _iscsi(parts: SplitResult, asked: dict[str, list[str]], login: Login) -> dict[str, object] | None:
    target, _, lun = unquote(parts.path.removeprefix("/")).partition("/")
    server = _server(parts.netloc)
    if server is None or asked or not target or not _NUMBER.fullmatch(lun or "0"):
        return None
    host, port = server
    portal = f"[{host}]:{port or ISCSI_PORT}" if ":" in host else f"{host}:{port or ISCSI_PORT}"
    found: dict[str, object] = {"driver": "iscsi", "transport": "tcp", "portal": portal}
    found |= {"target": target, "lun": int(lun or "0")}
    found |= {"initiator-name": login.initiator} if login.initiator else {}
    return found | ({"user": login.user, "password-secret": SECRET} if login.secret is not None else {})


def _rbd(parts: SplitResult, asked: dict[str, list[str]], login: Login) -> dict[str, object] | None:
    names = unquote(parts.path.removeprefix("/")).split("/")
    servers = [_server(one) for one in parts.netloc.split(",")] if parts.netloc else []
    known = [one for one in servers if one is not None]
    snapshots = asked.pop("snapshot", [])
    whole = len(known) == len(servers) and len(names) in {2, 3} and all(_NAME.fullmatch(one) for one in names)
    if not whole or asked or len(snapshots) > 1 or snapshots == [""]:
        return None
    found: dict[str, object] = {"driver": "rbd", "pool": names[0], "image": names[-1]}
    found |= {"namespace": names[1]} if len(names) == 3 else {}
    found |= {"snapshot": snapshots[0]} if snapshots else {}
    found |= {"conf": login.config} if login.config else {}
    found |= {"server": [{"host": host, "port": port or ANY_PORT} for host, port in known]} if known else {}
    found |= {"user": login.user} if login.user else {}
    let_in = {"key-secret": SECRET, "auth-client-required": ["cephx", "none"]}
    return found | (let_in if login.secret is not None else {})


def _server(text: str) -> tuple[str, str] | None:
    """Host and port of `HOST:PORT`, `[::1]:PORT`; the port is empty where none is named."""
    host, bracket, rest = text.removeprefix("[").partition("]")
    if text.startswith("[") and bracket and (not rest or rest.startswith(":")):
        port = rest.removeprefix(":")
    elif text.startswith("["):
        return None
    else:
        host, _, port = text.partition(":")
    host = unquote(host)
    return (host, port) if _HOST.fullmatch(host) and (not port or _NUMBER.fullmatch(port)) else None


_NODES = {"iscsi": _iscsi, "rbd": _rbd}
SCHEMES = frozenset(_NODES)
"""Of the URIs; libvirt calls the protocols so, too."""
