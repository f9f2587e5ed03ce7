"""The kinds of events, as the journal has them, and what several of them tell alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    PLANNED = "planned"
    LOCATED = "located"
    COPY_BEGUN = "copy-begun"
    ROUND_LEFT = "round-left"
    DISK_COPIED = "disk-copied"
    DISK_VERIFIED = "disk-verified"
    SYNCED = "synced"
    REHEARSAL_BEGUN = "rehearsal-begun"
    REHEARSAL_STARTED = "rehearsal-started"
    REHEARSAL_OBSERVED = "rehearsal-observed"
    REHEARSAL_ENDED = "rehearsal-ended"
    REHEARSED = "rehearsed"
    APPROVED = "approved"
    CUTOVER_BEGUN = "cutover-begun"
    STOP_ASKED = "stop-asked"
    STOP_NOT_DONE = "stop-not-done"
    LAST_WORDS = "last-words"
    AUTOSTART_RECORDED = "autostart-recorded"
    SOURCE_STOPPED = "source-stopped"
    VARIABLES_CARRIED = "variables-carried"
    TPM_CARRIED = "tpm-carried"
    APPLIED = "applied"
    STARTED = "started"
    OBSERVED = "observed"
    APP_OBSERVED = "app-observed"
    VALIDATED = "validated"
    WATCHED = "watched"
    TARGET_STOPPED = "target-stopped"
    COMMITTED = "committed"
    NOTES_RECORDED = "notes-recorded"
    SOURCE_MARKED = "source-marked"
    FAILED = "failed"
    ROLLBACK_BEGUN = "rollback-begun"
    SOURCE_RESTARTED = "source-restarted"
    ROLLED_BACK = "rolled-back"
    RELEASED = "released"
    HOOK_RUN = "hook-run"
    NOTE = "note"


def failing_of(observation: Mapping[str, Any]) -> tuple[str, ...]:
    """The probes of an Observation, as plain data, that did not pass, in words."""
    probes = observation.get("probes") or []
    return tuple(str(p.get("what") or p.get("kind", "probe")) for p in probes if p.get("ok") is not True)


def passed_of(observation: Mapping[str, Any]) -> int:
    """How many probes of an Observation, as plain data, passed; 0 when any failed or none ran."""
    return 0 if failing_of(observation) else len(observation.get("probes") or [])
