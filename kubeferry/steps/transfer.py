"""The steps that move and prove bytes. The mover does the work; these name the job, wait, and remember the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from kubeferry import errors
from kubeferry.actions import Action
from kubeferry.documents import MoverJob, MoverResult
from kubeferry.errors import Interrupted, KubeferryError, SourceRefused, TargetUnavailable, TransientError
from kubeferry.events import CopyBegun, DiskCopied, DiskVerified
from kubeferry.evidence import MachineState
from kubeferry.model import DiskRef
from kubeferry.steps.work import Work
from kubeferry.target import Room


def begin_copy(work: Work, action: Action, _state: MachineState) -> None:
    """Open the next round in the journal; its number names the movers' jobs."""
    work.record(CopyBegun(round=action.round, final=True))


def copy_disks(work: Work, action: Action, state: MachineState) -> None:
    """Copy these disks from one frozen view of the source, and record each as it is durable."""
    _fetch(work, "copy", action, state)


def repair_disks(work: Work, action: Action, state: MachineState) -> None:
    """Fetch the blocks again that a verification found wrong, and record the disk as copied anew."""
    _fetch(work, "repair", action, state)


def _fetch(work: Work, kind: Literal["copy", "repair"], action: Action, state: MachineState) -> None:
    rooms = work.target.prepare(work.entry, work.ledger)
    with _round(work) as refs:
        for disk in action.disks:
            if kind == "copy" and disk not in state.uncopied:
                continue  # an earlier try of this very step got so far
            result = _move(work, _job(work, state, kind, disk, rooms[disk], _bytes_of(work, refs, disk)))
            work.record(_copied(disk, state.round, result))


def verify_disks(work: Work, action: Action, state: MachineState) -> None:
    """Read each disk back past the page cache and record how many blocks differ from its fingerprint."""
    rooms = work.target.prepare(work.entry, work.ledger)
    for disk in action.disks:
        result = _move(work, _job(work, state, "verify", disk, rooms[disk], None))
        work.record(
            DiskVerified(
                disk=disk,
                root=result.root,
                seconds=result.seconds,
                read_bytes=result.read_bytes,
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
        seconds=result.seconds,
        versions=result.versions,
        where=result.where,
    )


@contextlib.contextmanager
def _round(work: Work) -> Iterator[dict[str, DiskRef]]:
    remote = not work.target.capabilities.movers_here
    opened = work.source.open_round(work.entry.machine, since=None, final=True, remote=remote, ledger=work.ledger)
    try:
        yield opened.refs
    except TransientError as error:
        # A mover elsewhere may still read, and the next run finds both again. Who was told to stop leaves nothing.
        if not opened.served or isinstance(error, Interrupted):
            work.source.close_round(opened)
        raise
    except BaseException:
        work.source.close_round(opened)
        raise
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
    """The name says plan, machine, disk, kind, round and try: the same work has the same name, other work another."""
    turn = state.repairs.get(disk, 0)
    return MoverJob(
        name=f"{work.plan.digest[:8]}-{work.entry.target_name}-{disk}-{kind}-{state.round}-{turn}",
        action=kind,
        machine=work.entry.name,
        disk=disk,
        source=source,
        target=room.ref,
        state_dir=room.state_dir,
        fence=work.lease.fence,
        round=state.round,
        target_reads_zero=room.reads_zero,
        makes_target=room.makes_target,
        plan=work.plan.digest,
        # It spares the source and the way from it; a target is read back as fast as it can be.
        bandwidth_bytes_per_second=work.limits.bandwidth_bytes_per_second if source else None,
    )


def _move(work: Work, job: MoverJob) -> MoverResult:
    work.target.submit(job, work.ledger)
    result = work.target.watch(job, lambda progress: work.progress(job.machine, job.disk, progress))
    if not result.ok and not result.differing:  # blocks that differ are a finding, which the next action repairs
        raise error_of(job, result)
    return result


def error_of(job: MoverJob, result: MoverResult) -> KubeferryError:
    """The mover's error as the class that it had there. A mover that ended without a word is worth another try."""
    said = result.error
    if said is None:
        return TargetUnavailable("the mover failed without a reason", machine=job.machine, disk=job.disk)
    known = getattr(errors, said.type, None)
    if not (isinstance(known, type) and issubclass(known, KubeferryError)):
        known = TargetUnavailable
    if known is errors.InputInvalid:  # its problems do not cross the process boundary one by one
        known = errors.PermanentError
    return known(said.what, why=said.why, fix=said.fix, machine=job.machine, disk=job.disk)
