"""MoverJob, MoverProgress, MoverResult: what the control plane and a mover say to each other, as files.

They stand apart from the other documents: a mover needs none of those, and is to start at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from kubeferry.values import Between, Bytes, DiskRef, Plain, PlainDocument, Seconds


@dataclass(frozen=True, kw_only=True)
class MoverJob(PlainDocument):
    """One piece of work on one disk, as a program of its own does it: `python -m converters.mover JOB.json`.

    copy: source to target, only what differs, resuming from the last checkpoint in `state_dir`.
    verify: the target read back past the page cache, compared with the fingerprint in `state_dir`.
    repair: blocks of the target that differ from the fingerprint are fetched from the source again.
    trial: source and target are opened, a block of each is read, the state folder is tried; nothing is written to a
    disk, and nothing is left.
    `fence` is the journal's token: a state folder that has seen a higher one refuses the job.
    `target_reads_zero` says that unwritten ranges of the target are known to read as zeros.
    `makes_target`: a `file:` target that is not there is made by the mover, mode 0660, and then reads as zeros.
    `exact_file`: that file and the folder it lies in are made, and it has the very size of the target; without, sizes
    are rounded up as KubeVirt aligns disks.
    `private_folders`: so many folders above an exact file are made, too, and they and it are their owner's alone.
    `expect_root`: verify the first `target.size_bytes` against this root, and not against a fingerprint in the state
    folder (the bytes came another way). A copy to a `cdi-upload+https:` target is sent in one go, and never resumed.
    `copy_id` names what is copied, the plan, the round and the view: only a checkpoint of the same is gone on from.
    `since_root`: the root of the round before. Only with the fingerprint of exactly that root counts what the source
    calls the same; or, for the blocks that it holds, with the checkpoint of `since_copy_id`, a copy that was left
    unfinished. Where the state folder has neither, all is read.
    `verify_all`: a verify reads back all blocks; without, only those that were written since they were last read back.
    `plan` is the digest of the plan that the job belongs to.
    """

    KIND: ClassVar[str] = "MoverJob"

    kind: Literal["MoverJob"] = "MoverJob"
    name: str
    action: Literal["copy", "verify", "repair", "trial"]
    machine: str = ""
    disk: str = ""
    source: DiskRef | None = None
    target: DiskRef
    state_dir: str
    fence: Annotated[int, Between(0)] = 0
    round: Annotated[int, Between(0)] = 0
    algorithm: Literal["blake3", "sha256"] = "blake3"
    workers: Annotated[int, Between(1, 32)] = 8
    target_reads_zero: bool = False
    makes_target: bool = False
    exact_file: bool | None = None
    private_folders: Annotated[int, Between(0, 8)] | None = None
    expect_root: str | None = None
    copy_id: str = ""
    since_copy_id: str | None = None
    since_root: str | None = None
    verify_all: bool = True
    plan: str = ""
    bandwidth_bytes_per_second: Annotated[int, Between(1)] | None = None


@dataclass(frozen=True, kw_only=True)
class MoverProgress(Plain):
    """What a running mover writes to `progress.json`. `total_bytes` counts data, not holes; None until known."""

    done_bytes: Bytes = 0
    total_bytes: Bytes | None = None
    bytes_per_second: float = 0.0
    phase: str = "starting"


@dataclass(frozen=True, kw_only=True)
class MoverError(Plain):
    """An error of the mover, carried over the process boundary; `type` is a class name of `kubeferry.errors`."""

    type: str
    what: str
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class MoverResult(PlainDocument):
    """What a mover did. `root` is the fingerprint's root; `differing` counts blocks that a verify found wrong, and is 1
    where only the root is known to be another one; `where` is where it ran, in the target's words. `same_bytes` were
    not looked at: as in the round before, or read back since they were last written. `calls` counts what was asked of a
    cloud that asks money for it. `stream_digest` is `sha1:HEX` of the source's whole stream, as it came, where the
    source has counted it too: then the copy counts only when the source has compared."""

    KIND: ClassVar[str] = "MoverResult"

    kind: Literal["MoverResult"] = "MoverResult"
    name: str
    action: Literal["copy", "verify", "repair", "trial"]
    ok: bool
    root: str = ""
    algorithm: str = ""
    size_bytes: Bytes = 0
    data_bytes: Bytes = 0
    read_bytes: Bytes = 0
    written_bytes: Bytes = 0
    resumed_bytes: Bytes = 0
    zero_bytes: Bytes = 0
    same_bytes: Bytes = 0
    differing: Annotated[int, Between(0)] = 0
    first_differing_offset: Bytes | None = None
    seconds: Seconds = 0
    peak_memory_bytes: Bytes = 0
    calls: dict[str, int] = field(default_factory=dict)
    stream_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    where: str = ""
    error: MoverError | None = None
