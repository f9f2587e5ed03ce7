"""A small world: one machine with two small disks between the memory source and the memory target, a real SQLite
journal, and a proxy before each of them that counts calls, breaks at will, and looks after each call whether two
copies run. A command is carried out as `flows` carries it out; a kill -9 is a call after which nothing works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import update

from kubeferry.documents import Inventory, JournalConfig, Limits, Plan, Policy, Probe, StopPolicy
from kubeferry.errors import Interrupted, KubeferryError, TargetRefused
from kubeferry.journal import Journal, Lease
from kubeferry.journal.schema import MACHINE
from kubeferry.ledger import KEPT, PROCESS
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import MachineState
from kubeferry.model import Machine, Power
from kubeferry.outside import stopping
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.drive import drive
from kubeferry.steps.release import release_plan, settle
from kubeferry.steps.work import Work
from kubeferry.targets import TargetCapabilities
from kubeferry.targets.memory.target import MemoryTarget
from lab import machines
from lab.machines import a_disk
from mappings.plan import make_plan
from soak.trial import Trial, Wrong

AGENT = (Probe(kind="agent"),)
COLD = Policy(probes=AGENT, stop=StopPolicy(last_words=("/data/boots",)))
SECTION = 8192
MADE_AT = "2026-01-01T00:00:00Z"

SOURCE = {"concerns", "open_round", "close_round", "power", "last_start", "stop", "start", "forget", "exists"}
SOURCE |= {"mark", "marked", "unmark", "went_off", "autostart", "set_autostart", "notes", "write_notes"}
TARGET = {
    *("prepare", "submit", "watch", "apply", "start", "runs", "observe", "hand_over", "mark"),
    *("marked", "unmark", "stop", "tidy", "remove", "exists"),
}
JOURNAL = {"append", "state", "heartbeat", "intend", "gone", "ledger_open", "acquire", "release", "standing"}
BEFORE, AFTER = "before", "after"
Fault = Callable[[str, str], BaseException | None]
"""Asked before and after each call, with its name; what it returns is raised."""
Told = str | BaseException
"""What came of a command: the phase that was reached, or what stopped it."""


class Killed(BaseException):
    """kill -9: from here on no call of this process does anything."""


class Cluster(MemoryTarget):
    """The memory target as a cluster behaves: what it starts runs on and is connected, and no room is made on the disks
    of a machine that runs."""

    capabilities = TargetCapabilities(keeps_running=True, isolated=False)

    def prepare(self, entry: Any, ledger: Any) -> Any:
        if entry.target_name in self.running:
            raise TargetRefused("it runs in the cluster already", fix="Leave it out.", machine=entry.name)
        return super().prepare(entry, ledger)


class Proxy:
    """Calls of some methods go through `called`, the rest straight to `inner`."""

    def __init__(self, inner: Any, name: str, called: Callable[..., Any], methods: set[str]) -> None:
        self._inner, self._name, self._called, self._methods = inner, name, called, methods

    def __getattr__(self, key: str) -> Any:
        value = getattr(self._inner, key)
        if key not in self._methods:
            return value
        return lambda *given, **named: self._called(f"{self._name}.{key}", value, given, named)


def no_fault(_name: str, _moment: str) -> None:
    """Nothing breaks."""


class World:
    """`meddled`: somebody else has started the source, so that two may run for a moment, until somebody looks."""

    def __init__(self, given: Trial, policy: Policy = COLD, power: Power = Power.RUNNING, target: Any = None) -> None:
        self.given, self.folder = given, given.folder
        self.target: Any = Cluster() if target is None else target
        self.fault: Fault = no_fault
        self.dead = self.meddled = False
        self.broken: list[str] = []
        self.make_source(power)
        self.journal = self.open_journal("journal")
        self.plan = self.make_plan(policy, "first")

    def make_source(self, power: Power) -> None:
        for name in ("vda", "vdb"):
            (self.folder / f"{name}.img").write_bytes(self.given.random.randbytes(SECTION) + bytes(SECTION))
        source = MemorySource("lab", self.folder)
        source.write_machines(a_machine(self.folder, power))
        source.write_words("web", {"/data/boots": "7\n"})

    def source(self) -> Any:
        """A new one, as a new process opens it."""
        return MemorySource("lab", self.folder)

    def open_journal(self, name: str) -> Journal:
        return Journal.open(JournalConfig(url=f"sqlite:///{self.folder / name}.db"))

    def make_plan(self, policy: Policy, name: str) -> Plan:
        machines = self.source().discover().machines
        facts = Inventory(source="lab", source_kind="memory", observed_at=MADE_AT, machines=machines)
        plan = make_plan(facts, policy, name=name, created_at=MADE_AT)
        self.journal.keep_plan(plan)
        return plan

    def close(self) -> None:
        self.journal.close()

    # --- as it is ---

    @property
    def entry(self) -> Any:
        return self.plan.entries[0]

    @property
    def power(self) -> Power:
        power: Power = self.source().power(self.entry.machine)
        return power

    @property
    def runs(self) -> bool:
        """Whether the copy runs at the target."""
        return self.entry.target_name in self.target.running

    def state(self, plan: Plan | None = None) -> MachineState:
        return self.journal.state((plan or self.plan).digest, "web")

    def equal(self) -> bool:
        return all(
            bytes(self.target.disks.get(f"{self.entry.target_name}/{disk.disk}", b""))
            == (self.folder / f"{disk.disk}.img").read_bytes()
            for disk in self.entry.disks
        )

    def left(self, *plans: Plan) -> list[str]:
        """What is open in the ledger, or there, that a release should not leave."""
        kept = KEPT | ({PROCESS} if self.target.capabilities.keeps_running else set())
        things = [thing for plan in plans or (self.plan,) for thing in self.journal.ledger_open(plan.digest)]
        views = self.folder / "views"
        found = [f"{thing.kind} {thing.name} in the ledger" for thing in things if thing.kind not in kept]
        return found + [f"view {path.name}" for path in (views.glob("*") if views.exists() else ())]

    def guest_writes(self) -> None:
        """The guest writes to a disk, while it runs."""
        r = self.given.random
        if self.power is not Power.RUNNING:
            return
        path = self.folder / f"{r.choice(['vda', 'vdb'])}.img"
        content = bytearray(path.read_bytes())
        at = r.randrange(len(content) - 16)
        content[at : at + 16] = r.randbytes(16)
        path.write_bytes(content)

    # --- calls ---

    def called(self, name: str, value: Any, given: Any, named: Any) -> Any:
        if self.dead:
            raise Killed
        self._break(name, BEFORE)
        result = value(*given, **named)
        self._look(name)
        self._break(name, AFTER)
        return result

    def _break(self, name: str, moment: str) -> None:
        error = self.fault(name, moment)
        if error is not None:
            self.dead = isinstance(error, Killed)
            raise error

    def _look(self, after: str) -> None:
        connected = not self.target.capabilities.isolated
        if connected and not self.meddled and self.runs and self.power is not Power.OFF:
            self.broken.append(f"source and target run after {after}")

    # --- commands ---

    def work(self, lease: Lease, plan: Plan | None = None) -> Work:
        plan = plan or self.plan
        source, target, journal = self.parts()
        return Work(plan, plan.entries[0], source, target, journal, lease, Limits(), lambda *_told: None)

    def parts(self) -> tuple[Any, Any, Any]:
        return (
            Proxy(self.source(), "source", self.called, SOURCE),
            Proxy(self.target, "target", self.called, TARGET),
            Proxy(self.journal, "journal", self.called, JOURNAL),
        )

    def command(self, goal: Goal, plan: Plan | None = None, *, tries: int = 2) -> Told:
        """One command; transient errors of a step are tried again at once, `tries` times."""
        plan = plan or self.plan

        def carried_out() -> str:
            lease = self.parts()[2].acquire(plan.digest, "web")
            work = self.work(lease, plan)
            state = drive(work, goal, lambda _action, step: again(step, tries))
            settle(work)
            return str(state.phase)

        return self._commanded(f"{goal} of {plan.name}", carried_out, plan)

    def release(self, plan: Plan | None = None, *, everything: bool = False) -> Told:
        plan = plan or self.plan
        source, target, _ = self.parts()

        def carried_out() -> str:
            found = release_plan(plan, self.journal, target, lambda: source, everything=everything, dry_run=False)
            return "\n".join(found)

        return self._commanded(f"release of {plan.name}{' --everything' if everything else ''}", carried_out, plan)

    def _commanded(self, what: str, carried_out: Callable[[], str], plan: Plan) -> Told:
        self.dead = False
        stopping.reset()
        told: Told
        try:
            told = carried_out()
        except (Exception, Killed, SystemExit) as error:  # noqa: BLE001 (looked at below)
            told = error
        finally:
            stopping.reset()
        self.dead = False
        self.end_leases()
        reached = self.state(plan).phase
        self.given.say(f"{what}: {told!r:.200} -> {reached}, source {self.power}, target runs {self.runs}")
        if self.broken:
            raise Wrong("never two copies", self.broken[0])
        if isinstance(told, Exception):
            self.given.in_words(told)
        return told

    def end_leases(self) -> None:
        """Who held one has ended: the next one finds its owner dead."""
        with self.journal._writing() as db:
            db.execute(update(MACHINE).values(owner=None, expires_at=""))


def again(step: Callable[[], None], tries: int) -> None:
    """Do a step; what may pass is tried again at once, so many times."""
    for left in range(tries, -1, -1):
        try:
            step()
        except KubeferryError as error:
            if not error.transient or isinstance(error, Interrupted) or not left:
                raise
        else:
            return


def a_machine(folder: Path, power: Power) -> Machine:
    disks = (a_disk(folder / f"{name}.img", name, capacity_bytes=2 * SECTION) for name in ("vda", "vdb"))
    return machines.a_machine("web", *disks, power=power)
