"""A plan as a programme: its waves, how it went on, what went back and who decided; each from events alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import Wave, freeze
from kubeferry.life import events as ev
from reports.charts import burn_up, columns, projected
from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html
from reports.shapes import Bound, Downtime, Report, Step, Verdict
from tests.pages import Page, asks_elsewhere

NOON = datetime(2026, 7, 14, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"
AT = "2026-07-14T12:00:00.000+00:00"


@pytest.fixture
def programme(estate: Any) -> Any:
    """Two waves: one machine moved, one went back and moved later, one went back, one has not begun."""
    entries = [estate.entry(name) for name in ("db", "web", "crm", "wiki")]
    plan = estate.plan(*entries)
    waves = (Wave(name="wave-1", machines=("db", "web")), Wave(name="wave-2", machines=("crm", "wiki")))
    plan = freeze(plan.model_copy(update={"waves": waves}))
    lives = {name: estate.Life(plan, plan.entry(name)) for name in ("db", "web", "crm")}
    lives["db"].begun().stopped().moved_bytes().observed().committed()
    back(lives["web"].begun().stopped().moved_bytes(), "probe failed")
    lives["web"].begun().stopped().final(310 << 20).observed().committed()
    lives["crm"].now += timedelta(hours=2)
    back(lives["crm"].begun().stopped(), "its window ended")
    return plan, {name: life.records for name, life in lives.items()}


def back(life: Any, why: str) -> None:
    life.then(1, ev.RollbackBegun(reason=why))
    life.then(4, ev.SourceRestarted())
    life.then(1, ev.RolledBack())


def report_of(programme: Any, **more: Any) -> Report:
    return build_report(*programme, generated_at=AT, **more)


def test_a_wave_tells_what_became_of_its_machines(programme: Any) -> None:
    one, two = report_of(programme).waves
    assert one.verdicts == {Verdict.PROVEN: 2}
    assert two.verdicts == {Verdict.ROLLED_BACK: 1, Verdict.NOT_BEGUN: 1}
    assert (one.machines, two.machines) == (2, 2)
    assert one.begins_at is not None
    assert one.ends_at is not None
    assert one.begins_at < one.ends_at
    assert one.longest_downtime_machine in {"db", "web"}


def test_progress_rises_with_each_commit_and_marks_what_went_back(programme: Any) -> None:
    steps = report_of(programme).progress
    assert [(step.moved, step.went_back) for step in steps if not step.went_back] == [(1, 0), (2, 0)]
    assert sum(step.went_back for step in steps) == 2
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[-1].size_bytes == 2 << 30


def test_what_went_back_has_its_reason_and_what_came_later(programme: Any) -> None:
    crm, web = report_of(programme).rollbacks
    assert (crm.machine, crm.reason, crm.source, crm.moved_later) == ("crm", "its window ended", "started again", False)
    assert (web.machine, web.reason, web.moved_later) == ("web", "probe failed", True)


def test_a_rollback_that_is_not_at_its_end_claims_no_source(estate: Any) -> None:
    life = estate.life().begun().stopped().then(1, ev.RollbackBegun(reason="asked for"))
    report = build_report(life.plan, {"web": life.records}, generated_at=AT)
    assert [one.source for one in report.rollbacks] == ["not known to be back"]


def test_decisions_and_projections_are_shown_once_a_report_has_them(programme: Any) -> None:
    """Whoever brings them brings these words; what stands in them stays words."""
    said = SimpleNamespace(at=AT, what="approved", about="wave wave-1", by=EVIL, how="signed", proof="key", counts=True)
    told = SimpleNamespace(**vars(said), said="ticket 7", shown=(EVIL,))
    told_too = SimpleNamespace(**{**vars(told), "counts": False, "how": "claimed"})
    downtime = SimpleNamespace(low=60.0, likely=90.0, high=180.0)
    scores = {"db": (100.0, True), "web": (400.0, False)}

    class Scored:
        """A machine with its projection; all else is the machine's."""

        def __init__(self, machine: Any) -> None:
            self._machine = machine
            actual, inside = scores.get(machine.name, (None, None))
            self.projection = SimpleNamespace(downtime=downtime, actual=actual, inside=inside, text="", window="")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._machine, name)

    report = report_of(programme)
    known = {name: getattr(report, name) for name in type(report).model_fields}
    whole = SimpleNamespace(**(known | {"decisions": (told, told_too)}))
    whole.machines = tuple(map(Scored, report.machines))
    text = render_html(whole)  # type: ignore[arg-type]
    page = Page(text)
    assert {"decided", "projections"} <= set(page.ids)
    assert "1 of 2 lay within their range" in page.text
    assert page.text.count(EVIL) == 4
    assert list(asks_elsewhere(text, page)) == []


def test_the_page_and_json_hold_the_programme(programme: Any) -> None:
    report = report_of(programme)
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report
    page = Page(render_html(report))
    assert {"waves", "rollbacks"} <= set(page.ids)
    assert "its window ended" in page.text
    assert "its window ended" in render_markdown(report)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=60))
def test_each_measured_downtime_is_in_one_column(seconds: list[float | None]) -> None:
    found = columns(Downtime(seconds=one, bound=Bound.EXACT, text="") for one in seconds)
    assert sum(column.machines for column in found) == sum(one is not None for one in seconds)
    assert all(0 <= column.share <= 1 for column in found)
    assert not found or max(column.share for column in found) == 1
    assert not found or (found[0].machines and found[-1].machines)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=50), st.integers(1, 50))
def test_a_burn_up_lies_inside_its_chart(offsets: list[int], machines: int) -> None:
    days = [(NOON + timedelta(seconds=one)).isoformat() for one in sorted(offsets)]
    steps = [Step(at=at, moved=min(n, machines), size_bytes=0) for n, at in enumerate(days, 1)]
    drawn = str(burn_up(steps, machines))
    path = drawn.rpartition('d="')[2].partition('"')[0].split()
    numbers = [float(word[1:]) for word in path if word[0] in "HV"]
    assert all(0 <= number <= 1000 for number in numbers)
    assert "<title>" in drawn


def test_an_actual_beyond_the_range_is_drawn_inside_the_chart() -> None:
    drawn = str(projected(10, 30, 400, 400))
    assert 'class="outside" x="994.0"' in drawn
