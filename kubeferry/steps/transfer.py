"""The steps that move and prove bytes. The mover does the work; these name the job, wait, and remember the result."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from typing import Literal

from kubeferry.documents import MoverJob, MoverProgress, MoverResult
from kubeferry.errors import Fenced, Interrupted, KubeferryError, SourceGone, SourceRefused, TransientError
from kubeferry.life.action_kinds import Action
from kubeferry.life.events import CopyBegun, DiskCopied, DiskVerified, Note, RoundLeft, Synced
from kubeferry.life.machine_state import MachineState
from kubeferry.life.states import Recorded
from kubeferry.model import DiskRef, Marker
from kubeferry.sources import Round
from kubeferry.steps import ended
from kubeferry.steps.in_time import InTime
from kubeferry.steps.work import Work
from kubeferry.targets import Room, error_of

logger = logging.getLogger(__name__)

WORKERS = 8
ONLY_COPY = (
    "somebody has ended the source: the view that is copied is the only copy of it, and the copy goes on from there"
)


def begin_copy(work: Work, action: Action, state: MachineState) -> None:
    """Open the next round at the source and in the journal; its number names the movers' jobs.

    What changed is asked for since the newest round that is durable, or since the one that was left unfinished; all is
    read where blocks did not read back, and where a target has run on these disks since. The view stays open: the copy
    takes it up.
    """
    since, since_round = (state.view, state.round) if state.left else (state.marker, state.marker_round)
    written = state.written_by_target and work.target.capabilities.keeps_running and not state.left
    if state.differing or since is None or written:
        since, since_round = None, 0
    opened = _open(work, since, final=state.source_off)
    if opened.only_copy:
        raise _ended_before(work, opened)
    try:
        _record_round(work, opened, action.round, since, since_round, final=state.source_off)
    except Fenced:
        raise  # whoever runs now may be using it
    except BaseException:
        with contextlib.suppress(KubeferryError):
            work.source.close_round(opened)
        raise


def _record_round(
    work: Work, opened: Round, number: int, since: Marker | None, since_round: int, *, final: bool
) -> None:
    work.record(
        CopyBegun(
            round=number,
            final=final,
            view=opened.marker,
            since=since,
            since_round=since_round,
            consistency=opened.consistency,
        )
    )


def end_round(work: Work, action: Action, state: MachineState) -> None:
    """Every disk is durable as of this round, and the next one can start from it."""
    copied = state.copied.values()
    work.record(
        Synced(
            round=action.round,
            data_bytes=sum(disk.data_bytes for disk in copied),
            seconds=sum(disk.seconds for disk in copied),
        )
    )


def copy_disks(work: Work, action: Action, state: MachineState) -> None:
    """Copy these disks from one frozen view of the source, and record each as it is durable."""
    _fetch(work, "copy", action, state)


def repair_disks(work: Work, action: Action, state: MachineState) -> None:
    """Fetch the blocks again that a verification found wrong, and record the disk as copied anew."""
    _fetch(work, "repair", action, state)


def _fetch(work: Work, kind: Literal["copy", "repair"], action: Action, state: MachineState) -> None:
    rooms = work.target.prepare(work.entry, work.ledger)
    held: list[DiskCopied] = []
    with _round(work, state) as opened:
        if kind == "copy" and opened.marker != state.view:
            # The view that this round began with is gone. What was copied of it stands; the rest of the machine has
            # moved on, so a new round begins with the view that there is now.
            _record_round(work, opened, state.round + 1, state.since, state.since_round, final=state.final)
            state = work.state()
        for disk in action.disks if kind == "repair" else state.uncopied:
            result = move(work, _job(work, state, kind, disk, rooms[disk], _bytes_of(work, opened.refs, disk)))
            copied = _copied(disk, state.round, result)
            if result.stream_digest:
                opened.seen[disk] = result.stream_digest
                held.append(copied)
            else:
                work.record(copied)
    for copied in held:  # the source has compared their streams with what it sent: only now they count
        work.record(copied)


def verify_disks(work: Work, action: Action, state: MachineState) -> None:
    """Read each disk back past the page cache and record how many blocks differ from its fingerprint."""
    rooms = work.target.prepare(work.entry, work.ledger)
    for disk in action.disks:
        if disk in state.verified or disk in state.differing:
            continue  # an earlier try of this very step got so far
        result = move(work, _job(work, state, "verify", disk, rooms[disk], None))
        work.record(
            DiskVerified(
                disk=disk,
                root=result.root,
                seconds=result.seconds,
                read_bytes=result.read_bytes,
                same_bytes=result.same_bytes,
                differing=result.differing,
                where=result.where,
            )
        )


def _copied(disk: str, number: int, result: MoverResult) -> DiskCopied:
    return DiskCopied(
        disk=disk,
        round=number,
        root=result.root,
        algorithm=result.algorithm,
        size_bytes=result.size_bytes,
        data_bytes=result.data_bytes,
        read_bytes=result.read_bytes,
        written_bytes=result.written_bytes,
        resumed_bytes=result.resumed_bytes,
        same_bytes=result.same_bytes,
        seconds=result.seconds,
        calls=result.calls,
        versions=result.versions,
        where=result.where,
    )


def _open(work: Work, since: Marker | None, *, final: bool) -> Round:
    remote = not work.target.capabilities.movers_here
    opened = work.source.open_round(work.entry.machine, since=since, final=final, remote=remote, ledger=work.ledger)
    if opened.only_copy:
        said = _only_copy(opened)
        logger.warning("%s: %s", work.entry.name, said)
        if not any(isinstance(one.event, Note) and one.event.text == said for one in _events(work)):
            work.record(Note(text=said))
    return opened


def _only_copy(opened: Round) -> str:
    if opened.consistency == ended.OFF or opened.marker is None:
        return ONLY_COPY
    seen = ended.taken(opened.consistency, opened.marker.taken_at)
    return f"{ONLY_COPY}: its disks {seen}; what was written since then is lost"


def _ended_before(work: Work, opened: Round) -> SourceGone:
    """The error for a machine that is gone, and of which no view was recorded as this round's: any other one is older
    than its end, and what was written in between would be missing without a word."""
    return SourceGone(
        "somebody has ended the machine at its source before its last state was frozen",
        why=f"the newest view of it is of {opened.marker.taken_at if opened.marker else 'an earlier time'}",
        fix="Make disks of that view by hand, if it will do. kubeferry deletes it with `release --everything` only.",
        machine=work.entry.name,
    )


def _events(work: Work) -> list[Recorded]:
    return work.journal.events(work.plan.digest, work.entry.name)


@contextlib.contextmanager
def _round(work: Work, state: MachineState) -> Iterator[Round]:
    """The round's view, open; the one that it began with, where that is still there. Closed, what was seen of its
    streams is what the source sent."""
    opened = _open(work, state.since, final=state.final)
    if opened.only_copy and opened.marker != state.view:
        raise _ended_before(work, opened)
    try:
        yield opened
        work.source.close_round(opened)
    except TransientError as error:
        # A mover elsewhere may still read, and the next run finds both again. Who was told to stop leaves nothing.
        if not opened.served or isinstance(error, Interrupted):
            _leave(work, opened, state)
        raise
    except Fenced:
        raise  # whoever runs now may be using it
    except BaseException:
        _leave(work, opened, state)
        raise


def _leave(work: Work, opened: Round, state: MachineState) -> None:
    """Give a view back that was not copied whole. What was recorded of it is not lost; the rest counts for nothing, and
    is not compared any more. It is recorded first: should the source not answer now, the next run still knows. What
    goes wrong here is not told: the error that led here is, and what is left stands in the ledger."""
    opened.seen.clear()
    with contextlib.suppress(KubeferryError):
        if not state.final:
            work.record(RoundLeft())
        work.source.close_round(opened)


def _bytes_of(work: Work, refs: dict[str, DiskRef], disk: str) -> DiskRef:
    if disk not in refs:
        raise SourceRefused(
            "the source handed over no bytes for this disk",
            fix="Discover and plan again: the machine's disks have changed.",
            machine=work.entry.name,
            disk=disk,
        )
    return refs[disk]


def _job(
    work: Work,
    state: MachineState,
    kind: Literal["copy", "verify", "repair"],
    disk: str,
    room: Room,
    source: DiskRef | None,
) -> MoverJob:
    """The name says plan and journal, machine, disk, kind, round and try: the same work has the same name, other work
    another."""
    turn = state.repairs.get(disk, 0)
    since = state.rehearsal.begun.number if kind == "verify" and state.rehearsal else 0
    after = f"-after-{since}" if since else ""  # what was read back before a rehearsal says nothing of it
    counted_by = hashlib.sha256(_counted_by(work, state).encode()).hexdigest()[:8]
    return MoverJob(
        name=f"{counted_by}-{work.entry.target_name}-{disk}-{kind}-{state.round}-{turn}{after}",
        action=kind,
        machine=work.entry.name,
        disk=disk,
        source=source,
        target=room.ref,
        state_dir=room.state_dir,
        fence=work.lease.fence,
        round=state.round,
        copy_id=_copy_id(work, state, state.round, state.view),
        since_copy_id=_copy_id(work, state, state.since_round, state.since) if state.since else None,
        since_root=_since_root(state, disk),
        # While the machine runs, reading everything back costs no downtime; after its stop it does.
        verify_all=work.entry.verify == "always" or not state.final or state.doubted,
        target_reads_zero=room.reads_zero,
        makes_target=room.makes_target,
        plan=work.plan.digest,
        # It spares the source and the way from it; a target is read back as fast as it can be.
        bandwidth_bytes_per_second=work.limits.bandwidth_bytes_per_second if source else None,
        # They wait for the disk, or for a cloud where every block is a call: what counts is how many do at once.
        workers=WORKERS,
    )


def _copy_id(work: Work, state: MachineState, number: int, view: Marker | None) -> str:
    """Names what is copied: of which plan, in which round, of which view."""
    return f"{_counted_by(work, state)}/{number}/{view.token if view else ''}"


def _counted_by(work: Work, state: MachineState) -> str:
    """The plan, and when it was first recorded: a journal that is begun anew counts rounds anew, and what an older one
    copied in a round of the same number is another copy."""
    return f"{work.plan.digest}/{state.timeline[0][1]}"


def _since_root(state: MachineState, disk: str) -> str | None:
    """The root of the newest copy of the disk, if it is of the very view from which changes are told. A newer one will
    not do, though it has all that was written before it: a disk that went back to an older state since then tells what
    was written to that, and nothing of what it lost."""
    newest = state.copied.get(disk)
    if newest is None or state.since is None or newest.round != state.since_round:
        return None
    return newest.root


def move(work: Work, job: MoverJob, held: bytes | None = None) -> MoverResult:
    """Have a mover do the job; raises what it could not do, OutOfTime where it cannot be done in the time that the
    cutover has. Blocks that differ are in the result. `held` as in `Target.submit`."""
    work.target.submit(job, work.ledger, held)
    in_time = InTime(work, job.disk)

    def told(progress: MoverProgress) -> None:
        work.progress(job.machine, job.disk, progress)
        in_time.check(progress)

    result = work.target.watch(job, told)
    if not result.ok and not result.differing:  # blocks that differ are a finding, which the next action repairs
        raise error_of(job, result)
    return result
