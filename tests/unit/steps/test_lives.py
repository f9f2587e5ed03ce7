"""Whole lives of one machine under random faults: commands, each with transient and permanent errors, defects and
Ctrl-C at random calls of the source and the target, before or after their effect. Each life has a seed of its own.

`KUBEFERRY_LIVES` says how many. Never two copies that run connected; after the last rollback the source is as it was
before; what is committed is equal.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from kubeferry import errors
from kubeferry.documents import Policy, Probe, StopPolicy, WarmPolicy
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.life.action_kinds import Action, Goal
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.steps.accounts import settle
from kubeferry.steps.drive import drive
from kubeferry.targets import TargetCapabilities

LIVES = int(os.environ.get("KUBEFERRY_LIVES", "8"))
FAULTS = (
    *(errors.SourceUnavailable, errors.TargetUnavailable, errors.TransientError),
    *(errors.SourceRefused, errors.TargetRefused, errors.IntegrityFailed, ValueError, Interrupted),
)
SOURCE = ("concerns", "open_round", "close_round", "power", "last_start", "stop", "start", "forget", "exists")
SOURCE += ("mark", "marked", "unmark")  # what goes wrong about a mark changes no life
SOURCE += ("autostart", "set_autostart", "notes", "write_notes")
TARGET = (
    *("prepare", "submit", "watch", "apply", "start", "runs", "observe", "hand_over", "mark"),
    *("marked", "unmark", "stop", "tidy", "remove", "exists"),
    *("rehearse", "observe_rehearsal", "end_rehearsal"),
)
GOALS = (
    *(Goal.MIGRATE, Goal.MIGRATE, Goal.MIGRATE_AGAIN, Goal.ROLLBACK),
    *(Goal.PRECOPY, Goal.PRECOPY, Goal.REHEARSE, Goal.REHEARSE),
)
TRIES = 3


class Shaken:
    """Every method of a seam with a fault now and then; `look` is called after each effect."""

    def __init__(self, inner: Any, methods: tuple[str, ...], fault: Callable[[str], None], look: Callable[[], None]):
        self._inner, self._methods, self._fault, self._look = inner, methods, fault, look

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name not in self._methods:
            return value

        def call(*given: Any, **named: Any) -> Any:
            self._fault(name)
            done = value(*given, **named)
            self._look()
            self._fault(name)
            return done

        return call


class Life:
    def __init__(self, scene: Any, seed: random.Random) -> None:
        self.scene, self.seed, self.rate = scene, seed, 0.0
        scene.target.capabilities = TargetCapabilities(keeps_running=True, isolated=False)

    def fault(self, name: str) -> None:
        if self.seed.random() >= self.rate:
            return
        kind = self.seed.choice(FAULTS)
        if kind is Interrupted:
            stopping.request()
        raise kind(f"{name} was told to fail")

    def look(self) -> None:
        assert not self.scene.target.running or self.scene.power is Power.OFF, "two copies run"
        assert not self.scene.target.rehearsals or not self.scene.target.running, "over the disks of one that runs"
        started = self.scene.source.autostart(self.scene.entry.machine) is not None
        assert not (self.scene.target.running and started), "the source would join its copy when its host starts"

    def command(self, goal: Goal) -> Phase | None:
        """One command as a flow carries it out. Returns what it reached, None where it was stopped by an error."""
        stopping.reset()
        scene = self.scene
        with scene.journal.lease(scene.plan.digest, "web") as lease:
            work = scene.work(lease)
            parts = {name: getattr(work, name) for name in work.__dataclass_fields__}
            parts["source"] = Shaken(scene.source, SOURCE, self.fault, self.look)
            parts["target"] = Shaken(scene.target, TARGET, self.fault, self.look)
            work = type(work)(**parts)
            try:
                state = drive(work, goal, again)
                settle(work)
            except KubeferryError:  # whatever else escapes is a defect, and fails the test
                return None
            return Phase(state.phase)

    def guest_writes(self) -> None:
        if self.scene.power is Power.RUNNING:
            path = self.scene.disk(self.seed.choice(("vda", "vdb")))
            content = bytearray(path.read_bytes())
            at = self.seed.randrange(len(content) - 16)
            content[at : at + 16] = self.seed.randbytes(16)
            path.write_bytes(content)


def again(_action: Action, step: Callable[[], None]) -> None:
    for left in reversed(range(TRIES)):
        try:
            step()
        except KubeferryError as error:
            if not error.transient or isinstance(error, Interrupted) or not left:
                raise
        else:
            return


@pytest.mark.parametrize("number", range(LIVES))
def test_a_life_full_of_faults_ends_as_it_should(build: Callable[..., Any], number: int) -> None:
    seed = random.Random(number)
    policy = Policy(
        mode=seed.choice(("warm", "cold")),
        probes=(Probe(kind="agent"),),
        stop=StopPolicy(last_words=("/data/boots",)),
        warm=WarmPolicy(rounds=seed.choice((1, 3)), enough_bytes=0),
        run_strategy=seed.choice(("Manual", "Always", "Halted")),
    )
    before = seed.choice((Power.RUNNING, Power.RUNNING, Power.OFF))
    life = Life(build(power=before, policy=policy), seed)
    autostart = seed.choice(({}, {"order": "3", "delay": "120"}))
    life.scene.source.write_autostart("web", **autostart)
    for _ in range(seed.randint(1, 4)):
        life.rate = seed.choice((0.005, 0.02, 0.05))
        life.scene.target.answers["agent"] = seed.random() < 0.75
        life.command(seed.choice(GOALS))
        life.rate = 0.0
        life.guest_writes()
    life.scene.target.answers.clear()
    assert Phase.COMMITTED in {life.command(Goal.MIGRATE_AGAIN) for _ in range(TRIES)}
    assert (life.scene.power, life.scene.equal()) == (Power.OFF, True)
    life.command(Goal.ROLLBACK)
    assert (life.scene.power, life.scene.target.running) == (before, {})
    assert life.scene.target.rehearsals == {}
    told = life.scene.source.autostart(life.scene.entry.machine)
    assert (told.settings if told else {}) == autostart
    assert life.scene.source.notes(life.scene.entry.machine) is None
