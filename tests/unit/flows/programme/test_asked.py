"""What a form for a cutover shows, whom it waits for, and what an answer to it comes to: a real journal, no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, FlowRunPolicy
from prefect.utilities.schema_tools import validation
from pydantic import ValidationError

from flows.moves import Move, Wanted
from flows.programme.approving import KEY, _Asking
from flows.programme.forms import Answer, Asked, Candidate, Look, form_of, question, whole_page
from flows.programme.waiting import lacking
from kubeferry.config import read_config
from kubeferry.documents import Config, Plan, PlannedApproval, load
from kubeferry.errors import InputInvalid
from kubeferry.journal import Journal
from kubeferry.life import events as ev
from kubeferry.life.action_kinds import Goal
from kubeferry.life.decisions import Scope
from kubeferry.model import Power
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps import answers, approving
from kubeferry.steps.approving import Request, Shown
from tests.lives import moves
from tests.unit.flows.conftest import running_machines

POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
approval: {identity: claimed, count: COUNT}
approvers: [{name: ann, machines: [alpha]}, {name: bob}]
machines: {beta: {after: [alpha]}}
"""


class Asking:
    """Two machines of a plan that asks for an approval: beta comes after alpha."""

    def __init__(self, folder: Path, kubeferry: Callable[..., tuple[int, str, str]], count: int = 1) -> None:
        running_machines(MemorySource("lab", folder / "source"), folder, ("alpha", "beta"))
        (folder / "policy.yaml").write_text(POLICY.replace("COUNT", str(count)))
        for words in (("discover",), ("plan", "inventory.yaml", "--policy", "policy.yaml")):
            code, _out, err = kubeferry(*words)
            assert code == 0, err
        self.plan = load(folder / "plan.yaml", Plan)
        self.settings: Config = read_config(folder / "kubeferry.yaml")
        self.journal = Journal.open(self.settings.journal)
        self.journal.keep_plan(self.plan)

    def drawn(self) -> Request:
        scope = Scope(machines=("alpha", "beta"))
        shown = Shown({"alpha": "20 s to 2 min"})
        return approving.drawn(self.plan, self.settings, self.journal, scope, shown=shown)

    def lacking(self) -> set[str]:
        return set(lacking(self.plan, self.settings, self.journal, ("alpha", "beta")))


@pytest.fixture
def asking(estate: Path, kubeferry: Callable[..., tuple[int, str, str]], no_server: None) -> Iterator[Asking]:
    made = Asking(estate, kubeferry)
    yield made
    made.journal.close()


# --- whom a run waits for --------------------------------------------------------------------------------------------


def test_it_waits_where_nothing_may_begin_without_an_answer(asking: Asking) -> None:
    assert asking.lacking() == {"alpha", "beta"}
    answers.approved(asking.plan, asking.journal, asking.drawn(), "ann on a form")
    assert asking.lacking() == set(), "alpha moves; nobody waits for who approves beta"


def test_it_waits_for_those_alone_that_lack_it(asking: Asking) -> None:
    """Beta is approved, and comes after alpha, which is not: without alpha nothing begins."""
    request = asking.drawn()
    beta = request.approval.machine("beta")
    assert beta
    approval = request.approval.model_copy(update={"machines": (beta,)})
    alone = Request(approval, approving.text_of(approval), Scope(machines=("beta",)))
    answers.approved(asking.plan, asking.journal, alone, "bob on a form")
    assert asking.lacking() == {"alpha"}


def begun(asking: Asking) -> None:
    with asking.journal.lease(asking.plan.digest, "alpha") as lease:
        asking.journal.append(lease, ev.Planned(plan_digest=asking.plan.digest, disks=("vda",)))
        asking.journal.append(lease, ev.CutoverBegun(power_before=Power.RUNNING))


def test_nobody_is_waited_for_once_a_source_may_be_off(asking: Asking) -> None:
    begun(asking)
    assert asking.lacking() == set()


def test_who_has_moved_keeps_nobody_from_being_asked(asking: Asking) -> None:
    moves(asking.journal, asking.plan, "alpha")
    assert asking.lacking() == {"beta"}


