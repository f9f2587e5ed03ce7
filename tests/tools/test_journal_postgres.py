"""What the journal promises on every database: the same suite on SQLite and on a real PostgreSQL of Debian's package.

Runners are real processes here, and are killed with SIGKILL.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from bench.commands import a_machine
from kubeferry.documents import Inventory, JournalConfig, Plan, Policy, dump
from kubeferry.errors import Fenced, InputInvalid, IntegrityFailed, KubeferryError, TransientError
from kubeferry.journal import Journal, LedgerState, Owner, Room, engine, silence
from kubeferry.life import events as ev
from kubeferry.life.decisions import Decided, DecisionKind, Known, Scope
from kubeferry.life.states import IllegalTransition, Phase
from kubeferry.model import Power
from mappings.plan import make_plan

pytestmark = pytest.mark.xdist_group("postgres")  # one server for all its tests

PLAN = "0123456789abcdef"


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path, password: str) -> JournalConfig:
    """A journal that does not exist yet, in each database."""
    if request.param == "sqlite":
        return JournalConfig(url=f"sqlite:///{tmp_path}/journal.db")
    made: JournalConfig = request.getfixturevalue("server").config(request.getfixturevalue("database"))
    return made


@pytest.fixture
def journal(config: JournalConfig) -> Iterator[Journal]:
    with Journal.open(config) as opened:
        opened.register_plan(PLAN, "plan", "the text")
        yield opened


Sql = Callable[..., None]


@pytest.fixture
def sql(config: JournalConfig, password: str) -> Sql:
    """Statements from outside, as somebody with the database's password can give them."""

    def execute(*statements: str) -> None:
        url = make_url(config.url)
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg", password=password)
        engine = create_engine(url)
        try:
            with engine.begin() as db:
                for statement in statements:
                    db.execute(text(statement))
        finally:
            engine.dispose()

    return execute


PLANNED = ev.Planned(plan_digest=PLAN, disks=("vda",))
ELSEWHERE = Owner("otherhost", 4242, 1, "otherplace")


# --- events ------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_read_back(journal: Journal, config: JournalConfig) -> None:
    with journal.lease(PLAN, "web") as lease:
        first = journal.append(lease, PLANNED)
        second = journal.append(lease, ev.CutoverBegun(power_before=Power.RUNNING))
        journal.append(lease, ev.Note(text="Grüße, 'quoted' \u2028 and \U0001f6a2"))
    assert (first.seq, second.seq, second.fence, second.writer) == (1, 2, lease.fence, lease.owner)
    with Journal.open(config) as again:
        records = again.events(PLAN, "web")
        assert records[:2] == [first, second]
        assert records[2].event == ev.Note(text="Grüße, 'quoted' \u2028 and \U0001f6a2")
        assert again.state(PLAN, "web").phase is Phase.CUTTING_OVER
        assert again.machines(PLAN) == ["web"]


def test_machines_and_plans_are_kept_apart(journal: Journal) -> None:
    journal.register_plan("second", "other", "text 2")
    for plan, machine in ((PLAN, "web"), (PLAN, "db"), ("second", "web")):
        with journal.lease(plan, machine) as lease:
            journal.append(lease, ev.Planned(plan_digest=plan, disks=(machine,)))
    assert journal.machines(PLAN) == ["db", "web"]
    assert journal.state("second", "web").plan_digest == "second"
    assert (journal.events(PLAN, "nobody"), journal.machines("no plan")) == ([], [])
    assert journal.state(PLAN, "nobody").plan_digest == ""


