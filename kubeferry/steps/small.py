"""What a machine keeps beside its disks, put in place by a mover: the same lock, fence and read-back as for disks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from kubeferry.documents import MoverJob
from kubeferry.errors import IntegrityFailed
from kubeferry.model import DiskRef
from kubeferry.steps.transfer import move
from kubeferry.steps.work import Work
from kubeferry.targets import Room


@dataclass(frozen=True, slots=True)
class Piece:
    """What it is, in a job's word and in a sentence's, and the claim that it lies on; its content, which a mover reads
    from `source`, or is handed where that is `held:`. `private_folders` as in `MoverJob`."""

    what: str
    called: str
    claim: str
    content: bytes = field(repr=False)
    source: DiskRef
    held: bytes | None = field(default=None, repr=False)
    private_folders: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256."""
        return hashlib.sha256(self.content).hexdigest()


def put(work: Work, piece: Piece, room: Room) -> None:
    """Have a mover write it, and another one read it back. Their names say of which plan, runner and content. Raises
    IntegrityFailed where it reads back otherwise."""
    named = f"{work.plan.digest[:8]}-{work.entry.target_name}-{piece.what}-{piece.digest[:8]}"
    written = MoverJob(
        name=f"{named}-copy-{work.lease.fence}",
        action="copy",
        machine=work.entry.name,
        disk=piece.what,
        source=piece.source,
        target=room.ref,
        state_dir=room.state_dir,
        fence=work.lease.fence,
        copy_id=piece.digest,
        makes_target=room.makes_target,
        exact_file=True if room.makes_target else None,
        private_folders=piece.private_folders if room.makes_target else None,
        plan=work.plan.digest,
        workers=1,
    )
    read = written.model_copy(update={"name": f"{named}-verify-{work.lease.fence}", "action": "verify", "source": None})
    if move(work, written, piece.held).differing or move(work, read).differing:
        raise IntegrityFailed(
            f"{piece.called} read back otherwise than written",
            why=f"it was written to {piece.claim}",
            fix="Look at the storage below it; then run the same command again.",
            machine=work.entry.name,
        )
