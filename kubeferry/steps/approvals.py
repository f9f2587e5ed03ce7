"""Whether machines are approved, asked of the journal, with each signature verified: before a run begins, before each
machine's cutover, and once more just before its source is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kubeferry.documents import Entry, Outline, OutlinedEntry, Plan, PlannedApproval
from kubeferry.documents.signers import NAMESPACE, allowed
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import EntryFacts
from kubeferry.life.approvals import Vote, counting, lacks, seals, votes
from kubeferry.life.decisions import Decision
from kubeferry.life.dry_runs import digest_of_machine
from kubeferry.life.events import Approved
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import UNTOUCHED
from kubeferry.outside import clock
from kubeferry.outside.signatures import wrong_with
from kubeferry.steps.work import Work


def verified(rule: PlannedApproval, plan: str, decisions: Sequence[Decision]) -> tuple[Vote, ...]:
    """The approvals among the decisions of a plan, their signatures verified. Raises ToolMissing without ssh-keygen,
    where there is a signature."""
    listed = allowed((one.name, key) for one in rule.approvers for key in one.keys)
    bad = {
        digest: wrong_with(text, signature, NAMESPACE, signer, listed)
        for digest, (text, signature, signer) in seals(rule, decisions).items()
    }
    return votes(rule, plan, decisions, bad)


def unapproved(
    plan: Plan | Outline, journal: Journal, machines: Iterable[str], dry_runs: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What each of these machines lacks of its approval at this moment; empty for one that lacks nothing. No machine
    where the plan asks for none. `dry_runs`: what would be done with them, where somebody looked."""
    if plan.approval is None:
        return {}
    entries = _entries(plan, machines)
    given = verified(plan.approval, plan.digest, journal.decisions(plan.digest))
    now = datetime.fromisoformat(journal.time())
    return {
        entry.name: lacks(plan.approval, given, entry, now, (dry_runs or {}).get(entry.name, "")) for entry in entries
    }


def _entries(plan: Plan | Outline, machines: Iterable[str]) -> Sequence[Entry | OutlinedEntry]:
    if isinstance(plan, Plan):
        return [plan.entry(name) for name in machines]
    wanted = frozenset(machines)
    return [entry for entry in plan.entries if entry.name in wanted]


def facts_without(work: Work) -> EntryFacts:
    """What the choice of the next action depends on, but for the approval."""
    keeps_running, deltas = work.target.capabilities.keeps_running, work.source.capabilities.live_deltas
    facts = EntryFacts.of(work.plan, work.entry, keeps_running=keeps_running, deltas=deltas, now=clock.now())
    return replace(facts, hooks_again=work.patient)


def unapproved_now(work: Work, facts: EntryFacts, state: MachineState) -> str:
    """What a machine lacks of its approval; nothing any more once its stop was asked for, or may have been."""
    begun = state.source_off or state.stop_asked
    asked = state.resumes in UNTOUCHED or (state.resumes is Phase.CUTTING_OVER and not begun)
    if work.plan.approval is None or not asked:
        return ""
    name = work.entry.name
    return unapproved(work.plan, work.journal, (name,), {name: digest_of_machine(facts, work.entry)})[name]


def record_approval(work: Work, state: MachineState) -> None:
    """Write into the machine's own line on whose word its cutover begins: by the digests of the plan's decisions."""
    if work.plan.approval is None or state.resumes not in UNTOUCHED:
        return
    given = verified(work.plan.approval, work.plan.digest, work.journal.decisions(work.plan.digest))
    now = datetime.fromisoformat(work.journal.time())
    found = counting(given, work.entry, now, digest_of_machine(facts_without(work), work.entry))
    decisions = tuple(vote.decision.digest for vote in found)
    if found and (state.approved is None or state.approved.decisions != decisions):
        by = ", ".join(f"{vote.person} ({vote.decision.how})" for vote in found)
        work.record(Approved(by=by, note="; ".join(vote.proof for vote in found), decisions=decisions))


def command(plan: Plan | Outline, machine: str, given: str = "") -> str:
    """What is typed to approve the wave of a machine. The plan as it was `given`; else by its digest, by which a
    journal knows it that has run it."""
    wave = next(one.name for one in plan.waves if machine in one.machines)
    key = " --key KEY" if plan.approval and plan.approval.identity == "signed" else ""
    return f"kubeferry approve {given or f'--plan {plan.digest[:12]}'} --wave {wave}{key}"


def fix(plan: Plan | Outline, machine: str) -> str:
    """What to do about a machine that is not approved."""
    return f"Have it approved: `{command(plan, machine)}`. Then run the same command again."