def test_all_machines_of_a_plan_are_told_at_once_as_one_by_one(journal: Journal) -> None:
    for plan, machine, notes in (("a", "web", 3), ("a", "db", 0), ("b", "web", 1)):
        journal.register_plan(plan, plan, "")
        with journal.lease(plan, machine) as lease:
            journal.append(lease, ev.Planned(plan_digest=plan, disks=("vda",)))
            for number in range(notes):
                journal.append(lease, ev.Note(text=str(number)))
    with journal.lease("a", "waiting"):
        pass
    told = journal.histories("a")
    assert told == {name: journal.events("a", name) for name in ("web", "db")}
    assert [record.seq for record in told["web"]] == [1, 2, 3, 4]
    assert journal.states("a") == {name: journal.state("a", name) for name in ("web", "db")}
    assert journal.histories("nobody's") == {}


def test_plans_are_registered_once(journal: Journal) -> None:
    journal.register_plan(PLAN, "plan", "another text")
    assert journal.plan(PLAN).document == "the text"
    assert [plan.digest for plan in journal.plans()] == [PLAN]
    with pytest.raises(InputInvalid, match="does not know this plan"):
        journal.plan("unknown")
    with pytest.raises(InputInvalid, match="does not know this plan"):
        journal.acquire("unknown", "web")


def test_an_illegal_event_leaves_no_trace(journal: Journal) -> None:
    with journal.lease(PLAN, "web") as lease:
        with pytest.raises(IllegalTransition):
            journal.append(lease, ev.Committed())
        journal.append(lease, PLANNED)
        with pytest.raises(IllegalTransition):
            journal.append(lease, ev.Applied())
        journal.append(lease, ev.Note(text="still whole"))
    assert [record.seq for record in journal.events(PLAN, "web")] == [1, 2]


@pytest.mark.parametrize("statement", ["UPDATE kubeferry_event SET payload = '{}'", "DELETE FROM kubeferry_event"])
def test_the_database_itself_refuses_to_change_events(journal: Journal, sql: Sql, statement: str) -> None:
    with journal.lease(PLAN, "web") as lease:
        journal.append(lease, PLANNED)
    with pytest.raises(Exception, match="append-only"):
        sql(statement)
    assert len(journal.events(PLAN, "web")) == 1


def test_an_edit_behind_the_triggers_is_noticed(
    journal: Journal, config: JournalConfig, sql: Sql, password: str
) -> None:
    with journal.lease(PLAN, "web") as lease:
        journal.append(lease, PLANNED)
        journal.append(lease, ev.Note(text="true"))
    if config.url.startswith("sqlite"):
        sql("DROP TRIGGER kubeferry_event_no_update")
    else:
        sql("ALTER TABLE kubeferry_event DISABLE TRIGGER USER")
    sql("UPDATE kubeferry_event SET payload = replace(payload, 'true', 'false') WHERE seq = 2")
    with pytest.raises(IntegrityFailed, match="event 2") as caught:
        journal.events(PLAN, "web")
    assert password not in str(caught.value)


# --- leases ------------------------------------------------------------------------------------------------------


def test_a_live_lease_is_nobody_elses(journal: Journal) -> None:
    with journal.lease(PLAN, "web") as lease:
        with pytest.raises(Fenced, match=f"process {os.getpid()} on") as caught:
            journal.acquire(PLAN, "web", owner=ELSEWHERE)
        assert lease.expires_at[:16] in caught.value.why
        with pytest.raises(Fenced):
            journal.acquire(PLAN, "web")  # not even by the same process
        assert journal.acquire(PLAN, "db").machine == "db"
    assert journal.acquire(PLAN, "web").fence == lease.fence + 1


def test_an_old_owner_that_wakes_up_cannot_write(journal: Journal) -> None:
    old = journal.acquire(PLAN, "web", owner=ELSEWHERE, ttl_seconds=0.01)
    journal.append(old, PLANNED)
    time.sleep(0.05)
    journal.append(old, ev.Note(text="late, and still the newest"))
    new = journal.acquire(PLAN, "web")
    for act in (
        lambda: journal.append(old, ev.Note(text="stale")),
        lambda: journal.heartbeat(old),
        lambda: journal.intend(old, "claim", "c", "ns"),
    ):
        with pytest.raises(Fenced, match="no longer owns"):
            act()
    journal.release(old)
    journal.append(new, ev.Note(text="not disturbed"))
    assert len(journal.events(PLAN, "web")) == 3


