"""Rounds of a machine that runs on: how many, what each starts from, and that nothing of a lost one is believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Policy, Probe, WarmPolicy
from kubeferry.errors import IntegrityFailed, Interrupted, ProbeFailed, SourceUnavailable
from kubeferry.ledger import VIEW
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.events import CopyBegun, DiskCopied, Note, RoundLeft, Synced
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps.drive import drive
from kubeferry.steps.release import settle

A = ActionKind
MIB = 1 << 20
WARM = Policy(mode="warm", probes=(Probe(kind="agent"),), warm=WarmPolicy(rounds=4, enough_bytes=0))


@pytest.fixture
def warm(build: Callable[..., Any]) -> Any:
    return build(policy=WARM)


def write(scene: Any, disk: str, offset: int, data: bytes) -> None:
    """The guest writes."""
    with scene.disk(disk).open("r+b") as image:
        image.seek(offset)
        image.write(data)


def rounds(scene: Any) -> list[CopyBegun]:
    return [record.event for record in scene.events if isinstance(record.event, CopyBegun)]


def views(scene: Any) -> list[Path]:
    return [path for path in scene.folder.glob("views/*/*") if path.is_dir()]


def test_a_precopy_is_one_durable_round_and_leaves_the_machine_alone(warm: Any) -> None:
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert warm.power is Power.RUNNING
    assert warm.equal()
    assert [record.event.kind for record in warm.events][-1] == "synced"
    write(warm, "vda", 5, b"changed")
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert warm.equal()
    first, second = rounds(warm)
    assert (first.since, second.since) == (None, first.view)
    assert first.view != second.view
    assert not first.final
    assert not second.final


def test_every_round_starts_from_the_one_before_and_the_final_one_is_of_a_stopped_machine(warm: Any) -> None:
    def busy(action: Action) -> None:
        if action.kind in {A.END_ROUND, A.BEGIN_CUTOVER}:
            write(warm, "vdb", 100, bytes([warm.state.round]) * 9)

    warm.after = busy
    assert warm.drive().phase is Phase.COMMITTED
    assert warm.power is Power.OFF
    assert warm.equal()
    begun = rounds(warm)
    assert [one.final for one in begun] == [False] * (len(begun) - 1) + [True]
    assert [one.since for one in begun] == [None, *(one.view for one in begun[:-1])]
    assert warm.source.forget(warm.entry.machine)


def test_a_machine_that_has_moved_leaves_no_view_at_its_source(warm: Any) -> None:
    with warm.journal.lease(warm.plan.digest, warm.entry.name) as lease:
        work = warm.work(lease)
        drive(work, Goal.PRECOPY, lambda _action, step: step())
        settle(work)
        assert views(warm)
        drive(work, Goal.MIGRATE, lambda _action, step: step())
        settle(work)
    assert not views(warm)
    assert {thing.kind for thing in warm.journal.ledger_open(warm.plan.digest)} == {"disk"}


def test_what_cannot_be_dropped_is_left_to_release(warm: Any) -> None:
    warm.source.write_faults("forget", SourceUnavailable)
    with warm.journal.lease(warm.plan.digest, warm.entry.name) as lease:
        work = warm.work(lease)
        assert drive(work, Goal.MIGRATE, lambda _action, step: step()).phase is Phase.COMMITTED
        said = settle(work)
        assert said.startswith("left at the source: view ")
        assert "release" in said
        assert warm.events[-1].event == Note(text=said)
        assert VIEW in {thing.kind for thing in warm.journal.ledger_open(warm.plan.digest)}
        assert settle(work) == ""
    assert VIEW not in {thing.kind for thing in warm.journal.ledger_open(warm.plan.digest)}


def test_rounds_end_when_they_do_not_shrink(warm: Any) -> None:
    warm.after = lambda action: action.kind is A.END_ROUND and write(warm, "vda", 0, bytes([warm.state.round]) * 5)
    warm.drive(Goal.MIGRATE)
    synced = [record.event for record in warm.events if isinstance(record.event, Synced)]
    # The target in memory reads all of a disk in every round: the second one is no smaller than the first.
    assert [one.round for one in synced] == [1, 2]
    assert synced[0].data_bytes == synced[1].data_bytes > 0


def test_rounds_that_were_copied_ahead_do_not_tell_how_much_was_written_since(build: Callable[..., Any]) -> None:
    """They are as many as the policy allows, and the last one was small enough; and then a week went by."""
    warm = build(policy=WARM.model_copy(update={"warm": WarmPolicy(rounds=2, enough_bytes=1 << 40)}))
    for _ in range(2):
        warm.drive(Goal.PRECOPY)
    write(warm, "vda", 5, b"a week later")
    seen: list[bool] = []
    warm.before = lambda one: seen.append(warm.equal()) if one.kind is A.BEGIN_CUTOVER else None
    assert warm.drive().phase is Phase.COMMITTED
    assert seen == [True], "it was stopped before what it had written meanwhile was copied"
    assert [one.final for one in rounds(warm)] == [False, False, False, True]


def test_a_machine_that_is_off_is_copied_once(build: Callable[..., Any]) -> None:
    scene = build(policy=WARM, power=Power.OFF)
    assert scene.drive(Goal.PRECOPY).phase is Phase.PLANNED
    assert scene.drive().phase is Phase.COMMITTED
    assert [one.final for one in rounds(scene)] == [True]


def test_a_machine_that_is_planned_cold_is_not_copied_ahead(scene: Any) -> None:
    assert scene.drive(Goal.PRECOPY).phase is Phase.PLANNED
    assert rounds(scene) == []


def test_a_round_that_broke_off_goes_on_with_the_same_view(warm: Any) -> None:
    warm.target.faults["watch"] = [SourceUnavailable("the mover is gone")]
    with pytest.raises(SourceUnavailable):
        warm.drive(Goal.PRECOPY)
    write(warm, "vda", 5, b"later than the view")
    frozen = [path.read_bytes() for path in sorted(views(warm)[0].iterdir())]
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert len(rounds(warm)) == 1
    assert sorted(bytes(data) for data in warm.target.disks.values()) == sorted(frozen)
    assert not warm.equal()


def test_a_lost_view_begins_a_new_round_for_every_disk(warm: Any) -> None:
    """A disk that was copied of the lost view has no part in the round of the new one."""
    warm.drive(Goal.PRECOPY)
    write(warm, "vda", 5, b"first")
    with warm.losing_mover(2), pytest.raises(SourceUnavailable):
        warm.drive(Goal.PRECOPY)
    assert [e.event.disk for e in warm.events if isinstance(e.event, DiskCopied)][-1] == "vda"
    warm.source.close_round(
        warm.source.open_round(
            warm.entry.machine, since=warm.state.marker, final=False, remote=False, ledger=lambda _thing: None
        )
    )
    write(warm, "vda", 5, b"second")
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    one, two, three = rounds(warm)
    assert two.since == three.since == one.view
    assert two.view != three.view
    assert warm.equal()
    assert {e.event.disk for e in warm.events if isinstance(e.event, DiskCopied) and e.event.round == 3} == {
        "vda",
        "vdb",
    }


def test_who_is_told_to_stop_in_a_round_leaves_no_open_view(warm: Any) -> None:
    def stop(action: Action) -> None:
        if action.kind is A.COPY_DISKS:
            stopping.request()

    monkey = warm.target.watch

    def watch(job: Any, on_progress: Any) -> Any:
        stopping.check()
        return monkey(job, on_progress)

    warm.before, warm.target.watch = stop, watch
    with pytest.raises(Interrupted):
        warm.drive(Goal.PRECOPY)
    assert not list(warm.folder.glob("views/*/open"))
    stopping.reset()
    warm.before, warm.target.watch = (lambda _action: None), monkey
    write(warm, "vda", 5, b"meanwhile")
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert warm.equal()
    left, after = rounds(warm)
    assert (after.since, after.since_round) == (left.view, left.round)


def test_a_round_that_cannot_be_given_back_is_left_all_the_same(warm: Any) -> None:
    """It was stopped, and then its source did not answer: nothing of it may be taken for copied later on."""
    monkey = warm.target.watch

    def watch(job: Any, on_progress: Any) -> Any:
        stopping.check()
        return monkey(job, on_progress)

    warm.before = lambda action: action.kind is A.COPY_DISKS and stopping.request()
    warm.target.watch = watch
    warm.source.write_faults("close_round", SourceUnavailable)
    with pytest.raises(Interrupted):
        warm.drive(Goal.PRECOPY)
    assert warm.state.left
    stopping.reset()
    warm.before, warm.target.watch = (lambda _action: None), monkey
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert [one.round for one in rounds(warm)] == [1, 2]
    assert warm.equal()


def test_after_a_rollback_the_copy_goes_on_from_the_last_round(warm: Any) -> None:
    warm.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        warm.drive()
    assert (warm.state.phase, warm.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    marker = warm.state.marker
    assert marker is not None
    write(warm, "vdb", 7, b"after the rollback")
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert rounds(warm)[-1].since == marker
    assert warm.equal()
    warm.target.answers["agent"] = True
    write(warm, "vda", 7, b"and again")
    assert warm.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert warm.equal()


def test_a_block_that_changed_and_changed_back_is_seen_where_views_are_compared(warm: Any) -> None:
    """The final round of the attempt that was rolled back has copied what a comparison with the round before it does
    not show any more."""
    write(warm, "vda", 7, b"as it was")
    warm.drive(Goal.PRECOPY)
    warm.after = lambda one: write(warm, "vda", 7, b"meanwhile") if one.kind is A.STOP_SOURCE else None
    warm.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        warm.drive()
    assert warm.equal()
    write(warm, "vda", 7, b"as it was")
    warm.after = lambda _action: None
    warm.drive(Goal.PRECOPY)
    assert warm.equal()


def test_blocks_that_do_not_read_back_are_copied_again_by_a_full_round(warm: Any) -> None:
    damaged: list[str] = []

    def damage(action: Action) -> None:
        if action.kind is A.VERIFY_DISKS and not damaged:
            damaged.append(next(name for name in warm.target.disks if name.endswith("vda")))
            warm.target.disks[damaged[0]][3] ^= 1

    warm.before = damage
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert [one.since for one in rounds(warm)] == [None, None]
    assert warm.equal()


# --- streams that the source has counted too -------------------------------------------------------------------------


@pytest.fixture
def counted(warm: Any) -> tuple[Any, list[str]]:
    """A scene whose movers digest streams, and in order what happens: disks that are moved, what a close compares."""
    happened: list[str] = []
    watch, close, record = warm.target.watch, warm.source.close_round, warm.journal.append

    def watched(job: Any, on_progress: Any) -> Any:
        result = watch(job, on_progress)
        happened.append(f"{job.action} {job.disk}")
        return result.model_copy(update={"stream_digest": f"sha1:{job.disk}"}) if job.action == "copy" else result

    def closed(opened: Any) -> None:
        happened.append(f"close {sorted(opened.seen.items())}")
        close(opened)

    def recorded(*told: Any, **named: Any) -> Any:
        happened.extend(str(one.kind) for one in told if isinstance(one, DiskCopied | RoundLeft))
        return record(*told, **named)

    warm.target.watch, warm.source.close_round, warm.journal.append = watched, closed, recorded
    return warm, happened


ORDER = ["copy vda", "copy vdb", "close [('vda', 'sha1:vda'), ('vdb', 'sha1:vdb')]"]


def test_a_counted_stream_is_copied_only_when_the_source_has_compared(counted: tuple[Any, list[str]]) -> None:
    warm, happened = counted
    warm.drive(Goal.PRECOPY)
    assert happened == [*ORDER, "disk-copied", "disk-copied", "verify vda", "verify vdb"]
    assert warm.equal()


def test_a_stream_that_the_source_did_not_send_counts_for_nothing(counted: tuple[Any, list[str]]) -> None:
    warm, happened = counted
    warm.source.write_faults("close_round", IntegrityFailed)
    with pytest.raises(IntegrityFailed):
        warm.drive(Goal.PRECOPY)
    assert happened == [*ORDER, "round-left", "close []"]
    assert not warm.state.copied
    del happened[:]
    assert warm.drive(Goal.PRECOPY).phase is Phase.SYNCED
    assert happened[:5] == [*ORDER, "disk-copied", "disk-copied"]
    assert [one.round for one in rounds(warm)] == [1, 2]
    assert warm.equal()


def test_after_the_stop_too_a_stream_that_was_not_sent_counts_for_nothing(counted: tuple[Any, list[str]]) -> None:
    warm, happened = counted

    def spoil(action: Action) -> None:
        if action.kind is A.COPY_DISKS and warm.state.final:
            warm.source.write_faults("close_round", IntegrityFailed)
            del happened[:]

    warm.before = spoil
    with pytest.raises(IntegrityFailed):
        warm.drive()
    assert happened[:4] == [*ORDER, "close []"]
    assert "disk-copied" not in happened
    assert (warm.state.phase, warm.power) == (Phase.ROLLED_BACK, Power.RUNNING)
    warm.before = lambda _action: None
    assert warm.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert warm.equal()


def test_when_one_disk_fails_the_streams_of_the_others_are_not_compared(counted: tuple[Any, list[str]]) -> None:
    warm, happened = counted
    watch = warm.target.watch

    def watched(job: Any, on_progress: Any) -> Any:
        if job.disk == "vdb":
            raise IntegrityFailed("the mover failed")
        return watch(job, on_progress)

    warm.target.watch = watched
    with pytest.raises(IntegrityFailed, match="the mover failed"):
        warm.drive(Goal.PRECOPY)
    assert happened == ["copy vda", "round-left", "close []"]
