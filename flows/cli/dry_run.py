"""What `migrate` would do, step by step, told by the functions that do it, and nothing asked or changed."""

from __future__ import annotations

import contextlib

import click

from flows.cli.output import print_json
from kubeferry.documents import Config, Plan
from kubeferry.errors import PermanentError
from kubeferry.journal import Journal
from kubeferry.life.actions import Action, ActionKind, EntryFacts, Goal, plan_actions
from kubeferry.life.held import Held
from kubeferry.life.states import MachineState
from kubeferry.outside import clock
from kubeferry.sources import open_source
from kubeferry.steps.rehearsing import refuse_unsynced
from kubeferry.steps.turns import order_of
from kubeferry.targets import open_target
from kubeferry.words import plain


def say_what_would_be_done(
    plan: Plan, settings: Config, machines: tuple[str, ...], goal: Goal, *, insisted: bool, as_json: bool
) -> None:
    """Say of each machine what would be done with it, and why, or what it waits for."""
    actions, held = _actions(plan, settings, machines, goal, insisted=insisted)
    if as_json:
        told = [
            {
                "machine": name,
                "actions": [{"action": one.kind, "disks": list(one.disks), "why": one.reason} for one in found],
                **({"heldBack": held[name].why, "waitsFor": list(held[name].by)} if name in held else {}),
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


def _actions(
    plan: Plan, settings: Config, machines: tuple[str, ...], goal: Goal, *, insisted: bool
) -> tuple[dict[str, list[Action]], dict[str, Held]]:
    """What would be done with each machine, in order, from where it stands; nothing with those that wait for others
    which this run does not move, and why."""
    found: dict[str, list[Action]] = {}
    deltas = _tells_changes(plan, settings)
    with (
        contextlib.closing(Journal.open(settings.journal)) as journal,
        contextlib.closing(open_target(settings.target)) as target,
    ):
        states = journal.states(plan.digest)
        order = order_of(plan, journal, states, again=goal is Goal.MIGRATE_AGAIN)
        held = {} if insisted else order.out_of_reach(machines)
        for name in machines:
            if name in held:
                found[name] = []
                continue
            entry = plan.entry(name)
            facts = EntryFacts.of(
                plan, entry, keeps_running=target.capabilities.keeps_running, deltas=deltas, now=clock.now()
            )
            state = states.get(name, MachineState())
            if goal is Goal.REHEARSE and (why := _nothing_to_rehearse(plan, name, state)):
                found[name] = [Action(ActionKind.DONE, why)]
                continue
            found[name] = list(plan_actions(facts, state, goal, power_now=entry.machine.power))
    return found, held


def _nothing_to_rehearse(plan: Plan, name: str, state: MachineState) -> str:
    try:
        refuse_unsynced(plan, name, state)
    except PermanentError as error:
        return f"{error.what}: {error.why}"
    return ""


def _tells_changes(plan: Plan, settings: Config) -> bool:
    """Whether the plan's source can tell while a machine runs what changed. Asks nobody."""
    known = settings.sources.get(plan.source)
    if known is None:
        return False
    with contextlib.closing(open_source(plan.source, known)) as source:
        return source.capabilities.live_deltas
