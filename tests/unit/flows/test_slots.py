"""How many machines may be at work at once, over all runs: who finds no slot steps aside, and that is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import places
from flows.migrate import Run, run_plan
from flows.progress import Board
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.journal import Journal, Lease
from kubeferry.life.action_kinds import Goal
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from tests.unit.flows.conftest import running_machines

POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
"""


class Hosts:
    """a1 and a2 run on host a, b1 on host b; of each host one may be at work, and all of them at once in a run."""

    def __init__(self, kubeferry: Callable[..., Any], folder: Path) -> None:
        self.kubeferry, self.said = kubeferry, list[str]()
        source = MemorySource("lab", folder / "source")
        running_machines(source, folder, ("a1", "a2", "b1"))
        found = source.discover().machines
        source.write_machines(*(one.model_copy(update={"metadata": {"host": one.name[0]}}) for one in found))
        with (folder / "kubeferry.yaml").open("a") as file:
            file.write("limits: {concurrentMachines: 3, perHost: 1}\n")
        (folder / "policy.yaml").write_text(POLICY)
        for line in (("discover",), ("plan", "inventory.yaml", "--policy", "policy.yaml")):
            code, _out, err = kubeferry(*line)
            assert code == 0, err
        self.config, self.plan = read_config(folder / "kubeferry.yaml"), load(folder / "plan.yaml", Plan)

    def run(self, journal: Journal) -> list[Outcome]:
        journal.keep_plan(self.plan)
        board = Board(quiet=True, tell=lambda _event, **facts: self.said.append(f"{facts}"))
        return run_plan(Run(self.plan, self.config, journal, board, Goal.MIGRATE), ("a1", "a2", "b1"))

    def taken_by_another_run(self, journal: Journal) -> Lease:
        """Another plan's run is at work on host a."""
        journal.register_plan("another", "another", "")
        lease = journal.acquire("another", "c1")
        wanted = places.slots.asked(self.plan, self.config.limits, [("a1",)])["a1",]["a1"]
        assert journal.take_slots([lease], {"c1": wanted}) == ()
        return lease


@pytest.fixture
def hosts(kubeferry: Callable[..., Any], estate: Path, no_server: None, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    monkeypatch.setattr(places, "AGAIN_SECONDS", 0.05)
    return Hosts(kubeferry, estate)


def test_those_behind_it_begin_meanwhile_and_it_goes_on_once_a_slot_is_free(hosts: Hosts) -> None:
    with Journal.open(hosts.config.journal) as journal:
        lease, found = hosts.taken_by_another_run(journal), list[Outcome]()
        thread = threading.Thread(target=lambda: found.extend(hosts.run(journal)))
        thread.start()
        limit = time.monotonic() + 20
        while not any("'b1'" in one and "committed" in one for one in hosts.said) and time.monotonic() < limit:
            time.sleep(0.02)
        assert journal.machines(hosts.plan.digest) == ["b1"]
        waits = "waits for a slot: host a takes 1 at once, and has c1"
        assert [waits in "".join(one for one in hosts.said if name in one) for name in ("'a1'", "'a2'")] == [True, True]
        assert "no slot is free: host a takes 1 at once, and has c1" in hosts.kubeferry("status", "plan.yaml")[1]
        journal.release(lease)
        thread.join(20)
    assert [one.phase for one in found] == ["committed"] * 3
    one_by_one = [record for record in hosts.said if "begin-cutover" in record or "committed'" in record]
    assert [name for record in one_by_one for name in ("a1", "a2") if name in record] in (
        ["a1", "a1", "a2", "a2"],
        ["a2", "a2", "a1", "a1"],
    )
    assert "no slot is free" not in hosts.kubeferry("status", "plan.yaml")[1]


def test_the_way_back_needs_none_and_who_waits_hears_that_it_is_to_stop(hosts: Hosts) -> None:
    with Journal.open(hosts.config.journal) as journal:
        assert [one.phase for one in hosts.run(journal)] == ["committed"] * 3
        hosts.taken_by_another_run(journal)
        code, _out, err = hosts.kubeferry("rollback", "plan.yaml", "-m", "a1", "--lose-writes")
        assert code == 0, err
        threading.Timer(0.2, stopping.request).start()
        run = Run(hosts.plan, hosts.config, journal, Board(quiet=True), Goal.MIGRATE_AGAIN)
        assert [(one.machine, one.phase) for one in run_plan(run, ("a1",))] == [("a1", "not begun")]
