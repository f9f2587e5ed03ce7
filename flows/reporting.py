"""Write the report of a plan, from the plan and the journal alone."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

from kubeferry import __version__
from kubeferry.documents import Config, Plan
from kubeferry.journal import Journal
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
    return build_report(plan, events, open_things=open_things, versions=_versions(), generated_at=generated_at)


def _versions() -> dict[str, str]:
    """Of what made this report; what moved the machines is in their events as far as it was recorded."""
    return {"kubeferry": __version__, "Python": platform.python_version()}
