"""Whether those who may approve are enough for what the policy asks for: as many, in each role, for each machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeferry.documents import Approver, Entry, PlannedApproval, Policy
from kubeferry.errors import Problem
from kubeferry.life.approvals import app_of, asked_for
from kubeferry.words import counted, first_of

SHOWN = 6


def approval_of(policy: Policy) -> PlannedApproval | None:
    """Who has to approve, as the plan freezes it."""
    if policy.approval is None:
        return None
    return PlannedApproval(**policy.approval.model_dump(), approvers=policy.approvers or ())


def approval_problems(policy: Policy) -> Iterator[Problem]:
    """What of the policy nobody could ever satisfy, or means nothing."""
    if policy.approvers and policy.approval is None:
        fix = "Set `approval`, with its identity and count, or remove `approvers`."
        yield Problem("policy approvers", "they are named, and no approval is asked for", fix)
    rule = approval_of(policy)
    if rule is None:
        return
    persons = [one for one in rule.approvers if _known(rule, one)]
    if missing := _lacking(rule, persons):
        yield Problem("policy approval", f"it asks for {asked_for(rule)}, and {missing}", _fix(rule))


def not_enough(rule: PlannedApproval | None, entries: Iterable[Entry]) -> list[Problem]:
    """Machines that no approvers may approve in the number that is asked for: each reason once."""
    found: dict[str, list[str]] = {}
    for entry in entries if rule else ():
        if rule is None or not rule.approvers:
            continue
        persons = [one for one in rule.approvers if _known(rule, one) and one.may(entry.name, app_of(entry))]
        if missing := _lacking(rule, persons):
            found.setdefault(missing, []).append(entry.name)
    return [
        Problem(f"policy approvers of {first_of(names, SHOWN)}", f"of those who may approve, {missing}", _fix(rule))
        for missing, names in found.items()
        if rule is not None
    ]


def _known(rule: PlannedApproval, one: Approver) -> bool:
    """Whether it can be known in the way that is asked for that it is he."""
    return bool({"claimed": (one.name,), "signed": one.keys, "kubernetes": one.users + one.groups}[rule.identity])


def _lacking(rule: PlannedApproval, persons: list[Approver]) -> str:
    """What those persons are too few for; empty where they are enough. A group has as many as are asked for."""
    if not rule.approvers and rule.identity == "claimed" and not rule.roles:
        return ""
    whole_group = rule.identity == "kubernetes" and any(one.groups for one in persons)
    if len(persons) < rule.count and not whole_group:
        what = {"claimed": "", "signed": " with a key", "kubernetes": " with a user or group of Kubernetes"}
        return f"{counted(len(persons), 'approver')}{what[rule.identity]} {'is' if len(persons) == 1 else 'are'} named"
    roles = [role for role in rule.roles if not any(role in one.roles for one in persons)]
    return f"none is asked as {' or as '.join(roles)}" if roles else ""


def _fix(rule: PlannedApproval | None) -> str:
    field = {"claimed": "name", "signed": "key", "kubernetes": "users"}[rule.identity if rule else "claimed"]
    return f"Name more in `approvers`, each with {field!r}, or ask for less."
