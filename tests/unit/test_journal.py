"""The journal's own file: settings, damage, the chain, owners. What holds for every database is in
tests/tools/test_journal_postgres.py, which runs on SQLite too."""

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import JournalConfig
from kubeferry.errors import Fenced, InputInvalid, IntegrityFailed, KubeferryError, PermanentError, TransientError
from kubeferry.journal import Journal, Lease, Owner, engine
from kubeferry.journal.chain import Link, first_break
from kubeferry.journal.engine import reading, translated
from kubeferry.journal.leases import describe, is_dead
from kubeferry.life import events as ev
from kubeferry.life.states import Recorded

PLAN = "0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def opened(path: Path) -> Journal:
    return Journal.open(JournalConfig(url=f"sqlite:///{path}"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Recorded]]:
    """A closed journal with a few events, and these events."""
    path = tmp_path_factory.mktemp("template") / "journal.db"
    with opened(path) as journal:
        journal.register_plan(PLAN, "plan", "text")
        with journal.lease(PLAN, "web") as lease:
            journal.append(lease, ev.Planned(plan_digest=PLAN, disks=("vda",)))
            for number in range(40):
                journal.append(lease, ev.Note(text=f"note {number} " + "x" * 200))
        return path, journal.events(PLAN, "web")


@pytest.fixture
def filled(path: Path, template: tuple[Path, list[Recorded]]) -> list[Recorded]:
    """A copy of that journal stands at `path`; returns its events."""
    path.parent.mkdir()
    shutil.copy(template[0], path)
    return template[1]


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://host/db", "mysql is not supported"),
        ("sqlite://", "no plain file"),
        ("sqlite:///:memory:", "no plain file"),
        ("sqlite:///x.db?mode=ro", "no plain file"),
        ("postgresql://me:hunter2@host/db", "holds a password"),
        ("postgresql://me@host/db?password=hunter2", "holds a password"),
        ("postgresql://me@host/db?sslkey=key&sslpassword=hunter2", "holds a password"),
    ],
)
def test_a_wrong_url_is_refused_with_a_fix(url: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=words) as caught:
        Journal.open(JournalConfig(url=url))
    assert caught.value.problems[0].fix
    assert "hunter2" not in str(caught.value)


def test_a_password_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_PASSWORD", raising=False)
    with pytest.raises(InputInvalid, match="JOURNAL_PASSWORD"):
        Journal.open(JournalConfig(url="postgresql://me@127.0.0.1/db", password_env="JOURNAL_PASSWORD"))  # noqa: S106 (a name)


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_new_journal_is_durable_and_leaves_no_draft(
    path: Path, filled: list[Recorded], template: tuple[Path, list[Recorded]]
) -> None:
    assert [entry.name for entry in template[0].parent.iterdir()] == ["journal.db"]
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
    with opened(path) as journal:
        assert journal.events(PLAN, "web") == filled


def test_a_new_journal_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0o022)
    try:
        with opened(path) as journal:
            journal.register_plan(PLAN, "plan", "text")
            files = list(path.parent.iterdir())
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
            assert len(files) > 1, "what is not yet in the file stands beside it"
    finally:
        os.umask(before)


def test_times_are_utc_with_milliseconds_and_sort(filled: list[Recorded]) -> None:
    times = [record.at for record in filled]
    assert times == sorted(times)
    assert all(len(at) == len("2026-01-01T00:00:00.000Z") and at.endswith("Z") for at in times)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_damaged(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputInvalid, match="journal is damaged") as caught:
        opened(path)
    assert caught.value.exit_code == 2
    assert "backup" in caught.value.problems[0].fix
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_damaged(path: Path, filled: list[Recorded], share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(InputInvalid, match="journal is damaged"):
        opened(path)


@pytest.mark.parametrize("seed", range(25))
def test_flipped_bytes_are_an_error_or_change_nothing(path: Path, filled: list[Recorded], seed: int) -> None:
    """Whatever the disk did to the file: events as they were written, or an error that says so. Never other events."""
    dice = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 20)):
        content[dice.randrange(len(content))] ^= dice.randint(1, 255)
    path.write_bytes(content)
    try:
        with opened(path) as journal:
            assert journal.events(PLAN, "web") == filled
    except PermanentError as error:
        assert error.fix  # noqa: PT017 (no error is as good an outcome)


def test_a_database_of_somebody_else_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE theirs (x)")
    raw.close()
    with pytest.raises(InputInvalid, match="not a journal"):
        opened(path)
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    raw.close()


def test_a_newer_schema_is_refused(path: Path, filled: list[Recorded]) -> None:
    tamper(path, ("UPDATE kubeferry_meta SET schema_version = 99", ()))
    with pytest.raises(InputInvalid, match="newer kubeferry"):
        opened(path)


