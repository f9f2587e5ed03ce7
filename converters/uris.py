"""The URIs of disks: the table of ways to reach one, and local paths. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from kubeferry.errors import InputInvalid, Problem
from kubeferry.uris import PACKED, local_path, packed
from kubeferry.values import DiskRef

MODULES = {
    "file": "converters.endpoints.file",
    "block": "converters.endpoints.file",
    "data": "converters.endpoints.inline",
    "held": "converters.endpoints.inline",
    "nbd+unix": "converters.endpoints.nbd.client",
    "nbd+ssh": "converters.endpoints.nbd.ssh",
    "nbds": "converters.endpoints.nbd.tls",
    "ebs": "converters.endpoints.ebs.snapshot",
    "https": "converters.endpoints.web.https",
    "vmdk-stream+https": "converters.endpoints.web.vmdk_lease",
    **dict.fromkeys(PACKED, "converters.endpoints.packed.disk"),
}
"""The module behind each scheme, imported when a disk of it is opened: a mover starts often, and needs two of them.
Its `open_endpoint` is called with the reference, its side, whether to read past the page cache, and a folder for
sockets."""
LOCAL = ("file", "block")
"""Schemes of files and devices that are opened by their path."""
SERVED = tuple(scheme for scheme in MODULES if scheme not in LOCAL)
"""Schemes of disks that a server or a stream gives: raw, whatever they are made of there."""


def scheme_of(uri: str) -> str:
    """The scheme of a URI that can be opened here. Raises InputInvalid for any other."""
    scheme = split(uri).scheme
    if scheme not in MODULES:
        known = ", ".join(f"{name}:" for name in MODULES)
        raise invalid(uri, f"{scheme or 'no scheme'} is not a way to reach a disk", f"Use one of {known}")
    return scheme


def path_of(uri: str) -> Path:
    """The local path of a `file:` or `block:` URI. Raises InputInvalid when it has a host, a query or no full path."""
    path = local_path(uri)
    if path is None:
        raise invalid(uri, "not a local path as a URI", "Write it as file:///full/path, special characters as %XX.")
    return path


def files_of(uri: str) -> list[Path]:
    """The local files and devices that a URI names: none where a server has them. Raises InputInvalid."""
    if scheme_of(uri) in LOCAL:
        return [path_of(uri)]
    found = packed(uri)
    return list(dict.fromkeys(part.path for part in found.parts)) if found else []


def chain_of(ref: DiskRef) -> Iterator[DiskRef]:
    """A disk and what lies below it, the top first."""
    link: DiskRef | None = ref
    while link is not None:
        yield link
        link = link.backing


def split(uri: str) -> SplitResult:
    """The parts of a URI. Raises InputInvalid when it is malformed."""
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise invalid(uri, str(error), "Correct the URI.") from error


def invalid(uri: str, what: str, fix: str) -> InputInvalid:
    """The error for a URI that cannot be used."""
    return InputInvalid("a disk cannot be opened", [Problem(uri, what, fix)])
