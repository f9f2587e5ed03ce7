"""What a TPM holds, carried by the steps: read before the stop, final after it, recorded, taken back by a rollback."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry.documents import JournalConfig, KeptTpm
from kubeferry.errors import IntegrityFailed, ProbeFailed, SourceRefused, TargetRefused, TargetUnavailable
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind, Goal
from kubeferry.life.events import Note, TpmCarried
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from soak.run.journals import copied
from tests.unit.steps.test_marks import left_at

STATE = b"three seeds, and what was sealed to them"
LATER = b"three seeds, and what was sealed last"
KEPT = KeptTpm(claim="persistent-state-for-web", file="swtpm/uuid/tpm2/tpm2-00.permall")


@pytest.fixture
def sealed(build: Callable[..., Any]) -> Any:
    """A scene whose machine has a TPM that goes with it."""
    scene = build()
    scene.keeps(tpm=KEPT)
    (scene.folder / "web.tpm").write_bytes(STATE)
    return scene


def told(scene: Any, kind: type) -> list[Any]:
    return [record.event for record in scene.events if isinstance(record.event, kind)]


def test_it_is_at_the_target_before_it_is_put_in_place(sealed: Any) -> None:
    assert sealed.drive().phase is Phase.COMMITTED
    assert sealed.kinds.index("tpm-carried") == sealed.kinds.index("applied") - 1
    assert bytes(sealed.target.disks["web/tpm"]) == STATE
    digest = hashlib.sha256(STATE).hexdigest()
    assert told(sealed, TpmCarried) == [TpmCarried(digest=digest, size_bytes=len(STATE), where=KEPT.claim)]


def test_what_was_sealed_last_is_what_arrives(sealed: Any) -> None:
    sealed.after = lambda action: (
        (sealed.folder / "web.tpm").write_bytes(LATER) if action.kind == "stop-source" else None
    )
    sealed.drive()
    assert bytes(sealed.target.disks["web/tpm"]) == LATER


def test_no_job_and_no_event_holds_it(sealed: Any) -> None:
    jobs: list[Any] = []
    whole = sealed.target.submit

    def seen(job: Any, ledger: Any, held: bytes | None) -> None:
        jobs.append((job, held))
        whole(job, ledger, held)

    sealed.target.submit = seen
    sealed.drive()
    handed = [(job.action, held) for job, held in jobs if job.disk == "tpm"]
    assert handed == [("copy", STATE), ("verify", None)]
    assert not any("seeds" in job.model_dump_json() for job, _ in jobs)
    assert not any("seeds" in repr(record.event) for record in sealed.events)
    assert all(held is None for job, held in jobs if job.disk != "tpm")


def test_what_cannot_be_read_is_told_while_the_source_runs(sealed: Any) -> None:
    sealed.source.write_faults("tpm_state", SourceRefused)
    with pytest.raises(SourceRefused):
        sealed.drive()
    assert "cutover-begun" not in sealed.kinds
    assert sealed.power is Power.RUNNING


def test_a_machine_that_never_ran_has_none_and_that_is_recorded(sealed: Any) -> None:
    (sealed.folder / "web.tpm").unlink()
    assert sealed.drive().phase is Phase.COMMITTED
    assert told(sealed, TpmCarried) == [TpmCarried()]


def test_where_it_has_no_room_the_source_runs_again(sealed: Any) -> None:
    sealed.target.faults["tpm_room"] = [TargetRefused("it is not ours")]
    with pytest.raises(TargetRefused):
        sealed.drive()
    assert sealed.power is Power.RUNNING
    assert not sealed.target.applied


def test_what_reads_back_otherwise_is_not_started(sealed: Any) -> None:
    sealed.damage("tpm")
    with pytest.raises(IntegrityFailed, match="what its TPM holds read back otherwise"):
        sealed.drive()
    assert not sealed.target.applied
    assert "web/tpm" not in sealed.target.disks
    assert sealed.power is Power.RUNNING


def test_a_rollback_takes_it_back(sealed: Any) -> None:
    sealed.target.answers["agent"] = False
    with pytest.raises(ProbeFailed):
        sealed.drive()
    assert "web/tpm" not in sealed.target.disks
    assert any("removed from the target" in note.text for note in told(sealed, Note))
    assert (sealed.folder / "web.tpm").read_bytes() == STATE
    sealed.target.answers["agent"] = True
    assert sealed.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert bytes(sealed.target.disks["web/tpm"]) == STATE


def test_a_rollback_is_not_over_while_it_lies_at_the_target(sealed: Any) -> None:
    sealed.target.answers["agent"] = False
    sealed.target.faults["drop_tpm"] = [TargetUnavailable("it does not answer")]
    with pytest.raises(TargetUnavailable):
        sealed.drive()
    assert sealed.power is Power.RUNNING
    assert sealed.state.resumes is Phase.ROLLING_BACK
    sealed.drive(Goal.ROLLBACK)
    assert sealed.state.phase is Phase.ROLLED_BACK
    assert "web/tpm" not in sealed.target.disks


def test_a_rollback_leaves_what_has_moved_by_a_move_that_its_journal_does_not_know(sealed: Any) -> None:
    """The journal is a backup from after the stop; the copy has moved since, sealed more, and is off."""
    left_at(sealed, ActionKind.BEGIN_COPY)
    backup = sealed.folder / "backup.db"
    copied(sealed.folder / "journal.db", backup)
    assert sealed.drive().phase is Phase.COMMITTED
    sealed.target.running.clear()
    sealed.target.disks["web/tpm"][:] = LATER
    with Journal.open(JournalConfig(url=f"sqlite:///{backup}")) as restored:
        sealed.journal = restored
        assert sealed.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
        assert sealed.power is Power.RUNNING
        assert bytes(sealed.target.disks["web/tpm"]) == LATER
        assert any("stays at the target" in note.text for note in told(sealed, Note))
