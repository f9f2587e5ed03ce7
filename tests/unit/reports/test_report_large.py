"""The report of a plan of many: an index that can be picked from, and a page of each machine to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports import pages
from reports.facts import build_report
from reports.pages import html_pages, render_html, write_report
from reports.shapes import Report, Verdict
from tests.pages import Page, asks_elsewhere, dead_links, pages_in

MANY = 45
HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>{{ 7*7 }}"


@pytest.fixture
def one(estate: Any) -> Report:
    life = estate.life("web", disks=("vda",)).begun().stopped().moved_bytes().observed().committed()
    return build_report(life.plan, {life.entry.name: life.records}, generated_at="2026-07-14T10:00:00.000+00:00")


def many(one: Report, count: int) -> Report:
    """So many machines, each third of which failed; two of them have one name in two namespaces."""
    (machine,) = one.machines
    verdicts = [Verdict.FAILED if number % 3 == 0 else machine.verdict for number in range(1, count + 1)]
    machines = [
        machine.model_copy(
            update={
                "name": f"machine-{number}",
                "target_name": f"m-{number}",
                "wave": f"wave-{number % 2}",
                "owner": HOSTILE if number == 2 else "Ann",
                "verdict": verdict,
            }
        )
        for number, verdict in enumerate(verdicts, 1)
    ]
    machines[0] = machines[0].model_copy(update={"target_name": "m-2", "namespace": "other"})
    return one.model_copy(update={"machines": tuple(machines)})


def test_every_machine_has_a_page_and_every_link_leads_somewhere(one: Report, tmp_path: Path) -> None:
    write_report(many(one, MANY), tmp_path)
    made = pages_in(tmp_path)
    assert len(made) == 1 + MANY
    assert list(dead_links(tmp_path, made)) == []
    assert {"machines/m-2.demo.html", "machines/m-2.other.html", "machines/m-3.html"} <= made.keys()
    reached = {link for link in made["report.html"].links if link.startswith("machines/")}
    assert reached == made.keys() - {"report.html"}
    assert all("../report.html" in made[name].links for name in reached)


@pytest.mark.parametrize("count", [1, 2, 20, 21])
def test_a_small_plan_is_one_page_and_still_can_be_handed_on(one: Report, tmp_path: Path, count: int) -> None:
    opened = write_report(many(one, count), tmp_path)
    assert [path.name for path in opened] == ["report.html", "report.json", "report.md"]
    made = pages_in(tmp_path)
    assert list(dead_links(tmp_path, made)) == []
    inside = sum(tag == "article" for tag, _ in made["report.html"].tags)
    assert inside == (count if count <= pages.TOGETHER else 0)
    assert len(made) == 1 + (count if count > 1 else 0)


def test_what_failed_comes_first(one: Report) -> None:
    page = Page(render_html(many(one, MANY)))
    rows = [attributes for tag, attributes in page.tags if tag == "tbody" and "data-row" in attributes]
    told = [row["data-verdict"] for row in rows]
    assert told == ["failed"] * 15 + ["proven"] * 30


def test_the_list_is_there_without_the_script_and_the_policy_lets_no_other_one_run(one: Report) -> None:
    text = render_html(many(one, MANY))
    page = Page(text)
    assert all("hidden" not in attributes for tag, attributes in page.tags if "data-row" in attributes)
    (bar,) = [attributes for _, attributes in page.tags if attributes.get("class") == "filters"]
    assert "hidden" in bar, "what needs the script is shown by it"
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "script-src 'sha256-" in policy
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "<script" not in render_html(many(one, 20))


def test_hostile_words_stay_words_in_filters_and_rows(one: Report) -> None:
    for _, text in html_pages(many(one, MANY)):
        page = Page(text())
        assert list(asks_elsewhere(text(), page)) == []
        assert "alert(1)</script>" not in text().replace("&lt;/script&gt;", "")
    page = Page(render_html(many(one, MANY)))
    values = {attributes.get("data-owner") for _, attributes in page.tags if "data-row" in attributes}
    assert values == {HOSTILE, "Ann"}


def test_a_page_of_many_is_small_enough_to_open(one: Report) -> None:
    """500 machines: today's browsers lay out a megabyte in well under a second."""
    assert len(render_html(many(one, 500)).encode()) < 1_500_000
    (machine,) = one.machines
    assert len(pages.machine_page(one, machine).encode()) < 60_000


def test_pages_of_an_earlier_report_go_and_nothing_else(tmp_path: Path, one: Report) -> None:
    write_report(many(one, 30), tmp_path)
    (tmp_path / "machines" / "ours.html").write_text("somebody's")
    write_report(many(one, 4), tmp_path)
    assert len(list((tmp_path / "machines").iterdir())) == 5
    write_report(one, tmp_path)
    assert [path.name for path in (tmp_path / "machines").iterdir()] == ["ours.html"]
    (tmp_path / "machines" / "ours.html").unlink()
    write_report(many(one, 4), tmp_path)
    write_report(one, tmp_path)
    assert not (tmp_path / "machines").exists()


def test_pages_that_a_version_without_a_list_has_left_are_gone(tmp_path: Path, one: Report) -> None:
    parts = tmp_path / "report-machines"
    parts.mkdir()
    for name in ("00001-00100.html", "00101-00200.html"):
        (parts / name).write_text("old")
    write_report(one, tmp_path)
    assert not parts.exists()
