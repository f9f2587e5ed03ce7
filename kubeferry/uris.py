"""The URIs of disks: local paths, bytes that stand in the URI itself, exports behind SSH and TLS, parts of local files,
snapshots in a cloud, web servers known by their certificate, CDI's upload proxy. Pure.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, quote, unquote, urldefrag, urlencode, urlsplit


def local_path(uri: str) -> Path | None:
    """The absolute path of a `file:` or `block:` URI; None for anything else: a host, a query, a relative path."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path, errors="surrogateescape")  # a name need not be text
    local = parts.scheme in {"file", "block"} and not (parts.netloc or parts.query or parts.fragment)
    return Path(path) if local and path.startswith("/") and "\0" not in path else None


_INLINE = "data:application/zlib;base64,"


def inline_uri(content: bytes) -> str:
    """A URI that is these bytes (RFC 2397), packed: for little of what a mover is to write, and nothing secret."""
    return _INLINE + base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def inline_content(uri: str, most: int) -> bytes | None:
    """The bytes that a URI of `inline_uri` is; None for any other, one that is damaged, or holds more than `most`."""
    if not uri.startswith(_INLINE):
        return None
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(uri.removeprefix(_INLINE), validate=True), most + 1)
    except (binascii.Error, zlib.error):
        return None
    return content if unpacking.eof and len(content) <= most else None


HELD = "held:"
"""What a mover is handed beside its work, and nobody else may read: a file of its own."""
HELD_FILE = "KUBEFERRY_HELD_FILE"
"""The variable that names the file."""


_PIN = re.compile(
    r"sha256=(?P<pin>[0-9a-f]{64})(&login=(?P<login>[A-Za-z_][A-Za-z0-9_]*))?(&view=(?P<view>[A-Za-z0-9%._~-]+))?",
    re.ASCII,
)


def pinned(uri: str, sha256: str, *, login: str | None = None, view: str | None = None) -> str:
    """A URI of an HTTPS server that is trusted by its certificate alone: `https://…#sha256=DIGEST&login=PREFIX`.

    `login` is what the names of the environment's variables start with that hold user and password. `view` names the
    bytes where the address is made anew for each try.
    """
    more = f"&login={login}" if login else ""
    more += f"&view={quote(view, safe='')}" if view else ""
    return f"{urldefrag(uri).url}#sha256={sha256}{more}"


def web_end(uri: str) -> tuple[str, int] | None:
    """Host and port of an `https:` address or a stream that comes that way, None for anything else."""
    try:
        parts = urlsplit(uri)
        port = parts.port or 443
    except ValueError:
        return None
    web = parts.scheme in {"https", "vmdk-stream+https"} and parts.hostname
    return (str(parts.hostname), port) if web else None


def view_of(uri: str) -> str | None:
    """What a pinned URI calls its bytes, None where its address does."""
    found = _PIN.fullmatch(urldefrag(uri).fragment)
    return found["view"] if found else None


def pin_of(uri: str) -> tuple[str, str | None, str | None]:
    """The URI without its fragment, the digest of the certificate, the prefix of the login. Raises ValueError for
    another fragment: a pin that is not understood must not be left out."""
    plain, fragment = urldefrag(uri)
    found = _PIN.fullmatch(fragment)
    if fragment and found is None:
        raise ValueError(f"{fragment[:40]!r} is not sha256=DIGEST")
    return plain, found and found["pin"], found and found["login"]


