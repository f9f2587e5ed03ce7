"""Whether machines of a plan are approved: a function of what the plan asks for and of what persons have decided. Pure.

An approval counts for a machine where all of this is so; what is not so is said:

    it is of this very plan (its digest), and names the machine
    who approved is known as the plan asks for, is one of its approvers, and may approve this machine
    a signature is good, and its key was not revoked
    it was not withdrawn, has not run out, and does not claim to be from the future
    what would be done with the machine is what the dry run said then

Persons are counted, not keys and not approvals. Whether a signature is good is asked elsewhere (`kubeferry.steps`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from kubeferry.documents import Approval, Approver, Entry, OutlinedEntry, PlannedApproval
from kubeferry.documents.signers import fingerprint, key_of
from kubeferry.life.decisions import Decision, DecisionKind, Known
from kubeferry.words import counted, first_of

AHEAD_SECONDS = 300
"""How far the clock of who approves may be ahead of the journal's."""
NAMED = 3

_EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Vote:
    """One approval as it stands in the journal, looked through. `person` is who counts, as the plan names him; `proof`
    says what that rests on. `void`: why it counts for no machine; `withdrawn`: by machine, when and by whom."""

    decision: Decision
    person: str
    proof: str
    approval: Approval | None = None
    approver: Approver | None = None
    void: str = ""
    withdrawn: Mapping[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self.approver.roles if self.approver else ())

    def against(self, machine: str, app: str, now: datetime, dry_run: str) -> str:
        """Why it does not count for this machine, which it names; empty where it does."""
        shown = self.approval.machine(machine) if self.approval else None
        if self.void or self.approval is None or shown is None:
            return self.void or "it does not name this machine"
        if machine in self.withdrawn:
            return f"was withdrawn {self.withdrawn[machine]}"
        if self.approver and not self.approver.may(machine, app):
            return "is by somebody who may not approve this machine"
        if now >= self.approval.ends:
            return f"ran out {self.approval.expires}"
        if dry_run and dry_run != shown.dry_run:
            return "is of a dry run that said something else: the target or the program is another one since"
        return ""


def app_of(entry: Entry | OutlinedEntry) -> str:
    """The app that a machine belongs to; empty where it belongs to none."""
    return str(getattr(entry, "app", None) or "")


def digest_of_text(text: str) -> str:
    """What names an approval's document: SHA-256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()


def seals(rule: PlannedApproval, decisions: Iterable[Decision]) -> dict[str, tuple[str, str, str]]:
    """The signatures that have to be verified: by the digest of the decision, the text, the signature, and the approver
    whose key the plan says it is made with."""
    found = {}
    for one in decisions:
        owner = _owner(rule, one) if one.kind is DecisionKind.APPROVED and one.how is Known.SIGNED else None
        if owner:
            found[one.digest] = (document_of(one), str(one.payload.get("signature", "")), owner.name)
    return found


def votes(rule: PlannedApproval, plan: str, decisions: Sequence[Decision], bad: Mapping[str, str]) -> tuple[Vote, ...]:
    """Each approval among the decisions of a plan. `bad`: what is wrong with each signature that was verified, by the
    decision's digest; empty for a good one."""
    revoked = {str(one.payload.get("key")) for one in decisions if one.kind is DecisionKind.KEY_REVOKED}
    withdrawn: dict[str, dict[str, str]] = {}
    for one in decisions:
        if one.kind is DecisionKind.APPROVAL_WITHDRAWN:
            for document in one.payload.get("approvals") or ():
                told = dict.fromkeys(one.scope.machines or (_EVERYBODY,), f"{one.at} by {one.who}")
                withdrawn.setdefault(str(document), {}).update(told)
    return tuple(
        _vote(
            rule,
            plan,
            one,
            revoked,
            bad.get(one.digest, "nobody has verified it"),
            withdrawn.get(digest_of_text(document_of(one)), {}),
        )
        for one in decisions
        if one.kind is DecisionKind.APPROVED
    )


def document_of(decision: Decision) -> str:
    """The document that was approved, as it was signed."""
    return str(decision.payload.get("document", ""))


def lacks(
    rule: PlannedApproval,
    given: Iterable[Vote],
    entry: Entry | OutlinedEntry,
    now: datetime,
    dry_run: str = "",
) -> str:
    """What a machine lacks of its approval, for the middle of a sentence; empty where it is approved. `dry_run` is the
    digest of what would be done with it, empty where nobody looked."""
    persons: dict[str, frozenset[str]] = {}
    against: list[str] = []
    for vote in given:
        if vote.approval is not None and vote.approval.machine(entry.name) is None:
            continue
        why = vote.against(entry.name, app_of(entry), now, dry_run)
        if why:
            against.append(f"that of {vote.person} {why}")
        else:
            persons[vote.person] = persons.get(vote.person, frozenset()) | vote.roles
    missing = [role for role in rule.roles if not any(role in roles for roles in persons.values())]
    if len(persons) >= rule.count and not missing:
        return ""
    there = f", and {counted(len(persons), 'is', 'are')} there ({', '.join(persons)})" if persons else ""
    told = [f"it is not approved: the plan asks for {asked_for(rule)}{there}"]
    told += [f"nobody who is asked as {', '.join(missing)} is among them"] if persons and missing else []
    return "; ".join([*told, first_of(against[::-1], NAMED)] if against else told)


