"""One MoverJob, done inside its state folder, and the MoverResult of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import blake3

from converters.engine.disks import Outcome, copy_disk, measure_disk, repair_disk, send_disk, verify_disk
from converters.engine.transfer import Options
from converters.engine.trial import try_disk
from converters.mover.disk_file import make_disk_file
from converters.mover.state_folder import StateFolder, replace_text
from converters.mover.telling import Telling
from kubeferry import __version__
from kubeferry.errors import InputInvalid, IntegrityFailed, KubeferryError, Problem, TransientError
from kubeferry.jobs import MoverError, MoverJob, MoverResult
from kubeferry.uris import upload_url
from kubeferry.values import API_VERSION
from kubeferry.words import counted

JOB_LIMIT_BYTES = 1 << 20


def read(path: Path) -> MoverJob:
    """The job in a file. One of ours is JSON without a fault; any other is read as all documents are, which takes
    longer and names each fault with its line. Raises InputInvalid."""
    try:
        if path.stat().st_size <= JOB_LIMIT_BYTES:
            text = path.read_bytes()
            told = json.loads(text, object_pairs_hook=_once)
            if (told["apiVersion"], told["kind"]) == (API_VERSION, MoverJob.KIND):
                return MoverJob.of(told)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass  # told below
    from kubeferry.documents import load

    return load(path, MoverJob)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def run(job: MoverJob, report: Path | None = None) -> int:
    """Do a job; returns the exit code. Errors of the job go into its result.

    Errors of the state folder are raised, since there is no place for a result; with a `report` they stand in that.
    One of the report itself counts where the job has none.
    """
    begun = time.monotonic()
    telling = Telling(report) if report else None
    if job.action == "trial":
        return _told(telling, *_tried(job, begun))
    state = StateFolder(Path(job.state_dir), job.fence, telling.progress if telling else None)
    try:
        with state.held():
            result, error = _result(job, state, begun)
    except KubeferryError as failure:
        if telling is None:
            raise
        result, error = result_of(job, None, failure, time.monotonic() - begun), failure
    return _told(telling, result, error)


def _told(telling: Telling | None, result: MoverResult, error: KubeferryError | None) -> int:
    """Say how it ended where somebody listens; returns the exit code."""
    errors = [] if error is None else [error]
    if telling is not None:
        try:
            telling.result(result)
        except KubeferryError as failure:
            errors.append(failure)
    sys.stderr.writelines(f"{one}\n" for one in errors)
    return errors[0].exit_code if errors else 0


def _tried(job: MoverJob, begun: float) -> tuple[MoverResult, KubeferryError | None]:
    """A trial, which has no state of its own: what is in the state folder is another job's."""
    outcome, error = None, None
    try:
        state = Path(job.state_dir)
        outcome = try_disk(job.source, job.target, state, algorithm=job.algorithm, makes_target=job.makes_target)
    except KubeferryError as failure:
        error = failure
    except OSError as failure:
        error = TransientError("the trial failed", why=str(failure), fix="Run the same again.")
    return result_of(job, outcome, error, time.monotonic() - begun), error


def _result(job: MoverJob, state: StateFolder, begun: float) -> tuple[MoverResult, KubeferryError | None]:
    """Do the job in its state folder and leave the result there."""
    state.result(job.action).unlink(missing_ok=True)
    state.progress("starting", 0, None)
    try:
        outcome, error = _do(job, state)
    except KubeferryError as failure:
        outcome, error = None, failure
    except OSError as failure:
        outcome, error = None, TransientError("the mover failed", why=str(failure), fix="Run the same again.")
    result = result_of(job, outcome, error, time.monotonic() - begun)
    replace_text(state.result(job.action), result.model_dump_json(by_alias=True, indent=1))
    state.progress("done" if error is None else "failed", result.read_bytes, result.read_bytes)
    return result, error


def _do(job: MoverJob, state: StateFolder) -> tuple[Outcome, KubeferryError | None]:
    options = Options(
        job.workers,
        job.bandwidth_bytes_per_second,
        job.algorithm,
        since=job.since_root,
        since_copy=job.since_copy_id,
        all_blocks=job.verify_all,
    )
    if job.action == "verify" and job.expect_root is not None:
        work = state.folder / "measured.kff"
        measured = measure_disk(job.target, job.expect_root, work, options=options, watch=state)
        return measured, _unequal(measured)
    if job.action == "verify":
        found = verify_disk(job.target, state.fingerprint, options=options, watch=state)
        return found, _unequal(found)
    if job.source is None:
        fix = "Give the job a source, or the action verify."
        raise InputInvalid("the job has no source", [Problem("source", f"{job.action} needs one", fix)])
    if (url := upload_url(job.target.uri)) is not None:
        return send_disk(job.source, url, state.fingerprint, options=options, watch=state), None
    if job.action == "repair":
        return repair_disk(job.source, job.target, state.fingerprint, options=options, watch=state), None
    made = job.makes_target and make_disk_file(job.target, exact=bool(job.exact_file), private=job.private_folders)
    copied = copy_disk(
        job.source,
        job.target,
        state.fingerprint,
        copy_id=job.copy_id or str(job.round),
        target_reads_zero=job.target_reads_zero or made,
        options=options,
        watch=state,
    )
    return copied, None


def _unequal(found: Outcome) -> KubeferryError | None:
    if found.wrong_root:
        return IntegrityFailed(
            "the target is not what was sent",
            why="the root of its digests is another one; where it differs is not known",
            fix="Send it again.",
        )
    if not found.differing:
        return None
    differ = counted(len(found.differing), "block of the target differs", "blocks of the target differ")
    return IntegrityFailed(
        f"{differ} from its fingerprint",
        why=f"the first one lies at offset {found.differing.first}",
        fix="Repair it: only these blocks are fetched from the source again.",
    )


def result_of(job: MoverJob, outcome: Outcome | None, error: KubeferryError | None, seconds: float) -> MoverResult:
    """The document of what was done."""
    told = {} if outcome is None else _figures(outcome)
    failure = error and MoverError(type=type(error).__name__, what=error.what, why=error.why, fix=error.fix)
    return MoverResult(
        name=job.name,
        action=job.action,
        ok=error is None,
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes(),
        versions={"kubeferry": __version__, "python": sys.version.split()[0], "blake3": blake3.__version__},
        error=failure or None,
        **told,
    )


def _figures(outcome: Outcome) -> dict[str, Any]:
    tally = outcome.tally
    return {
        "root": outcome.root,
        "algorithm": outcome.algorithm,
        "size_bytes": outcome.size,
        "data_bytes": tally.data,
        "read_bytes": tally.read,
        "written_bytes": tally.written,
        "resumed_bytes": tally.resumed,
        "zero_bytes": tally.zero,
        "same_bytes": tally.same,
        "calls": outcome.calls,
        "stream_digest": outcome.stream_digest,
        # Of a disk that differs somewhere, at least one block does.
        "differing": len(outcome.differing) or int(outcome.wrong_root),
        "first_differing_offset": outcome.differing.first if outcome.differing else None,
    }


def peak_memory_bytes() -> int:
    """The most memory that this process held. (`ru_maxrss` would count what its parent held before it was started.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak[0]) * 1024 if peak else 0