def test_a_released_lease_writes_nothing(journal: Journal) -> None:
    with journal.lease(PLAN, "web") as lease:
        pass
    with pytest.raises(Fenced):
        journal.append(lease, PLANNED)


def test_a_lease_is_kept_alive_in_the_background(journal: Journal) -> None:
    with journal.lease(PLAN, "web", ttl_seconds=4) as lease:
        expiry = lease.expires_at
        limit = time.monotonic() + 30
        while expiry <= lease.expires_at and time.monotonic() < limit:
            time.sleep(0.1)
            with pytest.raises(Fenced) as caught:
                journal.acquire(PLAN, "web", owner=ELSEWHERE)
            expiry = caught.value.why.split(",")[0].split()[-1]
        assert expiry > lease.expires_at
        lease.check()


def test_a_runner_learns_that_it_was_superseded(journal: Journal, sql: Sql) -> None:
    with journal.lease(PLAN, "web", ttl_seconds=0.4) as lease:
        sql(f"UPDATE kubeferry_machine SET fence = fence + 1, owner = '{ELSEWHERE}'")  # noqa: S608 (a test's constant)
        assert lease.lost.wait(30)
        with pytest.raises(Fenced):
            lease.check()
        with pytest.raises(Fenced, match="process 4242 on otherhost"):
            journal.append(lease, PLANNED)


# --- ledger ------------------------------------------------------------------------------------------------------


def test_things_are_in_the_ledger_until_they_are_gone(journal: Journal) -> None:
    with journal.lease(PLAN, "web") as lease:
        claim = journal.intend(lease, "claim", "web-vda", "default")
        assert journal.intend(lease, "claim", "web-vda", "default") == claim
        other = journal.intend(lease, "claim", "web-vda", "elsewhere")
        assert claim.state is LedgerState.INTENDED
        journal.made(lease, claim)
        assert [entry.state for entry in journal.ledger_open(PLAN)] == [LedgerState.MADE, LedgerState.INTENDED]
        journal.gone(lease, claim)
        journal.made(lease, claim)
        assert journal.ledger_open() == [other]
        assert journal.intend(lease, "claim", "web-vda", "default").id != claim.id
    with journal.lease(PLAN, "db") as second:
        journal.gone(second, other)  # another machine's thing is not for this lease to settle
    assert len(journal.ledger_open(PLAN, "web")) == 2
    assert (journal.ledger_open(PLAN, "db"), journal.ledger_open("no plan")) == ([], [])
    history = journal.ledger(PLAN)[0]
    assert (history.state, bool(history.made_at), bool(history.gone_at)) == (LedgerState.GONE, True, True)


# --- what persons decided ----------------------------------------------------------------------------------------

SAID = Decided(kind=DecisionKind.STOP_LIFTED, scope=Scope(wave="wave-1"), payload={"failed": ["web"]}, by="ann on host")


def test_decisions_stand_in_a_line_of_their_own_for_each_plan(journal: Journal, config: JournalConfig) -> None:
    journal.register_plan("another", "another", "text")
    assert (journal.decisions(PLAN), journal.decided_plans()) == ([], [])
    before = journal.time()
    first = journal.decide(PLAN, SAID)
    second = journal.decide(PLAN, Decided(kind=DecisionKind.DEFERRED, by="bob", how=Known.SIGNED))
    assert journal.decide("another", SAID).seq == 1
    with Journal.open(config) as again:
        assert again.decisions(PLAN) == [first, second]
        assert [one.name for one in again.decided_plans()] == ["plan", "another"]
    assert [one.seq for one in (first, second)] == [1, 2]
    assert before <= first.at <= second.at
    assert (first.what, first.who, second.who) == (SAID, "ann on host (claimed)", "bob (signed)")
    with pytest.raises(InputInvalid, match="does not know this plan"):
        journal.decide("unknown", SAID)


