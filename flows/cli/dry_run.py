"""What `migrate` would do, step by step, told by the functions that do it, and nothing asked or changed."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import click

from flows.cli.output import print_json
from kubeferry.documents import Config, Plan
from kubeferry.errors import PermanentError
from kubeferry.journal import Journal
from kubeferry.life.actions import Action, ActionKind, EntryFacts, Goal, plan_actions
from kubeferry.life.dry_runs import digest_of_machine
from kubeferry.life.held import Held
from kubeferry.life.states import MachineState
from kubeferry.steps.dry_runs import facts_of_all
from kubeferry.steps.rehearsing import refuse_unsynced
from kubeferry.steps.turns import order_of
from kubeferry.words import plain


def say_what_would_be_done(
    plan: Plan, settings: Config, machines: tuple[str, ...], goal: Goal, *, insisted: bool, as_json: bool
) -> None:
    """Say of each machine what would be done with it, and why, or what it waits for."""
    facts = facts_of_all(plan, settings, machines)
    actions, held = _actions(plan, settings, facts, goal, insisted=insisted)
    digests = {name: digest_of_machine(one, plan.entry(name)) for name, one in facts.items()}
    if as_json:
        told = [
            {
                "machine": name,
                "actions": [{"action": one.kind, "disks": list(one.disks), "why": one.reason} for one in found],
                **({"heldBack": held[name].why, "waitsFor": list(held[name].by)} if name in held else {}),
                **({"digest": digests[name]} if plan.approval else {}),
            }
            for name, found in actions.items()
        ]
        print_json(told)
        return
    for name, found in actions.items():
        click.secho(plain(name), bold=True)
        if others := [other for other in plan.set_of(name) if other != name]:
            together = (
                f"together with {', '.join(others)}: none of them takes a step before all have taken the one before it"
            )
            click.echo(plain(f"  {together}"))
        if name in held:
            click.echo(plain(f"  held back: {held[name].why}"))
        for action in found:
            click.echo(plain(f"  {action.kind:<16} {action.reason}"))
        if plan.approval:
            click.echo(f"  digest           {digests[name]}")


def _actions(
    plan: Plan, settings: Config, facts: dict[str, EntryFacts], goal: Goal, *, insisted: bool
) -> tuple[dict[str, list[Action]], dict[str, Held]]:
    """What would be done with each machine, in order, from where it stands; nothing with those that wait for others
    which this run does not move, and why."""
    found: dict[str, list[Action]] = {}
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        states = journal.states(plan.digest)
        order = order_of(plan, journal, states, again=goal is Goal.MIGRATE_AGAIN)
        held = order.out_of_reach(tuple(facts))
        held = {name: one for name, one in held.items() if one.approval or not insisted}
        for name, fact in facts.items():
            if name in held and not held[name].approval:
                found[name] = []
                continue
            entry = plan.entry(name)
            state = states.get(name, MachineState())
            if goal is Goal.REHEARSE and (why := _nothing_to_rehearse(plan, name, state)):
                found[name] = [Action(ActionKind.DONE, why)]
                continue
            waits = replace(fact, unapproved=held[name].why) if name in held else fact
            found[name] = list(plan_actions(waits, state, goal, power_now=entry.machine.power))
    return found, held


def _nothing_to_rehearse(plan: Plan, name: str, state: MachineState) -> str:
    try:
        refuse_unsynced(plan, name, state)
    except PermanentError as error:
        return f"{error.what}: {error.why}"
    return ""
