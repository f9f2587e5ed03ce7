"""A report as files: an HTML page that needs nothing else, JSON, Markdown. Of a large plan the page holds the overview,
and what each machine's verdict rests on stands in pages of a hundred machines beside it.

The page holds no script and asks for nothing: styles, charts and pictures are inside it, and its own policy forbids
the rest. Every text goes through Jinja's escaping.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
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

TOGETHER = 200  # machines on one page; one of thousands is slow to open
PER_PART = 100
PARTS = "report-machines"
FEW = 20  # machines, among which nobody needs to pick

_PART = re.compile(r"\d{5,}-\d{5,}\.html")


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
    return _page("report.html", report, range(len(report.machines)), _here)


def html_pages(report: Report) -> Iterator[tuple[str, str]]:
    """The page, or the overview and its parts: each with its name below the report's folder."""
    count = len(report.machines)
    if count <= TOGETHER:
        yield "report.html", render_html(report)
        return
    yield "report.html", _page("report.html", report, range(0), _elsewhere(count))
    names = [_part_name(first, count) for first in range(0, count, PER_PART)]
    for number, name in enumerate(names):
        first = number * PER_PART
        around = {"before": names[number - 1] if number else "", "after": (*names, "")[number + 1]}
        there = range(first, min(first + PER_PART, count))
        yield f"{PARTS}/{name}", _page("part.html", report, there, _here, **around)


def _page(template: str, report: Report, there: range, place: Callable[[int], str], **more: str) -> str:
    """A page on which these machines are told of; `place` says where another one is, by its number from 1."""
    shown = [(at + 1, report.machines[at]) for at in there]
    screens = {machine.name: embed(machine.boot.screenshot) for _, machine in shown if machine.boot}
    for _, machine in shown:
        if machine.rehearsals:
            screens[f"{machine.name}, rehearsed"] = embed(machine.rehearsals[-1].screenshot)
    pictures = {name: picture for name, picture in screens.items() if picture}
    verdicts = Counter(machine.verdict for machine in report.machines) if len(report.machines) > FEW else {}
    given = {"report": report, "shown": shown, "pictures": pictures, "verdicts": verdicts, "place": place}
    return _environment().get_template(template).render(given | more)


def _here(number: int) -> str:
    return f"#machine-{number}"


def _elsewhere(count: int) -> Callable[[int], str]:
    return lambda number: f"{PARTS}/{_part_name((number - 1) // PER_PART * PER_PART, count)}#machine-{number}"


def _part_name(first: int, count: int) -> str:
    return f"{first + 1:05}-{min(first + PER_PART, count):05}.html"


def render_json(report: Report) -> str:
    """The report as it is, `camelCase`; `Report.model_validate_json` reads it back."""
    return report.model_dump_json(by_alias=True, indent=1) + "\n"


def write_report(report: Report, out_dir: Path) -> list[Path]:
    """Write report.html, report.json and report.md, and the parts of a large page; a reader finds an old file or a new
    one, never a part of it. They hold screens and consoles of guests, so they are for their owner alone. Returns those
    that are to be opened.

    Raises TargetRefused when the folder cannot be written.
    """
    texts = (("report.json", render_json(report)), ("report.md", render_markdown(report)))
    written = [_write(out_dir / name, text) for name, text in itertools.chain(html_pages(report), texts)]
    parts = out_dir / PARTS
    with contextlib.suppress(OSError):  # of an earlier report of more machines
        for old in parts.glob("*.html"):
            if _PART.fullmatch(old.name) and old not in written:
                old.unlink()
        parts.rmdir()  # only where nothing is left in it
    return [path for path in written if path.parent == out_dir]


def _write(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace_text(path, text, private=True)
    except OSError as error:
        raise TargetRefused(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            fix="Name a folder that can be written with --out.",
        ) from error
    return path
