"""Machines of several waves, with orders between them and rules at random, some of which do not stop, are refused or
fail their proof; runs of all of them or of some, by the very code that a verb runs.

Nobody begins before all that it comes after has moved; nobody is held back without a reason that is so; nobody else is
left out; and once nothing fails, the same command moves all."""

from __future__ import annotations

from pathlib import Path

from flows.migrate import Run, run_plan
from flows.progress import Board
from flows.told import NOT_BEGUN, Audience, Outcome, StepBegun, Told
from kubeferry.documents import (
    Config,
    JournalConfig,
    Limits,
    MachinePolicy,
    Plan,
    Policy,
    SourceConfig,
    StopAfter,
    StopPolicy,
    StoragePolicy,
    TargetConfig,
    WavesPolicy,
)
from kubeferry.errors import HeldBack, KubeferryError, TargetRefused
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind, Goal
from kubeferry.life.held import after, has_failed, has_moved
from kubeferry.life.machine_state import Phase
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget, connect
from lab import machines
from lab.machines import a_disk
from mappings.plan import make_plan
from soak.run.world import AGENT, MADE_AT
from soak.trial import Trial, Wrong

RULES = (
    *(WavesPolicy(), WavesPolicy(), WavesPolicy(in_order=True)),
    *(WavesPolicy(stop_after=StopAfter(failures=one)) for one in (1, 2)),
)
CALM = 3


class Fleet(Audience):
    """Machines of a plan between the memory source and the memory target; it hears each step before it is taken."""

    def __init__(self, given: Trial) -> None:
        self.given, self.folder = given, given.folder
        self.source = MemorySource("lab", self.folder)
        self.config = _config(self.folder)
        self.target: MemoryTarget = connect(self.config.target)
        self.plan = self._planned()
        self.broken: list[str] = []

    def _planned(self) -> Plan:
        r = self.given.random
        names = [f"m{number}" for number in range(r.randint(3, 7))]
        for name in (*names, "shared"):
            (self.folder / f"{name}.img").write_bytes(name.encode() * 512)
        shared = set(r.sample(names, 2)) if r.random() < 0.5 else set()
        made = []
        for name in names:
            disks = [a_disk(self.folder / f"{name}.img")]
            disks += [a_disk(self.folder / "shared.img", "vdb", shareable=True)] if name in shared else []
            made.append(machines.a_machine(name, *disks))
        self.source.write_machines(*made)
        wave = {name: r.randint(1, 4) for name in names}
        wave |= dict.fromkeys(shared, min((wave[name] for name in shared), default=1))
        policy = Policy(
            probes=AGENT,
            stop=StopPolicy(agent_seconds=0, acpi_seconds=0),
            storage=StoragePolicy(access_mode="ReadWriteMany"),
            waves=r.choice(RULES),
            machines={
                name: MachinePolicy(
                    wave=f"wave-{wave[name]}",
                    after=tuple(one for one in names if wave[one] < wave[name] and r.random() < 0.3),
                )
                for name in names
            },
        )
        return make_plan(self.source.discover(), policy, name="fleet", created_at=MADE_AT)

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.plan.entries]

    def tell(self, machine: str, told: Told) -> None:
        """A stop is the first thing that is done to a machine."""
        if isinstance(told, StepBegun) and told.kind == ActionKind.STOP_SOURCE:
            with Journal.open(self.config.journal) as journal:
                states = journal.states(self.plan.digest)
            missing = [one for one in after(self.plan)[machine] if one not in states or not has_moved(states[one])]
            if missing:
                self.broken.append(f"{machine} is stopped before {missing} have moved")

    def run(self, goal: Goal, names: tuple[str, ...], refused: dict[str, KubeferryError]) -> dict[str, Outcome]:
        stopping.reset()
        with Journal.open(self.config.journal) as journal:
            journal.keep_plan(self.plan)
            run = Run(self.plan, self.config, journal, Board(quiet=True), goal, self, refused=refused)
            outcomes = {one.machine: one for one in run_plan(run, names)}
            states = journal.states(self.plan.digest)
        self.given.say(f"{goal} of {names}: {[(one.machine, one.phase) for one in outcomes.values()]}")
        if self.broken:
            raise Wrong("nobody begins before what it comes after has moved", self.broken[0])
        for one in outcomes.values():
            if one.phase == NOT_BEGUN:
                self.given.hold("nobody is left out without a reason", isinstance(one.error, HeldBack), one.machine)
            if isinstance(one.error, HeldBack):
                moved = [other for other in one.error.by if other in states and has_moved(states[other])]
                failed = [name for name, state in states.items() if has_failed(state)]
                so = not moved if one.error.by else bool(failed)
                self.given.hold("nobody is held back by what is not so", so, f"{one.error} {moved} {failed}")
        return outcomes


def _config(folder: Path) -> Config:
    return Config(
        sources={"lab": SourceConfig(kind="memory", uri=f"memory://{folder}")},
        target=TargetConfig(kind="memory", path=str(folder / "target")),
        journal=JournalConfig(url=f"sqlite:///{folder / 'journal.db'}"),
        limits=Limits(concurrent_machines=2),
    )


def run(given: Trial) -> None:
    r = given.random
    fleet = Fleet(given)
    for _ in range(r.randint(1, 3)):
        deaf = [name for name in fleet.names if r.random() < 0.3]
        given.point(f"{len(deaf)} of a fleet do not stop")
        fleet.source.write_deaf(*deaf)
        fleet.target.answers["agent"] = r.random() < 0.8
        chosen = [name for name in fleet.names if r.random() < 0.7] if r.random() < 0.4 else fleet.names
        names = tuple(dict.fromkeys(one for name in chosen for one in fleet.plan.set_of(name)))
        refused: dict[str, KubeferryError] = {
            name: TargetRefused("it was told to be refused", fix="Run it again.", machine=name)
            for name in names
            if r.random() < 0.1
        }
        fleet.run(r.choice((Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN)), names, refused)
    fleet.source.write_deaf()
    fleet.target.answers.clear()
    for _ in range(CALM):
        outcomes = fleet.run(Goal.MIGRATE_AGAIN, tuple(fleet.names), {})
    phases = {name: one.phase for name, one in outcomes.items()}
    given.hold("the same command moves all once nothing fails", set(phases.values()) == {Phase.COMMITTED}, str(phases))
