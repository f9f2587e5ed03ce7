"""Two machines that share a disk, between the memory source and the memory target, with a real SQLite journal; tests of
sets live in it, too. After each call of a seam is looked whether anything runs twice, or is copied while it may change.
A command is carried out as `flows` carries it out, by a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import update

from kubeferry.documents import Inventory, JournalConfig, Limits, Plan, Policy, Probe, StopPolicy, StoragePolicy
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal, Lease
from kubeferry.journal.schema import MACHINE
from kubeferry.life.action_kinds import Action, Goal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import Machine, Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.accounts import settle
from kubeferry.steps.together import drive_set
from kubeferry.steps.work import Work
from kubeferry.targets import TargetCapabilities
from kubeferry.targets.memory.target import MemoryTarget
from lab import machines
from lab.machines import a_disk
from mappings.plan import make_plan
from soak.run.world import AFTER, BEFORE, JOURNAL, SOURCE, TARGET, Killed, Proxy, again, no_fault
from soak.trial import Wrong

SECTION = 8192
NAMES = ("a", "b")
AT = "2026-01-01T00:00:00Z"
POLICY = Policy(
    probes=(Probe(kind="agent"),),
    stop=StopPolicy(last_words=("/data/boots",)),
    storage=StoragePolicy(access_mode="ReadWriteMany"),
)
TRIES = 2


Fault = Callable[[str, str], BaseException | None]
"""Asked before and after each call, with its name; what it returns is raised."""


@dataclass
class Pair:
    """`calls` counts those of the seams, `number` is that of the one that `fault` is asked about; `told` are the steps
    that were begun."""

    folder: Path
    source: MemorySource
    journal: Journal
    plan: Plan
    target: MemoryTarget = field(default_factory=MemoryTarget)
    fault: Fault = no_fault
    calls: int = 0
    number: int = 0
    dead: bool = False
    broken: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    def power(self, name: str) -> Power:
        return self.source.power(self.plan.entry(name).machine)

    def state(self, name: str) -> MachineState:
        return self.journal.state(self.plan.digest, name)

    def phases(self) -> dict[str, Phase]:
        return {name: self.state(name).phase for name in NAMES}

    def equal(self) -> bool:
        """Whether each disk has one copy at the target, with what its source holds."""
        wanted = {"a/vda": "a.img", "b/vda": "b.img", "a/vdb": "shared.img"}
        found = {place: bytes(data) for place, data in self.target.disks.items()}
        return found == {place: (self.folder / name).read_bytes() for place, name in wanted.items()}

    def running(self) -> set[str]:
        """The machines whose sources run."""
        return {name for name in NAMES if self.power(name) is not Power.OFF}

    def write(self, name: str) -> None:
        """A running guest writes to the shared disk and its own."""
        if self.power(name) is Power.RUNNING:
            for path in (self.folder / f"{name}.img", self.folder / "shared.img"):
                content = bytearray(path.read_bytes())
                content[:8] = self.calls.to_bytes(8, "big")
                path.write_bytes(content)

    # --- commands ---

    def works(self, leases: list[Lease]) -> list[Work]:
        def proxy(inner: Any, side: str, methods: set[str]) -> Any:
            return Proxy(inner, side, self.called, methods)

        return [
            Work(
                plan=self.plan,
                entry=self.plan.entry(lease.machine),
                source=proxy(self.source, "source", SOURCE),
                target=proxy(self.target, "target", TARGET),
                journal=proxy(self.journal, "journal", JOURNAL),
                lease=lease,
                limits=Limits(),
                progress=lambda *_told: None,
            )
            for lease in leases
        ]

    def command(self, goal: Goal = Goal.MIGRATE, *, ttl_seconds: float = 60) -> BaseException | None:
        """One command; returns what stopped it. Nobody renews its leases but each of its steps."""
        stopping.reset()
        self.dead = False
        try:
            names = self.plan.set_of("a")
            leases = [self.journal.acquire(self.plan.digest, name, ttl_seconds=ttl_seconds) for name in names]
            works = self.works(leases)
            drive_set(works, goal, self.step)
            for work in works:
                settle(work)
        except (KubeferryError, Killed, SystemExit) as error:  # whatever else escapes is a defect
            return error
        finally:
            self.dead = False
            stopping.reset()
            self.end_leases()
            if self.broken:
                raise Wrong("never two copies, of a set either", self.broken[0])
        return None

    def end_leases(self) -> None:
        """Who held the leases has ended."""
        with self.journal._writing() as db:
            db.execute(update(MACHINE).values(owner=None, expires_at=""))

    def step(self, work: Work, action: Action, step: Callable[[], None]) -> None:
        """One step; what may pass is tried again at once."""
        self.told.append((work.entry.name, str(action.kind)))
        again(step, TRIES)

    def called(self, name: str, value: Any, given: Any, named: Any) -> Any:
        """A call of a seam."""
        if self.dead:
            raise Killed
        self.calls += 1
        number = self.number = self.calls
        self._break(name, BEFORE)
        done = value(*given, **named)
        self.look(name, given)
        self.number = number  # a call may have made others
        self._break(name, AFTER)
        return done

    def _break(self, name: str, moment: str) -> None:
        error = self.fault(name, moment)
        if error is not None:
            self.dead = isinstance(error, Killed)
            raise error

    # --- what must hold ---

    def look(self, call: str, given: tuple[Any, ...]) -> None:
        on, copies = self.running(), set(self.target.running)
        if on & copies:
            self.broken.append(f"{on & copies} run twice after {call}")
        if on and copies:
            self.broken.append(f"{on} at the source and {copies} at the target write what they share after {call}")
        if call == "target.submit" and given[0].action in {"copy", "repair"} and on:
            self.broken.append(f"disk {given[0].disk} is copied while {on} may write what they share")


def pair_in(folder: Path, power: Power = Power.RUNNING, policy: Policy = POLICY) -> Pair:
    """A new world. The caller closes its journal."""
    for name in (*NAMES, "shared"):
        (folder / f"{name}.img").write_bytes(name.encode() * (SECTION // len(name)) + bytes(SECTION))
    source = MemorySource("lab", folder)
    source.write_machines(*(a_machine(folder, name, power) for name in NAMES))
    for name in NAMES:
        source.write_words(name, {"/data/boots": "7\n"})
    journal = Journal.open(JournalConfig(url=f"sqlite:///{folder / 'journal.db'}"))
    found = source.discover().machines
    facts = Inventory(source="lab", source_kind="memory", observed_at=AT, machines=found)
    plan = make_plan(facts, policy, name="pair", created_at=AT)
    journal.keep_plan(plan)
    pair = Pair(folder, source, journal, plan)
    pair.target.capabilities = TargetCapabilities(keeps_running=True, isolated=False)
    return pair


def a_machine(folder: Path, name: str, power: Power) -> Machine:
    own, shared = a_disk(folder / f"{name}.img"), a_disk(folder / "shared.img", "vdb", shareable=True)
    return machines.a_machine(name, own, shared, power=power)
