"""Whether images say of their chains what libvirt says: asked before a machine stops, since a copy reads no other.

libvirt tells the chain of a machine that is off only where its definition names it; else `chains` has followed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kubeferry.errors import KubeferryError, Problem
from kubeferry.images import qcow2
from kubeferry.model import DiskRef
from kubeferry.uris import local_path


def problems(refs: Mapping[str, DiskRef], read: qcow2.Read) -> Iterator[Problem]:
    """Images whose header names another file than the source does, or that no copy reads; `where` is the disk's id."""
    for disk, top in refs.items():
        ref: DiskRef | None = top
        while ref is not None:
            if ref.format == "qcow2" and (path := local_path(ref.uri)) is not None:
                below = local_path(ref.backing.uri) if ref.backing else None
                try:
                    qcow2.check(path, below, (ref.backing.format or "") if ref.backing else "", read=read)
                except KubeferryError as error:
                    yield Problem(disk, error.reason, error.fix)
            ref = ref.backing
