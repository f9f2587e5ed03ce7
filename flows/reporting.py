"""Write the report of a plan, from the plan and the journal alone."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

from kubeferry import __version__
from kubeferry.documents import Config, Plan
from kubeferry.errors import ToolMissing
from kubeferry.journal import Journal
from kubeferry.life.approvals import Vote, votes
from kubeferry.life.decisions import Decision
from kubeferry.steps.approvals import verified
from reports.decisions import decision_reports
from reports.facts import build_report
from reports.pages import write_report
from reports.shapes import Report


def write(plan: Plan, settings: Config, out: Path, *, generated_at: str) -> tuple[str, list[Path]]:
    """The verdict as a sentence, and the files that were written to `out`.

    Raises InputInvalid or IntegrityFailed for a journal that cannot be trusted, TargetRefused for a folder that cannot
    be written.
    """
    report = built(plan, settings, generated_at=generated_at)
    return report.sentence, write_report(report, out)


def built(plan: Plan, settings: Config, *, generated_at: str) -> Report:
    """The report itself. Raises InputInvalid or IntegrityFailed for a journal that cannot be trusted."""
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        histories = journal.histories(plan.digest)
        events = {entry.name: histories.get(entry.name, []) for entry in plan.entries}
        open_things = journal.ledger_open(plan.digest)
        decisions = journal.decisions(plan.digest)
    return build_report(
        plan,
        events,
        open_things=open_things,
        decisions=decision_reports(decisions, _votes(plan, decisions)),
        versions=_versions(),
        generated_at=generated_at,
    )


def _votes(plan: Plan, decisions: list[Decision]) -> tuple[Vote, ...]:
    """The approvals, their signatures verified now; where that cannot be done, none of them counts, which is told."""
    if plan.approval is None:
        return ()
    try:
        return verified(plan.approval, plan.digest, decisions)
    except ToolMissing:
        return votes(plan.approval, plan.digest, decisions, {})


def _versions() -> dict[str, str]:
    """Of what made this report; what moved the machines is in their events as far as it was recorded."""
    return {"kubeferry": __version__, "Python": platform.python_version()}
