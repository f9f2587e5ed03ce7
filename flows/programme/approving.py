"""A cutover that nobody has approved asks for it first, in Prefect: its run is suspended, with a form to fill in.

Asked is only where nothing of the run could begin without an answer; where a source is off, or a machine may move,
nobody is waited for. What was shown is kept in the journal, and the answer is bound to it. A run that is resumed begins
from its top: it reads the journal, where everything is that was decided.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from prefect.client.schemas.filters import FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input.actions import read_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from prefect.states import Cancelled, Completed
from pydantic import ValidationError

from flows import following, moves
from flows.cli.outlook import Outlook, outlooks
from flows.moves import Move, Wanted
from flows.programme.artifacts import Shelf, own_client, plan_key
from flows.programme.forms import Answer, Asked, Candidate, form_of, question, whole_page
from flows.programme.showing import ui
from flows.programme.waiting import lacking, meant_by, suspended, tell_that_it_waits, under_way
from flows.struck import struck_errors, without_secrets
from flows.telling import announce_outcomes, telling
from flows.told import NOT_BEGUN, Outcome
from kubeferry.documents import Approval, PlannedApproval
from kubeferry.errors import HeldBack, InputInvalid
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import ActionKind, Goal
from kubeferry.life.approvals import asked_for
from kubeferry.life.decisions import Decision, Scope
from kubeferry.life.imagined import plan_actions
from kubeferry.life.states import MachineState, fold
from kubeferry.steps import answers, approving
from kubeferry.steps.approvals import command, fix
from kubeferry.steps.approving import Request, Shown
from kubeferry.steps.dry_runs import facts_of_all
from kubeferry.words import first_of

KEY = "approval-"
"""What the keys of our suspensions begin with; behind it the number of the question and the digest of its document."""
KIND = Approval.KIND
WAITS_SECONDS = 7 * 86400
"""So long a run waits for an answer; Prefect itself calls one Failed that nobody has answered for an hour."""
NAMED = 5
UNTOLD = frozenset({ActionKind.RECORD_PLAN, ActionKind.DONE})
"""Steps that do nothing to a machine."""

logger = logging.getLogger(__name__)


def asked_first(goal: Goal, wanted: Wanted) -> State[Any] | None:
    """Ask for the approval that a deployed run lacks, and leave the run suspended then; None where it goes on, else the
    state in which it ends: put off, refused, or asked by another run. A run without a deployment is not suspended: what
    is not approved is held back in it."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or following.of(wanted.digest, goal):
        return None
    with struck_errors():
        move = moves.in_words(wanted, goal)
        if move.plan.approval is None:
            return None
        with contextlib.closing(Journal.open(move.settings.journal)) as journal:
            journal.keep_plan(move.plan)
            return _Asking(move, wanted, journal, run).ended()


