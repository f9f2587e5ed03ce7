"""Files and disks that an OVF speaks of: `References` and `DiskSection`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from kubeferry.sources.facts.xml_tree import Node
from kubeferry.sources.ovf.properties import Properties
from kubeferry.sources.ovf.units import to_bytes
from kubeferry.sources.ovf.words import AGAIN, is_true

MAX_CHUNKS = 4096
_PROPERTY = re.compile(r"\$\{([^{}]{1,200})\}")


@dataclass(frozen=True, slots=True)
class File:
    """A file beside the OVF. `size` is that of all its bytes as they lie there, compressed or not; `chunk_bytes` says
    that it lies there in files `HREF.000000000`, … of this size."""

    id: str
    href: str
    size: int | None
    gzip: bool
    chunk_bytes: int | None
    where: str


@dataclass(frozen=True, slots=True)
class VirtualDisk:
    """`format` is vmdk, qcow2, raw, vhd or, for another, None; `stream` says that it is a streamOptimized VMDK. `bus`
    is told here by some products. One that is `empty` has no file, and reads as zeros; one that `differs` holds only
    what another image has not."""

    id: str
    file: File | None
    empty: bool
    differs: bool
    boots: bool
    shareable: bool
    readonly: bool
    capacity: int | None
    populated: int | None
    format: str | None
    stream: bool
    bus: str | None


Locate = Callable[[File, str | None, bool], str | None]
"""Where a file with a disk of a format (and whether it is a stream) lies, as a URI; None where it cannot be read."""


class References:
    """Files and disks by their names, read when a machine asks for them: what nobody asks for stays a fact."""

    def __init__(self, root: Node, option: str | None) -> None:
        self._properties = Properties(root, option)
        self._files = _by_id(root.all("References/File"), "id")
        self._disks = _by_id(root.all("DiskSection/Disk"), "diskId")
        root.skip("References/Info", "DiskSection/Info")

    def disk(self, name: str, asking: Node) -> VirtualDisk | None:
        """The disk of a `HostResource`; None, with a problem, where there is none."""
        node = self._find(name)
        if node is None:
            asking.refuse(f"{name[:80]!r} is no disk of the OVF's DiskSection", AGAIN)
            return None
        differs = node.value(".@parentRef") is not None
        if differs and not node.peek(".@volume-format"):  # oVirt's are assessed: an image is one of its chain's there
            fix = "Export the machine without snapshots, so that each disk is one whole file."
            node.refuse("the disk holds only what differs from another one", fix)
        reference = node.value(".@fileRef")
        of_ovirt = node.peek(".@volume-format") or node.peek(".@disk_storage_type")  # LUNs have no file there
        empty = "fileRef" not in node.attributes and not of_ovirt
        if reference is None and not empty and not of_ovirt:
            node.refuse("the disk's fileRef is empty: it says neither which file it is nor that it has none", AGAIN)
        shape, stream = _format(node)
        return VirtualDisk(
            id=node.value(".@diskId") or name,
            file=self.file(reference, node) if reference else None,
            empty=empty,
            differs=differs,
            boots=_is_set(node, "boot"),
            shareable=_is_set(node, "shareable"),
            readonly=_is_set(node, "read-only"),
            capacity=_capacity(node, self._properties),
            populated=_populated(node),
            format=shape,
            stream=stream,
            bus=node.value(".@disk-interface"),
        )

    def file(self, name: str, asking: Node) -> File | None:
        """A file by its id, or (oVirt's early form) by its place; None, with a problem, where there is none or where it
        lies elsewhere."""
        by_place = (node for node in self._files.values() if node.peek(".@href") == name)
        node = self._files.get(name) or next(by_place, None)
        if node is None:
            asking.refuse(f"{name[:80]!r} is no file of the OVF's References", AGAIN)
            return None
        return _file(node)

    def _find(self, name: str) -> Node | None:
        """`ovf:/disk/ID`, `/disk/ID`, the disk's id, or (oVirt) the name of its file."""
        tail = name.removeprefix("ovf:").removeprefix("/").removeprefix("disk/")
        files = {name, tail} - {""}
        by_file = (node for node in self._disks.values() if node.peek(".@fileRef") in files)
        return self._disks.get(tail) or next(by_file, None) or self._disks.get(tail.rpartition("/")[2])


def _by_id(nodes: list[Node], attribute: str) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for number, node in enumerate(nodes):
        name = node.peek(f".@{attribute}") or f"#{number}"
        node.label = name
        if name in found:
            node.refuse(f"{name[:80]!r} is there twice", AGAIN)
        found[name] = node
    return found


def _file(node: Node) -> File | None:
    node.skip(".@id")
    href = node.value(".@href") or ""
    compression = node.value(".@compression") or ""
    chunk, size = node.number(".@chunkSize"), node.number(".@size")
    if compression.lower() not in {"", "identity", "gzip"}:
        node.refuse(f"compression {compression[:40]!r} is not read; gzip is", "Export without compression.")
    if chunk is not None and (not chunk or size is None or size > chunk * MAX_CHUNKS):
        node.refuse(f"chunks of {chunk} bytes, of {size} in all, are none that can be read", AGAIN)
        chunk = None
    problem = href_problem(href)
    if problem:
        node.refuse(f"{href[:80]!r} {problem}", "Put the file beside the OVF, and name it there without a folder.")
        return None
    return File(node.peek(".@id") or "", href, size, compression.lower() == "gzip", chunk, f"{node.where}:{node.line}")


def href_problem(href: str) -> str | None:
    """Why a reference cannot be that of a file beside the OVF; None when it can."""
    if not href or "\0" in href:
        return "is no name of a file"
    try:
        if urlsplit(href).scheme or href.startswith("//"):
            return "lies on another host, or has a scheme: such files are not fetched"
    except ValueError:
        return "is no name of a file"
    for spelled in (href, unquote(href)):
        parts = PurePosixPath(spelled.replace("\\", "/")).parts
        if spelled.startswith(("/", "\\")) or ".." in parts or not parts:
            return "leaves the folder of the OVF"
    return None


def _capacity(node: Node, properties: Properties) -> int | None:
    """In bytes; a property's name stands for its default value (DSP0243 9.1). oVirt's `size` is in GiB."""
    amount, unit = node.value(".@capacity"), node.value(".@capacityAllocationUnits") or "byte"
    if node.peek(".@volume-format") and to_bytes(node.peek(".@size") or "", "GiB"):
        size = node.value(".@size")
        amount, unit = (size, "GiB") if amount is None else (amount, unit)
    if amount is None:
        return None
    if (name := _PROPERTY.fullmatch(amount)) is not None:
        amount = properties.default(name[1]) or amount
    found = to_bytes(amount, unit)
    if found is None:
        node.refuse(f"capacity {amount[:40]!r} {unit[:40]!r} is no amount of bytes", AGAIN)
    return found


def _is_set(node: Node, name: str) -> bool:
    """One of oVirt's switches."""
    return is_true(node.word(f".@{name}", {"true", "false"})) is True


def _populated(node: Node) -> int | None:
    told = node.number(".@populatedSize")
    if node.peek(".@volume-format") and (whole := to_bytes(node.peek(".@actual_size") or "", "GiB")) is not None:
        node.value(".@actual_size")
        return whole if told is None else told
    return told


def _format(node: Node) -> tuple[str | None, bool]:
    """The words that products have for the same formats; oVirt tells its own in another attribute."""
    told = (node.value(".@format") or "").lower()
    own = (node.value(".@volume-format") or "").lower()
    if own:
        return {"raw": "raw", "cow": "qcow2"}.get(own), False
    if "vmdk" in told:
        return "vmdk", told.endswith(("#streamoptimized", "#compressed"))
    found = next((name for sign, name in _SIGNS if sign in told), None)
    if found is None and told:
        node.seen.discard("@format")
    return found, False


_SIGNS = (
    ("qcow", "qcow2"),
    ("vhdx", "vhdx"),
    ("vhd", "vhd"),
    ("linkid=137171", "vhd"),
    ("bb676673", "vhd"),
    ("vdi", "vdi"),
    ("raw", "raw"),
)
