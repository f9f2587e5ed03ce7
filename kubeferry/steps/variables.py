"""UEFI variables on their way from the source's flash to the target's: read, put into its layout, proven there.

A mover writes them, as it writes disks: the same lock, fence and read-back. They are little, and no secret, so they
come with the work itself and need no way to the source.
"""

from __future__ import annotations

import hashlib

from kubeferry.documents import Entry
from kubeferry.errors import InputInvalid, SourceRefused
from kubeferry.images import variables
from kubeferry.life.events import VariablesCarried
from kubeferry.model import DiskRef
from kubeferry.sources import Source
from kubeferry.steps.small import Piece, put
from kubeferry.steps.work import Work
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
    inline = DiskRef(uri=inline_uri(store), size_bytes=len(store))
    piece = Piece("variables", "the UEFI variables", kept.claim, store, inline)
    put(work, piece, work.target.variables_room(work.entry, len(store), work.lease.fence, work.ledger))
    work.record(
        VariablesCarried(
            source_digest=hashlib.sha256(source).hexdigest(),
            digest=piece.digest,
            size_bytes=len(store),
            names=tuple(dict.fromkeys(one.name for one in variables.variables_of(store))),
            where=f"{kept.claim}/{kept.file}",
        )
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
