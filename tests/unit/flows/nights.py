"""Nights of machines that run, with a plan and a journal: runs that are killed, and whoever looks after them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.migrate import Run, _work, run_plan
from flows.progress import Board
from flows.told import Outcome
from kubeferry.config import read_config
from kubeferry.documents import Plan, load
from kubeferry.journal import Journal, Lease
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import Event
from kubeferry.life.states import MachineState
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.drive import drive
from kubeferry.steps.together import drive_set
from kubeferry.targets import open_target
from kubeferry.targets.memory.target import MemoryTarget
from tests.clocks import Clock
from tests.unit.flows.conftest import running_machines

Command = Callable[..., tuple[int, str, str]]
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
probes: [{kind: agent}]
stop: {agentSeconds: 0, acpiSeconds: 0}
"""
TOGETHER = "apps: {shop: {members: [db, web], order: [[db], [web]], together: true}}\n"


def window(clock: Clock, begins: int, ends: int) -> str:
    """The policy of a window `w` for all, so many minutes from now."""
    now = datetime.now(UTC) + timedelta(seconds=clock.ahead)
    start, end = (f"{now + timedelta(minutes=one):%Y-%m-%dT%H:%M}" for one in (begins, ends))
    return f"windows: {{w: {{start: {start}, end: {end}, timeZone: UTC, lockoutSeconds: 60}}}}\nwindow: w\n"


class Killed(BaseException):
    """kill -9 at this point."""


class Night:
    """Machines that run, their plan, and its journal. `web` is the one that is asked about where none is named."""

    def __init__(self, kubeferry: Command, folder: Path, names: Sequence[str] = ("web",), policy: str = POLICY) -> None:
        self.kubeferry, self.folder, self.names, self.policy = kubeferry, folder, tuple(names), policy
        self.source = MemorySource("lab", folder / "source")
        running_machines(self.source, folder, names)
        kubeferry("discover")
        self.planned("")

    def planned(self, policy: str) -> None:
        """A plan of a policy that says this, too."""
        (self.folder / "policy.yaml").write_text(self.policy + policy)
        (self.folder / "plan.yaml").unlink(missing_ok=True)
        code, _out, err = self.kubeferry("plan", "inventory.yaml", "--policy", "policy.yaml")
        assert code == 0, err

    @property
    def config(self) -> Any:
        return read_config(self.folder / "kubeferry.yaml")

    @property
    def plan(self) -> Plan:
        return load(self.folder / "plan.yaml", Plan)

    @property
    def target(self) -> MemoryTarget:
        opened: Any = open_target(self.config.target)
        return opened

    @property
    def power(self) -> Power:
        return self.power_of("web")

    @property
    def state(self) -> MachineState:
        return self.state_of("web")

    @property
    def kinds(self) -> list[str]:
        return self.kinds_of("web")

    def power_of(self, name: str) -> Power:
        return self.source.power(self.plan.entry(name).machine)

    def state_of(self, name: str) -> MachineState:
        with Journal.open(self.config.journal) as journal:
            return journal.state(self.plan.digest, name)

    def kinds_of(self, name: str) -> list[str]:
        with Journal.open(self.config.journal) as journal:
            return [str(record.event.kind) for record in journal.events(self.plan.digest, name)]

    def run(self, goal: Goal = Goal.MIGRATE, journal: Journal | None = None) -> Outcome:
        """A run over all of them; how it ended for the last one."""
        plan = self.plan
        with journal or Journal.open(self.config.journal) as opened:
            opened.keep_plan(plan)
            return run_plan(Run(plan, self.config, opened, Board(quiet=True), goal), self.names)[-1]

    def caretake(self, *options: str) -> Any:
        code, out, err = self.kubeferry("caretake", "--json", *options)
        assert out, err
        return json.loads(out.splitlines()[-1]) | {"code": code}

    def killed_after(self, kind: str, goal: Goal = Goal.MIGRATE, nth: int = 1, by: str = "") -> None:
        """A run that was killed just after it had recorded the nth event of this kind."""
        append, append_in, seen = Journal.append, Journal.append_in, [0]

        def die(event: Event) -> None:
            seen[0] += event.kind == kind
            if seen[0] == nth:
                raise Killed

        def kill(journal: Journal, lease: Lease, event: Event) -> Any:
            made = append(journal, lease, event)
            die(event)
            return made

        def kill_in(journal: Journal, room: Any, lease: Lease, event: Event) -> Any:
            made = append_in(journal, room, lease, event)
            die(event)
            return made

        plan = self.plan
        with pytest.MonkeyPatch.context() as patched, Journal.open(self.config.journal) as journal:
            journal.keep_plan(plan)
            patched.setattr(Journal, "append", kill)
            patched.setattr(Journal, "append_in", kill_in)
            run = Run(plan, self.config, journal, Board(quiet=True), goal, by=by)
            with pytest.raises(Killed):
                _drive(run, self.names)


def _drive(run: Run, names: Sequence[str]) -> None:
    with contextlib.ExitStack() as opened:
        works = [opened.enter_context(_work(run, run.plan.entry(name))) for name in names]
        if len(works) > 1:
            drive_set(works, run.goal, lambda _work, _action, step: step())
        else:
            drive(works[0], run.goal, lambda _action, step: step())