@pytest.mark.parametrize(
    "statement", ["UPDATE kubeferry_decision SET content = '{}'", "DELETE FROM kubeferry_decision"]
)
def test_the_database_itself_refuses_to_change_decisions(journal: Journal, sql: Sql, statement: str) -> None:
    journal.decide(PLAN, SAID)
    with pytest.raises(Exception, match="append-only"):
        sql(statement)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE kubeferry_decision SET content = replace(content, 'ann', 'eve') WHERE seq = 1", "decision 1"),
        ("DELETE FROM kubeferry_decision WHERE seq = 1", "decision 1 is missing"),
        ("DELETE FROM kubeferry_decision WHERE seq = 2", "decisions 2 to 2 are missing"),
    ],
)
def test_a_decision_that_was_edited_or_cut_off_is_noticed(
    journal: Journal, config: JournalConfig, sql: Sql, statement: str, words: str
) -> None:
    journal.decide(PLAN, SAID)
    journal.decide(PLAN, Decided(kind=DecisionKind.APPROVAL_WITHDRAWN, by="bob"))
    if config.url.startswith("sqlite"):
        sql("DROP TRIGGER kubeferry_decision_no_update", "DROP TRIGGER kubeferry_decision_no_delete")
    else:
        sql("ALTER TABLE kubeferry_decision DISABLE TRIGGER USER")
    sql(statement)
    for ask in (lambda: journal.decisions(PLAN), lambda: journal.decide(PLAN, SAID)):
        with pytest.raises(IntegrityFailed, match=words):
            ask()


