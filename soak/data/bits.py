"""Bits of a finished target are flipped: a read-back names exactly their blocks, a repair mends them."""

from __future__ import annotations

from converters.engine.disks import copy_disk, repair_disk, verify_disk
from soak import images
from soak.trial import Trial


def run(given: Trial) -> None:
    r = given.random
    size = r.choice((1, 4097, 7 * images.MIB + 12345, r.randrange(1, 24 * images.MIB)))
    source = images.filled(r, given.folder / "source", size)
    target, kff = images.empty(given.folder / "target", size), given.folder / "target.kff"
    copy_disk(images.ref(source), images.ref(target), kff, target_reads_zero=True)
    for _ in range(3):
        flips = r.randint(1, 12)
        wanted = images.flipped(r, target, flips, size)
        for _ in range(flips):
            given.point("a bit is flipped")
        found = list(verify_disk(images.ref(target), kff).differing)
        given.hold("a read-back names the blocks that differ", found == wanted, f"{found} for {wanted}")
        repair_disk(images.ref(source), images.ref(target), kff)
        given.hold("a repair mends them", images.same(source, target, size))
