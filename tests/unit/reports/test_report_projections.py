"""What was projected just before the stop, against the downtime that it came to."""

from dataclasses import replace

import pytest

from kubeferry.life import events as ev
from kubeferry.life.projected import Part, Projected, Range
from kubeferry.model import Power
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html


def known(low: float, likely: float, high: float) -> Projected:
    whole = Range(low=low, likely=likely, high=high)
    return Projected(at="", parts=(Part(name="stop", seconds=whole, why="3 cutovers"),), downtime=whole)


def report_of(life, seen: Projected | None):
    """The report of its events, with what was projected at the beginning of its cutover."""
    told = {"projected": seen, "window": "nights"}
    records = [
        replace(one, event=one.event.model_copy(update=told)) if isinstance(one.event, ev.CutoverBegun) else one
        for one in life.records
    ]
    return build_report(life.plan, {life.entry.name: records}, generated_at=life.at())


@pytest.fixture
def moved(estate):
    return estate.life().begun().stopped().moved_bytes().observed().committed()


@pytest.fixture
def actual(moved) -> float:
    return report_of(moved, None).machines[0].downtime.seconds


def test_a_downtime_inside_its_range_is_scored(moved, actual) -> None:
    report = report_of(moved, known(actual / 2, actual * 0.8, actual * 2))
    found = report.machines[0].projection
    assert (found.inside, found.actual, found.window) == (True, actual, "nights")
    assert found.ratio == pytest.approx(1.25)
    assert (report.totals.scores.machines, report.totals.scores.inside) == (1, 1)
    assert "1 of 1 downtimes inside the range that was projected; in the middle 1.25" in render_markdown(report)
    assert found.text.endswith(": inside, 1.25 of what was likely")
    page = render_html(report)
    assert found.text in page
    assert "(window nights)" in page
    assert "Downtime as projected" in page


def test_one_outside_of_it_is_told_as_such(moved, actual) -> None:
    report = report_of(moved, known(0, actual / 4, actual / 2))
    assert report.machines[0].projection.inside is False
    assert (report.totals.scores.machines, report.totals.scores.inside) == (1, 0)


def test_what_was_not_known_is_not_scored(moved) -> None:
    report = report_of(moved, Projected(at="", parts=(Part(name="boot", why="no machine has moved yet"),)))
    found = report.machines[0].projection
    assert found.text == "just before the stop not all of it was known: not known: no machine has moved yet"
    assert found.inside is None
    assert report.totals.scores is None


def test_a_machine_that_went_back_has_no_downtime_to_score(estate) -> None:
    life = estate.life().begun().stopped().then(1, ev.RollbackBegun(reason="asked for"))
    life.then(3, ev.SourceRestarted()).then(0, ev.RolledBack())
    found = report_of(life, known(0, 1, 100)).machines[0].projection
    assert found.inside is None
    assert "not scored: from the last answer of the source to its own restart" in found.text


def test_a_cutover_of_an_earlier_version_was_not_projected(moved) -> None:
    report = report_of(moved, None)
    assert report.machines[0].projection is None
    assert "Projected" not in render_html(report)
    assert report.machines[0].power_before == Power.RUNNING