def test_decisions_of_several_at_once_are_one_line(journal: Journal, config: JournalConfig) -> None:
    def decide(number: int) -> None:
        with Journal.open(config) as own:
            own.decide(PLAN, Decided(kind=DecisionKind.DEFERRED, by=f"person {number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decide, range(8)))
    assert sorted(one.by for one in journal.decisions(PLAN)) == [f"person {number}" for number in range(8)]
    assert [one.seq for one in journal.decisions(PLAN)] == list(range(1, 9))


def test_a_journal_from_before_decisions_gets_the_place_for_them(
    journal: Journal, config: JournalConfig, sql: Sql
) -> None:
    with journal.lease(PLAN, "web") as lease:
        journal.append(lease, PLANNED)
    sql("DROP TABLE kubeferry_decision", "DROP TABLE kubeferry_decided")
    with Journal.open(config) as again:
        assert again.decide(PLAN, SAID).seq == 1
        assert len(again.events(PLAN, "web")) == 1
    with pytest.raises(Exception, match="append-only"):
        sql("DELETE FROM kubeferry_decision")


# --- real processes ----------------------------------------------------------------------------------------------

RUNNER = f"""
import sys
from bench.commands import a_machine
from kubeferry.documents import Inventory, JournalConfig, Plan, Policy, dump
from kubeferry.errors import Fenced
from kubeferry.life.events import Note
from kubeferry.journal import Journal

config = JournalConfig.model_validate_json(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
journal = Journal.open(config)
journal.register_plan("{PLAN}", "plan", "the text")
try:
    lease = journal.acquire("{PLAN}", "web", ttl_seconds=3600)
except Fenced as refusal:
    print("refused", refusal.what, flush=True)
else:
    print("won", lease.fence, flush=True)
    while sys.argv[2] == "write":
        print(journal.append(lease, Note(text="x" * 50)).seq, flush=True)
sys.stdin.readline()
"""


class Runner:
    """A process that opens the journal on `go`, takes the lease, and appends for as long as it lives."""

    def __init__(self, config: JournalConfig, what: str) -> None:
        argv = [sys.executable, "-c", RUNNER, config.model_dump_json(), what]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.line() == "ready"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> list[str]:
        """SIGKILL; returns what it had still said."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdout is not None
        rest = self.process.stdout.read().split()
        self.close()
        return rest

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("lines", [1, 7])
def test_killed_while_writing_everything_that_was_said_is_there(
    journal: Journal, config: JournalConfig, lines: int
) -> None:
    with journal.lease(PLAN, "web") as lease:
        journal.append(lease, PLANNED)
    for round_number in range(3):
        runner = Runner(config, "write")
        runner.go()
        assert runner.line().startswith("won"), "the dead runner's lease was not taken at once"
        said = [runner.line() for _ in range(lines + round_number)]
        said += [word for word in runner.kill() if word.isdigit()]
        records = journal.events(PLAN, "web")
        assert int(said[-1]) <= len(records) <= int(said[-1]) + 1
        assert journal.state(PLAN, "web").phase is Phase.PLANNED
    with journal.lease(PLAN, "web") as lease:
        assert lease.fence == journal.events(PLAN, "web")[0].fence + 4
        journal.append(lease, ev.CutoverBegun(power_before=Power.OFF))


def test_of_runners_that_start_together_exactly_one_wins(config: JournalConfig) -> None:
    """They also meet in the making of the journal, which is not there yet."""
    with ExitStack() as stack:
        runners = [Runner(config, "hold") for _ in range(3)]
        for runner in runners:
            stack.callback(runner.close)
        for runner in runners:
            runner.go()
        answers = sorted(runner.line() for runner in runners)
    assert [answer.split()[0] for answer in answers] == ["refused", "refused", "won"]
    assert answers[0].startswith("refused another runner is at work")


def test_of_two_plans_that_take_a_machine_together_exactly_one_wins(journal: Journal, config: JournalConfig) -> None:
    journal.register_plan("second", "other", "text 2")
    ready = threading.Barrier(2)

    def take(plan: str, machine: str) -> bool:
        with Journal.open(config) as own:
            ready.wait(30)
            try:
                own.acquire(plan, machine)
            except Fenced:
                return False
        return True

    with ThreadPoolExecutor(2) as both:
        for number in range(20):
            won = list(both.map(take, (PLAN, "second"), [f"vm-{number}"] * 2))
            assert sorted(won) == [False, True], number


# --- PostgreSQL only ---------------------------------------------------------------------------------------------


def test_wrong_logins_are_settings_and_tell_no_password(
    server: Any, database: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(server.config(database).password_env, "wrong-" + password)
    for config in (server.config(database), server.config("missing")):
        with pytest.raises(InputInvalid, match="cannot be opened") as caught:
            Journal.open(config)
        assert password not in str(caught.value)
    monkeypatch.setenv(server.config(database).password_env, password)
    with pytest.raises(InputInvalid, match="does not exist"):
        Journal.open(server.config("missing"))


def test_the_password_is_shown_nowhere(
    server: Any, database: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with Journal.open(server.config(database)) as journal:
        journal.register_plan(PLAN, "plan", "text")
        with pytest.raises(KubeferryError) as caught:
            journal.register_plan("nul", "a\0b", "text")
        assert password not in f"{caught.value} {journal} {journal.__dict__} {journal.plans()}"
    assert password not in caplog.text


def test_a_server_that_restarts_is_an_outage_and_no_loss(new_server: Callable[[], Any], password: str) -> None:
    with new_server() as second:
        with pytest.raises(TransientError, match="does not answer"):
            Journal.open(second.config("postgres"))
        with second.running():
            journal = Journal.open(second.config("postgres"))
            journal.register_plan(PLAN, "plan", "text")
            lease = journal.acquire(PLAN, "web")
            journal.append(lease, PLANNED)
        with pytest.raises(TransientError, match="does not answer"):
            journal.append(lease, ev.Note(text="lost"))
        with second.running():
            journal.append(lease, ev.Note(text="kept"))
            assert [record.seq for record in journal.events(PLAN, "web")] == [1, 2]
            journal.close()


def test_a_connection_that_the_server_ended_is_made_again(server: Any, database: str, password: str) -> None:
    with Journal.open(server.config(database)) as journal:
        journal.register_plan(PLAN, "plan", "text")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kubeferry'"
        server.execute("postgres", ended)
        assert journal.acquire(PLAN, "web").machine == "web"


def stopped(folder: Path) -> Iterator[None]:
    """All processes of a server stand still, as on a machine that is paused; the kernel takes connections and data."""
    first = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    family = [first, *(int(one) for one in Path(f"/proc/{first}/task/{first}/children").read_text().split())]
    try:
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(120)
def test_a_server_that_is_frozen_is_not_waited_for(
    new_server: Any, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 2.0)
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 2)
    with new_server() as second, second.running():
        second.execute("postgres", "CREATE DATABASE kubeferry")
        with ExitStack() as held:
            journal = held.enter_context(Journal.open(second.config("kubeferry")))
            journal.register_plan(PLAN, "plan", "text")
            lease = held.enter_context(journal.lease(PLAN, "web"))
            journal.append(lease, PLANNED)
            with contextmanager(stopped)(second.folder):
                begun = time.monotonic()
                with pytest.raises(TransientError, match="does not answer"):
                    journal.append(lease, ev.Note(text="lost"))
                assert time.monotonic() - begun < 60
            journal.append(lease, ev.Note(text="kept"))
            assert [record.event for record in journal.events(PLAN, "web")][-1] == ev.Note(text="kept")


def test_truncate_is_refused_too(server: Any, database: str, password: str) -> None:
    Journal.open(server.config(database)).close()
    with pytest.raises(Exception, match="append-only"):
        server.execute(database, "TRUNCATE kubeferry_event")


def test_nobodys_tables_are_in_the_way(server: Any, database: str, password: str) -> None:
    server.execute(database, "CREATE TABLE event (x int)", "CREATE TABLE meta (x int)")
    with Journal.open(server.config(database)) as journal:
        assert journal.plans() == []


MOVED = a_machine(0).name
EARLIER = (
    "DROP TABLE kubeferry_known",
    "DROP TABLE kubeferry_decision",
    "DROP TABLE kubeferry_decided",
    "DROP INDEX kubeferry_machine_by_name",
    "DROP INDEX kubeferry_ledger_by_machine",
)


def test_an_earlier_journal_is_gone_on_with_where_no_table_may_be_made(
    server: Any, database: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    plan = a_plan()
    with Journal.open(server.config(database)) as journal:
        journal.register_plan(plan.digest, plan.name, dump(plan))
    clerk = f"clerk_{database}"
    rights = f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {clerk}"
    counters = f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {clerk}"
    login = f"CREATE ROLE {clerk} LOGIN PASSWORD '{password}'"
    server.execute(database, *EARLIER, login, rights, counters)
    config = server.config(database)
    url = make_url(config.url).set(username=clerk).render_as_string()
    theirs = JournalConfig(url=url, password_env=config.password_env)
    with Journal.open(theirs) as journal:
        assert "stays without what came later" in caplog.text
        assert journal.decisions(plan.digest) == []
        with pytest.raises(InputInvalid, match="no place for what persons decide"):
            journal.decide(plan.digest, SAID)
        journal.keep_plan(plan)
        for one in (plan, a_plan("another")):
            journal.keep_plan(one)
            with journal.lease(one.digest, MOVED) as lease:
                journal.append(lease, ev.Planned(plan_digest=one.digest, disks=("vda",)))
            known = journal.known(one.digest, MOVED)
            assert known is not None
            assert (known.source, known.id) == ("lab", f"id-{MOVED}")
    with Journal.open(config) as journal:  # its owner makes what was missing
        journal.keep_plan(plan)
        assert journal.known(plan.digest, MOVED) == known
    with Journal.open(theirs) as journal:  # and has not thought of the clerk's rights yet
        journal.keep_plan(a_plan("third"))
        assert journal.known(plan.digest, MOVED) == journal.known(a_plan("third").digest, MOVED) == known
    late = ("receiver", "told", "outbox")
    made = [f"DROP TABLE kubeferry_{table}" for table in reversed(late)]
    server.execute(database, *made)
    Journal.open(config).close()
    with Journal.open(theirs) as journal:
        assert (journal.outbox.kept(), journal.outbox.queues()) == (False, [])
        with pytest.raises(InputInvalid, match="has no outbox"):
            journal.outbox.know(["mail"])
        server.execute(database, rights)
        assert not journal.outbox.kept(), "numbers of its messages are a right of their own"
        server.execute(database, counters)
        journal.outbox.know(["mail"])
        assert [queue.receiver for queue in journal.outbox.queues()] == ["mail"]
    server.execute(database, f"DROP OWNED BY {clerk}", f"DROP ROLE {clerk}")


def test_an_earlier_journal_that_is_read_only_can_be_read(server: Any, database: str, password: str) -> None:
    plan = a_plan()
    with Journal.open(server.config(database)) as journal:
        journal.register_plan(plan.digest, plan.name, dump(plan))
    server.execute(database, *EARLIER)
    server.execute("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with Journal.open(server.config(database)) as journal:
        assert [one.name for one in journal.plans()] == [plan.name]
        assert journal.known(plan.digest, MOVED) is not None
        assert journal.states(plan.digest) == {}


def a_plan(name: str = "p") -> Plan:
    facts = Inventory(source="lab", source_kind="memory", observed_at="", machines=(a_machine(0),))
    return make_plan(facts, Policy(), name=name, created_at="2026-01-01T00:00:00Z")


# --- lately, and rooms -------------------------------------------------------------------------------------------


def test_what_happened_lately_is_told_by_kind_and_time(journal: Journal) -> None:
    journal.register_plan("second", "other", "")
    before = journal.now()
    for plan, machine in ((PLAN, "web"), (PLAN, "db"), ("second", "web")):
        with journal.lease(plan, machine) as lease:
            journal.append(lease, ev.Planned(plan_digest=plan, disks=()))
            journal.append(lease, ev.CutoverBegun(power_before=Power.OFF))
    with journal.lease(PLAN, "idle") as lease:
        journal.append(lease, PLANNED)
    after = journal.now() + timedelta(seconds=1)
    assert journal.begun(PLAN, before, after) == {"web", "db"}
    assert journal.begun(PLAN, after, after + timedelta(hours=1)) == frozenset()
    begun = [ev.EventKind.CUTOVER_BEGUN]
    assert journal.newest(begun, 5) == [("second", "web"), (PLAN, "db"), (PLAN, "web")]
    assert journal.newest(begun, 1, plan=PLAN) == [(PLAN, "db")]
    assert journal.newest([ev.EventKind.COMMITTED], 5) == []


def test_a_room_takes_no_more_than_it_has_places_however_many_ask_at_once(
    journal: Journal, config: JournalConfig
) -> None:
    names = [f"m{number}" for number in range(12)]
    full = TransientError("the room is full")
    now = journal.now()
    room = Room("nights", frozenset(names), now, now + timedelta(hours=1), 5, full)

    def begin(name: str) -> bool:
        with Journal.open(config) as mine, mine.lease(PLAN, name) as lease:
            mine.append(lease, PLANNED)
            with suppress(TransientError):
                mine.append_in(room, lease, ev.CutoverBegun(power_before=Power.OFF))
                return True
            return False

    with ThreadPoolExecutor(len(names)) as pool:
        entered = [name for name, came in zip(names, pool.map(begin, names), strict=True) if came]
    assert len(entered) == 5
    assert journal.begun(PLAN, now, now + timedelta(hours=1)) == set(entered)
    with journal.lease(PLAN, entered[0]) as lease:  # who is in there already needs no other place
        journal.append_in(room, lease, ev.CutoverBegun(power_before=Power.OFF))
