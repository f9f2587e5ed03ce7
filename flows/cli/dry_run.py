"""What `migrate`, `commit` and `rollback` would do, step by step, told by the functions that do it; nothing is asked or
changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import click

from flows.cli.outlook import Outlook, outlooks
from flows.cli.output import print_json
from kubeferry.documents import Config, Plan
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Action, ActionKind, EntryFacts, Goal
from kubeferry.life.dry_runs import digest_of_machine
from kubeferry.life.held import Held
from kubeferry.life.imagined import plan_actions
from kubeferry.life.projected import spoken
from kubeferry.life.rehearsed_together import plan_rehearsal
from kubeferry.life.sets import Member, tiers_of
from kubeferry.life.states import MachineState, fold
from kubeferry.steps.dry_runs import facts_of_all
from kubeferry.steps.rehearsing import unsynced
from kubeferry.steps.turns import order_of
from kubeferry.words import plain


def say_what_would_be_done(
    plan: Plan,
    settings: Config,
    machines: tuple[str, ...],
    goal: Goal,
    *,
    insisted: bool,
    overruled: bool = False,
    as_json: bool,
    lost: Mapping[str, str] | None = None,
) -> None:
    """Say of each machine what would be done with it, and why, or what it waits for; where it may begin, what its
    downtime is projected to be, and whether its window lets it. `lost` is what the way back would leave behind of each,
    in words."""
    facts = facts_of_all(plan, settings, [name for wave in plan.waves for name in wave.machines if name in machines])
    actions, held = _actions(plan, settings, facts, goal, insisted=insisted)
    digests = {name: digest_of_machine(one, plan.entry(name)) for name, one in facts.items()}
    ahead = _ahead(plan, settings) if goal.in_order else {}
    wave_of = {name: wave.name for wave in plan.waves for name in wave.machines}
    if as_json:
        told = [
            {
                "machine": name,
                "wave": wave_of[name],
                "actions": [{"action": one.kind, "disks": list(one.disks), "why": one.reason} for one in found],
                **({"wouldLose": lost[name]} if lost and name in lost else {}),
                **({"heldBack": held[name].why, "waitsFor": list(held[name].by)} if name in held else {}),
                **(ahead[name].facts() if name in ahead else {}),
                **({"digest": digests[name]} if plan.approval else {}),
            }
            for name, found in actions.items()
        ]
        print_json(told)
        return
    for name, found in actions.items():
        click.secho(plain(name), bold=True, nl=False)
        click.echo(plain(f"  (wave {wave_of[name]})") if len(plan.waves) > 1 else "")
        if goal is Goal.REHEARSE and (others := [one for one in plan.rehearsed_with(name) if one != name]):
            click.echo(plain(f"  rehearsed together with {', '.join(others)}: all of them run at the same time"))
        elif others := [other for other in plan.set_of(name) if other != name]:
            together = (
                f"together with {', '.join(others)}: none of them takes a step before all have taken the one before it"
            )
            click.echo(plain(f"  {together}"))
        if lost and name in lost:
            click.secho(plain(f"  would lose: {lost[name]}"), fg="yellow")
        if name in held:
            click.echo(plain(f"  held back: {held[name].why}"))
        ends = [action.kind for action in found] == [ActionKind.DONE]  # nothing is ahead of it
        for line in _looking_ahead(None if ends else ahead.get(name), overruled=overruled):
            click.echo(plain(f"  {line}"))
        for action in found:
            click.echo(plain(f"  {action.kind:<18} {action.reason}"))
        if plan.approval:
            click.echo(f"  digest             {digests[name]}")


def _looking_ahead(seen: Outlook | None, *, overruled: bool) -> Iterator[str]:
    if seen is None:
        return
    yield f"downtime projected: {seen.projected.told()}"
    if seen.too_long:
        yield f"too long: {seen.too_long}"
    if back := seen.projected.back:
        yield f"time to go back: {spoken(back)}"
    if seen.window:
        yield f"window {seen}{', which somebody overrules' if overruled else ''}"


def _ahead(plan: Plan, settings: Config) -> dict[str, Outlook]:
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        histories = journal.histories(plan.digest)
        states = {name: fold(records) for name, records in histories.items()}
        return outlooks(plan, journal, histories, states)


def _actions(
    plan: Plan, settings: Config, facts: dict[str, EntryFacts], goal: Goal, *, insisted: bool
) -> tuple[dict[str, list[Action]], dict[str, Held]]:
    """What would be done with each machine, in order, from where it stands; nothing with those that wait for others
    which this run does not move, and why."""
    found: dict[str, list[Action]] = {}
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
        order = order_of(plan, journal, states, again=goal is Goal.MIGRATE_AGAIN)
        held, now = order.out_of_reach(tuple(facts)), journal.time()
        held = {name: one for name, one in held.items() if one.approval or not insisted}
        for name, fact in facts.items():
            if name in held and not held[name].approval:
                found[name] = []
                continue
            entry = plan.entry(name)
            state = states.get(name, MachineState())
            if goal is Goal.REHEARSE and (told := _rehearsal(plan, name, facts, states)):
                found[name] = told
                continue
            waits = replace(fact, unapproved=held[name].why) if name in held else fact
            found[name] = plan_actions(waits, state, goal, entry.machine.power, now)
    return found, held


def _rehearsal(plan: Plan, name: str, facts: dict[str, EntryFacts], states: Mapping[str, MachineState]) -> list[Action]:
    """What a rehearsal does with a machine of which there is nothing to rehearse, or that is rehearsed with others;
    nothing for any other."""
    together, tiers = plan.rehearsed_with(name), tiers_of(plan)
    for one in together or (name,):
        if error := unsynced(plan, one, states.get(one, MachineState())):
            return [Action(ActionKind.DONE, f"{'' if one == name else f'{one}: '}{error.what}: {error.why}")]
    app = plan.app_of(name)
    asks = {one: replace(facts[one], asks_app=bool(app and app.asked_of(one))) for one in together}
    members = {one: Member(asks[one], states.get(one, MachineState()), tier=tiers[one]) for one in together}
    return plan_rehearsal(members)[name] if members else []
