"""Lives of machines as a journal has them, without anything that moves: for those who read journals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kubeferry.documents import Inventory, Observation, Plan, Policy, ProbeResult
from kubeferry.journal import Journal
from kubeferry.life import events as ev
from kubeferry.life.machine_state import Phase
from kubeferry.model import Cpu, Machine, Power
from lab import machines
from mappings.plan import make_plan

AT = "2026-01-01T00:00:00Z"


def a_plan(*names: str, name: str = "programme", policy: Policy | None = None) -> Plan:
    """A plan of machines without disks, all of them in one wave."""
    inventory = Inventory(
        source="lab", source_kind="memory", observed_at=AT, machines=tuple(_machine(one) for one in names)
    )
    plan = make_plan(inventory, policy or Policy(), name=name, created_at=AT)
    assert not plan.excluded, plan.excluded
    return plan


def _machine(name: str) -> Machine:
    return machines.a_machine(name, power=Power.RUNNING, cpu=Cpu(vcpus=1))


def recorded(journal: Journal, plan: Plan, machine: str, *events: ev.Event) -> None:
    """These events of a machine, after those that are there."""
    with journal.lease(plan.digest, machine) as lease:
        if not journal.events(plan.digest, machine):
            journal.append(lease, ev.Planned(plan_digest=plan.digest, disks=()))
        for event in events:
            journal.append(lease, event)


def failed(what: str = "it cannot be read", at: str = "copy-disks") -> ev.Failed:
    return ev.Failed(at=at, what=what, why="the disk is gone", fix="Bring it back.", error_type="SourceRefused")


def goes_back(journal: Journal, plan: Plan, machine: str, reason: str = "its probe failed") -> None:
    """One that was begun, and goes back before any stop was asked for."""
    begun = ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True)
    recorded(journal, plan, machine, begun, ev.RollbackBegun(reason=reason), ev.RolledBack())


def moves(journal: Journal, plan: Plan, machine: str) -> None:
    """One that moves, and is committed; its copy answered five seconds from now."""
    answered = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    probe = ProbeResult(kind="agent", what="agent", ok=True)
    seen = Observation(machine=machine, started_at=answered, where="here", probes=(probe,), first_answer_at=answered)
    recorded(
        journal,
        plan,
        machine,
        ev.CutoverBegun(power_before=Power.RUNNING, stop_is_told=True),
        ev.StopAsked(),
        ev.SourceStopped(how="acpi", at=AT),
        ev.Applied(),
        ev.Started(),
        ev.Observed(observation=seen.model_dump(mode="json", by_alias=True)),
        ev.Validated(probes_passed=1),
        ev.Committed(),
    )
    assert journal.state(plan.digest, machine).phase is Phase.COMMITTED
