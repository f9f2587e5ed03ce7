"""The outbox on every database: SQLite, and a real PostgreSQL. Deliverers are real processes here, several at once, and
are killed with SIGKILL; the receiver is a real HTTP server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kubeferry.documents import Config, JournalConfig
from kubeferry.journal import Journal
from kubeferry.notices import deliver
from tests.lives import a_plan, goes_back
from tests.needs import needs
from tests.receivers import KEY, Listener, listening
from tests.tools.authority import Authority
from tests.unit.notices.conftest import NOW, configured, hook

pytestmark = pytest.mark.xdist_group("postgres")  # one server for all its tests

DELIVERER = """
import sys
from kubeferry.documents import Config
from kubeferry.journal import Journal
from kubeferry.notices import deliver

config = Config.model_validate_json(sys.argv[1])
with Journal.open(config.journal) as journal:
    print("ready", flush=True)
    while not (word := sys.stdin.readline().strip()):
        pass
    while word != "end":
        deliver(journal, config)
        print("done", flush=True)
        word = sys.stdin.readline().strip()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Who is told by `listener`, with a journal in each database."""
    monkeypatch.setenv("HOOK_KEY", KEY)
    made = configured(f"sqlite:///{tmp_path}/journal.db", webhooks={"ops": hook(request.getfixturevalue("listener"))})
    if request.param == "sqlite":
        return made
    journal: JournalConfig = request.getfixturevalue("server").config(request.getfixturevalue("database"))
    return made.model_copy(update={"journal": journal})


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


class Deliverer:
    """A process that delivers each time it is told to."""

    def __init__(self, config: Config) -> None:
        argv = [sys.executable, "-c", DELIVERER, config.model_dump_json(by_alias=True)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def test_several_deliverers_tell_it_once_and_in_order(config: Config, listener: Listener) -> None:
    """While machines go on being recorded by others."""
    names = ("a", "b", "c", "d")
    plan = a_plan(*names)
    few = config.model_copy(update={"notify": configured(webhooks={"ops": hook(listener, digestAbove=100)}).notify})
    with ExitStack() as held, Journal.open(config.journal) as journal:
        journal.keep_plan(plan)
        deliver(journal, few)
        deliverers = [Deliverer(few) for _ in range(3)]
        for one in deliverers:
            held.callback(one.close)

        def live(name: str) -> None:
            with Journal.open(config.journal) as own:
                for number in range(6):
                    goes_back(own, plan, name, reason=str(number))

        living = [threading.Thread(target=live, args=(name,)) for name in names]
        for thread in living:
            thread.start()
        while any(thread.is_alive() for thread in living):
            for one in deliverers:
                one.tell("go")
            assert [one.line() for one in deliverers] == ["done"] * 3
        for thread in living:
            thread.join()
        deliver(journal, few)
        assert journal.outbox.queues()[0].waiting == 0
    heard = [(one.body["machine"], int(one.body["reason"])) for one in listener.got]
    assert sorted(heard) == [(name, number) for name in names for number in range(6)]
    for name in names:
        assert [number for machine, number in heard if machine == name] == list(range(6))
    assert len({one.ident for one in listener.got}) == len(heard)


def test_killed_between_the_answer_and_its_record_it_is_told_again_under_the_same_id(
    config: Config, listener: Listener
) -> None:
    """Once is what the receiver makes of it, by the id."""
    plan = a_plan("web", "db")
    with Journal.open(config.journal) as journal:
        journal.keep_plan(plan)
        deliver(journal, config, NOW)
        goes_back(journal, plan, "web")
        goes_back(journal, plan, "db")
        listener.answers = ["hang"]
        first = Deliverer(config)
        try:
            first.tell("go")
            while not listener.got:
                assert first.process.poll() is None
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        finally:
            first.close()
        assert deliver(journal, config, NOW).sent == 2, "a dead process' turn is taken at once"
        assert deliver(journal, config, NOW).sent == 0
    assert [one.body["machine"] for one in listener.got] == ["web", "web", "db"]
    assert listener.got[0].ident == listener.got[1].ident
    assert listener.got[0].data == listener.got[1].data


def test_a_journal_of_an_earlier_version_gets_an_outbox(config: Config, listener: Listener) -> None:
    tables = ("kubeferry_outbox", "kubeferry_told", "kubeferry_receiver")
    plan = a_plan("web")
    with Journal.open(config.journal) as journal:
        journal.keep_plan(plan)
        goes_back(journal, plan, "web")
        with journal._writing() as db:
            for table in tables:
                db.exec_driver_sql(f"DROP TABLE {table}")
    with Journal.open(config.journal) as journal:
        assert deliver(journal, config, NOW).sent == 0
        goes_back(journal, plan, "web")
        assert deliver(journal, config, NOW).sent == 1


@needs("openssl")
def test_certificates_are_checked(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca")
    plan = a_plan("web")
    with listening(folder=authority.signed("server")) as secure, Journal.open(config.journal) as journal:
        told = config.model_copy(update={"notify": configured(webhooks={"ops": hook(secure)}).notify})
        journal.keep_plan(plan)
        deliver(journal, told, NOW)
        goes_back(journal, plan, "web")
        left = deliver(journal, told, NOW).told[0].left
        assert "certificate verify failed" in left.error
        assert secure.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert deliver(journal, told, NOW.replace(year=2031)).sent == 1
        assert secure.got[0].is_signed()
