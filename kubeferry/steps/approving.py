"""What a person approves, and that he does: the document that is shown and signed, and how it gets into the journal.

    drawn ─> Request ──> shown, signed ──> signed / claimed / by_user ──> the journal
                                           withdraw, revoke

Nothing is recorded that would count for nothing: who approves is told why at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from kubeferry.documents import Approval, ApprovedMachine, Approver, Config, Plan, PlannedApproval, text_of
from kubeferry.documents.signers import fingerprint, key_of, public_key
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal, Recorded
from kubeferry.life.approvals import Vote, app_of, digest_of_text, document_of
from kubeferry.life.decisions import Decided, Decision, DecisionKind, Known, Scope
from kubeferry.life.dry_runs import digest_of_all
from kubeferry.life.events import Synced
from kubeferry.steps.approvals import verified
from kubeferry.steps.dry_runs import digests
from kubeferry.words import first_of

if TYPE_CHECKING:  # the Kubernetes client takes its time
    from kubeferry.targets.kubevirt.identity import User

LONGEST = 8 * 1024 * 1024  # characters of a document: some 40,000 machines
NAMED = 5


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be approved: the document, its text as it is signed, and the machines of the scope that are left out,
    since who approves may not approve them."""

    approval: Approval
    text: str
    scope: Scope
    left_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What names it: SHA-256 of its text."""
        return digest_of_text(self.text)


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of machines beside the plan: by machine, the projected downtime in words."""

    downtime: Mapping[str, str] = field(default_factory=dict)


def rule_of(plan: Plan) -> PlannedApproval:
    """What the plan asks for. Raises InputInvalid where it asks for no approval."""
    if plan.approval is None:
        fix = "Nothing: `migrate` needs none. Set `approval` in the policy and plan again where one is wanted."
        problem = Problem(f"plan {plan.name}", "it asks for no approval", fix)
        raise InputInvalid("there is nothing to approve", [problem])
    return plan.approval


def drawn(
    plan: Plan,
    settings: Config,
    journal: Journal,
    scope: Scope,
    approver: Approver | None = None,
    shown: Shown | None = None,
) -> Request:
    """The document for the machines of a scope, as they stand now; for `approver`, where it is known who it will be, of
    those that he may approve. Raises InputInvalid where none is left."""
    rule = rule_of(plan)
    mine = [name for name in scope.machines if not approver or approver.may(name, app_of(plan.entry(name)))]
    if approver and not mine:
        what = f"{approver.name} may approve none of {first_of(scope.machines, NAMED)}"
        fix = "Let somebody approve whom the policy's `approvers` name for them."
        raise InputInvalid("nothing is left to approve", [Problem(str(scope), what, fix)])
    dry_runs, histories, at = digests(plan, settings, mine), journal.histories(plan.digest), journal.time()
    downtime = shown.downtime if shown else {}
    machines = tuple(
        ApprovedMachine(
            name=name,
            dry_run=dry_runs[name],
            synced_at=synced_at(histories.get(name, ())),
            downtime=downtime.get(name, ""),
        )
        for name in mine
    )
    approval = Approval(
        plan=plan.digest,
        plan_name=plan.name,
        wave=scope.wave,
        app=scope.app,
        machines=machines,
        dry_run=digest_of_all(dry_runs[name] for name in mine),
        at=at,
        expires=_after(at, rule.expires_seconds),
    )
    left_out = tuple(name for name in scope.machines if name not in mine)
    whole = scope.model_copy(update={"machines": tuple(mine)})
    return Request(approval, text_of(approval), whole, left_out)


def brought(plan: Plan, text: str) -> Request:
    """A document that was made before, and comes back from where it was signed. Raises InputInvalid for what is none,
    or of another plan."""
    fix = "Bring back the very file that `kubeferry approve --request` wrote: a signature is over each of its bytes."
    try:
        approval = Approval.model_validate_json(text[:LONGEST])
    except ValidationError as error:
        why = str(error.errors()[0]["msg"])
        raise InputInvalid("the document is no approval", [Problem("--document", why, fix)]) from error
    strangers = [one.name for one in approval.machines if not any(one.name == entry.name for entry in plan.entries)]
    if approval.plan != plan.digest or strangers:
        what = f"it is of plan {approval.plan_name or '?'} ({approval.plan[:12]}), and this one is {plan.digest[:12]}"
        fix = "A changed plan is approved anew: draw the document from this plan."
        raise InputInvalid("the document is of another plan", [Problem("--document", what, fix)])
    names = tuple(one.name for one in approval.machines)
    return Request(approval, text, Scope(wave=approval.wave, app=approval.app, machines=names))


