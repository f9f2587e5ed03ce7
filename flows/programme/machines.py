"""One machine of a run as a subflow, each of its steps as a task. They follow what is told, and do nothing of it.

No task has a tag: a tag makes Prefect ask its server for a slot before a task begins. A machine's run is begun in one
place (`Showing`), with words alone as parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Completed, Failed

from flows.following import Following
from flows.programme.endings import Ending, of_machine
from flows.struck import shown, without_secrets
from flows.told import Outcome, StepBegun, Told, TryEnded
from kubeferry.errors import Interrupted
from kubeferry.life.action_kinds import Goal

TRIES = 10_000  # who counts them is the run


@dataclass(slots=True)
class Story:
    """What is told of one machine, for the subflow that runs in this context: `shown_by` is that one."""

    run: Following
    name: str
    told: Iterator[Told]
    shown_by: UUID | None = None
    tried: list[TryEnded] = field(default_factory=list)


STORY: ContextVar[Story] = ContextVar("story")


def as_state(ending: Ending) -> State[Any]:
    """The state that an ending is in Prefect."""
    made: Any = {"completed": Completed, "failed": Failed, "cancelled": Cancelled}[ending.kind]
    named = {"name": ending.name} if ending.name else {}
    state: State[Any] = made(message=without_secrets(ending.message), **named)
    return state


@flow(name="machine", flow_run_name="{machine}", persist_result=False)
def machine(machine: str, plan: str, digest: str, verb: str, wave: str = "", app: str = "") -> State[Any] | None:  # noqa: ARG001 (shown in the UI)
    """One machine of a run: its steps as they are taken, each with its reason."""
    story = STORY.get()
    if (context := FlowRunContext.get()) and context.flow_run:
        story.shown_by = context.flow_run.id
    about = {"plan": plan, "wave": wave, "app": app, "machine": machine}
    outcome = Outcome(story.name, "")
    for told in story.told:
        if isinstance(told, StepBegun):
            _show_step(told, about)
        elif isinstance(told, Outcome):
            outcome = told
    ending = of_machine(Goal(story.run.run.goal), outcome)
    if outcome.error:
        say(about, str(outcome.error), failed=ending.kind == "failed")
    return as_state(ending)


def say(about: dict[str, str], text: str, *, failed: bool = False) -> None:
    """A line in the log of the run that this context is of, with what it is about."""
    where = "/".join(filter(None, (about.get("plan"), about.get("wave"), about.get("app"))))
    logger = get_run_logger()
    (logger.error if failed else logger.info)(
        "%s (%s): %s", about.get("machine", ""), where, without_secrets(text), extra={"kubeferry": about}
    )


def _show_step(told: StepBegun, about: dict[str, str]) -> None:
    STORY.get().tried.clear()
    label = without_secrets(told.label)
    step.with_options(name=told.kind, task_run_name=label.replace("{", "(").replace("}", ")"))(
        about, without_secrets(told.reason), return_state=True
    )


def _again(*_given: object) -> bool:
    """Whether the step that was tried last is tried once more."""
    tried = STORY.get().tried
    return bool(tried) and tried[-1].again


@task(name="step", retries=TRIES, retry_condition_fn=_again, cache_policy=NO_CACHE, persist_result=False)
def step(about: dict[str, str], reason: str) -> State[Any] | None:
    """One step: its name is what it does, its log why; run as often as it was tried."""
    say(about, reason)
    story = STORY.get()
    told = next(story.told)
    if not isinstance(told, TryEnded):
        raise TypeError(f"a try was to end, and {told} came")
    story.tried.append(told)
    if isinstance(told.error, Interrupted):
        return Cancelled(message=without_secrets(str(told.error)))
    if told.error:
        raise shown(told.error) from None
    return None
