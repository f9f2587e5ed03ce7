"""One machine with two small disks between the memory source and the memory target, with a real SQLite journal."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Entry, Inventory, JournalConfig, Limits, Plan, Policy, Probe, StopPolicy, freeze
from kubeferry.errors import Fenced, Interrupted, SourceUnavailable
from kubeferry.journal import Journal, Lease, Recorded
from kubeferry.life.action_kinds import Action, ActionKind, Goal
from kubeferry.life.machine_state import MachineState
from kubeferry.model import Machine, Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.drive import drive
from kubeferry.steps.work import Work
from kubeferry.targets.memory.target import MemoryTarget
from lab import machines
from lab.machines import a_disk
from mappings.plan import make_plan

MIB = 2**20
POLICY = Policy(
    probes=(Probe(kind="agent"), Probe(kind="counter", path="/data/boots")),
    stop=StopPolicy(last_words=("/data/boots",)),
)
Hook = Callable[[Action], None]


def _nothing(_action: Action) -> None:
    pass


@dataclass
class Scene:
    """The world of one test. `events` hold what the journal has; `drive` is one run, under a lease of its own."""

    folder: Path
    source: MemorySource
    journal: Journal
    plan: Plan
    target: MemoryTarget = field(default_factory=MemoryTarget)
    before: Hook = _nothing
    after: Hook = _nothing

    @property
    def entry(self) -> Entry:
        return self.plan.entries[0]

    @property
    def events(self) -> list[Recorded]:
        return self.journal.events(self.plan.digest, self.entry.name)

    @property
    def kinds(self) -> list[str]:
        return [str(record.event.kind) for record in self.events]

    @property
    def state(self) -> MachineState:
        return self.journal.state(self.plan.digest, self.entry.name)

    @property
    def power(self) -> Power:
        return self.source.power(self.entry.machine)

    def disk(self, name: str) -> Path:
        return self.folder / f"{name}.img"

    def equal(self) -> bool:
        """Whether every disk at the target holds what the source's holds."""
        return {name.rpartition("/")[2]: bytes(data) for name, data in self.target.disks.items()} == {
            disk.disk: self.disk(disk.disk).read_bytes() for disk in self.entry.disks
        }

    def work(self, lease: Lease) -> Work:
        return Work(
            plan=self.plan,
            entry=self.entry,
            source=self.source,
            target=self.target,
            journal=self.journal,
            lease=lease,
            limits=Limits(),
            progress=lambda *_told: None,
        )

    def drive(self, goal: Goal = Goal.MIGRATE) -> MachineState:
        with self.journal.lease(self.plan.digest, self.entry.name) as lease:
            return drive(self.work(lease), goal, self._do)

    def stop_before(self, kind: ActionKind) -> None:
        """From now on somebody stops each run when it comes to this action."""

        def stop(action: Action) -> None:
            if action.kind is kind:
                raise Interrupted("stopped on request")

        self.before = stop

    def keeps(self, **state: Any) -> None:
        """What the plan says of state of the machine that goes with it."""
        entry = self.entry.model_copy(update=state)
        self.plan = freeze(self.plan.model_copy(update={"entries": (entry,)}))
        self.journal.register_plan(self.plan.digest, self.plan.name, "")

    def damage(self, disk: str) -> None:
        """From now on a disk reads back otherwise than it was copied."""
        whole = self.target.watch

        def damaged(job: Any, on_progress: Any) -> Any:
            result = whole(job, on_progress)
            if job.disk == disk and job.action == "verify":
                return result.model_copy(update={"ok": False, "differing": 1})
            return result

        self.target.watch = damaged  # type: ignore[method-assign]

    @contextlib.contextmanager
    def losing_mover(self, number: int) -> Iterator[None]:
        """Meanwhile the mover of this job, counted from 1, is gone before it ends."""
        whole, seen = self.target.watch, itertools.count(1)

        def watch(job: Any, on_progress: Any) -> Any:
            if next(seen) == number:
                raise SourceUnavailable("the mover is gone")
            return whole(job, on_progress)

        self.target.watch = watch  # type: ignore[method-assign]
        yield
        self.target.watch = whole  # type: ignore[method-assign]

    def overtaken_at(self, kind: ActionKind) -> Lease:
        """A run whose lease runs out, and is taken by another one, when it comes to this action: it is fenced. Returns
        the other one's lease."""
        stale = self.journal.acquire(self.plan.digest, self.entry.name, ttl_seconds=0.01)
        taken: list[Lease] = []

        def overtake(action: Action, step: Callable[[], None]) -> None:
            if action.kind is kind and not taken:
                time.sleep(0.02)
                taken.append(self.journal.acquire(self.plan.digest, self.entry.name))
            step()

        with pytest.raises(Fenced):
            drive(self.work(stale), Goal.MIGRATE, overtake)
        return taken[0]

    def _do(self, action: Action, step: Callable[[], None]) -> None:
        self.before(action)
        step()
        self.after(action)


@pytest.fixture
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Scene]]:
    """Make a scene; as many as a test wants."""
    with contextlib.ExitStack() as open_journals:

        def make(*, power: Power = Power.RUNNING, journal: type[Journal] = Journal, policy: Policy = POLICY) -> Scene:
            folder = tmp_path_factory.mktemp("scene")
            for name in ("vda", "vdb"):
                (folder / f"{name}.img").write_bytes(os.urandom(MIB) + bytes(MIB) + os.urandom(512))
            source = MemorySource("lab", folder)
            source.write_machines(a_machine(folder, power))
            source.write_words("web", {"/data/boots": "7\n"})
            opened = open_journals.enter_context(journal.open(JournalConfig(url=f"sqlite:///{folder / 'journal.db'}")))
            facts = Inventory(
                source="lab",
                source_kind="memory",
                observed_at="2026-01-01T00:00:00Z",
                machines=source.discover().machines,
            )
            plan = make_plan(facts, policy, name="test", created_at="2026-01-01T00:00:00Z")
            opened.register_plan(plan.digest, plan.name, "")
            return Scene(folder, source, opened, plan)

        yield make


@pytest.fixture
def scene(build: Callable[..., Scene]) -> Scene:
    return build()


@pytest.fixture(autouse=True)
def nobody_asked_to_stop() -> Iterator[None]:
    stopping.reset()
    yield
    stopping.reset()


def a_machine(folder: Path, power: Power) -> Machine:
    return machines.a_machine("web", *(a_disk(folder / f"{name}.img", name) for name in ("vda", "vdb")), power=power)
