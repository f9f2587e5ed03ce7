"""Approvals while machines are driven: looked at again just before a stop, and never after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kubeferry.documents import (
    Approval,
    ApprovalPolicy,
    ApprovedMachine,
    Plan,
    PlannedApproval,
    RehearsalPolicy,
    freeze,
    text_of,
)
from kubeferry.errors import HeldBack, TransientError
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Action, ActionKind, EntryFacts, Goal
from kubeferry.life.approvals import digest_of_text, document_of
from kubeferry.life.decisions import Decided, DecisionKind, Scope
from kubeferry.life.dry_runs import digest_of_machine
from kubeferry.life.machine_state import Phase
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget
from soak.run.pair import NAMES, Pair, pair_in
from tests.unit.steps.conftest import POLICY, Scene

A = ActionKind


@pytest.fixture
def scene(build: Callable[..., Scene]) -> Scene:
    return build(policy=POLICY.model_copy(update={"approval": ApprovalPolicy()}))


def approve(
    journal: Journal, plan: Plan, names: Collection[str], target: MemoryTarget | None = None, *, seconds: float = 3600
) -> None:
    """Ann's word for these machines, which counts for so long."""
    at = datetime.fromisoformat(journal.time())
    keeps = (target or MemoryTarget()).capabilities.keeps_running
    capable = {"keeps_running": keeps, "deltas": MemorySource.capabilities.live_deltas}
    facts = {name: EntryFacts.of(plan, plan.entry(name), **capable) for name in names}
    machines = tuple(
        ApprovedMachine(name=name, dry_run=digest_of_machine(one, plan.entry(name))) for name, one in facts.items()
    )
    ends = (at + timedelta(seconds=seconds)).isoformat()
    document = Approval(plan=plan.digest, machines=machines, dry_run="d", at=at.isoformat(), expires=ends)
    _decide(journal, plan, DecisionKind.APPROVED, {"document": text_of(document)})


def withdraw(journal: Journal, plan: Plan) -> None:
    given = [one for one in journal.decisions(plan.digest) if one.kind is DecisionKind.APPROVED]
    documents = [digest_of_text(document_of(one)) for one in given]
    _decide(journal, plan, DecisionKind.APPROVAL_WITHDRAWN, {"approvals": documents})


def _decide(journal: Journal, plan: Plan, kind: DecisionKind, payload: dict[str, object]) -> None:
    journal.decide(plan.digest, Decided(kind=kind, scope=Scope(), payload=payload, by="ann on host"))


def test_nothing_is_done_to_a_machine_that_is_not_approved(scene: Scene) -> None:
    with pytest.raises(HeldBack, match="it is not approved: the plan asks for one approval, by name") as caught:
        scene.drive()
    assert caught.value.exit_code == 2
    assert f"`kubeferry approve --plan {scene.plan.digest[:12]} --wave " in caught.value.fix
    assert (scene.kinds, scene.power) == (["planned"], Power.RUNNING)


def test_a_rehearsal_that_is_waited_for_hides_no_step_from_who_approves(scene: Scene) -> None:
    entry = scene.plan.entry("web")
    asked = replace(EntryFacts.of(scene.plan, entry, keeps_running=True), rehearsal=RehearsalPolicy(required=True))
    assert digest_of_machine(asked, entry) == digest_of_machine(replace(asked, rehearsal=None), entry)
    assert digest_of_machine(asked, entry) != digest_of_machine(replace(asked, keeps_running=False), entry)


def test_the_machine_s_own_line_holds_on_whose_word_it_was_stopped(scene: Scene) -> None:
    approve(scene.journal, scene.plan, ["web"])
    assert scene.drive().phase is Phase.COMMITTED
    approved = next(record.event for record in scene.events if record.event.kind == "approved")
    (decision,) = scene.journal.decisions(scene.plan.digest)
    assert (approved.by, approved.decisions) == ("ann (claimed)", (decision.digest,))  # type: ignore[union-attr]
    assert scene.kinds.index("approved") < scene.kinds.index("cutover-begun")


