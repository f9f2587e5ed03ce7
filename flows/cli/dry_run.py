"""What `migrate`, `commit` and `rollback` would do, step by step, told by the functions that do it; nothing is asked or
changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import click

from flows.cli.outlook import Outlook, outlooks
from flows.cli.output import print_json
from kubeferry.documents import Config, Plan
from kubeferry.journal import Journal
from kubeferry.life.actions import Action, EntryFacts, Goal
from kubeferry.life.held import Held
from kubeferry.life.imagined import plan_actions
from kubeferry.life.projected import spoken
from kubeferry.life.states import MachineState, fold
from kubeferry.sources import open_source
from kubeferry.steps.turns import order_of
from kubeferry.targets import open_target
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
    """Say of each machine what would be done with it, and why, or what it waits for; what its downtime is projected to
    be, and whether its window lets it begin. `lost` is what the way back would leave behind of each, in words."""
    actions, held = _actions(plan, settings, machines, goal, insisted=insisted)
    ahead = _ahead(plan, settings)
    if as_json:
        told = [
            {
                "machine": name,
                "actions": [{"action": one.kind, "disks": list(one.disks), "why": one.reason} for one in found],
                **({"wouldLose": lost[name]} if lost and name in lost else {}),
                **({"heldBack": held[name].why, "waitsFor": list(held[name].by)} if name in held else {}),
                **(ahead[name].facts() if name in ahead and name not in held else {}),
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
        if lost and name in lost:
            click.secho(plain(f"  would lose: {lost[name]}"), fg="yellow")
        if name in held:
            click.echo(plain(f"  held back: {held[name].why}"))
        for line in _looking_ahead(None if name in held else ahead.get(name), overruled=overruled):
            click.echo(plain(f"  {line}"))
        for action in found:
            click.echo(plain(f"  {action.kind:<16} {action.reason}"))


def _looking_ahead(seen: Outlook | None, *, overruled: bool) -> Iterator[str]:
    if seen is None or not (seen.window or seen.projected.is_known):
        return
    yield f"downtime projected: {seen.projected.told()}"
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
            facts = EntryFacts.of(plan, entry, keeps_running=target.capabilities.keeps_running, deltas=deltas)
            state = states.get(name, MachineState())
            found[name] = list(plan_actions(facts, state, goal, power_now=entry.machine.power))
    return found, held


def _tells_changes(plan: Plan, settings: Config) -> bool:
    """Whether the plan's source can tell while a machine runs what changed. Asks nobody."""
    known = settings.sources.get(plan.source)
    if known is None:
        return False
    with contextlib.closing(open_source(plan.source, known)) as source:
        return source.capabilities.live_deltas
