"""A machine whose probes have passed, and that has not moved for good yet: what comes of it, and when. Pure.

validated ── watched, asked again and again ──┬─ its time is over ──> committed, or back, as the plan says
                                              ├─ a person says `commit` ──> committed
                                              └─ a probe fails, or a person rolls it back ──> back
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from kubeferry.documents import CommitPolicy
from kubeferry.life.deadline import moment, told
from kubeferry.life.machine_state import MachineState
from kubeferry.words import duration


class Turn(StrEnum):
    """What is to be done with it now."""

    WAIT = "wait"
    ASK = "ask"
    COMMIT = "commit"
    GO_BACK = "go-back"


@dataclass(frozen=True, slots=True)
class Watched:
    turn: Turn
    why: str


def turn_of(
    policy: CommitPolicy, state: MachineState, now: str, *, runs: bool, asked: bool, since: str = ""
) -> Watched:
    """What comes next of a validated machine. `runs`: its copy does, and can be asked. `asked`: a person wants it
    committed. Without `now` nothing is due. What was asked `since` is not asked again, however long that took."""
    if runs and now and not _fresh(policy, state, now, since):
        return Watched(Turn.ASK, f"its probes are asked again every {duration(policy.probe_seconds)} until its commit")
    if asked:
        return Watched(Turn.COMMIT, "a person has said that it has moved for good")
    if not now or moment(now) < moment(ends_at(policy, state)):
        return Watched(Turn.WAIT, f"every probe passed; it is watched {_how_long(policy, state)}, then {_then(policy)}")
    if policy.then == "wait":
        return Watched(Turn.WAIT, f"it was watched for {duration(policy.watch_seconds)}: {_then(policy)}")
    if policy.then == "rollback":
        return Watched(Turn.GO_BACK, f"nobody has committed it in the {duration(policy.watch_seconds)} that it had")
    return Watched(Turn.COMMIT, f"it was watched for {duration(policy.watch_seconds)}, and every probe passed")


def ends_at(policy: CommitPolicy, state: MachineState) -> str:
    """When its time is over (UTC, ISO 8601)."""
    return told(moment(state.validated_at) + timedelta(seconds=policy.watch_seconds))


def _fresh(policy: CommitPolicy, state: MachineState, now: str, since: str) -> bool:
    seen = moment(state.seen_at or state.validated_at)
    asked = bool(since) and seen >= moment(since)
    return asked or (moment(now) - seen).total_seconds() < policy.probe_seconds


def _how_long(policy: CommitPolicy, state: MachineState) -> str:
    return f"until {ends_at(policy, state)}" if state.validated_at else f"for {duration(policy.watch_seconds)}"


def _then(policy: CommitPolicy) -> str:
    return {
        "commit": "it is committed",
        "rollback": "it goes back, unless somebody says `kubeferry commit` before",
        "wait": "it waits for `kubeferry commit`, or `kubeferry rollback`",
    }[policy.then]