def test_an_approval_that_is_withdrawn_at_the_last_moment_stops_nothing(scene: Scene) -> None:
    approve(scene.journal, scene.plan, ["web"])

    def last_moment(action: Action) -> None:
        if action.kind is A.STOP_SOURCE and not scene.state.stop_asked:
            withdraw(scene.journal, scene.plan)

    scene.before = last_moment
    with pytest.raises(HeldBack, match="that of ann was withdrawn"):
        scene.drive()
    assert (scene.power, scene.state.phase, scene.state.stop_asked) == (Power.RUNNING, Phase.CUTTING_OVER, False)
    scene.before = lambda _action: None
    with pytest.raises(HeldBack):
        scene.drive()
    approve(scene.journal, scene.plan, ["web"])
    assert scene.drive().phase is Phase.COMMITTED


def test_one_that_waits_so_can_be_rolled_back(scene: Scene) -> None:
    approve(scene.journal, scene.plan, ["web"])
    scene.before = lambda action: withdraw(scene.journal, scene.plan) if action.kind is A.STOP_SOURCE else None
    with pytest.raises(HeldBack):
        scene.drive()
    scene.before = lambda _action: None
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert scene.power is Power.RUNNING


@pytest.mark.parametrize("at", [A.BEGIN_COPY, A.VERIFY_DISKS, A.START, A.COMMIT])
def test_once_the_source_is_off_nobody_waits_for_an_approval_that_is_gone(scene: Scene, at: ActionKind) -> None:
    approve(scene.journal, scene.plan, ["web"])
    scene.before = lambda action: withdraw(scene.journal, scene.plan) if action.kind is at else None
    assert scene.drive().phase is Phase.COMMITTED


def test_an_approval_that_runs_out_while_others_move_is_none(scene: Scene) -> None:
    approve(scene.journal, scene.plan, ["web"], seconds=-1)
    with pytest.raises(HeldBack, match="that of ann ran out"):
        scene.drive()


def test_after_a_rollback_the_approval_is_asked_for_again(scene: Scene) -> None:
    approve(scene.journal, scene.plan, ["web"])
    assert scene.drive().phase is Phase.COMMITTED
    assert scene.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    withdraw(scene.journal, scene.plan)
    with pytest.raises(HeldBack):
        scene.drive(Goal.MIGRATE_AGAIN)
    assert scene.power is Power.RUNNING
    approve(scene.journal, scene.plan, ["web"])
    assert scene.drive(Goal.MIGRATE_AGAIN).phase is Phase.COMMITTED
    assert scene.kinds.count("approved") == 2


def test_a_journal_that_cannot_be_asked_approves_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    approve(scene.journal, scene.plan, ["web"])

    def silent(_plan: str) -> None:
        raise TransientError("the journal does not answer")

    monkeypatch.setattr(scene.journal, "decisions", silent)
    with pytest.raises(TransientError):
        scene.drive()
    assert scene.power is Power.RUNNING


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two machines that share a disk, in a plan that asks for an approval."""
    made = pair_in(tmp_path, Power.RUNNING)
    made.plan = freeze(made.plan.model_copy(update={"approval": PlannedApproval()}))
    made.journal.register_plan(made.plan.digest, made.plan.name, "")
    yield made
    made.journal.close()


def test_of_a_set_all_have_to_be_approved(pair: Pair) -> None:
    approve(pair.journal, pair.plan, ["a"], pair.target)
    error = pair.command()
    assert isinstance(error, HeldBack), error
    assert {pair.power(name) for name in NAMES} == {Power.RUNNING}
    approve(pair.journal, pair.plan, ["b"], pair.target)
    assert pair.command() is None
    assert set(pair.phases().values()) == {Phase.COMMITTED}


def test_once_one_of_a_set_is_off_the_others_follow_though_the_approval_is_gone(pair: Pair) -> None:
    approve(pair.journal, pair.plan, NAMES, pair.target)
    begun: list[str] = []

    def fault(name: str, moment: str) -> None:
        if (name, moment) == ("source.stop", "after") and not begun:
            begun.append(name)
            withdraw(pair.journal, pair.plan)

    pair.fault = fault
    assert pair.command() is None
    assert begun
    assert set(pair.phases().values()) == {Phase.COMMITTED}
