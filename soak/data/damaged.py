"""Headers and tables of VMDK and qcow2 images are damaged: refused in words and in time, or read as qemu-img reads
them, or as the disk was before: qemu-img takes a table that lies behind the end of a file for zeros."""

from __future__ import annotations

import random
import time
from pathlib import Path

from converters.engine.disks import copy_disk, disk_size, parse_ref
from kubeferry.errors import KubeferryError
from kubeferry.outside import process
from soak import images
from soak.images import MIB
from soak.trial import Trial

KINDS = ("monolithicSparse", "streamOptimized", "twoGbMaxExtentSparse", "qcow2", "qcow2")
LARGEST = 256 * MIB
SLOW_SECONDS = 10.0
BYTES = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF)


def run(given: Trial) -> None:
    r = given.random
    source = images.filled(r, given.folder / "source", r.choice((2, 4, 9)) * MIB)
    kind = r.choice(KINDS)
    shape = "qcow2" if kind == "qcow2" else "vmdk"
    options = [] if shape == "qcow2" else ["-o", f"subformat={kind}"]
    image = given.folder / f"image.{shape}"
    process.run(["qemu-img", "convert", "-f", "raw", "-O", shape, *options, str(source), str(image)])
    whole = image.read_bytes()
    for _ in range(5):
        given.point(f"a damaged {kind}")
        image.write_bytes(damaged(r, whole))
        _read(given, image, shape)


def damaged(r: random.Random, whole: bytes) -> bytes:
    """A few bytes or words of it are others, or its end is missing."""
    content = bytearray(whole)
    for _ in range(r.randint(1, 4)):
        zone = r.random()
        at = r.randrange(min(512 if zone < 0.5 else 65536 if zone < 0.8 else len(content), len(content)))
        how = r.random()
        if how < 0.5:
            content[at] = r.choice(BYTES) if r.random() < 0.5 else r.randrange(256)
        elif how < 0.9:
            sectors = len(content) // 512
            word = r.choice((0, 1, 2, 0xFFFFFFFF, 0x7FFFFFFF, r.randrange(1 << 32), sectors, max(0, sectors - 1)))
            content[at & ~3 : (at & ~3) + 4] = word.to_bytes(4, r.choice(("little", "big")))
        elif r.random() < 0.3:
            del content[r.randrange(1, len(content)) :]
    return bytes(content)


def _read(given: Trial, image: Path, shape: str) -> None:
    target, began = given.folder / "target", time.monotonic()
    try:
        source = parse_ref(str(image), format=shape)
        size = disk_size(source)
        if size > LARGEST:
            return
        images.empty(target, size)
        copy_disk(source, parse_ref(str(target)), given.folder / f"{began}.kff", target_reads_zero=True)
    except KubeferryError as error:
        given.in_words(error)
        return
    finally:
        took = time.monotonic() - began
        given.hold("a damaged image is told in time", took < SLOW_SECONDS, f"{took:.1f} s")
    other = given.folder / "by-qemu"
    argv = ["qemu-img", "convert", "-f", shape, "-O", "raw", str(image), str(other)]
    if process.run(argv, check=False, timeout=60).code == 0:
        read = target.read_bytes()
        right = read in (other.read_bytes(), (given.folder / "source").read_bytes())
        given.hold("a damaged image is read right", right, "qemu-img reads something else, and so was the disk")
