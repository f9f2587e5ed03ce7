"""What views of a running machine leave in its images: read for the last round, and taken out again.

libvirt drops a checkpoint of a machine that is off only from its own books; the bitmap stays in the image. `qemu-img`
takes it out then: only those with our names, only while nobody uses the image, and nothing of what the guest sees.
"""

from __future__ import annotations

import contextlib
import json

import libvirt

from kubeferry.errors import KubeferryError, SourceUnavailable
from kubeferry.images import bitmaps, qcow2
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.sources.libvirt import image_files
from kubeferry.sources.libvirt.backup import NAME, state_of, states_of
from kubeferry.sources.libvirt.hosts import Host
from kubeferry.sources.libvirt.live import checkpoints, states_since
from kubeferry.uris import local_path


def told(domain: libvirt.virDomain, refs: dict[str, DiskRef], since: Marker | None, host: Host) -> dict[str, DiskRef]:
    """The references to the disks of a machine that is off, with the bitmap of what changed where there is a sound one
    and the disk is still the one that it was made for."""
    known = states_since(domain, since)
    if since is None or not known:
        return refs
    now = image_files.states(refs, host)
    return {
        disk: _with_bitmap(ref, since.token, host) if now[disk].is_still(known.get(disk)) else ref
        for disk, ref in refs.items()
    }


def _with_bitmap(ref: DiskRef, name: str, host: Host) -> DiskRef:
    chain = [local_path(uri) for _, uri in state_of(ref).images]
    paths = [path for path in chain if path is not None]
    if ref.format != "qcow2" or len(paths) != len(chain) or not bitmaps.is_sound(paths, name, host.read):
        return ref
    return ref.model_copy(update={"changed": f"{bitmaps.CONTEXT}{name}"})


def forget(domain: libvirt.virDomain, machine: Machine, current: Machine, host: Host) -> list[str]:
    """Our checkpoints and bitmaps of a machine that is off are gone; returns what was dropped."""
    found = checkpoints(domain)
    states = [states_of(one.getXMLDesc(libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN)) for one in found]
    noted = {uri for told in states for state in told.values() for form, uri in state.images if form == "qcow2"}
    dropped = take_out(images_of(machine, current) | (noted - raw_of(machine, current)), machine, host)
    for one in found:
        dropped.append(f"checkpoint {one.getName()}")
        with contextlib.suppress(libvirt.libvirtError):  # gone meanwhile: it shows in the next look
            one.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    return dropped


def take_out(images: set[str], machine: Machine, host: Host) -> list[str]:
    """No bitmap of ours is in these qcow2 images any more; returns what was taken out. Raises SourceUnavailable where
    an image is in use."""
    found = [(uri, name) for uri in sorted(images) for name in _ours_in(uri, host)]
    for uri, name in found:
        _remove(uri, name, machine, host)
    return [f"bitmap {name} of {local_path(uri)}" for uri, name in found]


def images_of(*machines: Machine) -> set[str]:
    """Every image that these say is qcow2. A raw one may hold anything, a qcow2 header too: it is never looked at."""
    return {uri for uri, form in _declared(*machines) if form == "qcow2"} - raw_of(*machines)


def raw_of(*machines: Machine) -> set[str]:
    """Every image that one of these says is something else than qcow2."""
    return {uri for uri, form in _declared(*machines) if form != "qcow2"}


def _declared(*machines: Machine) -> list[tuple[str, str | None]]:
    disks = [disk for machine in machines for disk in machine.data_disks]
    links = [link for disk in disks for link in disk.chain or ()]
    return [*((disk.uri or "", disk.format) for disk in disks), *((link.uri, link.format) for link in links)]


def _ours_in(uri: str, host: Host) -> list[str]:
    """The bitmaps of ours in an image; one that cannot be read, or that names other files, has none to take out."""
    path = local_path(uri)
    if path is None:
        return []
    with contextlib.suppress(KubeferryError, ValueError):
        header = qcow2.parse(host.read(path, 0, qcow2.READ_BYTES))
        if header.features & qcow2.EXTERNAL_DATA or header.data_file or header.encrypted:
            return []
        return [bitmap.name for bitmap in bitmaps.read(path, host.read) if NAME.fullmatch(bitmap.name)]
    return []


def _remove(uri: str, name: str, machine: Machine, host: Host) -> None:
    path, driver = local_path(uri), "host_device" if uri.startswith("block:") else "file"
    node = {"driver": "qcow2", "file": {"driver": driver, "filename": str(path)}, "backing": None}
    done = host.run(["qemu-img", "bitmap", "--remove", f"json:{json.dumps(node)}", name])
    if done.code:
        raise SourceUnavailable(
            f"the bitmap {name} cannot be taken out of {path}",
            why=done.err.strip(),
            fix="If it says that a lock cannot be had, something uses the image: run this again after that.",
            machine=machine.name,
        )
