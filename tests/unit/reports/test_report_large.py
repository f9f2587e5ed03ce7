"""The report of a plan of thousands: an overview that can be picked from, and pages of a hundred machines beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reports import pages
from reports.facts import build_report
from reports.pages import html_pages, render_html, write_report
from reports.shapes import Report, Verdict

COUNT = 205


@pytest.fixture
def one(estate: Any) -> Report:
    life = estate.life("web", disks=("vda",)).begun().stopped().moved_bytes().observed().committed()
    return build_report(life.plan, {life.entry.name: life.records}, generated_at="2026-07-14T10:00:00.000+00:00")


def many(one: Report, count: int) -> Report:
    """So many machines, each third of which failed."""
    (machine,) = one.machines
    verdicts = [Verdict.FAILED if number % 3 == 0 else machine.verdict for number in range(1, count + 1)]
    machines = tuple(
        machine.model_copy(update={"name": f"machine-{number}", "verdict": verdict})
        for number, verdict in enumerate(verdicts, 1)
    )
    return one.model_copy(update={"machines": machines})


def test_every_machine_is_told_of_once_and_found_from_the_overview(one: Report) -> None:
    made = dict(html_pages(many(one, COUNT)))
    assert list(made) == [
        "report.html",
        "report-machines/00001-00100.html",
        "report-machines/00101-00200.html",
        "report-machines/00201-00205.html",
    ]
    links = re.findall(r'<th scope="row"><a href="([^"]+)">machine-(\d+)</a>', made["report.html"])
    assert [int(number) for _, number in links] == list(range(1, COUNT + 1))
    for link, number in links:
        page, _, place = link.partition("#")
        assert made[page].count(f'id="{place}"') == 1
        assert f'<h2 id="name-{number}">machine-{number}</h2>' in made[page]
    assert '<article class="machine"' not in made["report.html"]
    assert sum(text.count('<article class="machine"') for text in made.values()) == COUNT


def test_the_parts_lead_to_each_other_and_back(one: Report) -> None:
    made = dict(html_pages(many(one, COUNT)))
    for name, before, after in (
        ("00001-00100", "", "00101-00200"),
        ("00101-00200", "00001-00100", "00201-00205"),
        ("00201-00205", "00101-00200", ""),
    ):
        links = re.findall(r'<span><a href="([^"]+)">', made[f"report-machines/{name}.html"])
        assert links == ["../report.html", *(f"{one}.html" for one in (before, after) if one)]
        assert "script" not in made[f"report-machines/{name}.html"]
        assert "default-src 'none'" in made[f"report-machines/{name}.html"]


def test_machines_are_picked_by_their_verdict_without_a_script(one: Report) -> None:
    """Each row has the mark of its verdict, its reasons too; a few machines need none of it."""
    page = render_html(many(one, 30))
    assert re.findall(r'id="pick-(\d)"> (\d+) ([^<]+)<', page) == [("1", "20", "proven"), ("2", "10", "failed")]
    assert "#pick-2:checked) .overview tbody tr:not(.v-2) { display: none; }" in page
    rows = re.findall(r'<tr class="([^"]+)">', page.partition("</tbody>")[0])
    assert rows[:4] == ["v-1", "v-1", "v-2", "because v-2"]
    assert "pick-" not in render_html(many(one, 20))


def test_parts_of_an_earlier_report_go_and_nothing_else(tmp_path: Path, one: Report) -> None:
    parts = tmp_path / pages.PARTS
    opened = write_report(many(one, COUNT), tmp_path)
    assert [path.name for path in opened] == ["report.html", "report.json", "report.md"]
    assert len(list(parts.iterdir())) == 3
    write_report(many(one, COUNT + 100), tmp_path)
    assert len(list(parts.iterdir())) == 4
    (parts / "ours.html").write_text("somebody's")
    write_report(one, tmp_path)
    assert [path.name for path in parts.iterdir()] == ["ours.html"]
    (parts / "ours.html").unlink()
    write_report(one, tmp_path)
    assert not parts.exists()
