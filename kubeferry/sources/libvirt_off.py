"""What views of a running machine leave in its images: read for the last round, and taken out again.

libvirt drops a checkpoint of a machine that is off only from its own books; the bitmap stays in the image. `qemu-img`
takes it out then: only those with our names, only while nobody uses the image, and nothing of what the guest sees.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

import libvirt

from kubeferry.errors import KubeferryError, SourceUnavailable
from kubeferry.images import bitmaps
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.sources.libvirt_backup import NAME, state_of, states_of
from kubeferry.sources.libvirt_hosts import Host
from kubeferry.sources.libvirt_live import checkpoints, states_since
from kubeferry.uris import local_path


def told(domain: libvirt.virDomain, refs: dict[str, DiskRef], since: Marker | None, host: Host) -> dict[str, DiskRef]:
    """The references to the disks of a machine that is off, with the bitmap of what changed where there is a sound one
    and the disk is still the one that it was made for."""
    known = states_since(domain, since)
    if since is None:
        return refs
    return {
        disk: _with_bitmap(ref, since.token, host) if known.get(disk) == state_of(ref) else ref
        for disk, ref in refs.items()
    }


def _with_bitmap(ref: DiskRef, name: str, host: Host) -> DiskRef:
    chain = [local_path(uri) for uri in state_of(ref).images]
    paths = [path for path in chain if path is not None]
    if ref.format != "qcow2" or len(paths) != len(chain) or not bitmaps.is_sound(paths, name, host.read):
        return ref
    return ref.model_copy(update={"changed": f"{bitmaps.CONTEXT}{name}"})


def forget(domain: libvirt.virDomain, machine: Machine, current: Machine, host: Host) -> list[str]:
    """Our checkpoints and bitmaps of a machine that is off are gone; returns what was dropped."""
    images = images_of(machine, current)
    for one in checkpoints(domain):
        states = states_of(one.getXMLDesc(libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN))
        images += [uri for state in states.values() for uri in state.images]
    dropped = take_out(images, machine, host)
    for one in checkpoints(domain):
        dropped.append(f"checkpoint {one.getName()}")
        with contextlib.suppress(libvirt.libvirtError):  # gone meanwhile: it shows in the next look
            one.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    return dropped


def take_out(images: Iterable[str], machine: Machine, host: Host) -> list[str]:
    """No bitmap of ours is in these images any more; returns what was taken out. Raises SourceUnavailable where an
    image is in use."""
    found = ours_in(images, host)
    for path, name in found:
        _remove(path, name, machine, host)
    return [f"bitmap {name} of {path}" for path, name in found]


def ours_in(images: Iterable[str], host: Host) -> list[tuple[Path, str]]:
    """The bitmaps of ours in these images; an image that cannot be read has none that we could take out."""
    found = []
    for path in sorted({path for uri in images if (path := local_path(uri)) is not None}):
        with contextlib.suppress(KubeferryError):
            found += [(path, bitmap.name) for bitmap in bitmaps.read(path, host.read) if NAME.fullmatch(bitmap.name)]
    return found


def images_of(*machines: Machine) -> list[str]:
    """Every qcow2 image that these say of their data disks."""
    disks = [disk for machine in machines for disk in machine.data_disks if disk.format == "qcow2"]
    return [disk.uri or "" for disk in disks] + [link.uri for disk in disks for link in disk.chain or ()]


def _remove(path: Path, name: str, machine: Machine, host: Host) -> None:
    node = {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, "backing": None}
    done = host.run(["qemu-img", "bitmap", "--remove", f"json:{json.dumps(node)}", name])
    if done.code:
        raise SourceUnavailable(
            f"the bitmap {name} cannot be taken out of {path}",
            why=done.err.strip(),
            fix="If it says that a lock cannot be had, something uses the image: run this again after that.",
            machine=machine.name,
        )
