"""What `status` shows of what persons decided for a plan: who approved what, and what that counts for; whose stop was
lifted; and approvals of another plan that this one, which was changed since, has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kubeferry.documents import Outline
from kubeferry.journal import Journal
from kubeferry.life.approvals import Vote, app_of, asked_for
from kubeferry.life.decisions import Decision, DecisionKind, lifted
from kubeferry.steps.approvals import command, unapproved, verified
from kubeferry.words import counted, first_of

NAMED = 5


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided: every decision, the approvals among them, what machines lack, and approvals of other plans in
    words."""

    all: tuple[Decision, ...] = ()
    votes: tuple[Vote, ...] = ()
    lacking: dict[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    @property
    def lifted(self) -> dict[str, str]:
        return lifted(self.all)


def decided(plan: Outline, journal: Journal) -> Decisions:
    """Read and verified, for a plan."""
    found = tuple(journal.decisions(plan.digest))
    given = verified(plan.approval, plan.digest, found) if plan.approval else ()
    names = [entry.name for entry in plan.entries]
    elsewhere = tuple(_of_others(plan, journal)) if plan.approval else ()
    return Decisions(found, given, unapproved(plan, journal, names), elsewhere)


def _of_others(plan: Outline, journal: Journal) -> Iterator[str]:
    """Approvals of another plan by this one's name: it was changed since, so they approve nothing of it."""
    for other in journal.decided_plans():
        if other.name != plan.name or other.digest == plan.digest:
            continue
        given = [one for one in journal.decisions(other.digest) if one.kind is DecisionKind.APPROVED]
        for one in given:
            yield (
                f"the approval of {one.scope} by {one.who} of {one.at} is of plan {other.name} ({other.digest[:12]}), "
                f"not of this one ({plan.digest[:12]}): it is void here"
            )


# --- in words --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Telling:
    """To whom it is told, so to say: `given` names the plan on the command line, `waiting` are the machines that are
    held back for want of an approval, `now` is the journal's time."""

    given: str
    waiting: tuple[str, ...]
    now: datetime


def lines(plan: Outline, known: Decisions, telling: Telling) -> Iterator[str]:
    """For a person, a line each."""
    for vote in known.votes:
        yield f"approved by {vote.person} ({vote.proof}) {vote.decision.at}: {_worth(plan, vote, telling.now)}"
    for one in known.all:
        if one.kind is not DecisionKind.APPROVED:
            yield f"{_WORDS[one.kind]} by {one.who} {one.at}: {_about(one)}"
    yield from known.elsewhere
    for wave in plan.waves:
        waiting = [name for name in wave.machines if name in telling.waiting]
        if waiting and plan.approval:
            typed = command(plan, waiting[0], telling.given)
            yield f"wave {wave.name} waits for {asked_for(plan.approval)} ({first_of(waiting, NAMED)}): `{typed}`"


_WORDS = {
    DecisionKind.APPROVAL_WITHDRAWN: "approvals withdrawn",
    DecisionKind.KEY_REVOKED: "key revoked",
    DecisionKind.STOP_LIFTED: "stop lifted",
    DecisionKind.WINDOW_OVERRULED: "window overruled",
    DecisionKind.DEFERRED: "deferred",
    DecisionKind.REFUSED: "refused",
}


def _about(one: Decision) -> str:
    if one.kind is DecisionKind.KEY_REVOKED:
        return str(one.payload.get("fingerprint", ""))
    return str(one.scope) if one.scope.wave or one.scope.app else first_of(one.scope.machines, NAMED) or "the plan"


def _worth(plan: Outline, vote: Vote, now: datetime) -> str:
    """What an approval counts for."""
    if vote.void or vote.approval is None:
        return f"void, it {vote.void}"
    apps = {entry.name: app_of(entry) for entry in plan.entries}
    against = {
        one.name: why
        for one in vote.approval.machines
        if (why := vote.against(one.name, apps.get(one.name, ""), now, ""))
    }
    scope = str(vote.decision.scope) if vote.decision.scope.wave or vote.decision.scope.app else ""
    told = f"{scope or first_of([one.name for one in vote.approval.machines], NAMED)}, until {vote.approval.expires}"
    if not against:
        return told
    why = "; ".join(dict.fromkeys(against.values()))
    if len(against) == len(vote.approval.machines):
        return f"{told}: it {why}"
    return f"{told}; not for {counted(len(against), 'machine')} ({first_of(list(against), NAMED)}): it {why}"


def facts(plan: Outline, known: Decisions, telling: Telling) -> dict[str, Any]:
    """For a program; nothing for a plan that asks for nothing and for which nothing was decided."""
    if plan.approval is None and not known.all:
        return {}
    waits = {name: known.lacking[name] for name in telling.waiting}
    return {
        "decisions": [
            {"kind": str(one.kind), "at": one.at, "by": one.by, "how": str(one.how), "about": _about(one)}
            for one in known.all
        ],
        "approval": plan.approval
        and {
            "asks": asked_for(plan.approval),
            "given": [
                {"by": one.person, "proof": one.proof, "at": one.decision.at, "worth": _worth(plan, one, telling.now)}
                for one in known.votes
            ],
            "void": list(known.elsewhere),
            "lacks": waits,
            "commands": list(dict.fromkeys(command(plan, name, telling.given) for name in waits)),
        },
    }