def test_a_folder_in_the_place_of_the_file_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(InputInvalid, match="cannot be opened"):
        opened(path)


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputInvalid, match="cannot be opened"):
        opened(tmp_path / "file" / "journal.db")


def test_a_busy_journal_is_worth_retrying(path: Path, filled: list[Recorded], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeferry.journal.engine.BUSY_SECONDS", 0.05)
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    with opened(path) as journal:
        assert journal.events(PLAN, "web") == filled, "readers do not wait for a writer"
        with pytest.raises(KubeferryError, match="does not answer") as caught:
            journal.acquire(PLAN, "web")
        assert caught.value.transient
        raw.execute("ROLLBACK")
        raw.close()
        assert journal.acquire(PLAN, "web").fence == filled[-1].fence + 1


def test_a_fence_rises_over_the_plans_of_a_machine_too(path: Path, filled: list[Recorded]) -> None:
    """What a mover of the first plan left knows its fence, and must not take the second plan's mover for an old one."""
    with opened(path) as journal:
        journal.register_plan("second", "second", "text")
        with journal.lease(PLAN, "web") as first:
            pass
        assert journal.acquire("second", "web").fence == first.fence + 1


def test_a_new_journal_s_fences_are_higher_than_those_of_one_that_was_begun_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fences = []
    for name, second in (("old", 0), ("new", 4)):
        then = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
        monkeypatch.setattr("kubeferry.journal.clock", lambda _db, then=then: then)
        with opened(tmp_path / f"{name}.db") as journal:
            journal.register_plan(PLAN, "plan", "text")
            for _ in range(3):
                with journal.lease(PLAN, "web") as lease:
                    fences.append(lease.fence)
    assert fences == sorted(set(fences))


def test_a_journal_from_a_backup_is_not_behind_the_movers_that_have_run_since(
    path: Path, filled: list[Recorded], tmp_path: Path
) -> None:
    """They keep the highest fence that they saw beside the disk, and refuse a lower one."""
    with opened(path) as journal:
        journal.release(journal.acquire(PLAN, "web"))
    tamper(path, ("UPDATE kubeferry_machine SET fence = 1000", ()))
    shutil.copy(path, tmp_path / "backup.db")
    with opened(path) as journal:
        seen = journal.acquire(PLAN, "web").fence
    time.sleep(1.1)
    with opened(tmp_path / "backup.db") as restored:
        assert restored.acquire(PLAN, "web").fence > seen


# --- edits -------------------------------------------------------------------------------------------------------


def tamper(path: Path, *statements: tuple[str, tuple[str, ...]]) -> None:
    raw = sqlite3.connect(path)
    for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {trigger}")
    for statement, values in statements:
        raw.execute(statement, values)
    raw.commit()
    raw.close()


def test_a_ledger_that_was_edited_into_nonsense_is_told(path: Path, filled: list[Recorded]) -> None:
    with opened(path) as journal:
        journal.intend(journal.acquire(PLAN, "web"), "disk", "web/vda", "memory")
    tamper(path, ("UPDATE kubeferry_ledger SET state = 'lost'", ()))
    with opened(path) as journal, pytest.raises(InputInvalid, match="journal is damaged") as caught:
        journal.ledger_open()
    assert "its ledger: 'lost'" in str(caught.value)
    assert caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE kubeferry_event SET payload = replace(payload, 'note 3', 'note 4') WHERE seq = 5", "event 5"),
        ("UPDATE kubeferry_event SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 2", "event 2"),
        ("UPDATE kubeferry_event SET writer = 'me' WHERE seq = 41", "event 41"),
        ("UPDATE kubeferry_event SET digest = 'x' WHERE seq = 41", "event 41"),
        ("DELETE FROM kubeferry_event WHERE seq = 7", "event 7 is missing"),
        ("DELETE FROM kubeferry_event WHERE seq > 30", "events 31 to 41 are missing"),
        ("DELETE FROM kubeferry_event", "events 1 to 41 are missing"),
        ("UPDATE kubeferry_event SET seq = -seq WHERE seq > 39", "does not match|is missing"),
        ("UPDATE kubeferry_machine SET seq = 40", "ends at event 41"),
    ],
)
def test_an_edited_journal_is_noticed_on_reading_and_on_writing(
    path: Path, filled: list[Recorded], statement: str, words: str
) -> None:
    tamper(path, (statement, ()))
    with opened(path) as journal:
        with pytest.raises(IntegrityFailed, match=words) as caught:
            journal.events(PLAN, "web")
        assert (caught.value.machine, caught.value.exit_code) == ("web", 2)
        with pytest.raises(IntegrityFailed, match=words):
            journal.states(PLAN)
        with journal.lease(PLAN, "web") as lease, pytest.raises(IntegrityFailed, match=words):
            journal.append(lease, ev.Note(text="on top of it"))


