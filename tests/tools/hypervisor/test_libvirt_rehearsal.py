"""A machine of the real libvirtd that writes all the time: copied ahead, probed, rehearsed in local QEMU while it runs
on, copied once more, and moved."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from kubeferry.documents import (
    JournalConfig,
    Limits,
    Policy,
    Probe,
    RehearsalPolicy,
    StopPolicy,
    TargetConfig,
    WarmPolicy,
)
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal_events import RehearsalObserved, Rehearsed
from kubeferry.model import Power
from kubeferry.outside import stopping
from kubeferry.sources import Source
from kubeferry.steps.accounts import settle
from kubeferry.steps.drive import drive
from kubeferry.steps.probing import at_source
from kubeferry.steps.rehearsing import rehearse
from kubeferry.steps.work import Work
from kubeferry.targets import open_target
from lab import daemons, guests
from lab.bare import Bare
from mappings.plan import make_plan
from tests.needs import needs
from tests.tools.hypervisor.test_libvirt_warm import AGENT, answers_if, booted

pytestmark = [
    needs(*daemons.PROGRAMS, *guests.PROGRAMS, "qemu-nbd", "qemu-system-x86_64", "root"),
    pytest.mark.xdist_group("libvirt"),
    pytest.mark.timeout(900),
]

POLICY = Policy(
    mode="warm",
    probes=(
        Probe(kind="agent", timeout_seconds=200),
        Probe(kind="file", path="/etc/os-release", expect="NAME=", timeout_seconds=200),
        Probe(kind="serial", expect="READY name=busy", timeout_seconds=200),
    ),
    stop=StopPolicy(agent_seconds=60, acpi_seconds=60),
    warm=WarmPolicy(rounds=1),
    rehearsal=RehearsalPolicy(required=True),
)


def test_rounds_a_rehearsal_another_round_and_the_move(bare: Bare, source: Source, tmp_path: Path) -> None:
    stopping.reset()
    name = booted(bare, AGENT)
    answers_if(AGENT, name)
    facts = source.discover()
    only = facts.model_copy(update={"machines": tuple(one for one in facts.machines if one.name == name)})
    plan = make_plan(only, POLICY, name="rehearsed", created_at="2026-01-01T00:00:00Z")
    assert plan.entries, plan.excluded
    entry, target = plan.entries[0], open_target(TargetConfig(kind="directory", path=str(tmp_path / "target")))

    told = at_source(source, entry)
    assert [result.ok for result in told.results] == [True, True], told
    assert "console" in told.not_asked[0]

    with Journal.open(JournalConfig(url=f"sqlite:///{tmp_path}/journal.db")) as journal:
        journal.register_plan(plan.digest, plan.name, "")

        def command(go: functools.partial[MachineState]) -> MachineState:
            with journal.lease(plan.digest, name) as lease:
                work = Work(plan, entry, source, target, journal, lease, Limits(), lambda *_told: None)
                state = go(work)
                settle(work)
                return state

        at_once = lambda _action, step: step()  # noqa: E731 (a flow makes a task of it)
        to = lambda goal: functools.partial(drive, goal=goal, do=at_once)  # noqa: E731
        assert command(to(Goal.PRECOPY)).phase is Phase.SYNCED
        state = command(functools.partial(rehearse, do=at_once))
        assert state.phase is Phase.REHEARSED
        assert source.power(entry.machine) is Power.RUNNING
        events = [record.event for record in journal.events(plan.digest, name)]
        seen = next(event for event in events if isinstance(event, RehearsalObserved))
        assert [probe["ok"] for probe in seen.observation["probes"]] == [True, True, True]
        assert "READY name=busy" in seen.observation["consoleTail"]
        first = next(event for event in events if isinstance(event, Rehearsed))
        assert set(first.roots) == {disk.disk for disk in entry.disks}
        assert not (tmp_path / "target" / "machines" / entry.target_name / "rehearsal").exists()

        assert command(to(Goal.PRECOPY)).phase is Phase.SYNCED
        state = command(to(Goal.MIGRATE))
        assert state.phase is Phase.COMMITTED
        assert source.power(entry.machine) is Power.OFF
    target.close()
