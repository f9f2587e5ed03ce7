"""The form in which a wave's cutover is approved, or put off: what it shows, as Markdown, and what it asks; pure.

What somebody types there is a claim. Where the plan asks for more than a name, the form shows the command for that, and
nothing can be approved in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from prefect.input import RunInput
from pydantic import Field, create_model

from flows.programme.texts import plain, table
from kubeferry.documents import Plan, PlannedApproval
from kubeferry.life.approvals import asked_for
from kubeferry.steps.approving import Request, copied
from kubeferry.words import counted, first_of

SHOWN = 25
"""Machines that a form shows one by one; the page beside it has all of them."""
NAMED = 10

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}$"
_ABOUT_NAME = "Who decides. Anybody can type a name: the journal has it as a claim."
_ABOUT_NOTE = "Why, or a ticket; it stands in the journal and in the report."


class Answer(RunInput):
    """What somebody says to it. Nothing is approved by leaving it as it is."""

    name: Annotated[str, Field(pattern=_NAME, description=_ABOUT_NAME)]
    decision: Literal["defer", "approve", "refuse"] = "defer"
    note: Annotated[str, Field(max_length=2000, description=_ABOUT_NOTE)] = ""


class Look(RunInput):
    """Nothing to say: the decision is given elsewhere. The run looks for it again."""


def form_of(rule: PlannedApproval, text: str) -> type[RunInput]:
    """The form for what a plan asks for; where it names who may, the name is one of those."""
    if rule.identity != "claimed":
        return Look.with_initial_data(description=text)
    names = tuple(one.name for one in rule.approvers)
    more: dict[str, Any] = {"name": (Literal[names], Field(description=_ABOUT_NAME))} if names else {}
    made: type[Answer] = create_model("Answer", __base__=Answer, **more)
    made._description = text
    return made


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine as the form shows it: where it stands, its window and what would be done with it, in words."""

    name: str
    app: str
    stands: str
    mode: str
    window: str
    steps: tuple[str, ...]
    force: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the document, its machines, and what is said beside them. `told`: what became of the answer
    before; `before`: what was decided about it earlier; `so_far`: what there is of an approval; `page`: where all of
    the machines stand; `command`: how it is approved elsewhere."""

    plan: Plan
    rule: PlannedApproval
    request: Request
    machines: Sequence[Candidate]
    now: datetime
    command: str = ""
    told: str = ""
    before: str = ""
    page: str = ""
    so_far: str = ""


def question(asked: Asked) -> str:
    """What the form shows above its fields, which is as narrow as a hand: of each machine, of the first ones where
    there are many, how it stands and what is coming; and what the decision is bound to."""
    approval = asked.request.approval
    shown = list(asked.machines[:SHOWN])
    lines = [_asks(asked), ""]
    lines += [f"**{plain(asked.told)}**", ""] if asked.told else []
    lines += [f"Before: {plain(asked.before)}.", ""] if asked.before else []
    lines += [f"- {_in_short(one, asked)}" for one in shown]
    if more := len(asked.machines) - len(shown):
        lines += [f"- and {more} more"]
    lines += ["", f"[All of it on one page]({asked.page})", "", *_how(asked), ""]
    lines += _done_with(shown)
    bound = f"plan {asked.plan.digest[:12]}, dry run {approval.dry_run[:12]}"
    lines += [f"Bound to {bound}; counts until {_minute(approval.expires)}. What changes before is asked anew."]
    return "\n".join(lines) + "\n"


def whole_page(asked: Asked) -> str:
    """All that is approved, for a page of its own."""
    plan, approval = asked.plan, asked.request.approval
    head = ("machine", "app", "stands", "copied", "downtime", "window", "dry run")
    lines = [_asks(asked), "", *_how(asked), ""]
    lines += [*table(head, (_row(one, asked) for one in asked.machines)), ""]
    lines += _done_with(asked.machines)
    if plan.excluded:
        told = first_of([f"{name} ({why})" for name, why in plan.excluded.items()], NAMED)
        lines += [f"Left out by the plan: {plain(told)}.", ""]
    lines += ["What the decision is bound to:", "", f"- plan `{plan.digest}`", f"- dry run of all `{approval.dry_run}`"]
    lines += [f"- until {approval.expires}: what changes before that is asked anew"]
    return "\n".join(lines) + "\n"


def _asks(asked: Asked) -> str:
    many = counted(len(asked.machines), "machine")
    return f"### Cut over {many} of plan {plain(asked.plan.name)}: {plain(str(asked.request.scope))}?"


def _how(asked: Asked) -> Iterator[str]:
    """How it is approved, and what happens then; a line is a paragraph."""
    wants = asked_for(asked.rule)
    so_far = f" So far: {plain(asked.so_far)}." if asked.so_far else ""
    if asked.rule.identity == "claimed":
        yield f"The plan asks for {wants}.{so_far} With *approve* this run goes on: each machine in its window."
        yield ""
        yield "*defer* leaves everything as it is; so does *refuse*, which is recorded as that."
        yield ""
        yield f"At a terminal: `{asked.command}`"
        return
    yield f"The plan asks for {wants}, which no form can give.{so_far} To approve, at a terminal:"
    yield from ("", f"`{asked.command}`", "")
    yield "This run goes on by itself once that is there; *Submit* makes it look now. To call it off, cancel it."


def _in_short(one: Candidate, asked: Asked) -> str:
    name, app, stands, since, downtime, window, _dry_run = map(plain, _row(one, asked))
    of = f" ({app})" if one.app else ""
    sync = "not copied yet" if since == "not yet" else f"copied {since}"
    return f"**{name}**{of}: {stands}, {sync}; downtime {downtime}; {window}"


def _row(one: Candidate, asked: Asked) -> tuple[str, ...]:
    shown = asked.request.approval.machine(one.name)
    if shown is None:  # it is drawn from the same machines
        raise ValueError(f"{one.name} is not in the document")
    downtime = shown.downtime or "not known"
    since = copied(shown.synced_at, one.mode, asked.now)
    return (one.name, one.app or "—", one.stands, since, downtime, one.window or "at any time", shown.dry_run[:12])


def _done_with(machines: Sequence[Candidate]) -> Iterator[str]:
    """What would be done; whatever is switched off hard is told."""
    yield from ("What would be done with each:", "", *_steps(machines), "")
    if forced := [one.name for one in machines if one.force]:
        yield from (f"Switched off hard where they do not shut down: {plain(first_of(forced, NAMED))}.", "")


def _minute(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"


def _steps(machines: Sequence[Candidate]) -> Iterator[str]:
    """Each way once, with the machines that go it."""
    ways: dict[tuple[str, ...], list[str]] = {}
    for one in machines:
        ways.setdefault(one.steps, []).append(one.name)
    for steps, names in ways.items():
        yield f"- {plain(first_of(names, NAMED))}: {plain(' → '.join(steps))}"