def test_events_without_their_end_are_noticed_whoever_asks(path: Path, filled: list[Recorded]) -> None:
    tamper(path, ("DELETE FROM kubeferry_machine", ()))
    with opened(path) as journal:
        for ask in (lambda: journal.events(PLAN, "web"), lambda: journal.histories(PLAN)):
            with pytest.raises(InputInvalid, match="it holds events of web, and not where they end"):
                ask()


def test_an_event_of_a_newer_kubeferry_is_not_misread(path: Path, filled: list[Recorded]) -> None:
    link = Link(PLAN, "old", 1, "teleported", '{"kind":"teleported"}', "t", 1, "w")
    tamper(
        path,
        ("INSERT INTO kubeferry_machine VALUES (?, 'old', 1, NULL, '', 1, ?)", (PLAN, link.digest(""))),
        (
            "INSERT INTO kubeferry_event VALUES (NULL, ?, 'old', 1, 'teleported', ?, 't', 1, 'w', ?)",
            (PLAN, link.payload, link.digest("")),
        ),
    )
    with opened(path) as journal, pytest.raises(InputInvalid, match="none that this version knows"):
        journal.events(PLAN, "old")


LINKS = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=6)


def chained(contents: list[tuple[str, str]]) -> list[tuple[Link, str]]:
    links: list[tuple[Link, str]] = []
    digest = ""
    for seq, (kind, payload) in enumerate(contents, start=1):
        link = Link("p", "m", seq, kind, payload, "t", 1, "w")
        digest = link.digest(digest)
        links.append((link, digest))
    return links


@given(LINKS, st.data())
def test_a_chain_is_whole_and_any_change_to_it_is_not(contents: list[tuple[str, str]], data: st.DataObject) -> None:
    links = chained(contents)
    end = (len(links), links[-1][1])
    assert first_break(links, *end) is None
    at = data.draw(st.integers(0, len(links) - 1))
    assert first_break(links[:at] + links[at + 1 :], *end)
    other = chained([*contents[:at], (contents[at][0] + "!", contents[at][1]), *contents[at + 1 :]])
    assert first_break([*links[:at], (other[at][0], links[at][1]), *links[at + 1 :]], *end)
    assert first_break(other, *end), "a chain rebuilt from the change on does not end where the other did"


# --- owners ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ended() -> Iterator[Owner]:
    """The owner that a process was which has ended, and was not waited for yet: a zombie writes nothing."""
    code = "from kubeferry.journal import Owner; print(Owner.here(), flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.read().strip()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield Owner.parse(line)
    process.stdout.close()
    process.wait()


def test_an_owner_is_read_back_and_alive() -> None:
    here = Owner.here()
    assert Owner.parse(str(here)) == here
    assert (here.pid, here.host) == (os.getpid(), socket.gethostname())
    assert not here.is_dead
    assert describe(str(here)) == f"process {os.getpid()} on {here.host}"


def test_an_owner_is_dead_only_when_that_is_certain(ended: Owner) -> None:
    assert ended.is_dead
    assert not is_dead(str(Owner(ended.host, ended.pid, ended.started, "elsewhere")))
    assert not is_dead("somebody")
    here = Owner.here()
    assert Owner(here.host, here.pid, here.started - 1, here.place).is_dead, "the pid was given to another process"


def test_a_machine_whose_owner_died_here_is_taken_over_at_once(
    path: Path, filled: list[Recorded], ended: Owner
) -> None:
    with opened(path) as journal:
        stale = journal.acquire(PLAN, "web", owner=ended, ttl_seconds=3600)
        assert journal.acquire(PLAN, "web").fence == stale.fence + 1