def test_the_server_is_not_asked_once_a_source_may_be_off(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the run was suspended before, and has an answer there."""
    for call in ("own_client", "read_flow_run_input", "suspend_flow_run"):
        monkeypatch.delattr(f"flows.programme.approving.{call}")
    move = Move(asking.plan, asking.settings, Path("kubeferry.yaml"), ("alpha", "beta"), Goal.MIGRATE)
    policy = FlowRunPolicy(pause_keys={f"{KEY}1-{'0' * 64}"})
    run = _Asking(move, Wanted("lab"), asking.journal, FlowRun(flow_id=uuid4(), empirical_policy=policy))
    with pytest.raises(NameError):
        run.ended()
    begun(asking)
    assert run.ended() is None


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_yes_is_for_what_its_giver_may_approve(asking: Asking) -> None:
    vote = answers.approved(asking.plan, asking.journal, asking.drawn(), "ann on the form of a run", "CHG-1")
    assert vote.approval
    assert [one.name for one in vote.approval.machines] == ["alpha"]
    assert (vote.person, vote.decision.payload["note"]) == ("ann", "CHG-1")
    with pytest.raises(InputInvalid, match="nothing was approved"):
        answers.approved(asking.plan, asking.journal, asking.drawn(), "eve on a form")


def test_a_yes_to_what_has_changed_is_void(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    request = asking.drawn()
    assert answers.changed(asking.plan, asking.settings, asking.journal, request) == ""
    old = replace(request, approval=request.approval.model_copy(update={"expires": request.approval.at}))
    assert "what was shown counted until" in answers.changed(asking.plan, asking.settings, asking.journal, old)
    keeps = replace(type(target_of(asking)).capabilities, keeps_running=True)
    monkeypatch.setattr(type(target_of(asking)), "capabilities", keeps)
    told = answers.changed(asking.plan, asking.settings, asking.journal, request)
    assert told.startswith("the dry run of alpha, beta says something else now")


def target_of(asking: Asking) -> Any:
    from kubeferry.targets import open_target

    return open_target(asking.settings.target)


def test_a_no_and_a_not_now_are_recorded_and_keep_nobody_from_a_yes(asking: Asking) -> None:
    answers.deferred(asking.plan, asking.journal, asking.drawn(), "ann on a form")
    no = answers.refused(asking.plan, asking.journal, asking.drawn(), "bob on a form", "the fair is on")
    before = answers.said_before(asking.journal.decisions(asking.plan.digest), ["beta"])
    assert before == no
    assert (str(no.kind), no.payload["note"], no.who) == ("refused", "the fair is on", "bob on a form (claimed)")
    assert asking.lacking() == {"alpha", "beta"}
    answers.approved(asking.plan, asking.journal, asking.drawn(), "bob on a form")
    assert asking.lacking() == set()
    assert answers.said_before(asking.journal.decisions(asking.plan.digest), ["beta"]) is None


# --- the form --------------------------------------------------------------------------------------------------------


def an_asked(asking: Asking, **more: Any) -> Asked:
    steps = ("begin-cutover", "stop-source")
    machines = [Candidate(name, "", "planned", "cold", "", steps, force=name == "beta") for name in ("alpha", "beta")]
    rule = approving.rule_of(asking.plan)
    return replace(
        Asked(asking.plan, rule, asking.drawn(), machines, asking.journal.now(), "kubeferry approve X"), **more
    )


def test_the_form_shows_each_machine_and_what_the_answer_is_bound_to(asking: Asking) -> None:
    text = question(an_asked(asking, told="The approval of ann is void", before="refused by bob", page="/p"))
    assert "- **alpha**: planned, copied after its stop; downtime 20 s to 2 min; at any time" in text
    assert "- **beta**: planned, copied after its stop; downtime not known; at any time" in text
    assert "- alpha, beta: begin-cutover → stop-source" in text
    assert "Switched off hard where they do not shut down: beta." in text
    assert "**The approval of ann is void**" in text
    assert "Before: refused by bob." in text
    assert f"Bound to plan {asking.plan.digest[:12]}" in text
    whole = whole_page(an_asked(asking))
    assert f"- plan `{asking.plan.digest}`" in whole
    assert asking.drawn().approval.dry_run in whole


def test_of_many_machines_a_form_names_the_first_ones(asking: Asking) -> None:
    asked = an_asked(asking)
    many = replace(asked, machines=[asked.machines[0]] * 30)
    assert question(many).count("- **alpha**") == 25
    assert "- and 5 more" in question(many)
    assert whole_page(many).count("| alpha |") == 30


def test_names_bring_no_markup(asking: Asking) -> None:
    asked = an_asked(asking)
    evil = "<script>[x](javascript:alert)"
    told = question(replace(asked, machines=[replace(one, window=evil) for one in asked.machines]))
    assert "<script>" not in told
    assert "[x](" not in told


def test_a_form_asks_for_a_name_and_defers_where_nothing_is_said(asking: Asking) -> None:
    schema = form_of(approving.rule_of(asking.plan), "text").model_json_schema()
    assert schema["required"] == ["name"]
    assert schema["properties"]["name"]["enum"] == ["ann", "bob"]
    assert schema["properties"]["decision"]["default"] == "defer"
    validation.validate({"name": "ann"}, schema, raise_on_error=True)
    free = form_of(PlannedApproval(), "text")
    assert free.model_validate({"name": "ann"}).model_dump() == {"name": "ann", "decision": "defer", "note": ""}
    for name in ("", "two words", "a\nb", "x" * 200):
        with pytest.raises(ValidationError):
            Answer.model_validate({"name": name})


@pytest.mark.parametrize("identity", ["signed", "kubernetes"])
def test_where_more_than_a_name_is_asked_for_a_form_shows_the_command(asking: Asking, identity: str) -> None:
    rule = approving.rule_of(asking.plan).model_copy(update={"identity": identity})
    form = form_of(rule, "text")
    assert issubclass(form, Look)
    assert not form.model_fields
    text = question(an_asked(asking, rule=rule, so_far="1 is there (ann)"))
    assert (
        "which no form can give. So far: 1 is there (ann). To approve, at a terminal:\n\n`kubeferry approve X`" in text
    )
