"""Repair: fetch from the source only the blocks of a target that differ from its fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from converters.endpoints import Endpoint
from converters.engine import digest
from converters.engine.buffers import Buffer
from converters.engine.fingerprint import Fingerprint
from converters.engine.marks import Marks
from converters.engine.transfer import Feed, Options, Pace, Watch
from kubeferry.errors import IntegrityFailed
from kubeferry.outside import stopping


def fetch(
    source: Endpoint,
    target: Endpoint,
    expected: Fingerprint,
    differing: Marks | Sequence[int],
    *,
    options: Options,
    watch: Watch,
) -> Marks:
    """Write the blocks `differing` from the source and flush. Returns those that the source no longer has.

    A block of the source that does not match the fingerprint is not written: it is newer than the copy. Raises
    IntegrityFailed when source and fingerprint are not of one size, Fenced before the next block is written.
    """
    head = expected.header
    if source.size != head.size:
        raise IntegrityFailed(
            f"the source has {source.size} bytes, the fingerprint speaks of {head.size}",
            why="the source was changed after it was copied",
            fix="Copy the disk again: only blocks that differ are written.",
        )
    buffer = Buffer(head.block)
    gone = Marks(expected.count)
    pace, feed = Pace(options.bandwidth), Feed(iter(()))
    for done, index in enumerate(differing):
        stopping.check()
        watch.still_ours()
        length = expected.length_of(index)
        pace.spend(length, feed)
        view = buffer.view[:length]
        source.read_into(index * head.block, view)
        if digest.digest(head.algorithm, view) != expected.at(index):
            gone.add([index])
        else:
            target.write(index * head.block, view)
        watch.progress("repairing", done * head.block, len(differing) * head.block)
    target.flush()
    watch.still_ours()
    return gone
