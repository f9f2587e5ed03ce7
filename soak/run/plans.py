"""A machine's life under several plans of one journal, taken up in any order, with faults; some are planned anew while
the source is off because an older one stopped it.

Never two copies; one machine runs in the end: with every plan rolled back that can be, the source is as it was before
the first of them, or it is off and its copy runs."""

from __future__ import annotations

import time

from kubeferry.documents import Plan, Policy
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Power
from soak.run.faults import at_random
from soak.run.lives import GOALS, RATES, a_policy, until_it_rests
from soak.run.world import World, no_fault
from soak.trial import Trial


def run(given: Trial) -> None:
    r = given.random
    world = World(given, a_policy(given))
    plans = [world.plan]
    try:
        fault = at_random(given, r.choice(RATES))
        for number in range(r.randint(3, 8)):
            if len(plans) < 4 and r.random() < 0.4:
                plans.append(_planned_anew(given, world, number))
            world.target.answers["agent"] = r.random() < 0.75
            world.fault = fault if r.random() < 0.7 else no_fault
            _one(given, world, r.choice(plans))
            world.fault = no_fault
            world.guest_writes()
        _back(given, world, plans)
    finally:
        world.close()


def _planned_anew(given: Trial, world: World, number: int) -> Plan:
    policy: Policy = a_policy(given).model_copy(update={"labels": {"number": str(number)}})
    time.sleep(0.002)  # plans are told apart by when they were registered, in milliseconds
    given.point(f"planned anew with the source {world.power}{', the copy runs' if world.runs else ''}")
    return world.make_plan(policy, f"plan-{number}")


def _one(given: Trial, world: World, plan: Plan) -> None:
    given.point("a plan is taken up")
    if given.random.random() < 0.15:
        world.release(plan)
    else:
        world.command(given.random.choice(GOALS), plan)


def _back(given: Trial, world: World, plans: list[Plan]) -> None:
    """The newest first, and round again: an older one may be taken up after the newer ones are at rest."""
    told = []
    for _ in range(2):
        told = [str(until_it_rests(world, Goal.ROLLBACK, plan)) for plan in reversed(plans)]
    seen = f"source {world.power}, target runs {world.runs}: {told}"
    given.hold("a source is as it was after a rollback", world.power is Power.RUNNING and not world.runs, seen)
    for plan in reversed(plans):
        world.release(plan)
    given.hold("nothing is left after a release", not world.left(*plans), str(world.left(*plans)))