@dataclass(slots=True)
class _Asking:
    """One run that asks. `told` is what became of the last answer."""

    move: Move
    wanted: Wanted
    journal: Journal
    run: FlowRun
    told: str = ""

    def ended(self) -> State[Any] | None:
        """As `asked_first`. Raises Prefect's Pause, which suspends the run. Nobody asks the server of a run that has
        asked for nothing and lacks nothing, or of which a source may be off."""
        run, (number, shown) = self.run, _last_asked(self.run)
        if under_way(self.journal.states(self.move.plan.digest), self.move.machines):
            return None
        if shown and (answer := _answer(run, f"{KEY}{number}-{shown}")) and (state := self._taken(run, shown, answer)):
            return state
        plan, again = self.move.plan, self.move.goal is Goal.MIGRATE_AGAIN
        lacks = lacking(plan, self.move.settings, self.journal, self.move.machines, again=again)
        if not lacks:
            return None
        if other := self._asked_elsewhere(run, lacks):
            told = f"it is asked for already, by {other.name}: {ui()}/runs/flow-run/{other.id}"
            return Cancelled(name="Held", message=without_secrets(told))
        asked = self._drawn(lacks)
        self.journal.keep_document(KIND, asked.request.digest, asked.request.text)
        self._tell(lacks)
        page = plan_key("approval", plan.digest, *filter(None, (self.wanted.wave, self.wanted.app)))
        shelf = Shelf()
        shelf.markdown(page, whole_page(asked), f"{plan.name}: {asked.request.scope}, to be approved")
        form = form_of(asked.rule, without_secrets(question(replace(asked, page=f"{ui()}{shelf.place(page)}"))))
        key = f"{KEY}{number + 1}-{asked.request.digest}"
        tell_that_it_waits(run)
        suspend_flow_run(form, key=key, timeout=WAITS_SECONDS)  # it does not come back
        return None

    # --- an answer ---------------------------------------------------------------------------------------------------

    def _taken(self, run: FlowRun, shown: str, answer: Answer) -> State[Any] | None:
        """Take what somebody has answered to a document. None where the run goes on, or asks again: `told` says why."""
        plan, note = self.move.plan, without_secrets(answer.note)
        who = f"{answer.name} on the form of {run.name}"
        if newer := _deployed_since(run, plan.digest):
            told = (
                f"the answer of {answer.name} ({answer.decision}) is void: plan {plan.name} was changed since, and is "
                f"{newer[:12]} now; nothing was recorded. {self._again()}"
            )
            return Cancelled(name="Void", message=without_secrets(told))
        request = approving.brought(plan, self.journal.document(KIND, shown).text)
        said = f"{answer.name} (claimed){f': {note}' if note else ''}"
        if answer.decision == "defer":
            answers.deferred(plan, self.journal, request, who, note)
            told = f"put off by {said}. {self._later(request)} {self._again()}"
            return Completed(name="Deferred", message=without_secrets(told))
        if answer.decision == "refuse":
            answers.refused(plan, self.journal, request, who, note)
            told = f"refused by {said}. No source was touched. {self._again()}"
            return Cancelled(name="Refused", message=without_secrets(told))
        if why := answers.changed(plan, self.move.settings, self.journal, request):
            self.told = f"The approval of {answer.name} is void: {why}. Look again, please."
            return None
        try:
            answers.approved(plan, self.journal, request, who, note)
        except InputInvalid as error:
            self.told = f"The approval of {answer.name} counts for nothing: {error.reason}."
        else:
            self.told = f"{answer.name} has approved it; that is not enough yet."
        return None

    def _again(self) -> str:
        """How it is asked again."""
        given = {"wave": self.wanted.wave, "app": self.wanted.app}
        words = "".join(f" -p {name}={value}" for name, value in given.items() if value)
        return f"It is asked again by the next run: prefect deployment run 'cutover/{self.move.plan.name}'{words}"

    def _later(self, request: Request) -> str:
        """When its windows open next; any time where it has none."""
        ahead = self._ahead()[1]
        told = (f"{name}: {ahead[name]}" for name in request.scope.machines if name in ahead and ahead[name].window)
        return f"Its windows: {first_of(list(told), NAMED)}.".replace("Its windows: .", "It may be asked at any time.")

    # --- the question ------------------------------------------------------------------------------------------------

    def _drawn(self, lacks: dict[str, str]) -> Asked:
        plan, settings, journal = self.move.plan, self.move.settings, self.journal
        names = tuple(name for name in self.move.machines if name in lacks)
        states, ahead = self._ahead()
        projected = {name: one.projected.told() for name, one in ahead.items() if one.projected.is_known}
        scope = Scope(wave=self.wanted.wave, app=self.wanted.app, machines=names)
        return Asked(
            plan,
            approving.rule_of(plan),
            approving.drawn(plan, settings, journal, scope, shown=Shown(projected)),
            self._candidates(names, states, ahead),
            journal.now(),
            command=self._command(names),
            told=self.told,
            before=_before(answers.said_before(journal.decisions(plan.digest), names)),
            so_far=_so_far(approving.rule_of(plan), lacks.values()),
        )

    def _command(self, names: tuple[str, ...]) -> str:
        """What is typed to approve them; of several waves the first one's."""
        typed, wave = command(self.move.plan, names[0]), self.wanted.wave
        head, _, key = typed.partition(" --wave ")
        key = key.partition(" ")[2]
        return f"{head} --app {self.wanted.app} {key}".rstrip() if self.wanted.app and not wave else typed

    def _candidates(
        self, names: Iterable[str], states: dict[str, MachineState], ahead: dict[str, Outlook]
    ) -> list[Candidate]:
        plan, goal, found = self.move.plan, self.move.goal, []
        for name, facts in facts_of_all(plan, self.move.settings, names).items():
            entry, state = plan.entry(name), states.get(name, MachineState())
            listed = plan_actions(facts, state, goal, power_now=entry.machine.power)
            steps = tuple(str(one.kind) for one in listed if one.kind not in UNTOLD)
            window = str(ahead[name]) if name in ahead else ""
            found.append(
                Candidate(name, entry.app or "", str(state.phase), entry.mode, window, steps, entry.stop.force)
            )
        return found

    def _ahead(self) -> tuple[dict[str, MachineState], dict[str, Outlook]]:
        histories = self.journal.histories(self.move.plan.digest)
        states = {name: fold(records) for name, records in histories.items()}
        return states, outlooks(self.move.plan, self.journal, histories, states)

    def _asked_elsewhere(self, run: FlowRun, lacks: Iterable[str]) -> FlowRun | None:
        """Another run of this deployment that waits for an answer about one of these machines."""
        asked = frozenset(lacks)
        for one in suspended(FlowRunFilterDeploymentId(any_=[run.deployment_id]) if run.deployment_id else None):
            same = one.id != run.id and one.parameters["digest"] == self.move.plan.digest
            if same and asked & set(moves.narrowed(self.move.plan, meant_by(one))):
                return one
        return None

    def _tell(self, lacks: dict[str, str]) -> None:
        """Tell whom the configuration names that an approval is wanted."""
        plan, settings = self.move.plan, self.move.settings
        held = [
            Outcome(name, NOT_BEGUN, HeldBack(why, machine=name, turn=False, fix=fix(plan, name)))
            for name, why in lacks.items()
        ]
        with telling(self.journal, settings):
            announce_outcomes(self.journal, settings, plan, held)


