"""What persons decided for a plan, as a report tells it: who, how that is known, when, of what, and what they were
shown; pure. Whether signatures are good was asked before, anew for each report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from kubeferry.life.approvals import Vote
from kubeferry.life.decisions import Decision, DecisionKind, Known
from reports.shapes import DecisionReport
from reports.wording import count, listed, moment, plain

MACHINES_SHOWN = 200

_WHAT = {
    DecisionKind.APPROVED: "approved",
    DecisionKind.APPROVAL_WITHDRAWN: "approvals withdrawn",
    DecisionKind.KEY_REVOKED: "key revoked",
    DecisionKind.STOP_LIFTED: "stop of the wave lifted",
    DecisionKind.WINDOW_OVERRULED: "window overruled",
    DecisionKind.DEFERRED: "deferred",
    DecisionKind.REFUSED: "refused",
}


def decision_reports(decisions: Sequence[Decision], votes: Sequence[Vote]) -> tuple[DecisionReport, ...]:
    """Each decision in order. `votes` are the approvals among them, looked through."""
    of = {vote.decision.seq: vote for vote in votes}
    return tuple(_decision(one, of.get(one.seq)) for one in decisions)


def _decision(one: Decision, vote: Vote | None) -> DecisionReport:
    return DecisionReport(
        at=one.at,
        what=_WHAT[one.kind],
        about=plain(_about(one)),
        by=plain(vote.person if vote else one.by, 120),
        how=one.how,
        proof=plain(_proof(one, vote)),
        counts=vote is None or not vote.void,
        said=plain(_said(one.payload)),
        shown=tuple(islice(_shown(vote), MACHINES_SHOWN)) if vote else (),
    )


def _about(one: Decision) -> str:
    if one.kind is DecisionKind.KEY_REVOKED:
        return str(one.payload.get("fingerprint") or "")
    named = one.scope.wave or one.scope.app
    machines = listed(one.scope.machines)
    return f"{one.scope} ({machines})" if named and machines else str(one.scope) if named else machines or "the plan"


def _proof(one: Decision, vote: Vote | None) -> str:
    """What is known of who that was, and how far it can be looked at again."""
    if vote and vote.void:
        return f"counts for nothing: it {vote.void}"
    if one.how is Known.SIGNED:
        return f"{vote.proof if vote else 'signed'}; the signature was verified again for this report"
    if one.how is Known.KUBERNETES:
        return f"{vote.proof if vote else 'a user of Kubernetes'}; this rests on the word of who wrote the journal"
    return "claimed: a name that anybody can give"


def _said(payload: Mapping[str, object]) -> str:
    told = (str(payload.get(key) or "") for key in ("reason", "why", "note"))
    return "; ".join(filter(None, told))


def _shown(vote: Vote) -> list[str]:
    """What who approved was shown of each machine."""
    if vote.approval is None:
        return []
    told = []
    for one in vote.approval.machines:
        copied = f"copied {moment(one.synced_at)}" if one.synced_at else "not copied yet"
        downtime = f", downtime {one.downtime}" if one.downtime else ""
        told.append(plain(f"{one.name}: {copied}{downtime}, dry run {one.dry_run[:12]}"))
    head = f"{count(len(told), 'machine')}, dry run {vote.approval.dry_run[:12]}, until {moment(vote.approval.expires)}"
    return [plain(head), *told]
