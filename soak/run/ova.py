"""As `soak.run.lives`, from an OVA into a folder with real movers. Only the boot is left out: started is a word here.
A kill -9 ends the movers, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from kubeferry.documents import Match, Observation, PolicyRule, ProbeResult, SourceConfig
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside import clock
from kubeferry.sources.ovf.source import connect
from kubeferry.targets import External
from kubeferry.targets.directory.target import DirectoryTarget
from lab import ova
from soak.images import MIB
from soak.run.faults import at_random
from soak.run.world import AGENT, COLD, Told, World, no_fault
from soak.trial import Trial

GOALS = (Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK)
RATES = (0.02, 0.06)
KEPT = {"disk", "machine-folder"}


class NotBooted(DirectoryTarget):
    """What was started is a word in this process; everything else is real."""

    running: ClassVar[dict[str, str]] = {}
    answers: ClassVar[dict[str, bool]] = {}

    def start(self, entry: Any, ledger: Any, fence: int = 0) -> None:  # noqa: ARG002 (the seam's)
        pidfile = self._target.machine(entry.target_name).run / "qemu.pid"
        ledger(External("process", entry.target_name, str(pidfile)))
        self.running[entry.target_name] = clock.now()

    def runs(self, entry: Any) -> bool:
        return entry.target_name in self.running

    def observe(self, entry: Any, last_words: dict[str, str]) -> Observation:  # noqa: ARG002 (the seam's)
        told = ProbeResult(kind="agent", what="agent", ok=self.answers.get("agent", True), evidence="told")
        return Observation(machine=entry.name, started_at=clock.now(), where="nowhere", probes=(told,))

    def stop(self, entry: Any, fence: int = 0) -> None:  # noqa: ARG002 (the seam's)
        self.running.pop(entry.target_name, None)

    def exists(self, thing: External) -> bool:
        return thing.name in self.running if thing.kind == "process" else super().exists(thing)


class OvaWorld(World):
    """The source is an export in a folder; each command has a target, and movers, of its own."""

    def __init__(self, given: Trial) -> None:
        NotBooted.running.clear()
        NotBooted.answers.clear()
        rules = (PolicyRule(match=Match(name="*"), accept=("probe.agent-unsure",)),)  # nothing boots, so nobody asks it
        policy = COLD.model_copy(update={"probes": AGENT, "rules": rules})
        super().__init__(given, policy, target=NotBooted(given.folder / "target"))

    def make_source(self, power: Power) -> None:
        del power  # an export is off
        r, folder = self.given.random, self.folder / "exports"
        folder.mkdir()
        self.content = {name: r.randbytes(MIB + 512 * r.randrange(100)) + bytes(MIB) for name in ("one", "two")}
        disks = [ova.PackedDisk(name, f"{name}.vmdk", len(data), data) for name, data in self.content.items()]
        ova.export(folder / "web.ova", "web", disks, manifest_last=True)

    def source(self) -> Any:
        return connect("lab", SourceConfig(kind="ova", uri=(self.folder / "exports").as_uri()))

    def parts(self) -> tuple[Any, Any, Any]:
        self.target._movers.close()  # as the death of a process does it
        self.target = NotBooted(self.folder / "target")
        return super().parts()

    def equal(self) -> bool:
        folder = self.folder / "target" / "machines" / self.entry.target_name / "disks"
        return all(_holds(folder / f"{disk.claim}.img", self.content[disk.disk]) for disk in self.entry.disks)

    def left(self, *plans: Any) -> list[str]:
        del plans  # there is one
        things = [thing for thing in self.journal.ledger_open(self.plan.digest) if thing.kind not in KEPT]
        temporary = [f"{path.name} is left" for path in self.folder.rglob(".*.new")]
        return [f"{thing.kind} {thing.name} in the ledger" for thing in things] + temporary

    def close(self) -> None:
        self.target._movers.close()
        super().close()


def _holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


def run(given: Trial) -> None:
    r, world = given.random, OvaWorld(given)
    try:
        fault = at_random(given, r.choice(RATES))
        for _ in range(r.randint(1, 3)):
            world.fault = fault
            NotBooted.answers["agent"] = r.random() < 0.8
            world.command(r.choice(GOALS), tries=1)
        world.fault = no_fault
        NotBooted.answers.clear()
        _ends(given, world)
    finally:
        world.close()


def _ends(given: Trial, world: OvaWorld) -> None:
    told: Told = ""
    for _ in range(3):
        told = world.command(Goal.MIGRATE_AGAIN, tries=1)
        if isinstance(told, str):
            break
    given.hold("the same command comes to an end", world.state().phase is Phase.COMMITTED, str(told))
    given.hold("what was committed is equal", world.equal())
    for everything in (False, True):
        told = world.release(everything=everything)
        given.hold("a machine at rest can be released", isinstance(told, str), str(told))
        given.hold("nothing is left after a release", not world.left(), str(world.left()))
    machines = world.folder / "target" / "machines"
    rest = [str(path.relative_to(machines)) for path in machines.rglob("*")] + world.journal.ledger_open()
    given.hold("nothing is left of what was removed", not rest, str(rest))