def _last_asked(run: FlowRun) -> tuple[int, str]:
    """How often this run has asked, and the digest of the document that it showed last; 0 where it has not."""
    keys = [one.removeprefix(KEY).split("-") for one in run.empirical_policy.pause_keys or () if one.startswith(KEY)]
    return max(((int(number), digest) for number, digest in keys), default=(0, ""))


def _answer(run: FlowRun, key: str) -> Answer | None:
    """What was answered to it; None where the run goes on for another reason."""
    keys = keyset_from_base_key(f"suspended-{key}")
    given = read_flow_run_input(keys["response"], flow_run_id=run.id)
    try:
        return Answer.model_validate(given) if given else None
    except ValidationError:  # a form of another version
        return None


def _deployed_since(run: FlowRun, digest: str) -> str:
    """The digest of the plan that the run's deployment moves now, where that is another one; empty where it is not."""
    if run.deployment_id is None:
        return ""
    with own_client() as client:
        now = str(client.read_deployment(run.deployment_id).parameters.get("digest") or "")
    return now if now != digest else ""


def _so_far(rule: PlannedApproval, lacks: Iterable[str]) -> str:
    """What there is of an approval, where it is not enough."""
    whole = f"it is not approved: the plan asks for {asked_for(rule)}"
    return "; ".join(dict.fromkeys(told for why in lacks if (told := why.removeprefix(whole).lstrip(",; "))))


def _before(decision: Decision | None) -> str:
    """What somebody said who was asked before, in words."""
    if decision is None:
        return ""
    note = f": {decision.payload['note']}" if decision.payload.get("note") else ""
    return f"{decision.kind} by {decision.who} {decision.at}{note}"
