"""Block devices that were used before, of 512 and 4096 byte sectors, and disks of odd sizes on them: the source in its
range, and what was there before behind its end."""

from __future__ import annotations

from converters.engine.disks import copy_disk, parse_ref, verify_disk
from converters.engine.transfer import Options
from soak import images, places
from soak.images import MIB
from soak.trial import Trial


def run(given: Trial) -> None:
    r, folder = given.random, given.folder
    sector, whole = r.choice((512, 4096)), r.choice((8, 16)) * MIB
    size = r.choice((whole, whole - 1, whole - 511, whole - 4096, r.randrange(1, whole), 5 * MIB + 513))
    (folder / "backing").write_bytes(r.randbytes(whole))
    source = images.filled(r, folder / "source", size)
    given.say(f"{size} bytes on {whole} in sectors of {sector}")
    with places.loop(folder / "backing", sector) as device:
        behind = images.sum_of(device, size)
        given.point("a device that was used before")
        target, kff = parse_ref(f"block://{device}"), folder / "device.kff"
        copy_disk(images.ref(source), target, kff, options=Options(workers=r.choice((1, 2, 4))))
        given.hold("the device is the source in its range", images.same(source, device, size))
        given.hold("what lies behind stays", images.sum_of(device, size) == behind)
        given.hold("a right target reads back right", not verify_disk(target, kff).differing)
