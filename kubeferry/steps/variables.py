"""UEFI variables on their way from the source's flash to the target's: read, put into its layout, proven there.

A mover writes them, as it writes disks: the same lock, fence and read-back. They are little, and no secret, so they
come with the work itself and need no way to the source.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from kubeferry.documents import Entry, MoverJob
from kubeferry.errors import InputInvalid, IntegrityFailed, SourceRefused
from kubeferry.images import variables
from kubeferry.life.events import VariablesCarried
from kubeferry.model import DiskRef
from kubeferry.sources import Source
from kubeferry.steps.transfer import move
from kubeferry.steps.work import Work
from kubeferry.targets import Room
from kubeferry.uris import inline_uri

MOST_URI_BYTES = 192 * 1024
"""All annotations of an object in a cluster together may have 256 KiB, and a mover's work is one."""
LEAVE_FIX = "Leave them behind with keepVariables: false in the machine's policy, and plan again."


def refuse_unreadable(source: Source, entry: Entry) -> None:
    """Before anything is touched: what is to be carried can be read now, so it can after the stop. Raises
    SourceRefused."""
    _converted(source, entry)


def carry(work: Work) -> None:
    """Put the variables of a source that is off in place, where the plan says that they go, and record their proof."""
    kept = work.entry.variables
    if kept is None:
        return
    found = _converted(work.source, work.entry)
    if found is None:
        work.record(VariablesCarried())
        return
    source, store = found
    room = work.target.variables_room(work.entry, len(store), work.lease.fence, work.ledger)
    for action in ("copy", "verify"):
        if move(work, _job(work, room, store, action)).differing:
            raise IntegrityFailed(
                "the UEFI variables read back otherwise than they were written",
                why=f"they are on {kept.claim}",
                fix="Look at the storage below it; then run the same command again.",
                machine=work.entry.name,
            )
    work.record(
        VariablesCarried(
            source_digest=hashlib.sha256(source).hexdigest(),
            digest=hashlib.sha256(store).hexdigest(),
            size_bytes=len(store),
            names=tuple(dict.fromkeys(one.name for one in variables.variables_of(store))),
            where=f"{kept.claim}/{kept.file}",
        )
    )


def _job(work: Work, room: Room, store: bytes, action: Literal["copy", "verify"]) -> MoverJob:
    """The mover's work; its name says of which plan, runner and variables."""
    digest = hashlib.sha256(store).hexdigest()
    return MoverJob(
        name=f"{work.plan.digest[:8]}-{work.entry.target_name}-variables-{digest[:8]}-{action}-{work.lease.fence}",
        action=action,
        machine=work.entry.name,
        disk="variables",
        source=DiskRef(uri=inline_uri(store), size_bytes=len(store)) if action == "copy" else None,
        target=room.ref,
        state_dir=room.state_dir,
        fence=work.lease.fence,
        copy_id=digest,
        makes_target=room.makes_target,
        exact_file=True if room.makes_target else None,
        plan=work.plan.digest,
        workers=1,
    )


def _converted(source: Source, entry: Entry) -> tuple[bytes, bytes] | None:
    """The store as the source has it and as the target wants it; None where none is to be carried, or there is none
    yet. Raises SourceRefused for one that cannot be carried."""
    kept = entry.variables
    found = source.variables(entry.machine) if kept is not None else None
    if kept is None or found is None:
        return None
    try:
        store = variables.converted(found, kept.layout)
    except InputInvalid as error:
        why = "; ".join(problem.what for problem in error.problems)
        raise SourceRefused(
            "its UEFI variables cannot be carried", why=why, fix=LEAVE_FIX, machine=entry.name
        ) from error
    if (packed := len(inline_uri(store))) > MOST_URI_BYTES:
        why = f"they have {packed} bytes when packed, and a mover's work takes {MOST_URI_BYTES}"
        raise SourceRefused("its UEFI variables are too many", why=why, fix=LEAVE_FIX, machine=entry.name)
    return found, store
