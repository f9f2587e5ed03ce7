"""A report as files: one HTML page that needs nothing else, JSON, Markdown.

The page holds no script and asks for nothing: styles, charts and pictures are inside it, and its own policy forbids
the rest. Every text goes through Jinja's escaping.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from kubeferry.errors import TargetRefused
from kubeferry.model import Fate, Severity
from kubeferry.outside import atomic
from reports import charts, wording
from reports.markdown import render_markdown
from reports.picture import embed
from reports.shapes import PartName, Report, Verdict
from reports.timeline import LABELS


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=wording.size,
        rate=wording.rate,
        duration=wording.duration,
        moment=wording.moment,
        clock=wording.clock,
    )
    environment.globals.update(
        strip=charts.strip,
        step_bar=charts.step_bar,
        shared_scale=charts.shared_scale,
        count=wording.count,
        labels=LABELS,
        Part=PartName,
        Fate=Fate,
        Severity=Severity,
        Verdict=Verdict,
    )
    return environment


def render_html(report: Report) -> str:
    """The whole page, with the screenshots that the report holds."""
    shown = {machine.name: embed(machine.boot.screenshot) for machine in report.machines if machine.boot}
    pictures = {name: picture for name, picture in shown.items() if picture}
    return _environment().get_template("report.html").render(report=report, pictures=pictures)


def render_json(report: Report) -> str:
    """The report as it is, `camelCase`; `Report.model_validate_json` reads it back."""
    return report.model_dump_json(by_alias=True, indent=1) + "\n"


def write_report(report: Report, out_dir: Path) -> list[Path]:
    """Write report.html, report.json and report.md; a reader finds an old file or a new one, never a part.

    Raises TargetRefused when the folder cannot be written.
    """
    pages = {"html": render_html(report), "json": render_json(report), "md": render_markdown(report)}
    written = []
    for suffix, text in pages.items():
        path = out_dir / f"report.{suffix}"
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
            atomic.replace_text(path, text)
        except OSError as error:
            raise TargetRefused(
                f"{path} cannot be written",
                why=error.strerror or str(error),
                fix="Name a folder that can be written with --out.",
            ) from error
        written.append(path)
    return written
