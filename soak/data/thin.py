"""Storage that runs full under a copy, also when it writes back what it took long before, and is enlarged then: what it
lost is not believed to be there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from converters.engine.disks import copy_disk, parse_ref, repair_disk, verify_disk
from kubeferry.errors import KubeferryError
from kubeferry.outside import process
from soak import images, places
from soak.images import MIB
from soak.trial import Trial

SIZE = 32 * MIB


def run(given: Trial) -> None:
    r, folder = given.random, given.folder
    source = folder / "source"
    source.write_bytes(r.randbytes(SIZE))
    kind, held = r.choice(("full", "thin file system", "thin device")), r.random() < 0.5
    with places.little_room(folder / "store", r.randint(8, 28)) as store, _on(kind, store, folder) as (target, path):
        given.point(f"{kind}{', held open by somebody' if held and path.exists() else ''}")
        if kind != "thin device":
            images.empty(path, SIZE)
        with path.open("rb") if held else contextlib.nullcontext():
            _runs_full(given, source, target, folder / "target.kff")
            places.enlarge(store, 256)
            _copied_again(given, source, target, path)


def _runs_full(given: Trial, source: Path, target: str, kff: Path) -> None:
    try:
        copy_disk(parse_ref(str(source)), parse_ref(target), kff)
    except KubeferryError as error:
        given.in_words(error)
    else:
        given.hold("a full storage is told", False, "the copy said done")


def _copied_again(given: Trial, source: Path, target: str, path: Path) -> None:
    kff = given.folder / "target.kff"
    copy_disk(parse_ref(str(source)), parse_ref(target), kff)
    content = source.read_bytes()
    given.hold("the storage holds the source", images.on_storage(path, SIZE) == content)
    given.hold("a right target reads back right", not verify_disk(parse_ref(target), kff).differing)
    images.flipped(given.random, path, 2, SIZE)
    repair_disk(parse_ref(str(source)), parse_ref(target), kff)
    given.hold("a repair mends the storage", images.on_storage(path, SIZE) == content)


@contextlib.contextmanager
def _on(kind: str, store: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """A target on a store with little room: its reference and path."""
    if kind == "full":
        yield str(store / "target"), store / "target"
        return
    images.empty(store / "backing", 192 * MIB)
    with places.loop(store / "backing") as device:
        if kind == "thin device":
            yield f"block://{device}", device
            return
        process.run(["mkfs.ext4", "-q", "-N", "64", "-O", "^has_journal", str(device)])
        with places.mounted("ext4", str(device), folder / "mnt", "rw") as where:
            yield str(where / "target"), where / "target"
