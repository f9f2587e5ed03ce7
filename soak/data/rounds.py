"""Rounds that are left unfinished and gone on from, of a source that records writes (libvirt) and of one that compares
views (EBS), where "the same" may have been another in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from converters.engine.disks import copy_disk, verify_disk
from converters.engine.transfer import Options, Watch
from kubeferry.ranges import range_set
from soak import images
from soak.data.engine import Breaking, Broken
from soak.images import MIB
from soak.trial import Trial

PIECE = 65536


@dataclass
class Disk:
    """A disk whose states are kept: number by number, with what was written before each."""

    given: Trial
    recorded: bool
    now: bytearray
    views: list[tuple[bytes, list[tuple[int, int]]]] = field(default_factory=list)

    def goes_on(self) -> int:
        """The guest writes, also back what was there once; returns the number of the view that is taken then."""
        r, written = self.given.random, []
        for _ in range(r.randint(1, 8)):
            start = r.randrange(len(self.now))
            stop = min(start + r.choice((1, 512, PIECE, MIB)), len(self.now))
            if self.views and r.random() < 0.3:
                self.now[start:stop] = r.choice(self.views)[0][start:stop]
            else:
                self.now[start:stop] = r.randbytes(stop - start) if r.random() < 0.7 else bytes(stop - start)
            written.append((start, stop))
        self.views.append((bytes(self.now), written))
        return len(self.views) - 1

    def changed(self, since: int, view: int) -> list[tuple[int, int]]:
        """What the source says of two views."""
        if self.recorded:
            return [one for number in range(since + 1, view + 1) for one in self.views[number][1]]
        old, new, size = self.views[since][0], self.views[view][0], len(self.now)
        pieces = ((at, min(at + PIECE, size)) for at in range(0, size, PIECE))
        return [(start, stop) for start, stop in pieces if old[start:stop] != new[start:stop]]


@dataclass
class Rounds:
    """What the plan knows of its rounds: the last whole one with its root, and one that was left."""

    whole: tuple[int, str] | None = None
    left: int | None = None

    def since(self) -> tuple[int | None, str | None]:
        """The view to ask for what changed since, and the root that the target has of it."""
        if self.left is None:
            return self.whole or (None, None)
        return self.left, self.whole[1] if self.whole is not None and self.whole[0] == self.left else None


def run(given: Trial) -> None:
    r = given.random
    size = r.choice((3 * MIB, 7 * MIB + 513, 12 * MIB))
    disk = Disk(given, r.random() < 0.5, bytearray(size))
    target, rounds = images.empty(given.folder / "target", size), Rounds()
    given.say(f"{size} bytes, {'writes recorded' if disk.recorded else 'views compared'}")
    for _ in range(r.randint(2, 7)):
        _one(given, disk, rounds, target)


def _one(given: Trial, disk: Disk, rounds: Rounds, target: Path) -> None:
    r, view = given.random, disk.goes_on()
    since, root = rounds.since()
    options = Options(
        workers=r.choice((1, 2)),
        checkpoint_seconds=0,
        since=root,
        since_copy=None if since is None else f"c{since}",
        bandwidth=r.choice((None, 60 << 20)),
    )
    source = given.folder / "source"
    source.write_bytes(disk.views[view][0])
    changed = None if since is None else range_set(disk.changed(since, view))
    ref = images.ref(source).model_copy(update={"changed": changed})
    for _ in range(r.randint(1, 3)):
        watch: Watch = Breaking(r.choice((0, 1, 2, 99)))
        try:
            done = copy_disk(
                ref,
                images.ref(target),
                given.folder / "target.kff",
                copy_id=f"c{view}",
                target_reads_zero=True,
                options=options,
                watch=watch,
            )
        except Broken:
            given.point("a round is broken off")
            continue
        rounds.whole, rounds.left = (view, done.root), None
        given.say(f"round {view} has ended")
        given.hold("the target is the view", target.read_bytes() == disk.views[view][0], f"round {view}")
        found = verify_disk(
            images.ref(target), given.folder / "target.kff", options=Options(all_blocks=r.random() < 0.5)
        )
        given.hold("a right target reads back right", not found.differing)
        return
    given.point("a round is left")
    rounds.left = view
