"""After the stop somebody acts: what may pass is tried until the deadline, then it leads back; who was killed is
succeeded (`kubeferry caretake`); what is validated is watched until its commit."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.caretaking import look_after
from flows.leaving import owed
from kubeferry.errors import (
    Deferred,
    OutOfTime,
    ProbeFailed,
    SourceRefused,
    SourceUnavailable,
    TargetUnavailable,
    TransientError,
)
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import Committed, CutoverBegun
from kubeferry.life.states import Phase
from kubeferry.model import Power
from kubeferry.outside import signatures
from kubeferry.sources.memory.source import MemorySource
from tests.clocks import Clock
from tests.needs import here
from tests.unit.flows.nights import Night, window

Command = Callable[..., tuple[int, str, str]]


def always(error: type[TransientError]) -> Callable[..., None]:
    def raises(*_given: Any, **_named: Any) -> None:
        raise error("it does not answer", machine="web")

    return raises


# --- what may pass ---------------------------------------------------------------------------------------------------


def test_what_may_pass_is_tried_after_the_stop_until_the_budget_is_used_up_and_then_leads_back(
    web: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    monkeypatch.setattr(MemorySource, "open_round", always(SourceUnavailable))
    outcome = web.run()
    assert isinstance(outcome.error, OutOfTime)
    assert "its downtime budget is used up" in outcome.error.why
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert 250 < sum(clock.waits) <= 300
    assert clock.waits[:4] == [2.0, 10.0, 30.0, 30.0]


def test_what_passes_in_time_costs_nothing_but_that_time(web: Night, clock: Clock) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    web.source.write_faults("open_round", *[SourceUnavailable] * 7)
    assert web.run().phase == "committed"
    assert sum(clock.waits) == 2 + 10 + 5 * 30


def test_without_a_budget_the_plans_patience_counts(web: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemorySource, "open_round", always(SourceUnavailable))
    outcome = web.run()
    assert isinstance(outcome.error, OutOfTime)
    assert "which is all the patience that the plan has" in outcome.error.why
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert 850 < sum(clock.waits) <= 900


def test_before_the_stop_a_few_tries_are_enough(web: Night, clock: Clock) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    web.source.write_faults("power", *[SourceUnavailable] * 9)
    outcome = web.run()
    assert isinstance(outcome.error, SourceUnavailable)
    assert clock.waits == [2.0, 10.0, 30.0]
    assert "stop-asked" not in web.kinds


def test_a_target_that_is_away_on_the_way_back_is_waited_for(
    web: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.target.answers["agent"] = False
    web.target.faults["stop"] = [TargetUnavailable("away", machine="web")] * 6
    assert isinstance(web.run().error, ProbeFailed)
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert sum(clock.waits) == 2 + 10 + 4 * 30


# --- the journal is away ---------------------------------------------------------------------------------------------


class Away(Journal):
    """A journal whose database does not answer from an event on, until the clock has come so far."""

    def __init__(self, whole: Journal, clock: Clock, until: float, after: str = "source-stopped") -> None:
        self.__dict__.update(whole.__dict__)
        self.clock, self.until, self.after, self.away = clock, until, after, False

    def _refuse(self) -> None:
        if self.away and self.clock.ahead < self.until:
            raise TransientError("the journal does not answer")

    def append(self, lease: Any, event: Any) -> Any:
        self._refuse()
        made = super().append(lease, event)
        self.away = self.away or event.kind == self.after
        return made

    def heartbeat(self, lease: Any) -> str:
        self._refuse()
        return super().heartbeat(lease)

    def standing(self, plan: str, machine: str) -> Any:
        self._refuse()
        return super().standing(plan, machine)


def test_a_cutover_waits_for_the_journal_and_ends_as_if_nothing_had_been(web: Night, clock: Clock) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    journal = Away(Journal.open(web.config.journal), clock, until=200)
    assert web.run(journal=journal).phase == "committed"
    assert web.power is Power.OFF


def test_where_the_journal_stays_away_it_goes_back_and_that_is_recorded_later(web: Night, clock: Clock) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    journal = Away(Journal.open(web.config.journal), clock, until=900)
    started: list[float] = []
    start = MemorySource.start

    def told(self: MemorySource, machine: Any) -> None:
        started.append(clock.ahead)
        start(self, machine)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemorySource, "start", told)
        outcome = web.run(journal=journal)
    assert isinstance(outcome.error, ProbeFailed)  # it was rolled back
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert started[0] <= 310  # long before the journal was there again
    assert web.kinds[-3:] == ["rollback-begun", "source-restarted", "rolled-back"]


@pytest.mark.parametrize(("until", "within"), [(200, 240), (900, 310)])
@pytest.mark.parametrize("after", ["source-stopped", "failed", "rollback-begun"])
def test_what_leads_back_while_the_journal_is_away_does_so_once_it_is_there_or_the_time_is_over(
    web: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch, after: str, until: float, within: float
) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    web.source.write_faults("open_round", SourceRefused)
    journal = Away(Journal.open(web.config.journal), clock, until, after)
    started: list[float] = []
    start = MemorySource.start

    def told(self: MemorySource, machine: Any) -> None:
        started.append(clock.ahead)
        start(self, machine)

    monkeypatch.setattr(MemorySource, "start", told)
    web.run(journal=journal)
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert started[0] <= within
    assert web.kinds[-3:] == ["rollback-begun", "source-restarted", "rolled-back"]


@pytest.mark.parametrize("until", [200, 900])
@pytest.mark.parametrize("after", ["failed", "rollback-begun"])
def test_those_that_move_as_one_come_back_all_the_same(shop: Night, clock: Clock, after: str, until: float) -> None:
    shop.planned("downtime: {budgetSeconds: 300, patienceSeconds: 120}\n")
    shop.source.write_faults("open_round", SourceRefused)
    shop.run(journal=Away(Journal.open(shop.config.journal), clock, until, after))
    found = {name: (shop.power_of(name), shop.state_of(name).phase) for name in shop.names}
    assert found == dict.fromkeys(shop.names, (Power.RUNNING, Phase.ROLLED_BACK))
    assert [shop.kinds_of(name).count("stop-asked") for name in shop.names] == [1, 1]


def test_who_is_on_its_way_back_while_the_journal_goes_away_comes_back_all_the_same(web: Night, clock: Clock) -> None:
    web.planned("downtime: {budgetSeconds: 300, patienceSeconds: 120}\n")
    web.target.answers["agent"] = False
    journal = Away(Journal.open(web.config.journal), clock, until=3600, after="rollback-begun")
    assert isinstance(web.run(journal=journal).error, ProbeFailed)
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert not web.target.running
    assert web.kinds.count("stop-asked") == 1


def test_who_finds_a_source_that_was_started_unrecorded_after_its_deadline_does_not_stop_it_again(
    web: Night, clock: Clock
) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    web.killed_after("source-stopped")
    clock.ahead = 400
    web.source.write_power("web", Power.RUNNING)
    web.run()
    assert web.power is Power.RUNNING
    assert web.state.phase is Phase.ROLLED_BACK
    assert web.kinds.count("stop-asked") == 1


# --- caretake --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stop-asked", "source-stopped", "copy-begun", "disk-verified", "applied", "started"])
def test_a_machine_whose_runner_was_killed_is_taken_up_and_moves(web: Night, kind: str) -> None:
    web.planned("downtime: {budgetSeconds: 3600}\n")
    web.killed_after(kind)
    assert web.state.stop_asked
    found = web.caretake()
    assert [(one["machine"], one["phase"]) for one in found["taken"]] == [("web", "committed")]
    assert found["code"] == 0
    assert web.power is Power.OFF
    assert web.caretake() == {
        "underWay": 0,
        "taken": [],
        "troubles": {},
        "alarms": [],
        "unanswered": [],
        "code": 0,
    }


@pytest.mark.parametrize("kind", ["stop-asked", "source-stopped", "copy-begun", "disk-verified", "applied", "started"])
def test_where_its_time_is_over_it_goes_back(web: Night, clock: Clock, kind: str) -> None:
    web.planned("downtime: {budgetSeconds: 600}\n")
    web.killed_after(kind)
    clock.ahead = 700
    found = web.caretake()
    assert [one["machine"] for one in found["taken"]] == ["web"]
    assert found["code"] == 0
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert "its downtime budget was used up" in web.state.rollback_reason
    assert not web.target.running


def test_a_look_alone_changes_nothing(web: Night) -> None:
    web.killed_after("source-stopped")
    before = web.kinds
    found = web.caretake("--dry-run")
    assert found["taken"] == [
        {"plan": web.plan.name, "machine": "web", "why": "its source is off, and nobody is at work on it"}
    ]
    assert web.kinds == before


def test_a_machine_that_is_not_stopped_yet_is_left_alone(web: Night) -> None:
    web.killed_after("cutover-begun")
    assert web.caretake()["taken"] == []
    assert web.power is Power.RUNNING


def test_a_look_waits_for_nobody_long_since_the_next_one_comes_soon(
    web: Night, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.target.answers["agent"] = False
    with monkeypatch.context() as patched:
        patched.setattr(MemorySource, "start", always(SourceUnavailable))
        assert isinstance(web.run().error, SourceUnavailable)
        clock.ahead += 61
        clock.waits.clear()
        found = web.caretake()
        assert (found["code"], found["taken"][0]["phase"]) == (1, "failed")
        assert clock.waits == [2.0, 10.0, 30.0]
    assert web.state.resumes is Phase.ROLLING_BACK
    clock.ahead += 3600
    assert web.caretake()["code"] == 0
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)


def test_what_another_plan_has_taken_back_since_is_not_stopped_again(web: Night) -> None:
    web.killed_after("source-stopped")
    web.planned("downtime: {budgetSeconds: 3000}\n")
    assert web.kubeferry("rollback", "plan.yaml", "-m", "web")[0] == 0
    assert web.power is Power.RUNNING
    assert web.caretake()["taken"] == []
    assert web.power is Power.RUNNING


def test_a_plan_whose_source_is_not_configured_keeps_no_other_one_waiting(web: Night) -> None:
    web.killed_after("source-stopped")
    text = (web.folder / "kubeferry.yaml").read_text()
    (web.folder / "kubeferry.yaml").write_text(text.replace("  lab: ", "  other: "))
    found = web.caretake()
    assert found["code"] == 1
    (trouble,) = found["troubles"].values()
    assert "its source 'lab' is not in the configuration" in trouble


# --- watched until its commit ----------------------------------------------------------------------------------------


def test_a_machine_is_watched_and_then_committed_by_the_timer(web: Night, clock: Clock, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 600, probeSeconds: 60}\n")
    assert web.run().phase == "validated"
    assert web.caretake()["taken"] == []
    asked = 0
    for _ in range(9):
        clock.ahead += 61
        assert [one["phase"] for one in web.caretake()["taken"]] == ["validated"]
        asked += 1
    assert web.kinds.count("watched") == asked
    clock.ahead += 120
    assert [one["phase"] for one in web.caretake()["taken"]] == ["committed"]
    assert web.power is Power.OFF


def test_a_probe_that_fails_while_it_is_watched_leads_back(web: Night, clock: Clock, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 600}\n")
    web.run()
    web.target.answers["agent"] = False
    clock.ahead += 61
    web.caretake()
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert "while it was watched: the target did not pass" in web.state.rollback_reason


def test_nobody_commits_it_and_it_goes_back_where_the_policy_says_so(web: Night, clock: Clock, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 600, then: rollback}\n")
    web.run()
    clock.ahead += 601
    web.caretake()
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert "nobody has committed it" in web.state.rollback_reason


def test_a_person_commits_it_and_that_stands_in_the_journal(web: Night, clock: Clock, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 600, then: wait}\n")
    web.run()
    clock.ahead += 6000
    web.caretake()
    assert web.state.phase is Phase.VALIDATED
    code, out, err = web.kubeferry("commit", "plan.yaml", "--dry-run")
    assert (code, "a person has said that it has moved for good" in out) == (0, True), err
    assert web.kubeferry("commit", "plan.yaml")[0] == 0
    with Journal.open(web.config.journal) as journal:
        events = [record.event for record in journal.events(web.plan.digest, "web")]
    (committed,) = [event for event in events if isinstance(event, Committed)]
    assert " on " in committed.by
    code, _out, err = web.kubeferry("commit", "plan.yaml")
    assert (code, "it is committed" in err) == (2, True)


def test_a_commit_whose_probe_fails_leads_back_to_the_end_and_says_so(web: Night, clock: Clock, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 6000, then: wait, probeSeconds: 60}\n")
    web.run()
    web.target.answers["agent"] = False
    clock.ahead += 100
    code, _out, err = web.kubeferry("commit", "plan.yaml")
    assert (code, web.power, web.state.phase) == (2, Power.RUNNING, Phase.ROLLED_BACK)
    assert "it was rolled back" in err


def test_status_says_how_long_it_is_watched(web: Night, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 600}\n")
    web.run()
    out = web.kubeferry("status", "plan.yaml")[1]
    assert "it is watched until 20" in out
    assert "then it is committed" in out


def test_the_way_back_after_the_commit_says_what_it_loses_and_wants_to_hear_that_it_may(
    web: Night, stays_up: None
) -> None:
    web.run()
    code, _out, err = web.kubeferry("rollback", "plan.yaml", "-m", "web", "--yes")
    assert code == 2
    assert "the way back would lose what was written since the move" in err
    assert web.power is Power.OFF
    code, out, _err = web.kubeferry("rollback", "plan.yaml", "-m", "web", "--dry-run")
    assert (code, "would lose: it has moved at 20" in out) == (0, True)
    assert web.kubeferry("rollback", "plan.yaml", "-m", "web", "--lose-writes")[0] == 0
    assert web.power is Power.RUNNING


def test_an_old_machine_that_somebody_starts_beside_its_copy_is_an_alarm_and_nothing_is_done_to_either(
    web: Night, stays_up: None
) -> None:
    web.run()
    web.source.write_power("web", Power.RUNNING)
    before = web.kinds
    found = web.caretake()
    assert found["code"] == 1
    assert [one["machine"] for one in found["alarms"]] == ["web"]
    assert "web" in web.target.running
    assert (web.power, web.kinds) == (Power.RUNNING, before)


def test_the_deadline_stands_in_the_journal(web: Night) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    web.run()
    with Journal.open(web.config.journal) as journal:
        begun = [one.event for one in journal.events(web.plan.digest, "web") if isinstance(one.event, CutoverBegun)]
    assert begun[0].deadline > "2026"
    assert begun[0].deadline_of == "budget"


def test_one_look_at_a_journal_without_any_plan(web: Night) -> None:
    with Journal.open(web.config.journal) as journal:
        assert (
            str(look_after(web.config, journal))
            == "0 machines are under way, and each has somebody or needs nobody now"
        )


def test_the_time_of_a_watch_goes_on_over_errors(web: Night, clock: Clock, stays_up: None) -> None:
    web.planned("commit: {watchSeconds: 600, probeSeconds: 60}\n")
    web.run()
    while clock.ahead < 600:
        clock.ahead += 250
        web.target.faults["observe"] = [TargetUnavailable("away", machine="web")]
        web.caretake()
        clock.ahead += 61
    web.caretake()
    assert web.state.phase is Phase.COMMITTED


def test_a_dry_run_knows_that_the_time_is_over(web: Night, clock: Clock) -> None:
    web.planned("downtime: {budgetSeconds: 300}\n")
    web.killed_after("source-stopped")
    clock.ahead = 400
    assert "begin-rollback" in web.kubeferry("migrate", "plan.yaml", "--dry-run")[1]


def test_a_plan_that_cannot_be_read_keeps_no_old_machine_of_another_unwatched(web: Night) -> None:
    web.run()
    with contextlib.closing(sqlite3.connect("journal.db")) as db:
        db.execute("update kubeferry_plan set document = ''")
        db.commit()
    found = web.caretake()
    assert list(found["troubles"]) == [f"lab ({web.plan.digest[:12]})"]
    assert found["code"] != 0


def test_who_is_past_his_stop_needs_nobody_who_verifies_approvals(
    web: Night, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here("ssh-keygen")
    key = tmp_path / "ann"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    web.planned(f"approval: {{identity: signed}}\napprovers: [{{name: ann, key: {public}}}]\n")
    code, _out, err = web.kubeferry("approve", "plan.yaml", "--wave", web.plan.waves[0].name, "--key", str(key))
    assert code == 0, err
    web.killed_after("source-stopped")
    signatures.wrong_with.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    found = web.caretake()
    assert [one["phase"] for one in found["taken"]] == ["committed"]


# --- the way back ----------------------------------------------------------------------------------------------------


def test_what_was_taken_over_to_go_back_goes_back_whoever_comes(web: Night) -> None:
    web.killed_after("source-stopped")
    web.planned("downtime: {budgetSeconds: 3000}\n")
    web.killed_after("cutover-begun", Goal.ROLLBACK)
    web.caretake()
    assert (web.power, web.state.phase) == (Power.RUNNING, Phase.ROLLED_BACK)
    assert web.state.rollback_reason == "asked for while it was in the hands of another plan"


@pytest.mark.parametrize("copied", [("precopy", "plan.yaml"), ("migrate", "plan.yaml", "--rehearse")])
def test_what_is_copied_after_a_rollback_stays_back_unasked(web: Night, copied: tuple[str, ...]) -> None:
    web.planned("mode: warm\n")
    web.target.answers["agent"] = False
    web.run()
    web.kubeferry(*copied)
    outcome = web.run()
    assert isinstance(outcome.error, ProbeFailed)
    assert web.kinds.count("stop-asked") == 1
    assert "rolled back" in web.kubeferry("migrate", "plan.yaml")[2]
    web.target.answers["agent"] = True
    assert web.run(Goal.MIGRATE_AGAIN).phase == "committed"


def test_a_way_back_that_is_recorded_later_has_its_reason_and_its_cause(web: Night, clock: Clock) -> None:
    web.planned(window(clock, -30, 30))
    journal = Away(Journal.open(web.config.journal), clock, until=4000)
    outcome = web.run(journal=journal)
    assert isinstance(outcome.error, Deferred)
    assert "the journal did not answer" in web.state.rollback_reason
    assert web.state.waits_for_window


def test_a_cancelled_run_brings_a_way_back_to_its_end(web: Night) -> None:
    web.target.answers["agent"] = False
    web.killed_after("rollback-begun")
    assert owed(web.plan, {"web": web.state}) == (("web",), ())


def test_who_went_back_is_told_so_whether_its_window_is_open_or_not(web: Night, clock: Clock) -> None:
    web.planned(window(clock, -30, 30))
    web.target.answers["agent"] = False
    web.run()
    clock.ahead += 3600
    assert "it was rolled back" in web.kubeferry("migrate", "plan.yaml")[2]
