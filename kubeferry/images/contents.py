"""All bytes of a small qcow2 image, read by us: firmware's variables, not a disk. Pure.

Only what such an image holds is read: plain clusters of a whole image. One that is compressed, encrypted, or names
another file is refused. No number in it is used before it was checked.
"""

from __future__ import annotations

import struct

from kubeferry.images import qcow2
from kubeferry.images.clusters import COMPRESSED, ENTRY_BYTES, PLACE, ZEROS


def contents(image: bytes, most: int) -> bytes:
    """The disk that the image is, of at most so many bytes. Raises ValueError with the reason for a person."""
    head = qcow2.parse(image[: qcow2.READ_BYTES])
    unread = qcow2.EXTERNAL_DATA | qcow2.CORRUPT | qcow2.COMPRESSION | qcow2.EXTENDED_L2
    if head.encrypted or head.backing or head.data_file or head.features & unread:
        raise ValueError("it is encrypted, damaged, or not whole by itself")
    if head.size > most:
        raise ValueError(f"it claims {head.size} bytes")
    cluster = 1 << head.cluster_bits
    found = bytearray(head.size)
    for at in range(0, head.size, cluster):
        found[at : at + cluster] = _cluster(image, head.l1_at, at, cluster)[: head.size - at]
    return bytes(found)


def _cluster(image: bytes, level_1: int, at: int, cluster: int) -> bytes:
    """One cluster; zeros where the image has none."""
    upper, lower = divmod(at // cluster, cluster // ENTRY_BYTES)
    table = _entry(image, level_1 + ENTRY_BYTES * upper) & PLACE
    entry = _entry(image, table + ENTRY_BYTES * lower) if table else 0
    if entry & COMPRESSED:
        raise ValueError("it is compressed")
    where = entry & PLACE
    if not where or entry & ZEROS:
        return bytes(cluster)
    if where + cluster > len(image):
        raise ValueError(f"it has bytes at {where}, behind its end")
    return image[where : where + cluster]


def _entry(image: bytes, at: int) -> int:
    if at + ENTRY_BYTES > len(image):
        raise ValueError(f"it has a table at {at}, behind its end")
    entry: int = struct.unpack_from(">Q", image, at)[0]
    return entry
