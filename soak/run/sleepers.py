"""A runner that sleeps at one of its calls (Ctrl-Z, a paused machine, a laptop's lid) for longer than its lease, while
others give commands of the same plan; then it wakes up. What it does too late is undone: never two copies after it has
ended, and no source is off that was brought back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.drive import drive
from soak.run.lives import a_policy
from soak.run.world import JOURNAL, SOURCE, TARGET, World
from soak.trial import Trial

TTL_SECONDS = 0.05
MEANWHILE = (Goal.ROLLBACK, Goal.ROLLBACK, Goal.MIGRATE)
CALLS = sorted(f"{side}.{name}" for side, names in (("source", SOURCE), ("target", TARGET)) for name in names)
RECORDS = sorted(f"journal.{name}" for name in JOURNAL - {"acquire", "release"})


def run(given: Trial) -> None:
    r = given.random
    world = World(given, a_policy(given))
    try:
        if r.random() < 0.2:  # so that nothing is recorded between the look and the stop
            (given.folder / "words.json").unlink()
        _slept(given, world)
        phase, seen = world.state().phase, f"source {world.power}, target runs {world.runs}, {world.state().phase}"
        given.hold("never two copies", not (world.runs and world.power is not Power.OFF), seen)
        if phase is Phase.ROLLED_BACK:
            given.hold("a source that was brought back runs", world.power is Power.RUNNING and not world.runs, seen)
        world.command(Goal.ROLLBACK)
        given.hold("a source is as it was after a rollback", world.power is Power.RUNNING and not world.runs)
    finally:
        world.close()


def _slept(given: Trial, world: World) -> None:
    r = given.random
    name, passing, first = r.choice((*CALLS, *CALLS, *RECORDS)), r.choice((1, 1, 2, 3)), r.random() < 0.5
    goals = [r.choice(MEANWHILE) for _ in range(r.randint(1, 2))]
    lease = world.journal.acquire(world.plan.digest, "web", ttl_seconds=TTL_SECONDS)
    work = world.work(lease)
    left, asleep = [passing], [False]

    def called(at: str, value: Callable[..., Any], args: Any, named: Any) -> Any:
        if at != name or asleep[0]:
            return value(*args, **named)
        left[0] -= 1
        if left[0]:
            return value(*args, **named)
        done = value(*args, **named) if first else None
        asleep[0] = True
        given.point(f"asleep {'after' if first else 'before'} {at}")
        time.sleep(2 * TTL_SECONDS)
        for goal in goals:
            world.command(goal)
        return done if first else value(*args, **named)

    proxies: tuple[Any, ...] = (work.source, work.target, work.journal)
    for proxy in proxies:
        proxy._called = called
    try:
        told: object = drive(work, Goal.MIGRATE, lambda _action, step: step()).phase
    except Exception as error:  # noqa: BLE001 (looked at here)
        given.in_words(error)
        told = error
    given.say(f"who slept: {told!r:.200}")
    world.end_leases()
