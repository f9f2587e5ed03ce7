"""Machines of a run that other workers drive: asked for in the journal, and waited for there. Workers are threads here;
`tests/runs/test_spread.py` has real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from flows import elsewhere
from flows.elsewhere import Elsewhere, stays_alive
from flows.migrate import Run, run_plan
from flows.moves import Move
from flows.progress import Board
from flows.results import as_text, from_text
from flows.spreading import refuse_unspreadable
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, SpreadConfig, load
from kubeferry.errors import Deferred, HeldBack, InputInvalid, Interrupted, KubeferryError, ProbeFailed, Problem
from kubeferry.journal import Errand, Journal
from kubeferry.journal import errands as kept
from kubeferry.journal.schema import ERRAND
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import running_machines

NAMES = ("alpha", "beta", "gamma")
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
machines:
  beta: {after: [alpha]}
"""


class Spread:
    """alpha, beta, which comes after it, and gamma; and workers, which `send` tells."""

    def __init__(self, kubeferry: Callable[..., Any], folder: Path) -> None:
        self.source = MemorySource("lab", folder / "source")
        running_machines(self.source, folder, NAMES)
        (folder / "policy.yaml").write_text(POLICY)
        for line in (("discover",), ("plan", "inventory.yaml", "--policy", "policy.yaml")):
            code, _out, err = kubeferry(*line)
            assert code == 0, err
        self.path = folder / "kubeferry.yaml"
        self.config, self.plan = read_config(self.path), load(folder / "plan.yaml", Plan)
        self.journal = Journal.open(self.config.journal)
        self.journal.keep_plan(self.plan)
        self.sent, self.said, self.workers = list[str](), list[str](), list[threading.Thread]()

    def run(self, goal: Goal = Goal.MIGRATE) -> Run:
        board = Board(quiet=True, tell=lambda _event, **facts: self.said.append(f"{facts}"))
        return Run(self.plan, self.config, self.journal, board, goal)

    def whole(self, send: Callable[[Errand], object], seconds: float = 60) -> dict[str, Outcome]:
        """The run that hands its machines out."""
        move = Move(self.plan, self.config, self.path, NAMES, Goal.MIGRATE)
        run = self.run()
        told = SpreadConfig(machines=8, take_seconds=seconds)
        with Elsewhere(self.journal, move, told, lambda errand, _number: (send(errand), None)[1]) as run.others:
            return {one.machine: one for one in run_plan(run, NAMES)}

    def worker(self, errand: Errand) -> str:
        """Somebody takes it at once."""
        self.sent.append(errand.unit[0])
        self.workers.append(threading.Thread(target=self.take, args=(errand,)))
        self.workers[-1].start()
        return errand.id

    def take(self, errand: Errand, seconds: float = 0) -> None:
        if self.journal.errands.take(errand.id):
            time.sleep(seconds)
            self.journal.errands.end(errand.id, as_text(run_plan(self.run(), errand.unit)))

    def phases(self, found: dict[str, Outcome]) -> list[str]:
        return [found[name].phase for name in NAMES]


