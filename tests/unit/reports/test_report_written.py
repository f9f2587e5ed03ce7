"""The report's files, from a real journal in SQLite: whole, in place, and the same wherever they are made."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from flows.reporting import write
from kubeferry.documents import Config, JournalConfig, SourceConfig, TargetConfig, dump
from kubeferry.errors import TargetRefused
from kubeferry.journal import Journal
from reports.facts import build_report
from reports.pages import LIST, write_report

AT = "2026-07-14T10:00:00.000+00:00"


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return Config(
        sources={"lab": SourceConfig(kind="memory")},
        target=TargetConfig(kind="directory", path=str(tmp_path / "target")),
        journal=JournalConfig(url=f"sqlite:///{tmp_path}/journal.db"),
    )


def keep(life: Any, settings: Config) -> None:
    with Journal.open(settings.journal) as journal:
        journal.register_plan(life.plan.digest, life.plan.name, dump(life.plan))
        with journal.lease(life.plan.digest, life.entry.name) as lease:
            journal.intend(lease, "disk", "web-vda", "target/machines/web/disks/web-vda.img")
            for record in life.records:
                journal.append(lease, record.event)


def test_a_proven_machine_from_a_real_journal(estate: Any, settings: Config, tmp_path: Path) -> None:
    life = estate.life("web", disks=("vda", "vdb")).begun().stopped().moved_bytes().observed().committed()
    keep(life, settings)
    verdict, paths = write(life.plan, settings, tmp_path / "out", generated_at=AT)
    assert "proven" in verdict
    assert [path.name for path in paths] == ["report.html", "report.json", "report.md"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verdict"] == "proven"
    assert report["machines"][0]["name"] == "web"
    assert report["machines"][0]["verdict"] == "proven"
    assert {probe["kind"] for probe in report["machines"][0]["probes"]} == {"agent", "http", "counter"}
    assert report["openThings"][0]["name"] == "web-vda"
    assert report["versions"]["report: Python"].startswith("3.")


def test_nothing_recorded_is_nothing_proven(estate: Any, settings: Config, tmp_path: Path) -> None:
    life = estate.life("web")
    write(life.plan, settings, tmp_path / "out", generated_at=AT)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verdict"] == "not proven"
    assert report["machines"][0]["verdict"] == "not begun"


def test_the_same_plan_and_events_make_the_same_files(estate: Any, tmp_path: Path) -> None:
    life = estate.life("web").begun().stopped().moved_bytes().observed().committed()
    report = build_report(life.plan, {"web": life.records}, generated_at=AT)
    first = [path.read_bytes() for path in write_report(report, tmp_path / "a")]
    assert first == [path.read_bytes() for path in write_report(report, tmp_path / "b")]


def test_an_older_report_is_replaced_whole_and_nothing_is_left_over(estate: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "report.html").chmod(0o644)  # an earlier version left it to everybody
    life = estate.life("web")
    written = write_report(build_report(life.plan, {}, generated_at=AT), tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == [LIST, "report.html", "report.json", "report.md"]


def test_a_folder_that_cannot_be_written_is_said(estate: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    life = estate.life("web")
    with pytest.raises(TargetRefused, match="cannot be written") as refused:
        write_report(build_report(life.plan, {}, generated_at=AT), tmp_path / "file")
    assert "--out" in refused.value.fix
