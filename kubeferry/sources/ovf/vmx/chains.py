"""What a VMDK beside a VMX says of itself without its data: what lies below it, its size, what a guest sees of it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from kubeferry.images.vmdk import descriptor, header
from kubeferry.images.vmdk.descriptor import Descriptor
from kubeferry.images.vmdk.header import SECTOR_BYTES
from kubeferry.model import ChainLink
from kubeferry.sources.ovf.vmx.disks import Found

MOST_LINKS = 255  # a chain has at most 32; one that leads in a circle has no end
_UUID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MAPPED = ("vmfsrawdevicemap", "vmfspassthroughrawdevicemap", "fulldevice", "partitioneddevice")


def looked_at(path: Path, uri: str) -> Found:
    """A disk at this URI by what its file says. Of one that cannot be read nothing is known: that is told where its
    header is held against it."""
    told = _descriptor(path)
    if told is None:
        return Found(uri)
    chain = tuple(_below(path, told))
    return Found(
        uri,
        chain=chain,
        size=told.sectors * SECTOR_BYTES if chain else None,
        uuid=_uuid(told.fields.get("ddb.uuid", "")),
        is_lun=told.create_type.lower().startswith(_MAPPED),
    )


def _uuid(told: str) -> str | None:
    """`60 00 C2 9f …-…` as a guest sees it; None for anything else."""
    digits = "".join(told.replace("-", "").split()).lower()
    return digits if _UUID.fullmatch(digits) else None


def _below(path: Path, told: Descriptor | None) -> list[ChainLink]:
    """What lies below an image, nearest first, as the images name it; as far as they stand in its folder."""
    links: list[ChainLink] = []
    while told is not None and told.has_parent and len(links) < MOST_LINKS:
        name = PurePosixPath(told.fields.get("parentFileNameHint", "").replace("\\", "/")).name
        links.append(ChainLink(uri=f"file:{quote(name, errors='surrogateescape')}", format="vmdk"))
        below = path.parent / name
        told = _descriptor(below) if name and below.is_file() else None
    return links


def _descriptor(path: Path) -> Descriptor | None:
    """The text that describes an image: a file of its own, or inside a sparse one."""
    try:
        with path.open("rb") as file:
            head = file.read(descriptor.LIMIT_BYTES)
            if descriptor.is_descriptor(head):
                return descriptor.parse(head)
            found = header.parse(head)
            file.seek(found.descriptor * SECTOR_BYTES)
            return descriptor.parse(file.read(found.descriptor_size * SECTOR_BYTES)) if found.descriptor_size else None
    except (OSError, ValueError):
        return None
