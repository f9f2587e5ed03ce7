"""Machines that were copied ahead: what is told of the rounds, and that their time is no downtime."""

from __future__ import annotations

from dataclasses import replace

from reports.facts import build_report
from reports.markdown import render_markdown
from reports.pages import render_html
from reports.shapes import Report, Verdict

MIB = 1 << 20


def report_of(life) -> Report:
    return build_report(life.plan, {life.entry.name: life.records}, generated_at=life.at())


def warm(estate):
    life = estate.life(disks=("vda", "vdb")).ahead(310 * MIB, 12 * MIB)
    return life.begun().stopped().final(2 * MIB).observed().committed()


def test_a_machine_that_was_moved_warm_is_proven_and_tells_its_rounds(estate):
    machine = report_of(warm(estate)).machines[0]
    assert machine.verdict is Verdict.PROVEN
    assert [(one.round, one.whole, one.data_bytes) for one in machine.rounds] == [
        (1, True, 620 * MIB),
        (2, False, 24 * MIB),
    ]
    assert {one.consistency for one in machine.rounds} == {"frozen"}
    assert machine.history == ()
    assert [disk.data_bytes for disk in machine.disks] == [310 * MIB] * 2
    assert all("since it was last written" in disk.result for disk in machine.disks)


def test_the_rounds_are_no_part_of_the_downtime(estate):
    ahead, cold = warm(estate), estate.life(disks=("vda", "vdb")).begun().stopped().moved_bytes().observed().committed()
    warm_report, cold_report = report_of(ahead).machines[0], report_of(cold).machines[0]
    assert warm_report.downtime.seconds < cold_report.downtime.seconds
    assert warm_report.timeline.begins_at > warm_report.rounds[-1].ends_at


def test_a_round_that_did_not_end_is_told(estate):
    life = estate.life().ahead(310 * MIB)
    begun = next(r.event for r in life.records if r.event.kind == "copy-begun")
    life.then(1, begun.model_copy(update={"round": 2})).then(1, begun.model_copy(update={"round": 3}))
    told = report_of(life).machines[0].history
    assert [one.what for one in told] == ["copy round 3 began in place of one that did not end"]


def test_what_a_cloud_charged_for_is_counted_over_all_rounds(estate):
    life = estate.life().ahead(310 * MIB, 12 * MIB).begun().stopped().final(2 * MIB).observed().committed()
    calls = {"GetSnapshotBlock": 1000, "ListSnapshotBlocks": 2}
    paid = [
        replace(r, event=r.event.model_copy(update={"calls": calls})) if r.event.kind == "disk-copied" else r
        for r in life.records
    ]
    report = build_report(life.plan, {life.entry.name: paid}, generated_at=life.at())
    (disk,) = report.machines[0].disks
    assert (disk.paid_calls, disk.paid_dollars) == (3006, 0.009)
    assert "3006 paid requests, about $0.0090 at the list price" in render_html(report)


def test_the_overview_tells_which_machines_were_moved_warm(estate):
    assert "warm, 2 rounds ahead" in render_html(report_of(warm(estate)))
    assert "warm," not in render_html(report_of(estate.life().committed()))


def test_the_pages_show_them(estate):
    report = report_of(warm(estate))
    page, text = render_html(report), render_markdown(report)
    assert "Copied ahead" in page
    assert "what changed, file systems frozen" in page
    assert "| 2 |" in text
    assert "what changed" in text
