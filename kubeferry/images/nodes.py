"""A disk's chain in QEMU's words, checked first; and the confinement of the program that reads it."""

from __future__ import annotations

import functools
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem, SourceRefused
from kubeferry.images import qcow2, vhd
from kubeferry.images.bitmaps import CONTEXT
from kubeferry.uris import Part, local_path, packed
from kubeferry.values import DiskRef

FORMATS = frozenset({"qcow2", "vhd"})  # those that QEMU must read for us; raw disks need nobody
SECTOR_BYTES = 512
NAME_LIMIT = 1023
DRIVERS = {"vhd": "vpc"}
CHAIN_LIMIT = 200  # QEMU itself becomes slow long before
CAP_SETPCAP, CAP_SYS_ADMIN = 8, 21
SERVER_ENV = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""For a qemu-nbd: it allocates a buffer a request, and glibc would map and clear fresh pages for each of a megabyte,
which costs more than all the rest of serving it (`make bench` shows the copy of a qcow2)."""


def chain_of(ref: DiskRef) -> list[DiskRef]:
    """The top image first. Raises SourceRefused for a chain that is too long or has formats that are not read."""
    chain: list[DiskRef] = []
    link: DiskRef | None = ref
    while link is not None:
        if len(chain) == CHAIN_LIMIT:
            fix = "Commit or pull some of its snapshots at the source first."
            raise SourceRefused(f"{ref.uri} has a chain of more than {CHAIN_LIMIT} images", fix=fix)
        alone = link.format == "vhd" and chain
        if link.format not in FORMATS | {"raw"} or alone or (link.format != "qcow2" and link.backing is not None):
            why = f"{link.uri} has the format {link.format!r}" + (" and a backing file" if link.backing else "")
            fix = "Chains of qcow2 on qcow2 or raw are read; convert the disk with `qemu-img convert` first."
            raise SourceRefused(f"{ref.uri} has a chain that cannot be read", why=why, fix=fix)
        chain.append(link)
        link = link.backing
    return chain


def bitmap_of(ref: DiskRef) -> str | None:
    """The dirty bitmap that tells what changed, None where nothing tells it. Raises InputInvalid for other words."""
    if ref.changed is None:
        return None
    name = ref.changed.removeprefix(CONTEXT)
    if name == ref.changed or not name or len(name) > NAME_LIMIT or "\0" in name:
        raise InputInvalid(
            "a disk cannot be opened",
            [Problem(ref.uri, f"{ref.changed[:80]!r} is no dirty bitmap of an image", f"Write {CONTEXT}NAME.")],
        )
    return name


def check(ref: DiskRef, read: qcow2.Read = qcow2.read_piece) -> None:
    """Read the header of every image in the chain before QEMU does, with `read` if they are not of this host.

    Raises HostileImage, SourceRefused.
    """
    for link in chain_of(ref):
        path, part = path_of(link.uri), part_of(link.uri)
        inside = read if part is None else functools.partial(_read_part, read, part)
        if link.format == "vhd":
            vhd.check(path, part.length if part else path.stat().st_size, inside)
        elif link.format != "qcow2":
            inside(path, 0, qcow2.READ_BYTES)
        else:
            below = link.backing
            qcow2.check(path, path_of(below.uri) if below else None, below.format if below else "", read=inside)


def _read_part(read: qcow2.Read, part: Part, path: Path, offset: int, length: int) -> bytes:
    """Bytes of an image that is a part of a file, fewer at its end."""
    return read(path, part.offset + offset, max(0, min(length, part.length - offset)))


def block_options(ref: DiskRef) -> dict[str, object]:
    """The chain in QEMU's words: every driver explicit, the end of the chain explicit."""
    protocol = "host_device" if ref.uri.startswith("block:") else "file"
    file: dict[str, object] = {"driver": protocol, "filename": str(path_of(ref.uri)), "read-only": True}
    part = part_of(ref.uri)
    if part is not None and (part.offset or part.length % SECTOR_BYTES == 0):
        # Up to the end of its last sector: an archive fills it with zeros.
        size = -(-part.length // SECTOR_BYTES) * SECTOR_BYTES
        file = {"driver": "raw", "read-only": True, "offset": part.offset, "size": size, "file": file}
    node: dict[str, object] = {"driver": DRIVERS.get(ref.format, ref.format), "read-only": True, "file": file}
    if ref.format == "qcow2":
        node["backing"] = block_options(ref.backing) if ref.backing else None
    if ref.format == "vhd":
        node["force_size_calc"] = "current_size"  # not what cylinders make of it, which may be less
    return node


def confinement(*, writes: bool = False, network: bool = False) -> list[str]:
    """What to put before a program that reads hostile input: no new privileges, root only to read, or to write files of
    others too; and no network, but for a disk that a server has."""
    held = _capabilities()
    prefix = ["unshare", "--net", "--"] if held & 1 << CAP_SYS_ADMIN and not network else []
    prefix += ["setpriv", "--no-new-privs"]
    if held & 1 << CAP_SETPCAP:
        prefix += [f"--bounding-set=-all,+dac_{'override' if writes else 'read_search'}", "--inh-caps=-all"]
    return [*prefix, "--"]


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return int(held[0], 16) if held else 0


def part_of(uri: str) -> Part | None:
    """The part of a local file that an image is; None for one that is a whole file or device."""
    found = packed(uri)
    if found is None:
        return None
    if not found.as_it_is:
        fix = "Unpack it beside the OVF as one file, and write its name into the OVF."
        raise SourceRefused(f"{found.parts[0].path} is packed, or in chunks: no image is read from that", fix=fix)
    return found.parts[0]


def path_of(uri: str) -> Path:
    """The path of an image of this host, or of the host that it is read on. Raises InputInvalid."""
    part = part_of(uri)
    path = part.path if part else local_path(uri)
    if path is None:
        fix = "Write it as file:///full/path, special characters as %XX."
        raise InputInvalid("a disk cannot be opened", [Problem(uri, "not a local path as a URI", fix)])
    return path
