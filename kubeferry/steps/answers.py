"""What a person answers who is asked whether machines may be cut over: yes, no, or not now; each bound to the document
that he was shown. An answer to what has changed since is none, and that is told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kubeferry.documents import Config, Plan, text_of
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.life.approvals import Vote, app_of
from kubeferry.life.decisions import Decided, Decision, DecisionKind
from kubeferry.life.dry_runs import digest_of_all
from kubeferry.steps import approving
from kubeferry.steps.approving import Request
from kubeferry.steps.dry_runs import digests
from kubeferry.words import first_of

NAMED = 5


def changed(plan: Plan, settings: Config, journal: Journal, request: Request) -> str:
    """Why a yes to this document would be void now, for the middle of a sentence; empty where nothing that it shows has
    changed. Rounds that were copied since change nothing of it."""
    now = digests(plan, settings, [one.name for one in request.approval.machines])
    other = [one.name for one in request.approval.machines if now[one.name] != one.dry_run]
    if other:
        return f"the dry run of {first_of(other, NAMED)} says something else now: the target or the program is another"
    if datetime.fromisoformat(journal.time()) >= request.approval.ends:
        return f"what was shown counted until {request.approval.expires}"
    return ""


def approved(plan: Plan, journal: Journal, request: Request, who: str, note: str = "") -> Vote:
    """Record the yes of who says that he is `who`, for those of the machines that he may approve. Raises InputInvalid
    where that is none, or the plan asks for more than a name."""
    name = who.partition(" on ")[0]
    approver = approving.rule_of(plan).named(name)
    shown = request.approval.machines
    mine = tuple(one for one in shown if not approver or approver.may(one.name, app_of(plan.entry(one.name))))
    if not mine:
        what = f"{name} may approve none of {first_of([one.name for one in shown], NAMED)}"
        fix = "Let somebody answer whom the policy's `approvers` name for them."
        raise InputInvalid("nothing was approved", [Problem(str(request.scope), what, fix)])
    if len(mine) < len(shown):
        whole = digest_of_all(one.dry_run for one in mine)
        approval = request.approval.model_copy(update={"machines": mine, "dry_run": whole})
        scope = request.scope.model_copy(update={"machines": tuple(one.name for one in mine)})
        request = Request(approval, text_of(approval), scope)
    return approving.claimed(plan, journal, request, who, note)


def refused(plan: Plan, journal: Journal, request: Request, who: str, note: str = "") -> Decision:
    """Record a no. It keeps nobody from approving the same later."""
    return _recorded(DecisionKind.REFUSED, plan, journal, request, who, note)


def deferred(plan: Plan, journal: Journal, request: Request, who: str, note: str = "") -> Decision:
    """Record that it was put off."""
    return _recorded(DecisionKind.DEFERRED, plan, journal, request, who, note)


def said_before(decisions: Iterable[Decision], machines: Iterable[str]) -> Decision | None:
    """The newest no, or not now, about any of these machines; None where somebody has approved one since, or nobody was
    asked."""
    wanted = frozenset(machines)
    kinds = {DecisionKind.REFUSED, DecisionKind.DEFERRED, DecisionKind.APPROVED}
    about = [one for one in decisions if one.kind in kinds and wanted & set(one.scope.machines)]
    return about[-1] if about and about[-1].kind is not DecisionKind.APPROVED else None


def _recorded(kind: DecisionKind, plan: Plan, journal: Journal, request: Request, who: str, note: str) -> Decision:
    payload = {"document": request.digest, **({"note": note} if note else {})}
    return journal.decide(plan.digest, Decided(kind=kind, scope=request.scope, payload=payload, by=who))
