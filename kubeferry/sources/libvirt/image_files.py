"""Which file an image is, whatever it is called: its number in its file system, and when it was made there.

Notes of what changed lie in the image itself, under the name of the view. So images that change places between two
rounds, or come back from elsewhere, bring notes under that very name, which tell of another disk than the target's.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubeferry.model import DiskRef
from kubeferry.sources.libvirt.backup import DiskState, state_of
from kubeferry.sources.libvirt.hosts import Host
from kubeferry.uris import local_path

FACTS = ("%i", "%.9W", "%.9Y", "%s")
"""What `stat` tells of a file: its number, when it was made, when it was last written, its length."""
LASTING = 2  # so many of them stay while the file is written


def states(refs: Mapping[str, DiskRef], host: Host) -> dict[str, DiskState]:
    """What these disks are now, by id. An image below another one is written by nobody while it is one: it is known by
    all that is told of it. Raises what `Host.run` raises."""
    uris = {disk: [uri for _, uri in state_of(ref).images] for disk, ref in refs.items()}
    facts = _facts(sorted({uri for chain in uris.values() for uri in chain}), host)
    return {disk: state_of(ref, _files(uris[disk], facts)) for disk, ref in refs.items()}


def _files(chain: list[str], facts: Mapping[str, list[str]]) -> tuple[str, ...]:
    top, below = chain[0], chain[1:]
    return (" ".join(facts.get(top, [])[:LASTING]), *(" ".join(facts.get(uri, [])) for uri in below))


def _facts(uris: list[str], host: Host) -> dict[str, list[str]]:
    """By URI; none of any where one is not there. What a server has is no file, and never known."""
    paths = {uri: str(path) for uri in uris if (path := local_path(uri)) is not None}
    told = host.run(["stat", "--dereference", f"--printf={' '.join(FACTS)}\\n", "--", *paths.values()])
    lines = [line.split() for line in told.out.splitlines()] if told.code == 0 else []
    return dict(zip(paths, lines, strict=True)) if len(lines) == len(paths) else {}