def counting(given: Iterable[Vote], entry: Entry | OutlinedEntry, now: datetime, dry_run: str = "") -> tuple[Vote, ...]:
    """The approvals that count for a machine, the newest of each person."""
    found = {
        vote.person: vote
        for vote in given
        if vote.approval is not None
        and vote.approval.machine(entry.name) is not None
        and not vote.against(entry.name, app_of(entry), now, dry_run)
    }
    return tuple(found.values())


def asked_for(rule: PlannedApproval) -> str:
    """What a plan asks for, in words."""
    how = {"claimed": "by name", "signed": "signed", "kubernetes": "by a user of Kubernetes"}[rule.identity]
    several = f"{rule.count} approvals, {how}, of different persons"
    many = several if rule.count > 1 else f"one approval, {how}"
    return many + (f", as {' and as '.join(rule.roles)}" if rule.roles else "")


# --- one approval ----------------------------------------------------------------------------------------------------


def _vote(
    rule: PlannedApproval,
    plan: str,
    decision: Decision,
    revoked: set[str],
    bad: str,
    withdrawn: Mapping[str, str],
) -> Vote:
    approval = _parsed(document_of(decision))
    if approval is None:
        return Vote(decision, decision.by, "", void="cannot be read")
    if _EVERYBODY in withdrawn:
        withdrawn = dict.fromkeys((one.name for one in approval.machines), withdrawn[_EVERYBODY])
    person, approver, proof, void = _who(rule, decision, revoked, bad)
    void = void or _not_of(approval, rule, plan, decision)
    return Vote(decision, person, proof, approval, approver, void, withdrawn)


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Approval | None:
    """The document, None where it is none. Asked for each machine of a run, read once."""
    try:
        return Approval.model_validate_json(text)
    except ValidationError:
        return None


def _not_of(approval: Approval, rule: PlannedApproval, plan: str, decision: Decision) -> str:
    if approval.plan != plan:
        return f"is of another plan ({approval.plan[:12]})"
    recorded = datetime.fromisoformat(decision.at)
    if approval.begins > recorded + timedelta(seconds=AHEAD_SECONDS):
        return f"claims to be of {approval.at}, and was recorded {decision.at}: a clock is wrong"
    if approval.ends > approval.begins + timedelta(seconds=rule.expires_seconds):
        return f"wants to count until {approval.expires}, longer than the plan lets it"
    return ""


def _who(
    rule: PlannedApproval, decision: Decision, revoked: set[str], bad: str
) -> tuple[str, Approver | None, str, str]:
    """Who counts, which approver of the plan that is, what it rests on, and why it counts for nothing."""
    asked = Known(rule.identity)
    if asked not in {Known.CLAIMED, decision.how}:
        return decision.by, None, f"{decision.how}", f"is {decision.how}, and the plan asks for {asked_for(rule)}"
    if decision.how is Known.SIGNED:
        return _signer(rule, decision, revoked, bad)
    if decision.how is Known.KUBERNETES:
        name, groups = str(decision.payload.get("user", "")), decision.payload.get("groups") or ()
        user = rule.user(name, tuple(str(one) for one in groups))
        proof = f"user {name} of {decision.payload.get('server', 'a cluster')}, as its API server said then"
        return user.name if user else name, user, proof, "" if user else "is by no approver of the plan"
    name = decision.by.partition(" on ")[0]
    approver = rule.named(name)
    void = "is by no approver of the plan" if rule.approvers and approver is None else ""
    return name, approver, "claimed: a name that anybody can give", void


def _signer(
    rule: PlannedApproval, decision: Decision, revoked: set[str], bad: str
) -> tuple[str, Approver | None, str, str]:
    try:
        key = key_of(str(decision.payload.get("signature", "")))
    except ValueError as error:
        return decision.by, None, "", f"is not signed: {error}"
    owner = rule.owner(key)
    proof = f"signed with {fingerprint(key)}"
    if owner is None:
        return decision.by, None, proof, f"is {proof}, which is no approver's key"
    if key in revoked:
        return owner.name, owner, proof, f"is {proof}, which was revoked"
    return owner.name, owner, proof, f"has a signature that is not good: {bad}" if bad else ""


def _owner(rule: PlannedApproval, decision: Decision) -> Approver | None:
    try:
        return rule.owner(key_of(str(decision.payload.get("signature", ""))))
    except ValueError:
        return None
