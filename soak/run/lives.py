"""A machine's life under one plan: commands, each with faults at random calls; guests write meanwhile. Then the faults
end, and the same command is given until it says done, or the same twice.

Never two copies; a source that ran runs after a rollback, and what started it by itself does again; what was committed
is equal, its source is off, and nothing starts it; nothing of ours is left after a release."""

from __future__ import annotations

from kubeferry.documents import Plan, Policy, StopPolicy, WarmPolicy
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.targets.memory.target import MemoryTarget
from soak.run.faults import at_random
from soak.run.world import AGENT, Cluster, Told, World, no_fault
from soak.trial import Trial

GOALS = (Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.PRECOPY, Goal.ROLLBACK)
CALM = (Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK)
RATES = (0.01, 0.03, 0.08)
AT_REST = {Phase.COMMITTED, Phase.ROLLED_BACK, Phase.PLANNED, Phase.SYNCED}


def run(given: Trial) -> None:
    r = given.random
    power = r.choice((Power.RUNNING, Power.RUNNING, Power.RUNNING, Power.OFF))
    world = World(given, a_policy(given), power, r.choice((Cluster, MemoryTarget))())
    starts = r.random() < 0.5
    try:
        world.source().write_autostart("web", **({"order": "1"} if starts else {}))
        _disturbed(given, world)
        _calm(given, world)
        if r.random() < 0.5:
            _released(given, world)
        _back(given, world, power)
        given.hold("a source starts by itself as before", _starts(world) is starts, str(_starts(world)))
    finally:
        world.close()


def a_policy(given: Trial) -> Policy:
    r = given.random
    return Policy(
        mode="warm" if r.random() < 0.6 else "cold",
        probes=AGENT,
        stop=StopPolicy(last_words=("/data/boots",)),
        warm=WarmPolicy(rounds=r.choice((1, 3)), enough_bytes=0),
        verify=r.choice(("always", "written")),
        run_strategy=r.choice(("Manual", "Always", "Halted")),
    )


def _disturbed(given: Trial, world: World) -> None:
    r = given.random
    fault = at_random(given, r.choice(RATES))
    for _ in range(r.randint(1, 5)):
        world.fault = fault
        world.target.answers["agent"] = r.random() < 0.75
        if r.random() < 0.15:
            world.release()
        else:
            world.command(r.choice(GOALS))
        world.fault = no_fault
        world.guest_writes()


def until_it_rests(world: World, goal: Goal, plan: Plan | None = None) -> Told:
    """The same command until it says done, or the same twice; four times at most."""
    told, before = world.command(goal, plan), ""
    for _ in range(3):
        if isinstance(told, str) or str(told) == before:
            break
        before, told = str(told), world.command(goal, plan)
    return told


def _calm(given: Trial, world: World) -> None:
    world.target.answers["agent"] = given.random.random() < 0.8
    goal = given.random.choice(CALM)
    told = until_it_rests(world, goal)
    phase = world.state().phase
    given.hold("the same command comes to an end", phase in AT_REST, f"{phase}: {told}")
    if phase is Phase.COMMITTED:
        given.hold("what was committed is equal", world.equal() or goal is Goal.ROLLBACK)
        given.hold("the source of what was committed is off", world.power is Power.OFF, world.power)
        given.hold("nothing starts the source of what was committed", not _starts(world))


def _starts(world: World) -> bool:
    return world.source().autostart(world.entry.machine) is not None


def _released(given: Trial, world: World) -> None:
    told = world.release()
    given.hold("a machine at rest can be released", isinstance(told, str), str(told))
    if world.state().phase in {Phase.COMMITTED, Phase.ROLLED_BACK}:
        given.hold("nothing is left after a release", not world.left(), str(world.left()))


def _back(given: Trial, world: World, power: Power) -> None:
    told = world.command(Goal.ROLLBACK)
    given.hold("a source is as it was after a rollback", world.power is power, f"{world.power}, was {power}: {told}")
    told = world.release(everything=given.random.random() < 0.3)
    given.hold("a machine at rest can be released", isinstance(told, str), str(told))
    given.hold("nothing is left after a release", not world.left(), str(world.left()))
