"""The HTML page: escaping, self-containment, what stands first, what is said where nothing was seen."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kubeferry.inside.said import Said
from kubeferry.life.events import Failed, LastWords
from kubeferry.model import Carried, Fate
from reports.facts import build_report
from reports.pages import render_html, render_json
from reports.shapes import Report
from tests.pages import Page

SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"\"'><img src=x onerror=alert(1)>{SCRIPT}{{{{ 7*7 }}}}"


def reported(life: Any, **more: Any) -> Report:
    return build_report(
        life.plan, {life.entry.name: life.records}, generated_at="2026-07-14T10:00:00.000+00:00", **more
    )


@pytest.fixture
def proven(estate: Any) -> Any:
    return estate.life("web", disks=("vda", "vdb")).begun().stopped().moved_bytes().observed().committed()


def test_the_verdict_comes_before_everything_else(proven: Any) -> None:
    page = Page(render_html(reported(proven)))
    text = page.text
    assert text.index("Proven") < text.index("Machines proven") < text.index("Longest downtime") < text.index("Disks\n")
    assert next(tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)) == "h1"
    assert sum(tag == "h1" for tag, _ in page.tags) == 1


def test_a_page_that_is_not_proven_says_so_and_why(estate: Any) -> None:
    life = estate.life("web").begun().stopped().moved_bytes()
    page = Page(render_html(reported(life)))
    assert "Not proven" in page.text
    assert "under way" in page.text
    assert "✓ passed" not in page.text
    assert "Not seen: no probe was asked; the plan has 3 probes." in page.text


@pytest.mark.parametrize("steps", ["", "begun", "begun stopped", "begun stopped moved_bytes"])
def test_every_stage_of_a_life_makes_a_whole_page(estate: Any, steps: str) -> None:
    life = estate.life("web")
    for step in steps.split():
        getattr(life, step)()
    Page(render_html(reported(life)))


def test_a_plan_without_machines_makes_a_whole_page(estate: Any) -> None:
    plan = estate.plan(excluded={"old": "the policy leaves it out"})
    report = build_report(plan, {}, generated_at="2026-07-14T10:00:00+00:00")
    page = Page(render_html(report))
    assert "Not proven" in page.text
    assert "the policy leaves it out" in page.text


def test_hostile_text_stays_text(estate: Any) -> None:
    fate = Carried(field=HOSTILE, fate=Fate.LOST, source=HOSTILE, target=HOSTILE, reason=HOSTILE)
    probe = estate.SEEN[0].model_copy(update={"what": HOSTILE, "evidence": HOSTILE, "kind": HOSTILE})
    life = estate.life(HOSTILE, carried=(fate, fate.model_copy(update={"fate": Fate.CHANGED})))
    life.begun().stopped().moved_bytes()
    life.observed((probe,), console_tail=HOSTILE, guest={HOSTILE: HOSTILE}, where=HOSTILE, not_shown=(HOSTILE,))
    html = render_html(reported(life, versions={HOSTILE: HOSTILE}))
    page = Page(html)
    assert "<script" not in html
    assert "{{ 7*7 }}" in page.text
    assert all(tag not in {"script", "iframe", "object", "embed", "link", "base", "form"} for tag, _ in page.tags)
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert [
        a["src"] for tag, a in page.tags if tag == "img" and not (a["src"] or "").startswith("data:image/png")
    ] == []
    assert page.text.count(SCRIPT) >= 8


def test_control_characters_do_not_reach_the_page(estate: Any) -> None:
    life = estate.life("web").begun().stopped().moved_bytes().observed(console_tail="a\x1b[2Jb\u202ec\x00d\ud800e")
    html = render_html(reported(life))
    html.encode("utf-8")
    assert not re.search("[\x00\x1b\u202e]", html)


def test_the_page_asks_for_nothing_from_elsewhere(proven: Any) -> None:
    html = render_html(reported(proven))
    page = Page(html)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    style = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in html
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_links_and_labels_lead_to_elements_that_exist(proven: Any) -> None:
    page = Page(render_html(reported(proven)))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        href, label = attributes.get("href") or "", attributes.get("aria-labelledby")
        assert not href.startswith("#") or href[1:] in ids
        assert label is None or label in ids


def test_tables_and_pictures_can_be_read_out(proven: Any) -> None:
    page = Page(render_html(reported(proven)))
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in page.tags if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(a.get("role") == "img" or a.get("aria-hidden") == "true" for tag, a in page.tags if tag == "svg")


def test_pictures_come_from_the_journal(estate: Any) -> None:
    held = estate.png_uri(estate.png(16, 9))
    life = estate.life("web").begun().stopped().moved_bytes().observed(screenshot=held)
    assert held in render_html(reported(life))
    assert 'width="16" height="9"' in render_html(reported(life))


@pytest.mark.parametrize(
    "found",
    [
        None,
        "machines/web/evidence/screenshot.png",
        "https://example.org/x.png",
        "javascript:alert(1)",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:text/html;base64,PGI+",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,AAAA",
        'data:image/png;base64,AAAA" onerror="alert(1)',
    ],
)
def test_what_is_no_picture_is_not_embedded(estate: Any, found: str | None) -> None:
    life = estate.life("web").begun().stopped().moved_bytes().observed(screenshot=found)
    page = Page(render_html(reported(life)))
    assert not any(tag == "img" for tag, _ in page.tags)
    assert "Screen not seen" in page.text


def test_bars_lie_inside_their_chart_and_cover_it(proven: Any) -> None:
    html = render_html(reported(proven))
    strip = re.search(r'<svg class="strip".*?</svg>', html, re.DOTALL)
    assert strip
    bars = [(float(x), float(w)) for x, w in re.findall(r'x="([\d.]+)" y="0" width="([\d.]+)"', strip[0])]
    assert bars[0][0] == 0
    assert all(x >= 0 and x + w <= 1000.2 for x, w in bars)
    assert bars[-1][0] + bars[-1][1] == pytest.approx(1000, abs=3)


def test_json_reads_back_as_the_same_report(proven: Any) -> None:
    report = reported(proven, versions={"kubeferry": "0.1.0"})
    text = render_json(report)
    assert Report.model_validate_json(text) == report
    assert '"plannedAt"' in text


def test_a_failure_is_shown_with_its_fix(estate: Any) -> None:
    life = estate.life("web").begun().stopped()
    life.then(1, Failed(at="copy-disks", what="the target disk is full", why="1 GiB left", fix="Make room."))
    text = Page(render_html(reported(life))).text
    assert "the target disk is full" in text
    assert "Make room." in text


def test_what_the_system_said_before_and_after_stands_beside_each_other(estate: Any) -> None:
    before = Said(hostname="web", time_zone="CET, UTC+01:00", services={HOSTILE[:20]: "active"})
    life = estate.life().begun()
    life.then(0.5, LastWords(at=life.at(), said=before))
    life.stopped().moved_bytes().observed(said=Said(hostname="web", time_zone="UTC, UTC+00:00")).committed()
    report = reported(life)
    outcomes = {one.what: one.outcome for one in report.machines[0].boot.compared}
    assert outcomes["host name"] == "same"
    assert outcomes["time zone"] == "changed"
    text = Page(render_html(report)).text
    assert "2 of 3 things differ, or are not known" in text
    assert text.index("CET, UTC+01:00") < text.index("UTC, UTC+00:00")


def test_a_system_that_was_not_heard_at_both_ends_is_not_compared(proven: Any) -> None:
    report = reported(proven)
    assert report.machines[0].boot.compared == ()
    assert "The system before and after" not in render_html(report)
