"""What lies below the images of a machine that is off, where its definition does not say: followed as libvirt follows
it at a start, from header to header.

libvirt knows the chain of a disk that runs, and of one that is off only what `<backingStore>` names. Each header is
taken apart by us, and nothing that it names is opened by anybody before it, too, was looked at. Formats are what the
image above says, and never guessed: one that says none ends the search.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from urllib.parse import quote

from kubeferry.errors import KubeferryError
from kubeferry.images import qcow2
from kubeferry.images.nodes import CHAIN_LIMIT
from kubeferry.model import ChainLink, Disk, Machine, SourceFact
from kubeferry.sources.disks.local_disks import BROKEN_CHAIN, UNSEEN_CHAIN
from kubeferry.sources.libvirt.hosts import Host, is_missing
from kubeferry.uris import local_path


class Broken(Exception):
    """A chain that ends where nothing says that it ends; in words, why."""


class Unseen(Exception):
    """An image that is there and was not to be read; in words, why."""


def followed(machine: Machine, host: Host) -> Machine:
    """The machine with the chains of its qcow2 disks. One that cannot be followed stays unknown, and a fact of the
    machine says why. Raises SourceUnavailable."""
    if not any(map(_is_untold, machine.data_disks)) or not host.is_reached():
        return machine
    disks, facts = list(machine.disks), list(machine.unmodelled)
    begun = {fact.path.partition("/backingStore")[0] for fact in facts if "/backingStore" in fact.path}
    for index, disk in enumerate(disks):
        if disk not in machine.data_disks or not _is_untold(disk):
            continue
        try:
            links = _links(disk, host, begun=f"devices/disk[{disk.id}]" in begun)
            disks[index] = disk.model_copy(update={"chain": tuple(links)})
        except (Broken, Unseen) as why:
            kind = BROKEN_CHAIN if isinstance(why, Broken) else UNSEEN_CHAIN
            facts.append(SourceFact(path=kind.format(disk.id), value=_as_text(why)))
    return machine.model_copy(update={"disks": tuple(disks), "unmodelled": tuple(facts)})


def _is_untold(disk: Disk) -> bool:
    return disk.chain is None and disk.format == "qcow2" and local_path(disk.uri or "") is not None


def _links(disk: Disk, host: Host, *, begun: bool) -> list[ChainLink]:
    """What lies below a disk's image, nearest first; `begun` in the definition, which is then to end it, too. Raises
    Broken, Unseen."""
    if begun:
        raise Broken("its <backingStore> does not say where the chain ends")
    links: list[ChainLink] = []
    image: tuple[str, str] | None = (str(local_path(disk.uri or "")), "qcow2")
    seen: set[str] = set()
    while image is not None and image[1] == "qcow2":
        name = posixpath.normpath(image[0])
        if name in seen or len(seen) == CHAIN_LIMIT:
            raise Broken(f"it goes round in a circle at {name}, or has more than {CHAIN_LIMIT} images")
        seen.add(name)
        image = below(image[0], _head(Path(image[0]), host))
        if image is not None:
            links.append(ChainLink(uri=_uri(image[0], host), format=image[1]))
    return links


def _head(path: Path, host: Host) -> bytes:
    try:
        return host.read(path, 0, qcow2.READ_BYTES)
    except KubeferryError as error:
        if error.transient:
            raise
        if is_missing(path, host):
            raise Broken(f"{path} is not there") from error
        raise Unseen(f"{error.reason}: {error.why}") from error


def _uri(name: str, host: Host) -> str:
    """As libvirt calls an image of its hypervisor: the device that it is, else a file."""
    device = host.run(["test", "-b", name]).code == 0
    if not device and is_missing(Path(name), host):
        raise Broken(f"{name}, which it lies on, is not there")
    return f"{'block' if device else 'file'}://{quote(os.fsencode(name))}"


# --- pure ------------------------------------------------------------------------------------------------------------


def below(name: str, head: bytes) -> tuple[str, str] | None:
    """Path and format of the image that one lies on, by its first bytes; None where it lies on none. Raises Broken for
    a header that is not accepted, and one that names no file, or no format."""
    try:
        header = qcow2.accepted(Path(name), head)
    except KubeferryError as error:
        raise Broken(f"{error.reason}: {error.why}" if error.why else error.reason) from error
    if not header.backing:
        return None
    if qcow2.PROTOCOL.match(header.backing):
        raise Broken(f"{name} lies on {header.backing!r}, which is not named as a file or device")
    if not header.backing_format:
        raise Broken(f"{name} does not say which format {header.backing!r} has, which it lies on")
    # Put together as libvirt does it: a chain that it told while the machine ran must read the same.
    return posixpath.join(posixpath.dirname(name), header.backing), header.backing_format


def _as_text(why: Exception) -> str:
    """In words that can be written down, whatever bytes a name has."""
    return str(why).encode(errors="replace").decode()
