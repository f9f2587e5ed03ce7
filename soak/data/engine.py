"""Copies of random disks onto fresh and recycled targets, broken off and gone on with, then rounds of what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from converters.engine.disks import Outcome, copy_disk, verify_disk
from converters.engine.transfer import Options, Watch
from kubeferry.ranges import range_set
from soak import images
from soak.trial import Trial


class Broken(Exception):
    """A copy is broken off here."""


class Breaking(Watch):
    """Breaks a copy off at the nth look, without a word to anybody."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def progress(self, phase: str, done: int, total: int | None) -> None:  # noqa: ARG002 (the seam's)
        if phase == "copying":
            self._left -= 1
            if self._left < 0:
                raise Broken


def run(given: Trial) -> None:
    r = given.random
    size = images.a_size(r, 16 * images.MIB)
    source = images.filled(r, given.folder / "source", size)
    target, zeros = _target(given, size)
    options = Options(workers=r.choice((1, 2, 3)), checkpoint_seconds=0, bandwidth=r.choice((None, None, 40 << 20)))
    given.say(f"{size} bytes, {options.workers} workers, target reads zero: {zeros}")
    copied = _copied(given, source, target, options, zeros=zeros)
    _right(given, source, target, Options())
    for number in range(r.randint(0, 3) if size else 0):
        given.point("a round of what changed")
        changed = images.written_to(r, source, r.randint(0, 6))
        since = replace(options, since=copied.root, bandwidth=None)
        copied = _copied(given, source, target, since, zeros=zeros, changed=changed, name=str(number + 1))
        _right(given, source, target, Options(all_blocks=False))
    fresh = images.empty(given.folder / "fresh", size)
    whole = copy_disk(images.ref(source), images.ref(fresh), given.folder / "fresh.kff", target_reads_zero=True)
    given.hold("the root is that of a whole copy", whole.root == copied.root)


def _target(given: Trial, size: int) -> tuple[Path, bool]:
    path = given.folder / "target"
    length = size + given.random.choice((0, 0, 0, 1, 512, images.MIB))
    if given.random.random() < 0.5:
        given.point("a target that was used before")
        return images.filled(given.random, path, length), False
    return images.empty(path, length), given.random.random() < 0.7


def _copied(
    given: Trial,
    source: Path,
    target: Path,
    options: Options,
    *,
    zeros: bool,
    changed: list[tuple[int, int]] | None = None,
    name: str = "",
) -> Outcome:
    """One copy to its end; before, it is broken off up to twice."""
    ref = images.ref(source)
    if changed is not None:
        ref = ref.model_copy(update={"changed": range_set(changed)})
    looks = [given.random.randint(0, 3) for _ in range(given.random.randint(0, 2))]
    for watch in (*(Breaking(many) for many in looks), Watch()):
        try:
            return copy_disk(
                ref,
                images.ref(target),
                given.folder / "target.kff",
                copy_id=name,
                target_reads_zero=zeros,
                options=options,
                watch=watch,
            )
        except Broken:
            given.point("a copy is broken off")
    raise AssertionError


def _right(given: Trial, source: Path, target: Path, options: Options) -> None:
    given.hold("the target is the source", images.same(source, target, source.stat().st_size))
    found = verify_disk(images.ref(target), given.folder / "target.kff", options=options)
    given.hold("a right target reads back right", not found.differing, f"{list(found.differing)[:4]}")
