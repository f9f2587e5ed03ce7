"""Figures for Prometheus: what is counted, and how it is written; read back by Prometheus' own parser."""

from __future__ import annotations

import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from flows.metrics.collecting import Collector
from flows.metrics.exposition import OPEN_TYPE, Family, Sample, render
from flows.metrics.listening import listening, place_of
from flows.metrics.tallies import seconds, tally
from flows.setup.manifests import alerts
from kubeferry.documents import JournalConfig
from kubeferry.errors import InputInvalid
from kubeferry.journal import Journal, Owner
from kubeferry.life import events as ev
from kubeferry.model import Power
from tests.lives import a_plan, failed, goes_back, moves, recorded

ROOT = Path(__file__).resolve().parents[4]
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path}/journal.db")) as opened:
        yield opened


def figures(text: str) -> Figures:
    """As Prometheus reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in plain_families(text)
        for sample in family.samples
    }


def of(found: Figures, name: str, **labels: str) -> float:
    return found[f"kubeferry_{name}", tuple(sorted(labels.items()))]


ROUND = (
    ev.CopyBegun(round=1, final=False),
    ev.DiskCopied(disk="vda", round=1, root="r", algorithm="blake3", written_bytes=4096),
    ev.Synced(round=1, data_bytes=4096),
)
STOPPED = (ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True), ev.StopAsked())


def test_each_series_is_what_the_journal_says(journal: Journal) -> None:
    plan = a_plan("a", "b", "c", "d", "e")
    wave = plan.waves[0].name
    journal.keep_plan(plan)
    moves(journal, plan, "a")
    goes_back(journal, plan, "b")
    with journal.lease(plan.digest, "c") as lease:
        for event in (ev.Planned(plan_digest=plan.digest, disks=("vda",)), *ROUND):
            journal.append(lease, event)
    recorded(journal, plan, "d", *STOPPED)
    begun = next(one for one in journal.events(plan.digest, "c") if isinstance(one.event, ev.CopyBegun)).at
    stopped = journal.events(plan.digest, "d")[-1].at
    journal.acquire(plan.digest, "d", owner=Owner("elsewhere", 1, 1, "there"), ttl_seconds=-1)
    now = (seconds(stopped) or 0) + 100
    found = figures(render(Collector(journal).collect(now)))
    where = {"plan": "programme", "wave": wave}
    states = {"committed": 1, "rolled-back": 1, "synced": 1, "cutting-over": 1, "planned": 1, "failed": 0}
    assert {state: of(found, "machines", state=state, **where) for state in states} == states
    assert of(found, "sync_age_seconds", **where) == pytest.approx(now - (seconds(begun) or 0))
    assert of(found, "delta_bytes", **where) == 4096
    assert of(found, "copied_bytes_total", **where) == 4096
    assert of(found, "cutover_in_progress_seconds", machine="d", **where) == pytest.approx(100)
    assert of(found, "rollbacks_total", reason="asked", **where) == 1
    assert of(found, "downtime_seconds_count", part="total", **where) == 1
    assert of(found, "leases_expired", plan="programme") == 1
    named = [labels for _, labels in found if "machine" in dict(labels)]
    assert len(named) == 1, "no machine is named but one whose source is off"


def test_what_has_grown_is_read_and_nothing_else(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = a_plan("a", "b", "c")
    journal.keep_plan(plan)
    for name in ("a", "b", "c"):
        goes_back(journal, plan, name)
    collector = Collector(journal)
    first = figures(render(collector.collect(0)))
    read: list[str] = []
    events = journal.events
    monkeypatch.setattr(journal, "events", lambda plan, machine: read.append(machine) or events(plan, machine))
    monkeypatch.setattr(journal, "histories", lambda _: pytest.fail("all of it was read"))
    assert figures(render(collector.collect(0))) == first
    goes_back(journal, plan, "b")
    read.clear()
    again = figures(render(collector.collect(0)))
    assert read == ["b"]
    assert of(again, "rollbacks_total", plan="programme", wave=plan.waves[0].name, reason="asked") == 4


def test_a_plan_that_was_made_anew_counts_each_machine_once(journal: Journal) -> None:
    old, new = a_plan("a", "b"), a_plan("a", "b", "c")
    for plan in (old, new):
        journal.keep_plan(plan)
    moves(journal, old, "a")
    recorded(journal, new, "a")
    recorded(journal, new, "b")
    found = figures(render(Collector(journal).collect(0)))
    where = {"plan": "programme", "wave": new.waves[0].name}
    assert of(found, "machines", state="committed", **where) == 1
    assert of(found, "machines", state="planned", **where) == 2


def test_a_machine_whose_events_are_damaged_costs_no_other(journal: Journal) -> None:
    plan = a_plan("a", "b")
    journal.keep_plan(plan)
    goes_back(journal, plan, "a")
    goes_back(journal, plan, "b")
    with journal._writing() as db:
        db.exec_driver_sql("DROP TRIGGER kubeferry_event_no_update")
        db.exec_driver_sql("UPDATE kubeferry_event SET payload = '{}' WHERE machine = 'a' AND seq = 2")
    collector = Collector(journal)
    for _ in range(2):
        found = figures(render(collector.collect(0)))
        assert of(found, "machines", plan="programme", wave=plan.waves[0].name, state="rolled-back") == 1
        assert of(found, "unreadable", plan="programme") == 1


def test_reasons_are_few(journal: Journal) -> None:
    plan = a_plan("a")
    journal.keep_plan(plan)
    begun = ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True)
    for error in ("ProbeFailed", "SourceGone", "TargetRefused", "IntegrityFailed", "SomethingNew"):
        broken = ev.Failed(at="x", what="w", error_type=error)
        recorded(journal, plan, "a", begun, broken, ev.RollbackBegun(reason=f"{error} 123"), ev.RolledBack())
    told = tally(journal.events(plan.digest, "a"))
    assert told.rollbacks == dict.fromkeys(("probe", "source", "target", "integrity", "other"), 1)
    assert tally([]).touched is False


def test_a_machine_that_failed_with_its_source_off_still_counts(journal: Journal) -> None:
    plan = a_plan("a")
    journal.keep_plan(plan)
    recorded(journal, plan, "a", *STOPPED, ev.SourceStopped(how="acpi", at="2026-01-01T00:00:00Z"), failed())
    assert tally(journal.events(plan.digest, "a")).off_since is not None
    recorded(journal, plan, "a", ev.RollbackBegun(reason="r"), ev.SourceRestarted(), ev.RolledBack())
    assert tally(journal.events(plan.digest, "a")).off_since is None


@given(st.text(max_size=300), st.floats())
def test_whatever_a_name_holds_is_one_label(name: str, value: float) -> None:
    name = name.encode("utf-8", "replace").decode()
    family = Family("x", "gauge", 'about "it"\n\\', (Sample({"plan": name, "wave": 'a"},b{'}, value),))
    for text, read in ((render([family]), plain_families), (render([family], open_metrics=True), open_families)):
        (found,) = read(text)
        (sample,) = found.samples
        assert sample.labels["wave"] == 'a"},b{'
        assert sample.labels["plan"] == name.replace("\r", " ")[:200]
        assert sample.value == value or value != value  # noqa: PLR0124 (it is no number)


def test_both_formats_are_understood(journal: Journal) -> None:
    plan = a_plan("a", "b")
    journal.keep_plan(plan)
    moves(journal, plan, "a")
    goes_back(journal, plan, "b")
    collected = Collector(journal).collect()
    plain = {family.name: family.type for family in plain_families(render(collected))}
    other = {family.name: family.type for family in open_families(render(collected, open_metrics=True))}
    assert plain == other
    assert plain["kubeferry_copied_bytes"] == "counter"
    assert plain["kubeferry_downtime_seconds"] == "summary"


# --- by HTTP ----------------------------------------------------------------------------------------------------------


def ask(url: str, **headers: str) -> tuple[int, str, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 (our own)
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", error.read().decode()


def test_it_is_scraped(journal: Journal, tmp_path: Path) -> None:
    plan = a_plan("a")
    journal.keep_plan(plan)
    with listening(Collector(journal), "127.0.0.1", 0) as url:
        status, kind, text = ask(url)
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert of(figures(text), "machines", plan="programme", wave=plan.waves[0].name, state="planned") == 1
        status, kind, text = ask(url, Accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
        assert (status, kind) == (200, OPEN_TYPE)
        assert text.endswith("# EOF\n")
        assert ask(url.replace("/metrics", "/healthz"))[::2] == (200, "ok\n")
        assert ask(url.replace("/metrics", "/etc/passwd"))[0] == 404
        moves(journal, plan, "a")
        assert of(figures(ask(url)[2]), "machines", plan="programme", wave=plan.waves[0].name, state="committed") == 1
        with journal._writing() as db:
            db.exec_driver_sql("ALTER TABLE kubeferry_plan RENAME TO gone")
        assert ask(url)[0] == 503


def test_a_place_that_is_taken_or_none_is_refused(journal: Journal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(InputInvalid, match="cannot be listened"),
            listening(Collector(journal), "127.0.0.1", taken.getsockname()[1]),
        ):
            pass
    for text in ("9469", "host:", ":1", "host:x", "host:99999", ""):
        with pytest.raises(InputInvalid, match="is no place"):
            place_of(text)
    assert place_of("[::1]:9469") == ("::1", 9469)


def test_a_textfile_is_there_whole(
    kubeferry: Callable[..., tuple[int, str, str]], printed_json: Callable[..., Any], estate: Path
) -> None:
    kubeferry("discover")
    kubeferry("plan", "inventory.yaml")
    told = printed_json("metrics", "--textfile", "ferry.prom", "--json")
    assert told["written"] == "ferry.prom"
    assert figures((estate / "ferry.prom").read_text()) == {}
    assert kubeferry("metrics", "--textfile", "ferry.prom", "--listen", "127.0.0.1:1")[0] == 2
    assert kubeferry("metrics", "--textfile", "nowhere/ferry.prom")[0] != 0


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_the_rules_are_over_series_that_there_are(journal: Journal) -> None:
    rules = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == ["KubeferrySourceOffTooLong", "KubeferrySyncTooOld"]
    known = {family.name for family in Collector(journal).collect()}
    for rule in rules:
        words = {word.strip("()") for word in rule["expr"].split() if "kubeferry_" in word}
        assert words
        assert words <= known
    assert yaml.safe_load(alerts())["spec"]["groups"][0]["rules"] == rules


@pytest.mark.skipif(shutil.which("promtool") is None, reason="missing: promtool, which CI has not either")
def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """Prometheus' own tool says so, where it is installed."""
    from kubeferry.outside.process import run

    where = 'plan="p", wave="w"'
    series = [
        {"series": f'kubeferry_cutover_in_progress_seconds{{{where}, machine="a"}}', "values": "600x3"},
        {"series": f'kubeferry_downtime_budget_seconds{{{where}, machine="a"}}', "values": "300x3"},
        {"series": f'kubeferry_cutover_in_progress_seconds{{{where}, machine="b"}}', "values": "5000x3"},
        {"series": f'kubeferry_downtime_budget_seconds{{{where}, machine="b"}}', "values": "9000x3"},
        {"series": f'kubeferry_cutover_in_progress_seconds{{{where}, machine="c"}}', "values": "4000x3"},
        {"series": f'kubeferry_cutover_in_progress_seconds{{{where}, machine="d"}}', "values": "100x3"},
    ]
    expected = [
        {"exp_labels": {"plan": "p", "wave": "w", "machine": name, "severity": "critical"}} for name in ("a", "c")
    ]
    test = {
        "rule_files": [str(ROOT / "deploy/alerts.yaml")],
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertname="KubeferrySourceOffTooLong"}',
                        "eval_time": "1m",
                        "exp_samples": [
                            {
                                "labels": 'ALERTS{alertname="KubeferrySourceOffTooLong", alertstate="firing", '
                                + ", ".join(f'{key}="{value}"' for key, value in one["exp_labels"].items())
                                + "}",
                                "value": 1,
                            }
                            for one in expected
                        ],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    assert run(["promtool", "test", "rules", str(tmp_path / "test.yaml")], check=False).code == 0
