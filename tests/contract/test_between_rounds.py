"""What may come between two rounds, asked of each source that we have: the target ends as the source is, and less than
all of a disk is read only where the target has the very view since which the changes are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from converters.engine.disks import copy_disk
from converters.engine.transfer import Options
from kubeferry.errors import SourceRefused
from kubeferry.kinds import SOURCES
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.sources import Round
from tests.contract.changes import CHANGES, NEW_NAME, Change
from tests.contract.rounds import FORCE, LOOKED_AT, PIECE, contents, ids, no_words
from tests.contract.stands import EVEN, Stand, a_stand, named

WHAT = ("swap", "replace", "detach", "revert", "grow", "rename")


def cases(*what: str) -> list[Any]:
    return [
        pytest.param(kind, (one, change), marks=a_stand(kind).marks, id=f"{kind}-{one}-{how}".replace(" ", "-"))
        for kind, changes in sorted(CHANGES.items())
        for one in what
        for how, change in changes[one].items()
    ]


@pytest.fixture
def sizes() -> dict[str, int]:
    """All disks have one size."""
    return EVEN


@pytest.fixture
def move(stand: Stand, tmp_path: Path) -> Move:
    folder = tmp_path / "target"
    folder.mkdir()
    return Move(stand, named(stand.source, "on"), folder)


@dataclass
class Move:
    """A machine on its way into a folder. `planned` is the machine as it was when it was last planned, `written` what
    was written to which place of a disk, `views` what the disks held in the view of a marker.

    A target is asked for by its disk's id and size. What it has is that of the newest copy: changes since another view
    than that one's are of no use (`kubeferry.steps.transfer`).
    """

    stand: Stand
    planned: Machine
    folder: Path
    number: int = 0
    written: dict[str, dict[int, bytes]] = field(default_factory=lambda: {"vda": {}, "vdb": {}})
    roots: dict[Path, tuple[str, str]] = field(default_factory=dict)
    views: dict[str, dict[str, bytes]] = field(default_factory=dict)
    misled: bool = False
    refused: list[SourceRefused] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return self.stand.source.capabilities.runs

    @property
    def now(self) -> Machine:
        """The machine as the source has it, whatever it is called by now."""
        found = self.stand.source.discover().machines
        known = [one for one in found if one.id == self.planned.id]
        return (known or [one for one in found if one.name.endswith((NEW_NAME, "on"))])[0]

    def write(self, disk: str, offset: int, letter: bytes) -> None:
        self.stand.write(self.now, disk, offset, letter * PIECE)
        self.written[disk][offset] = letter

    def stop(self) -> None:
        if self.runs:
            self.stand.source.stop(self.planned, FORCE, no_words)

    def open(self, since: Marker | None, *, final: bool) -> Round:
        source = self.stand.source
        return source.open_round(self.planned, since=since, final=final, remote=False, ledger=lambda _thing: None)

    def round(self, since: Marker | None = None, *, final: bool = False) -> Round:
        """A round, copied and looked at."""
        opened = self._opened(since, final=final)
        self.number += 1
        held = contents(opened)
        for disk, told in ids(opened.machine).items():
            content, same = held[disk]
            before = self.views.get(since.token if since else "", {}).get(told)
            for start, end in same if not self.misled else ():
                assert before is not None, f"{disk}: the same as what?"
                assert content[start:end] == before[start:end], f"{disk} is not the same from {start} to {end}"
            self._copy(opened, told, since)
            with self._target(opened, told).open("rb") as copied:
                assert copied.read(len(content)) == content, f"{disk} is another one"
            for offset, letter in self.written[disk].items():
                assert content[offset : offset + PIECE] == letter * PIECE, f"{disk} at {offset}"
        if opened.marker is not None:
            views = {told: held[disk][0] for disk, told in ids(opened.machine).items()}
            self.views[opened.marker.token] = views
        self.stand.source.close_round(opened)
        return opened

    def _opened(self, since: Marker | None, *, final: bool) -> Round:
        """Where it is refused, the machine is planned anew."""
        try:
            return self.open(since, final=final)
        except SourceRefused as refused:
            self.refused.append(refused)
        self.planned = self.now
        return self.open(since, final=final)

    def _target(self, opened: Round, disk: str) -> Path:
        return self.folder / f"{disk}-{opened.refs[disk].size_bytes}.img"

    def _copy(self, opened: Round, disk: str, since: Marker | None) -> None:
        ref, path = opened.refs[disk], self._target(opened, disk)
        fresh = not path.exists()
        with path.open("ab") as file:
            file.truncate(ref.size_bytes)
        token, root = self.roots.get(path, ("", ""))
        target, fingerprint = DiskRef(uri=path.as_uri()), path.with_suffix(".kff")
        done = copy_disk(
            ref,
            target,
            fingerprint,
            copy_id=str(self.number),
            target_reads_zero=fresh,
            options=Options(since=root if since is not None and token == since.token else None),
        )
        assert path.stat().st_blocks * 512 <= LOOKED_AT, "there is more on it than is looked at"
        if done.stream_digest:
            opened.seen[disk] = done.stream_digest
        self.roots[path] = (opened.marker.token if opened.marker else "", done.root)

    def happens(self, what: str, change: Change, kept: dict[str, dict[int, bytes]] | None = None) -> None:
        change.make(self.stand, self.now)
        self.misled = change.misleads
        match what:
            case "swap":
                self.written = {"vda": self.written["vdb"], "vdb": self.written["vda"]}
            case "replace":
                self.written["vdb"] = {}
            case "revert":
                assert kept is not None
                self.written = kept

    def keep(self, change: Change) -> dict[str, dict[int, bytes]]:
        assert change.keep is not None
        change.keep(self.stand, self.now)
        return {disk: dict(places) for disk, places in self.written.items()}

    def first_round(self) -> Round:
        for disk, letter in (("vda", b"a"), ("vdb", b"b")):
            self.write(disk, 0, letter)
            self.write(disk, 16 * PIECE, letter)
        return self.round(final=not self.runs)

    def goes_on(self, first: Round, change: Change) -> None:
        """The next round, while it runs where that can be, and the last one."""
        since, source = self.since(first), self.stand.source
        if self.runs and source.capabilities.live_deltas:
            second = self.round(since)
            self._read_as_told(second, change)
            since = second.marker
            self.write("vda", 6 * PIECE, b"l")
        self.stop()
        last = self.round(since, final=True)
        if not source.capabilities.live_deltas:
            self._read_as_told(last, change)
        assert all(one.machine and one.fix for one in self.refused)
        source.forget(self.planned)

    def since(self, opened: Round) -> Marker | None:
        return opened.marker if self.stand.source.capabilities.warm else None

    def _read_as_told(self, opened: Round, change: Change) -> None:
        told = {disk for disk, one in ids(opened.machine).items() if opened.refs[one].changed is not None}
        assert not told & set(change.whole), "of these the target has another view"
        assert told >= set(change.told), "of these it has the very view"


def test_every_source_is_asked_for_everything() -> None:
    assert CHANGES.keys() == SOURCES.keys()
    assert {kind: tuple(changes) for kind, changes in CHANGES.items()} == dict.fromkeys(SOURCES, WHAT)


@pytest.mark.parametrize(("stand", "told"), cases(*(one for one in WHAT if one != "revert")), indirect=["stand"])
def test_the_rounds_after_it_are_right(move: Move, told: tuple[str, Change]) -> None:
    what, change = told
    first = move.first_round()
    move.write("vda", 3 * PIECE, b"c")
    move.happens(what, change)
    move.write("vdb", 5 * PIECE, b"d")
    move.goes_on(first, change)


@pytest.mark.parametrize("kept", ["before the first round", "after it", "after it, and copied once more since"])
@pytest.mark.parametrize(("stand", "told"), cases("revert"), indirect=["stand"])
def test_an_older_state_is_what_arrives(move: Move, told: tuple[str, Change], kept: str) -> None:
    """That of a time after the first round has all that is noted since then, and lacks what was copied later."""
    what, change = told
    move.write("vda", 2 * PIECE, b"o")
    older = move.keep(change) if kept.startswith("before") else None
    first = move.first_round()
    move.write("vda", 3 * PIECE, b"c")
    older = older or move.keep(change)
    move.write("vda", 4 * PIECE, b"n")
    move.write("vdb", 4 * PIECE, b"n")
    if kept.endswith("since") and move.runs and move.stand.source.capabilities.live_deltas:
        move.round(move.since(first))
    move.happens(what, change, older)
    move.write("vdb", 5 * PIECE, b"d")
    move.goes_on(first, change)


@pytest.mark.parametrize(("stand", "told"), cases("swap"), indirect=["stand"])
def test_of_disks_that_change_places_there_and_back_nothing_is_mixed_up(move: Move, told: tuple[str, Change]) -> None:
    """Refused, or told by what each disk of the round before had; there and back again it is as it was."""
    what, change = told
    first = move.first_round()
    for _ in range(2):
        move.happens(what, change)
        move.write("vda", 5 * PIECE, b"x")
        if move.stand.source.capabilities.live_deltas:
            move.round(move.since(first))
    move.stop()
    move.round(move.since(first), final=True)
    move.stand.source.forget(move.planned)