_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
SSH_CONNECTIONS = 4
SSH_CONNECTIONS_LIMIT = 16
_SSH_ASKED = frozenset({"socket", "host-key", "connections", "ciphers", "compression"})
CIPHERS = re.compile(r"[a-z0-9@.-]{1,64}(,[a-z0-9@.-]{1,64}){0,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NbdSsh:
    """An NBD export behind a unix socket of another host, reached through SSH. `host_key` is the host's public key.

    At most `connections` of SSH are made; `ciphers` are the only ones, None: the fastest first. `compression` is SSH's
    own, for a network that is slower than a processor compresses."""

    user: str
    host: str
    port: int
    socket: str
    host_key: str
    export: str = ""
    connections: int = SSH_CONNECTIONS
    ciphers: str | None = None
    compression: bool = False

    def uri(self) -> str:
        """`nbd+ssh://USER@HOST:PORT/EXPORT?socket=PATH&host-key=KEY`; `connections=N`, `ciphers=NAME,NAME` and
        `compression=yes` where they are not as always."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        asked = {"socket": self.socket, "host-key": self.host_key}
        asked |= {"connections": str(self.connections)} if self.connections != SSH_CONNECTIONS else {}
        asked |= {"ciphers": self.ciphers} if self.ciphers else {}
        asked |= {"compression": "yes"} if self.compression else {}
        query = urlencode(asked, quote_via=quote)
        return f"nbd+ssh://{quote(self.user)}@{host}:{self.port}/{quote(self.export)}?{query}"


def nbd_ssh(uri: str) -> NbdSsh | None:
    """What an `nbd+ssh:` URI says; None for anything else, and for one that leaves out who, where or which key, or says
    what is not understood."""
    try:
        parts = urlsplit(uri)
        port = parts.port or 22
        asked = parse_qs(parts.query, strict_parsing=True, keep_blank_values=True)
    except ValueError:
        return None
    told = {name: values[0] for name, values in asked.items() if len(values) == 1}
    whole = parts.scheme == "nbd+ssh" and parts.username and parts.hostname and not parts.password
    if not whole or asked.keys() != told.keys() or not {"socket", "host-key"} <= told.keys() <= _SSH_ASKED:
        return None
    count, ciphers = told.get("connections", str(SSH_CONNECTIONS)), told.get("ciphers")
    fit = _NUMBER.fullmatch(count) and 1 <= int(count) <= SSH_CONNECTIONS_LIMIT
    fit = fit and (ciphers is None or CIPHERS.fullmatch(ciphers)) and told.get("compression", "yes") == "yes"
    if not fit or not told["socket"].startswith("/") or "\0" in told["socket"]:
        return None
    user, host, export = unquote(parts.username or ""), parts.hostname or "", unquote(parts.path).removeprefix("/")
    more = (int(count), ciphers, "compression" in told)
    return NbdSsh(user, host, port, told["socket"], told["host-key"], export, *more)


NBD_TLS_PORT = 10809
_TLS_ASKED = {"tls-certificates": "certificates", "tls-hostname": "hostname", "tls-psk-file": "psk_file"}


@dataclass(frozen=True, slots=True)
class NbdTls:
    """An NBD export behind TLS. `certificates` is a folder (ca-cert.pem; client-cert.pem and client-key.pem where the
    server asks who we are), `hostname` what the server's certificate must name instead of the host, `psk_file` a file
    of `USER:KEY` lines in place of certificates, `user` the one in it. Never a key itself."""

    host: str
    port: int
    export: str = ""
    user: str | None = None
    certificates: str | None = None
    hostname: str | None = None
    psk_file: str | None = None

    def uri(self) -> str:
        """`nbds://HOST:PORT/EXPORT?tls-certificates=FOLDER&tls-hostname=NAME`, all that is asked optional."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = f"{quote(self.user, safe='')}@" if self.user else ""
        asked = {name: value for name, field in _TLS_ASKED.items() if (value := getattr(self, field)) is not None}
        query = f"?{urlencode(asked, quote_via=quote)}" if asked else ""
        return f"nbds://{who}{host}:{self.port}/{quote(self.export)}{query}"


def nbd_tls(uri: str) -> NbdTls | None:
    """What an `nbds:` URI says; None for anything else, and for one that says what is not understood: a word about
    whom to trust must not be left out."""
    try:
        parts = urlsplit(uri)
        port = parts.port or NBD_TLS_PORT
        asked = parse_qs(parts.query, strict_parsing=True, keep_blank_values=True) if parts.query else {}
    except ValueError:
        return None
    plain = parts.scheme == "nbds" and parts.hostname and parts.password is None and not parts.fragment
    if not plain or not asked.keys() <= _TLS_ASKED.keys() or any(len(values) != 1 for values in asked.values()):
        return None
    told = {_TLS_ASKED[name]: values[0] for name, values in asked.items()}
    folders = [told[name] for name in ("certificates", "psk_file") if name in told]
    if any(not place.startswith("/") or "\0" in place for place in folders) or len(folders) > 1:
        return None
    user, export = unquote(parts.username or "") or None, unquote(parts.path).removeprefix("/")
    return NbdTls(parts.hostname or "", port, export, user, **told)


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


PACKED = ("vmdk-stream+file", "vmdk+file", "raw+file")
"""What lies in parts of local files: a streamOptimized VMDK, a VMDK whose header says which kind, or the bytes."""
PART_LIMIT = 4096
DIGESTS = {"sha1": 40, "sha256": 64, "sha512": 128}
"""Algorithms of a manifest, and how many hexadecimal digits a digest has."""


@dataclass(frozen=True, slots=True)
class Part:
    """`length` bytes of a file from `offset` on, with their digest as `algorithm:hex`, empty where none is known."""

    path: Path
    offset: int
    length: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """A disk that lies in parts of files of one folder, one behind the other, as a whole compressed with gzip or not.

    `scheme` is one of `PACKED`.
    """

    scheme: str
    parts: tuple[Part, ...]
    gzip: bool = False

    def uri(self) -> str:
        """`SCHEME:///first/path?part=OFFSET,LENGTH,DIGEST,NAME&part=…`, and `compression=gzip`; NAME is empty for the
        first file."""
        first = self.parts[0].path
        told = [
            ("part", f"{one.offset},{one.length},{one.digest},{'' if one.path == first else one.path.name}")
            for one in self.parts
        ]
        told += [("compression", "gzip")] if self.gzip else []
        asked = urlencode(told, quote_via=quote, safe=",:", errors="surrogateescape")
        return f"{self.scheme}://{quote(os.fsencode(first))}?{asked}"


def packed(uri: str) -> Packed | None:
    """What the URI of a packed disk says; None for anything else, and for parts that cannot be."""
    try:
        split = urlsplit(uri)
        asked = parse_qs(split.query, strict_parsing=True, max_num_fields=PART_LIMIT + 1, errors="surrogateescape")
    except ValueError:
        return None
    path = Path(unquote(split.path, errors="surrogateescape"))
    plain = split.scheme in PACKED and not split.netloc and not split.fragment and "\0" not in str(path)
    if not (plain and path.is_absolute()) or not asked.keys() <= {"part", "compression"}:
        return None
    parts = [_part(path, told) for told in asked.get("part", [])]
    known = [one for one in parts if one is not None]
    if not known or len(known) != len(parts) or asked.get("compression", ["gzip"]) != ["gzip"]:
        return None
    return Packed(split.scheme, tuple(known), gzip="compression" in asked)


def _part(path: Path, told: str) -> Part | None:
    """One part. Its file stands in the folder of the first: a name with a folder in it is none."""
    words = told.split(",", 3)
    if len(words) != 4 or not (_NUMBER.fullmatch(words[0]) and _NUMBER.fullmatch(words[1])):
        return None
    algorithm, _, digits = words[2].partition(":")
    if words[2] and not re.fullmatch(rf"[0-9a-f]{{{DIGESTS.get(algorithm, 0) or 1000}}}", digits):
        return None
    name = words[3] or path.name
    if PurePosixPath(name).name != name or name in {"", ".", ".."} or "\0" in name:
        return None
    return Part(path.with_name(name), int(words[0]), int(words[1]), words[2])


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
        asked = parse_qs(parts.query, strict_parsing=True, keep_blank_values=True) if parts.query else {}
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