def test_a_process_that_lives_here_is_not_succeeded_because_its_lease_ran_out(
    path: Path, filled: list[Recorded]
) -> None:
    """Ctrl-Z, a clock that was set, a heartbeat that came late: it wakes up, and goes on."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        here = Owner.here()
        asleep = Owner(here.host, sleeper.pid, started(sleeper.pid), here.place)
        assert asleep.is_alive
        sleeper.send_signal(signal.SIGSTOP)
        with opened(path) as journal:
            stale = journal.acquire(PLAN, "web", owner=asleep, ttl_seconds=0.001)
            time.sleep(0.01)
            with pytest.raises(Fenced, match=f"process {sleeper.pid}") as caught:
                journal.acquire(PLAN, "web")
            assert "asleep" in caught.value.why
            journal.register_plan("second", "second", "")
            with pytest.raises(Fenced):
                journal.acquire("second", "web")
            sleeper.kill()
            sleeper.wait()
            assert journal.acquire(PLAN, "web").fence > stale.fence
    finally:
        sleeper.kill()
        sleeper.wait()


def started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_an_owner_elsewhere_is_succeeded_when_its_lease_has_run_out(path: Path, filled: list[Recorded]) -> None:
    with opened(path) as journal:
        stale = journal.acquire(PLAN, "web", owner=Owner("far", 1, 1, "elsewhere"), ttl_seconds=0.001)
        time.sleep(0.01)
        assert journal.acquire(PLAN, "web").fence == stale.fence + 1


def test_a_lease_that_ran_out_is_taken_over_under_another_plan_too(path: Path, filled: list[Recorded]) -> None:
    with opened(path) as journal:
        stale = journal.acquire(PLAN, "web", ttl_seconds=0.001)
        journal.register_plan("second", "second", "")
        time.sleep(0.01)
        journal.acquire("second", "web")
        with pytest.raises(Fenced):
            journal.heartbeat(stale)


@pytest.mark.parametrize(
    "error", [TransientError("away"), sqlalchemy.exc.TimeoutError("no connection"), OSError(5, "io"), ValueError("odd")]
)
def test_a_heartbeat_survives_whatever_comes_up(path: Path, filled: list[Recorded], error: Exception) -> None:
    with opened(path) as journal:
        renew, failed = journal.heartbeat, []

        def failing(lease: Lease) -> str:
            if len(failed) < 3:
                failed.append(lease)
                raise error
            return renew(lease)

        journal.heartbeat = failing  # type: ignore[method-assign]
        with journal.lease(PLAN, "web", ttl_seconds=0.1) as lease:
            time.sleep(0.3)
            with pytest.raises(Fenced):
                journal.acquire(PLAN, "web", owner=Owner("far", 1, 1, "elsewhere"))
            assert not lease.lost.is_set()
        assert len(failed) == 3


def test_nobody_waits_for_a_connection_behind_others(path: Path, filled: list[Recorded]) -> None:
    with opened(path) as journal, contextlib.ExitStack() as busy:
        for _ in range(20):
            busy.enter_context(reading(journal._engine))
        assert journal.acquire(PLAN, "web").machine == "web"


@pytest.mark.parametrize(
    "error", [sqlalchemy.exc.TimeoutError("QueuePool limit"), sqlalchemy.exc.ResourceClosedError("closed")]
)
def test_what_the_database_s_library_raises_is_worth_retrying(error: Exception) -> None:
    with pytest.raises(TransientError, match="does not answer") as caught, translated("sqlite:///x"):
        raise error
    assert caught.value.fix


def test_a_full_disk_is_worth_retrying_when_there_is_room(path: Path, filled: list[Recorded]) -> None:
    def small(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {4 if tight else 1000000}")

    tight = True
    with opened(path) as journal:
        lease = journal.acquire(PLAN, "web")
        journal._engine.dispose()
        sqlalchemy.event.listen(journal._engine, "connect", small)
        with pytest.raises(TransientError, match="cannot be written") as caught:
            journal.append(lease, ev.Note(text="x" * 100_000))
        assert "Make room" in caught.value.fix
        tight = False
        journal._engine.dispose()
        journal.append(lease, ev.Note(text="x" * 100_000))


def test_threads_share_a_journal(path: Path, filled: list[Recorded]) -> None:
    with opened(path) as journal:

        def move(machine: str) -> None:
            with journal.lease(PLAN, machine) as lease:
                journal.append(lease, ev.Planned(plan_digest=PLAN, disks=()))
                for number in range(10):
                    journal.append(lease, ev.Note(text=str(number)))

        names = [f"m{number}" for number in range(4)]
        threads = [threading.Thread(target=move, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.machines(PLAN) == [*names, "web"]
        assert all(len(journal.events(PLAN, name)) == 11 for name in names)


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o666, 0o660), (0o664, 0o660), (0o600, 0o600)])
def test_a_journal_that_everybody_may_read_is_made_private_when_it_is_opened(
    path: Path, before: int, after: int
) -> None:
    opened(path).close()
    path.chmod(before)
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == after


def test_an_earlier_journal_that_may_not_be_written_can_be_read(
    path: Path, filled: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE kubeferry_known")
        database.commit()
    real = engine._sqlite_connect

    def connect(connection: Any, record: object) -> None:
        real(connection, record)
        connection.execute("PRAGMA query_only=ON")  # what SQLite says then is what it says of a file of another's

    monkeypatch.setattr(engine, "_sqlite_connect", connect)
    with opened(path) as journal:
        assert journal.events(PLAN, "web") == filled
        assert journal.known(PLAN, "web") is None, "its document is no plan"
        with pytest.raises(InputInvalid, match="cannot be opened"):
            journal.register_plan("second", "second", "text")