@pytest.fixture
def spread(
    kubeferry: Callable[..., Any], estate: Path, no_server: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Spread]:
    monkeypatch.setattr(elsewhere, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(elsewhere, "SEND_AGAIN_SECONDS", 0.05)
    made = Spread(kubeferry, estate)
    yield made
    for worker in made.workers:
        worker.join(20)
    made.journal.close()


def test_each_machine_is_taken_by_a_worker_in_the_plan_s_order(spread: Spread) -> None:
    found = spread.whole(spread.worker)
    assert spread.phases(found) == ["committed"] * 3
    assert spread.sent.index("beta") == 2  # it comes after alpha: nobody was asked for it before
    assert [one.state for one in spread.journal.errands.of_plan(spread.plan.digest)] == ["ended"] * 3


def test_what_fails_there_fails_here_with_all_that_is_known_of_it(spread: Spread) -> None:
    spread.source.write_deaf("alpha")
    found = spread.whole(spread.worker)
    assert spread.phases(found) == ["failed", "not begun", "committed"]
    alpha, beta = found["alpha"], found["beta"]
    assert alpha.error is not None
    assert alpha.error.what.startswith("the machine does not stop") or "does not" in alpha.error.what
    assert alpha.stands == "rolled-back"
    assert isinstance(beta.error, HeldBack)
    assert beta.error.by == ("alpha",)
    assert spread.sent.count("beta") == 0


def test_where_nobody_can_be_told_for_a_while_they_are_told_later(spread: Spread) -> None:
    tries: list[str] = []

    def send(errand: Errand) -> str:
        tries.append(errand.unit[0])
        if len(tries) < 6:
            raise ConnectionError("the server is away")
        return spread.worker(errand)

    assert spread.phases(spread.whole(send)) == ["committed"] * 3
    assert sorted(spread.sent) == ["alpha", "beta", "gamma"]


def test_where_no_worker_is_there_the_run_drives_them_itself_and_a_late_one_does_nothing(spread: Spread) -> None:
    late: list[Errand] = []
    found = spread.whole(lambda errand: late.append(errand) or "", seconds=0.2)
    assert spread.phases(found) == ["committed"] * 3
    assert any("no worker has taken it for 0.2 s: it is driven here" in one for one in spread.said)
    assert [spread.journal.errands.take(one.id) for one in late] == [None] * len(late)


def test_a_run_that_died_before_it_took_its_machine_is_followed_by_another(spread: Spread) -> None:
    begun: list[str] = []

    def send(errand: Errand) -> None:
        begun.append(errand.unit[0])
        if errand.unit == ("alpha",):  # while somebody is at work this run has no reason to drive any itself
            spread.workers.append(threading.Thread(target=spread.take, args=(errand, 3.0)))
            spread.workers[-1].start()
        elif begun.count("gamma") != 1:
            spread.worker(errand)

    assert spread.phases(spread.whole(send, seconds=1.0)) == ["committed"] * 3
    assert begun.count("gamma") == 2
    assert not any("it is driven here" in one for one in spread.said)


def test_who_is_killed_at_work_is_followed_by_another(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[str] = []

    def send(errand: Errand) -> str:
        if errand.unit == ("gamma",) and not killed:
            killed.append(errand.id)
            with monkeypatch.context() as patched:
                patched.setattr(kept, "ALIVE_SECONDS", 0.3)
                assert spread.journal.errands.take(errand.id)  # and nothing more is heard of it
            return errand.id
        return spread.worker(errand)

    assert spread.phases(spread.whole(send)) == ["committed"] * 3
    assert any("was at work on it, and is not heard of any more" in one for one in spread.said)
    states = [(one.unit[0], one.state, one.lost) for one in spread.journal.errands.of_plan(spread.plan.digest)]
    assert ("gamma", "taken", True) in states
    assert ("gamma", "ended", False) in states


def test_who_is_asked_to_stop_asks_the_workers_and_what_nobody_has_taken_does_not_begin(spread: Spread) -> None:
    heard = threading.Event()

    def send(errand: Errand) -> str:
        if errand.unit == ("alpha",):
            assert spread.journal.errands.take(errand.id)

            def works() -> None:
                stays_alive(spread.journal, lambda: errand.id, heard.set, heard)
                outcome = Outcome("alpha", "stopped", stopping.interrupted())
                spread.journal.errands.end(errand.id, as_text([outcome]))

            spread.workers.append(threading.Thread(target=works))
            spread.workers[-1].start()
            threading.Timer(0.3, stopping.request).start()
        return errand.id

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(elsewhere, "ALIVE_EVERY_SECONDS", 0.05)
        found = spread.whole(send)
    assert heard.is_set()
    assert spread.phases(found) == ["stopped", "not begun", "not begun"]
    assert isinstance(found["alpha"].error, Interrupted)
    states = {one.unit[0]: one.state for one in spread.journal.errands.of_plan(spread.plan.digest)}
    assert states == {"alpha": "ended", "gamma": "withdrawn"}


def test_what_another_run_s_worker_is_at_work_on_is_waited_for(spread: Spread) -> None:
    theirs = spread.journal.errands.ask("another run", spread.plan.digest, ("gamma",), "migrate")
    assert spread.journal.errands.take(theirs.id)

    def works() -> None:
        time.sleep(0.5)
        spread.journal.errands.end(theirs.id, as_text(run_plan(spread.run(), ("gamma",))))

    spread.workers.append(threading.Thread(target=works))
    spread.workers[-1].start()
    assert spread.phases(spread.whole(spread.worker)) == ["committed"] * 3
    assert "gamma" not in spread.sent


def test_an_errand_of_a_run_that_is_gone_is_taken_by_nobody(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WANTED_SECONDS", 0.05)
    asked = spread.journal.errands.ask("a run", spread.plan.digest, ("alpha",), "migrate")
    time.sleep(0.06)
    assert spread.journal.errands.take(asked.id) is None
    spread.journal.errands.look("a run", [asked.id])
    assert spread.journal.errands.take(asked.id) is not None
    assert spread.journal.errands.take(asked.id) is None


@pytest.mark.parametrize(
    "error",
    [
        Deferred("its window is closed", machine="web", until="2026-01-01T00:00:00+00:00", opening="on Friday"),
        HeldBack("it comes after db", machine="web", by=("db", "cache"), turn=False),
        InputInvalid("wrong", [Problem("here", "is wrong", "Mend it.")]),
        ProbeFailed("it is silent", why="no answer", fix="Look.", machine="web", disk="vda"),
    ],
)
def test_an_error_arrives_as_it_was(error: KubeferryError) -> None:
    (found,) = from_text(as_text([Outcome("web", "failed", error, left="a mark", stands="synced")]))
    assert (found.phase, found.left, found.stands) == ("failed", "a mark", "synced")
    assert type(found.error) is type(error)
    assert (str(found.error), vars(found.error)) == (str(error), vars(error))


def test_a_journal_in_a_file_is_refused_with_what_helps(spread: Spread) -> None:
    settings = spread.config.model_copy(update={"spread": SpreadConfig()})
    with pytest.raises(InputInvalid, match="the journal is a file") as refused:
        refuse_unspreadable(settings, spread.path)
    assert "PostgreSQL" in refused.value.fix
    refuse_unspreadable(spread.config, spread.path)


def test_old_errands_go_and_those_under_way_stay(spread: Spread) -> None:
    errands = spread.journal.errands
    old, taken = (errands.ask("a run", spread.plan.digest, (name,), "migrate") for name in ("alpha", "beta"))
    assert errands.take(taken.id)
    assert {one.id for one in errands.of_plan(spread.plan.digest)} == {old.id, taken.id}
    with spread.journal._writing() as db:
        db.execute(update(ERRAND).values(wanted_until="2026-01-01T00:00:00.000+00:00"))
    with Journal.open(spread.config.journal) as another:
        new = another.errands.ask("another run", spread.plan.digest, ("gamma",), "migrate")
        assert {one.id for one in another.errands.of_plan(spread.plan.digest)} == {taken.id, new.id}
