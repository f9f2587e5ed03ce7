"""A report as files: HTML pages that need nothing else, JSON, Markdown. `report.html` is the whole of a small plan, and
the way to each machine of a larger one; each machine of several has a page of its own besides, to hand on.

A page asks for nothing: styles, charts and pictures are inside it, and its own policy forbids the rest (`environment`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment

from kubeferry.errors import TargetRefused
from kubeferry.outside import owned
from reports import charts
from reports.environment import environment
from reports.markdown import render_markdown
from reports.picture import embed
from reports.shapes import MachineReport, PartName, Report, Verdict
from reports.timeline import LABELS

TOGETHER = 20  # machines on one page; of more, each has a page and the first one leads there
FOLDED = 8  # lines of a list before the rest of it is folded
PAGES = "machines"
LIST = ".kubeferry-report.json"
V = Verdict
GRAVEST = (V.FAILED, V.NOT_PROVEN, V.ROLLED_BACK, V.REMOVED, V.UNDER_WAY, V.NOT_BEGUN, V.PROVEN)
_EARLIER = "report-machines"  # where versions before had pages of a hundred machines each


@cache
def _templates() -> Environment:
    made = environment().overlay()
    made.globals = dict(made.globals)
    made.globals.update(
        strip=charts.strip,
        step_bar=charts.step_bar,
        shared_scale=charts.shared_scale,
        burn_up=charts.burn_up,
        columns=charts.columns,
        column_bar=charts.column_bar,
        projected=charts.projected,
        labels=LABELS,
        Part=PartName,
        Verdict=Verdict,
        GRAVEST=GRAVEST,
        FOLDED=FOLDED,
    )
    return made


def render_html(report: Report) -> str:
    """`report.html`: the whole of a small plan, with the screenshots that it holds."""
    shown = gravest_first(report) if len(report.machines) <= TOGETHER else ()
    files = machine_files(report)
    place = _on_this_page if shown else lambda machine: f"{PAGES}/{files[machine.name]}"
    return _page("report.html", report, shown, place)


def machine_page(report: Report, machine: MachineReport) -> str:
    """One machine with all that its verdict rests on, to be handed on."""
    return _page("machine-page.html", report, (machine,), _on_this_page, machine=machine)


def html_pages(report: Report) -> Iterator[tuple[str, owned.Text]]:
    """Each page with its place below the report's folder, and the way to its text."""
    yield "report.html", partial(render_html, report)
    files = machine_files(report)
    for machine in report.machines if len(report.machines) > 1 else ():
        yield f"{PAGES}/{files[machine.name]}", partial(machine_page, report, machine)


def gravest_first(report: Report) -> tuple[MachineReport, ...]:
    """The machines, those that failed before those that are proven; else in the plan's order."""
    return tuple(sorted(report.machines, key=lambda machine: GRAVEST.index(machine.verdict)))


def machine_files(report: Report) -> dict[str, str]:
    """The file of each machine's page, by its name at the source: what it is called at the target, with its namespace
    where several are called so."""
    times = Counter(machine.target_name for machine in report.machines)
    return {
        one.name: f"{one.target_name}{'' if times[one.target_name] == 1 else f'.{one.namespace}'}.html"
        for one in report.machines
    }


def _page(
    template: str,
    report: Report,
    shown: Iterable[MachineReport],
    place: Callable[[MachineReport], str],
    **more: Any,
) -> str:
    """A page on which these machines are told of; `place` says where one is."""
    told = tuple(shown)
    screens = {machine.name: embed(machine.boot.screenshot) for machine in told if machine.boot}
    for machine in told:
        if machine.rehearsals:
            screens[f"{machine.name}, rehearsed"] = embed(machine.rehearsals[-1].screenshot)
    pictures = {name: picture for name, picture in screens.items() if picture}
    given: Mapping[str, Any] = {
        "report": report,
        "ordered": gravest_first(report) if template == "report.html" else (),
        "shown": told,
        "pictures": pictures,
        "place": place,
        "anchor": _anchor,
        "verdicts": Counter(machine.verdict for machine in report.machines),
        "decisions": getattr(report, "decisions", ()),
        "scored": [one for one in report.machines if _projected(one)],
        "filtered": len(report.machines) > TOGETHER,
        "files": machine_files(report) if template == "report.html" and len(report.machines) > 1 else {},
    }
    return _templates().get_template(template).render({**given, **more})


def _projected(machine: MachineReport) -> bool:
    """Whether a downtime was projected of it, where reports of this version tell such a thing."""
    return getattr(getattr(machine, "projection", None), "downtime", None) is not None


def _anchor(machine: MachineReport) -> str:
    return f"machine-{machine.namespace}.{machine.target_name}"


def _on_this_page(machine: MachineReport) -> str:
    return f"#{_anchor(machine)}"


def render_json(report: Report) -> str:
    """The report as it is, `camelCase`; `Report.model_validate_json` reads it back."""
    return report.model_dump_json(by_alias=True, indent=1) + "\n"


def write_report(report: Report, out_dir: Path) -> list[Path]:
    """Write report.html, report.json, report.md and the machines' pages; a reader finds an old file or a new one, never
    a part of it. They hold screens and consoles of guests, so they are for their owner alone. Those that an earlier
    report has left, and this one has not, are gone. Returns those that are to be opened.

    Raises TargetRefused when the folder cannot be written.
    """
    texts = dict(html_pages(report))
    texts |= {"report.json": partial(render_json, report), "report.md": partial(render_markdown, report)}
    try:
        owned.replace_files(out_dir, texts, LIST, unlisted=_earlier(out_dir), private=True)
    except OSError as error:
        raise TargetRefused(
            f"{out_dir} cannot be written",
            why=f"{error.filename}: {error.strerror}" if error.strerror and error.filename else str(error),
            fix="Name a folder that can be written with --out.",
        ) from error
    return [out_dir / name for name in ("report.html", "report.json", "report.md")]


def _earlier(out_dir: Path) -> list[str]:
    """Pages of versions before, which kept no list."""
    found = (out_dir / _EARLIER).glob("[0-9][0-9][0-9][0-9][0-9]*-[0-9]*.html")
    return [f"{_EARLIER}/{path.name}" for path in found]
