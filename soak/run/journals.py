"""A journal that is older than the world (from a backup, from a standby that lagged), and two operators with a journal
each: whatever it says, never two copies, and no source is lost while its copy runs nowhere. What a mark says was
stopped by this plan, and seen off, a rollback by any of them starts."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.model import Power
from soak.run.faults import at_random
from soak.run.lives import GOALS, RATES, a_policy
from soak.run.world import World, no_fault
from soak.trial import Trial


def run(given: Trial) -> None:
    r = given.random
    world = World(given, a_policy(given))
    try:
        backups = backed_up(world.journal, world.folder)
        _commands(given, world, r.randint(1, 3))
        if r.random() < 0.5 and backups:
            given.point("the journal is restored from a backup")
            _with(world, r.choice(backups).stem)
        else:
            given.point("another operator has a journal of their own")
            _with(world, "theirs")
        _commands(given, world, r.randint(1, 4))
        _one_lives(given, world)
    finally:
        world.close()


def _commands(given: Trial, world: World, many: int) -> None:
    r = given.random
    for _ in range(many):
        world.fault = at_random(given, r.choice(RATES)) if r.random() < 0.5 else no_fault
        world.target.answers["agent"] = r.random() < 0.8
        world.command(r.choice(GOALS))
        world.fault = no_fault
        world.guest_writes()


def _one_lives(given: Trial, world: World) -> None:
    """Each journal knows a part; the first one what there was before. With both rolled back, or refused in words, the
    source runs, or its copy does."""
    mark = world.source().marked(world.plan.entries[0].machine)
    marked_off = world.power is Power.OFF and mark is not None and bool(mark.off)
    told = [world.command(Goal.ROLLBACK)]
    if marked_off:
        given.point("a rollback by a journal beside a mark of a source that is off")
        back = isinstance(told[0], BaseException) or world.power is Power.RUNNING or world.runs
        given.hold("what a mark says was stopped is started", back, f"{told}, {mark}")
    _with(world, "journal")
    told.append(world.command(Goal.ROLLBACK))
    refused = isinstance(told[1], Exception)
    given.hold("a source is not lost", refused or world.power is Power.RUNNING or world.runs, f"nothing runs: {told}")


def backed_up(journal: Journal, folder: Path) -> list[Path]:
    """A backup of the folder's journal after each event, from now on; the list grows with them."""
    append: Callable[..., Any] = journal.append
    made: list[Path] = []

    def noting(lease: Any, event: Any) -> Any:
        done = append(lease, event)
        made.append(folder / f"backup-{len(made)}.db")
        copied(folder / "journal.db", made[-1])
        return done

    journal.append = noting  # type: ignore[method-assign]
    return made


def copied(path: Path, to: Path) -> None:
    """A database as it is now."""
    with contextlib.closing(sqlite3.connect(path)) as one, contextlib.closing(sqlite3.connect(to)) as other:
        one.backup(other)


def _with(world: World, name: str) -> None:
    """From now on commands have this journal."""
    world.journal.close()
    world.journal = world.open_journal(name)
    world.journal.keep_plan(world.plan)
    world.end_leases()