def signed(plan: Plan, journal: Journal, request: Request, signature: str) -> Vote:
    """Record a signed approval. Raises InputInvalid where the signature is not good, or whose it is may not approve."""
    rule, who = rule_of(plan), "somebody"
    with contextlib.suppress(ValueError):
        key = key_of(signature)
        owner = rule.owner(key)
        who = owner.name if owner else fingerprint(key)
    return _recorded(plan, journal, request, who, Known.SIGNED, {"signature": signature})


def claimed(plan: Plan, journal: Journal, request: Request, who: str, note: str = "") -> Vote:
    """Record an approval by somebody's word that he is `who`. Raises InputInvalid where the plan asks for more."""
    return _recorded(plan, journal, request, who, Known.CLAIMED, {"note": note} if note else {})


def by_user(plan: Plan, journal: Journal, request: Request, user: User) -> Vote:
    """Record an approval by a user of Kubernetes, as an API server has named him. Raises InputInvalid."""
    return _recorded(plan, journal, request, user.name, Known.KUBERNETES, user.facts())


def withdraw(plan: Plan, journal: Journal, machines: Collection[str], who: str, how: Known = Known.CLAIMED) -> Decision:
    """Take back every approval of these machines, whoever gave it: anybody may. A document that was withdrawn counts
    no more, though somebody records it again. Raises InputInvalid where none has been approved."""
    given = verified(rule_of(plan), plan.digest, journal.decisions(plan.digest))
    documents = dict.fromkeys(
        digest_of_text(document_of(vote.decision))
        for vote in given
        if any(vote.approval and vote.approval.machine(name) and name not in vote.withdrawn for name in machines)
    )
    if not documents:
        fix = "`kubeferry status` shows the approvals that there are."
        problem = Problem(first_of(tuple(machines), NAMED), "none of them has been approved", fix)
        raise InputInvalid("there is no approval to withdraw", [problem])
    scope, payload = Scope(machines=tuple(machines)), {"approvals": list(documents)}
    what = Decided(kind=DecisionKind.APPROVAL_WITHDRAWN, scope=scope, payload=payload, by=who, how=how)
    return journal.decide(plan.digest, what)


def revoke(plan: Plan, journal: Journal, key: str, who: str) -> Decision:
    """What this public key has signed counts no more for the plan, whenever it did: anybody may say so. Raises
    InputInvalid for what is no key."""
    rule_of(plan)
    try:
        kept = public_key(key)
    except ValueError as error:
        raise InputInvalid(
            "the key cannot be revoked", [Problem("--revoke", str(error), "Name a .pub file.")]
        ) from error
    payload = {"key": kept, "fingerprint": fingerprint(kept)}
    return journal.decide(plan.digest, Decided(kind=DecisionKind.KEY_REVOKED, payload=payload, by=who))


def synced_at(records: Sequence[Recorded]) -> str:
    """When a machine's newest round was durable; empty where none was."""
    return next((record.at for record in reversed(records) if isinstance(record.event, Synced)), "")


def copied(synced_at: str, mode: str, now: datetime) -> str:
    """How old the last durable copy of a machine is, in words."""
    if not synced_at:
        return "after its stop" if mode == "cold" else "not yet"
    seconds = max(0.0, (now - datetime.fromisoformat(synced_at)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _recorded(
    plan: Plan, journal: Journal, request: Request, who: str, how: Known, payload: Mapping[str, object]
) -> Vote:
    what = Decided(
        kind=DecisionKind.APPROVED,
        scope=request.scope,
        payload={"document": request.text, **payload},
        by=who,
        how=how,
    )
    before = journal.decisions(plan.digest)
    vote = _vote(plan, Decision(plan.digest, len(before) + 1, journal.time(), what), before)
    problems = _problems(plan, vote, datetime.fromisoformat(journal.time()))
    if problems:
        raise InputInvalid("nothing was approved", problems)
    return _vote(plan, journal.decide(plan.digest, what), before)


def _vote(plan: Plan, decision: Decision, before: Sequence[Decision]) -> Vote:
    return verified(rule_of(plan), plan.digest, [*before, decision])[-1]


def _problems(plan: Plan, vote: Vote, now: datetime) -> list[Problem]:
    """Why it would count for nothing, or not for some machine: each reason once, with the first machines."""
    fix = "Who may, and how, say the policy's `approvers` and `approval`: let another approve, or plan again."
    if vote.void:
        return [Problem(f"the approval of {vote.person}", f"it {vote.void}", fix)]
    found: dict[str, list[str]] = {}
    for one in vote.approval.machines if vote.approval else ():
        if why := vote.against(one.name, app_of(plan.entry(one.name)), now, ""):
            found.setdefault(why, []).append(one.name)
    return [
        Problem(f"{first_of(names, NAMED)}", f"the approval of {vote.person} {why}", fix)
        for why, names in found.items()
    ]


def _after(at: str, seconds: int) -> str:
    ends = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return ends.isoformat(timespec="milliseconds").replace("+00:00", "Z")
