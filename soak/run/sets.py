"""A set of two machines that share a disk, under one plan: commands, each with faults at random calls; guests write
meanwhile, and some runner sleeps through all its leases while others give commands. Then the faults end, and the same
command is given until it says done.

Or the journal is restored from a backup of somewhere on the way, and a rollback starts what the marks at the sources
say was stopped.

Never two copies, nothing copied while one of them may write it; never one that is committed and another that is not;
what was committed is equal; a source that ran runs after a rollback."""

from __future__ import annotations

import time
from pathlib import Path

from kubeferry.documents import JournalConfig, Policy
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.steps.release import release_plan
from kubeferry.targets import TargetCapabilities
from soak.run.faults import at_random
from soak.run.journals import backed_up
from soak.run.pair import NAMES, POLICY, Pair, pair_in
from soak.run.sleepers import TTL_SECONDS
from soak.run.world import AFTER, no_fault
from soak.trial import Trial

GOALS = (Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK)
RATES = (0.005, 0.015, 0.04)
CALM = 4


def run(given: Trial) -> None:
    r = given.random
    power = r.choice((Power.RUNNING, Power.RUNNING, Power.OFF))
    pair = pair_in(given.folder, power, a_policy(given))
    if r.random() < 0.4:
        pair.target.capabilities = TargetCapabilities(keeps_running=False, isolated=True)
    try:
        if r.random() < 0.4:
            _slept(given, pair)
        backups = backed_up(pair.journal, given.folder)
        _disturbed(given, pair)
        if backups and r.random() < 0.3:
            _restored(given, pair, r.choice(backups))
            return
        _calm(given, pair)
        _back(given, pair, power)
    finally:
        pair.journal.close()


def a_policy(given: Trial) -> Policy:
    strategy = given.random.choice(("Manual", "Always", "Halted"))
    return POLICY.model_copy(update={"run_strategy": strategy, "mode": given.random.choice(("warm", "cold"))})


def _disturbed(given: Trial, pair: Pair) -> None:
    r = given.random
    fault = at_random(given, r.choice(RATES))
    for _ in range(r.randint(1, 5)):
        pair.fault = fault
        pair.target.answers["agent"] = r.random() < 0.75
        told = pair.command(r.choice(GOALS))
        pair.fault = no_fault
        given.say(f"{told!r:.200} -> {pair.phases()}, sources on {pair.running()}, copies {set(pair.target.running)}")
        if isinstance(told, Exception):
            given.in_words(told)
        pair.write(r.choice(NAMES))


def _restored(given: Trial, pair: Pair, backup: Path) -> None:
    """What is at the sources says more than the journal; a copy that runs is not joined."""
    given.point("the journal of a set is restored from a backup")
    pair.journal.close()
    pair.journal = Journal.open(JournalConfig(url=f"sqlite:///{backup}"))
    pair.end_leases()
    marks = {name: pair.source.marked(pair.plan.entry(name).machine) for name in NAMES}
    stopped = {name for name, mark in marks.items() if mark is not None and mark.off and name not in pair.running()}
    told = pair.command(Goal.ROLLBACK)
    seen = f"sources on {pair.running()}, copies {set(pair.target.running)}, {pair.phases()}, stopped {stopped}: {told}"
    given.say(seen)
    back = told is not None or stopped <= pair.running() | set(pair.target.running)
    given.hold("what a mark says was stopped is started", back, seen)


def _slept(given: Trial, pair: Pair) -> None:
    """A runner sleeps at some call, as `soak.run.sleepers` has it; what it did too late is undone in the end."""
    r = given.random
    at, goals = r.randrange(20, 230), [r.choice((Goal.ROLLBACK, Goal.MIGRATE)) for _ in range(r.randint(1, 2))]
    look, asleep = pair.look, [False]

    def fault(name: str, moment: str) -> None:
        if asleep[0] or pair.number != at or (name, moment) == ("journal.append", AFTER):
            return
        asleep[0] = True
        given.point(f"asleep {moment} a call of the {name.partition('.')[0]}, with all leases of a set")
        time.sleep(2 * TTL_SECONDS)
        pair.fault = no_fault
        for goal in goals:
            given.say(f"meanwhile {goal}: {pair.command(goal)!r:.150} -> {pair.phases()}")

    pair.fault, pair.look = fault, lambda *_call: None  # type: ignore[method-assign]  # too late, and undone
    told = pair.command(ttl_seconds=TTL_SECONDS)
    pair.fault, pair.look = no_fault, look  # type: ignore[method-assign]
    on, copies = pair.running(), set(pair.target.running)
    seen = f"sources on {on}, copies {copies}, {pair.phases()}, who slept: {told!r:.200}"
    given.say(seen)
    given.hold("never two copies, of a set either", not (on and copies), seen)
    if set(pair.phases().values()) == {Phase.ROLLED_BACK} and asleep[0]:
        given.hold("a source that was brought back runs", not copies and on in (set(), set(NAMES)), seen)


def _calm(given: Trial, pair: Pair) -> None:
    """None is committed but all are; `--again` brings them there from wherever they stand."""
    pair.target.answers.clear()
    told = [pair.command(Goal.MIGRATE_AGAIN) for _ in range(CALM)]
    seen = f"{pair.phases()}: {told}"
    given.hold("the same command comes to an end", None in told, seen)
    given.hold("all of a set are committed", set(pair.phases().values()) == {Phase.COMMITTED}, seen)
    given.hold("what was committed is equal", pair.equal())
    given.hold("the source of what was committed is off", not pair.running(), seen)


def _back(given: Trial, pair: Pair, power: Power) -> None:
    told = pair.command(Goal.ROLLBACK)
    on = set(NAMES) if power is Power.RUNNING else set()
    seen = f"sources on {pair.running()}, copies {set(pair.target.running)}: {told}"
    given.hold("a source is as it was after a rollback", pair.running() == on and not pair.target.running, seen)
    lines = list(
        release_plan(pair.plan, pair.journal, pair.target, lambda: pair.source, everything=True, dry_run=False)
    )
    given.hold("nothing is left after a release", not pair.target.disks and not pair.journal.ledger_open(), str(lines))
