"""What a machine's TPM holds, on its way from the source's swtpm to the target's.

It is a secret: whoever has it and a copy of the disk opens what BitLocker or LUKS sealed to it. So it stands in no
plan, journal, log or job; a mover is handed it, and what is recorded is that it arrived. Its digest tells nothing: the
state is made of seeds of 64 random bytes.
"""

from __future__ import annotations

from kubeferry.documents import Entry
from kubeferry.life.events import Note, TpmCarried
from kubeferry.model import DiskRef
from kubeferry.sources import Source
from kubeferry.steps import moved
from kubeferry.steps.small import Piece, put
from kubeferry.steps.work import Work
from kubeferry.uris import HELD

FOLDERS = 3
"""`swtpm/UUID/tpm2` on the claim, as libvirt has it below its own folder."""


def refuse_unreadable(source: Source, entry: Entry) -> None:
    """Before anything is touched: what is to be carried can be read now, so it can after the stop. Raises
    SourceRefused."""
    if entry.tpm is not None:
        source.tpm_state(entry.machine)


def carry(work: Work) -> None:
    """Put what the TPM of a source that is off has kept in place, where the plan says that it goes, and record that it
    is there."""
    kept = work.entry.tpm
    state = work.source.tpm_state(work.entry.machine) if kept is not None else None
    if kept is None:
        return
    if state is None:
        work.record(TpmCarried())
        return
    held = DiskRef(uri=HELD, size_bytes=len(state))
    piece = Piece("tpm", "what its TPM holds", kept.claim, state, held, held=state, private_folders=FOLDERS)
    put(work, piece, work.target.tpm_room(work.entry, len(state), work.lease.fence, work.ledger))
    work.record(TpmCarried(digest=piece.digest, size_bytes=len(state), where=kept.claim))


def take_back(work: Work) -> None:
    """The copy at the target goes; that of the source was only read. Where a person has said that the target is down
    for good, nobody can, and that is recorded. So is that it stays where the machine has moved by a move of which this
    journal knows nothing: without what its TPM holds, nobody opens what was written there since."""
    if work.entry.tpm is None:
        return
    if work.target_is_down:
        fix = "where it comes back, `kubeferry release --everything` removes that"
        work.record(Note(text=f"what the TPM holds may lie at the target still: {fix}"))
        return
    if mark := moved.unknown(work.journal, work.entry, work.target):
        fix = "`kubeferry release --everything` removes that"
        work.record(Note(text=f"what the TPM holds stays at the target, where it was {mark}: {fix}"))
        return
    work.journal.heartbeat(work.lease)  # whoever runs now may have put it there anew
    removed = work.target.drop_tpm(work.entry)
    if removed:
        work.record(Note(text=f"what the TPM holds was removed from the target: {', '.join(removed)}"))
