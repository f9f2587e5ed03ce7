"""Slots are counted in the journal, over all runners: in SQLite, and in a real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from kubeferry.documents import JournalConfig, Limits
from kubeferry.errors import PermanentError
from kubeferry.journal import Journal, Lease
from kubeferry.journal.engine import writing
from kubeferry.life import events as ev
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Power
from kubeferry.schedule.slots import Slot
from kubeferry.steps import slots
from tests.lives import a_plan, recorded

pytestmark = pytest.mark.xdist_group("postgres")  # one server for all its tests

PLAN = "0123456789abcdef"
HOST = Slot("host a of lab", "host a", 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, password: str) -> Iterator[Journal]:
    config = JournalConfig(url=f"sqlite:///{tmp_path}/journal.db")
    if request.param == "postgresql":
        config = request.getfixturevalue("server").config(request.getfixturevalue("database"))
    with Journal.open(config) as opened:
        for plan in (PLAN, "another"):
            opened.register_plan(plan, "plan", "the text")
        yield opened


def took(journal: Journal, lease: Lease, *wanted: Slot) -> list[str]:
    """What is full; nothing where the machine has what it needs."""
    return [str(one) for one in journal.take_slots([lease], {lease.machine: wanted or (HOST,)})]


def test_a_slot_lasts_as_long_as_the_lease_under_which_it_was_taken(journal: Journal) -> None:
    web, db = journal.acquire("another", "web"), journal.acquire(PLAN, "db")
    assert took(journal, web) == took(journal, web) == []
    assert took(journal, db) == ["host a takes 1 at once, and has web"]
    other = Slot("host b of lab", "host b", 1)
    assert took(journal, db, other, HOST) == ["host a takes 1 at once, and has web"]
    cache = journal.acquire(PLAN, "cache")
    assert took(journal, cache, other) == []  # nothing was taken of what was full in part
    journal.release(web)
    assert took(journal, db) == []
    assert journal.all_full_slots("another", [{"web": (HOST,)}])[0][0].by == ("db",)
    journal.release(db)
    again = journal.acquire("another", "web", ttl_seconds=0.05)
    assert took(journal, again) == []
    time.sleep(0.06)  # its runner was killed: nobody renews the lease
    assert journal.all_full_slots(PLAN, [{"db": (HOST,)}]) == [()]


def test_who_asks_at_once_is_answered_one_after_the_other(journal: Journal) -> None:
    three = Slot("wave w", "wave w", 3)
    leases = [journal.acquire(PLAN, f"m{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        full = list(pool.map(lambda lease: took(journal, lease, three), leases))
    assert sum(not one for one in full) == 3


def test_what_moves_as_one_has_all_or_nothing_and_does_not_wait_for_itself(journal: Journal) -> None:
    both = [journal.acquire(PLAN, name) for name in ("one", "two")]
    needed = {lease.machine: (HOST,) for lease in both}
    web = journal.acquire("another", "web")
    assert took(journal, web) == []
    assert [one.by for one in journal.take_slots(both, needed)] == [("web",)]
    journal.release(web)
    assert journal.take_slots(both, needed) == ()  # two of one: else they would wait for ever
    assert took(journal, journal.acquire("another", "web")) == ["host a takes 1 at once, and has one, two"]


def test_who_is_past_his_stop_waits_for_none_and_counts(journal: Journal) -> None:
    plan, limits = a_plan("web", "db"), Limits(per_host=1)
    journal.keep_plan(plan)
    stopped = ev.SourceStopped(how="acpi", at="2026-01-01T00:00:00Z")
    begun = ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True)
    recorded(journal, plan, "web", begun, ev.StopAsked(), stopped)
    db = journal.acquire(plan.digest, "db")
    wanted = slots.asked(plan, limits, [("web",), ("db",)])
    assert journal.take_slots([db], wanted["db",]) == ()
    states = journal.states(plan.digest)
    assert slots.full(plan.digest, journal, wanted, lambda name: states.get(name) or journal.state("", name)) == {}
    assert slots.full_for(plan, journal, limits, {}, ()) == {
        "web": "source lab takes 1 at once, and has db",
    }
    assert Goal.ROLLBACK not in slots.COUNTED
    web = journal.acquire(plan.digest, "web")
    assert journal.take_slots([web], wanted["web",], regardless=True) == ()
    journal.release(db)
    assert took(journal, journal.acquire(plan.digest, "db"), *wanted["db",]["db"]) == [
        "source lab takes 1 at once, and has web"
    ]


def test_a_journal_without_room_for_slots_says_so_where_some_are_limited(journal: Journal) -> None:
    with writing(journal._engine) as db:
        db.execute(text("DROP TABLE kubeferry_slot"))
    assert journal.all_full_slots(PLAN, [{"db": (HOST,)}]) == [()]
    with pytest.raises(PermanentError, match="counts no slots"):
        took(journal, journal.acquire(PLAN, "db"))
