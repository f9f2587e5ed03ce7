"""Plans and journals of earlier states of the project, as those wrote them: an upgrade keeps them usable.

Each folder of tests/golden/earlier holds a plan and the journal of its run: `db` is committed, `web` was interrupted
before its disks were read back. `first` is of the first version; `warm-rounds` knows rounds of a running machine.
A new field of a plan, of an event or of the journal's tables that makes one of them unreadable fails here.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeferry.documents import JournalConfig, Plan, dump, in_lines, lines, load, outline_in, parse, plan_in
from kubeferry.errors import InputInvalid
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind, EntryFacts, Goal
from kubeferry.life.actions import next_action
from kubeferry.life.events import NotesRecorded, SourceMarked
from kubeferry.life.imagined import plan_actions
from kubeferry.life.machine_state import Phase
from kubeferry.life.old_machine import left_so
from reports.facts import build_report

EARLIER = Path(__file__).resolve().parents[1] / "golden" / "earlier"
VERSIONS = sorted(path.name for path in EARLIER.iterdir())


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest) -> Path:
    return EARLIER / str(request.param)


@pytest.fixture
def plan(folder: Path) -> Plan:
    return load(folder / "plan.yaml", Plan)


@pytest.fixture
def journal(folder: Path, tmp_path: Path) -> Iterator[Journal]:
    path = tmp_path / "journal.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript((folder / "journal.sql").read_text())
        # Who ran there has ended, on another host.
        database.execute("UPDATE kubeferry_machine SET owner = NULL, expires_at = ''")
        database.commit()
    with Journal.open(JournalConfig(url=f"sqlite:///{path}")) as opened:
        yield opened


def test_there_is_one_of_each() -> None:
    assert VERSIONS == ["first", "warm-rounds"]


def test_a_plan_is_read_and_comes_out_as_it_was_written(plan: Plan, folder: Path) -> None:
    text = dump(plan)
    assert text == (folder / "plan.yaml").read_text()
    assert parse(text, Plan) == plan
    known = {one.name: (one.machine.source, one.machine.id) for one in outline_in(text).entries}
    assert known["web"] == ("lab", "id-web")
    assert plan_in(in_lines(plan)) == plan, "and is kept so that its digest still fits"
    again = lines.plan_of(line.encode() for line in lines.to_lines(plan))
    assert again == parse(dump(again), Plan) == plan, "it proves itself in lines, too, and comes out as it was"


@pytest.mark.parametrize("change", [("targetName: web", "targetName: wob"), ("sizeBytes: 8192", "sizeBytes: 4096")])
def test_a_plan_that_was_edited_is_refused_all_the_same(folder: Path, change: tuple[str, str]) -> None:
    text = (folder / "plan.yaml").read_text()
    assert change[0] in text
    with pytest.raises(InputInvalid, match="was changed after it was made"):
        parse(text.replace(*change), Plan)


def test_a_field_that_is_added_by_hand_is_an_edit(folder: Path) -> None:
    text = (folder / "plan.yaml").read_text()
    added = text.replace("  targetName: web\n", "  targetName: web\n  verify: always\n")
    if "verify: " in text:
        added = text.replace("verify: written", "verify: always")
    assert added != text
    with pytest.raises(InputInvalid, match="was changed after it was made"):
        parse(added, Plan)


def test_a_journal_is_read_and_gone_on_with(plan: Plan, journal: Journal) -> None:
    assert [record.digest for record in journal.plans()] == [plan.digest]
    assert journal.state(plan.digest, "db").phase is Phase.COMMITTED
    state = journal.state(plan.digest, "web")
    facts = EntryFacts.of(plan, plan.entry("web"), keeps_running=False)
    assert next_action(facts, state).kind is ActionKind.VERIFY_DISKS
    assert plan_actions(facts, state)[-1].kind is ActionKind.DONE
    assert next_action(facts, state, Goal.ROLLBACK).kind is ActionKind.BEGIN_ROLLBACK
    with journal.lease(plan.digest, "web"):
        assert journal.ledger_open(plan.digest, "web")
    journal.register_plan(plan.digest, plan.name, dump(plan))
    assert len(journal.plans()) == 1
    known = journal.known(plan.digest, "web")
    assert known is not None
    assert (known.source, known.id, known.target_name) == ("lab", "id-web", "web")
    journal.keep_plan(plan)
    assert journal.known(plan.digest, "web") == known
    assert journal.known(plan.digest, "nobody") is None


def test_of_a_machine_that_an_earlier_version_has_left_behind_nothing_is_said_that_nobody_looked_at(
    plan: Plan, journal: Journal
) -> None:
    state = journal.state(plan.digest, "db")
    assert (state.autostart, state.notes, state.marked, left_so(state)) == (None, None, False, ())
    with journal.lease(plan.digest, "db") as lease:
        journal.append(lease, NotesRecorded(before=None, line="moved"))
        journal.append(lease, SourceMarked())
    assert journal.state(plan.digest, "db").marked


def test_a_report_is_made_of_them(plan: Plan, journal: Journal) -> None:
    events = {name: journal.events(plan.digest, name) for name in ("db", "web")}
    report = build_report(plan, events, generated_at="2026-01-01T00:00:00Z")
    assert {machine.name: str(machine.verdict) for machine in report.machines}["db"] == "proven"
