"""What a run would do with machines, as far as source and target are known without asking them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from kubeferry.documents import Config, Plan
from kubeferry.life.action_kinds import EntryFacts
from kubeferry.life.dry_runs import digest_of_machine
from kubeferry.outside import clock
from kubeferry.sources import open_source
from kubeferry.targets import open_target


def facts_of_all(plan: Plan, settings: Config, machines: Iterable[str]) -> dict[str, EntryFacts]:
    """What the choice of each step depends on, by machine. Opens source and target, and asks nobody."""
    deltas = _tells_changes(plan, settings)
    with contextlib.closing(open_target(settings.target)) as target:
        keeps_running = target.capabilities.keeps_running
    return {
        name: EntryFacts.of(
            plan, plan.entry(name), keeps_running=keeps_running, deltas=deltas.get(name, False), now=clock.now()
        )
        for name in machines
    }


def digests(plan: Plan, settings: Config, machines: Iterable[str]) -> dict[str, str]:
    """The digest of what would be done with each machine."""
    facts = facts_of_all(plan, settings, machines)
    return {name: digest_of_machine(one, plan.entry(name)) for name, one in facts.items()}


def _tells_changes(plan: Plan, settings: Config) -> dict[str, bool]:
    """By machine whether its source can tell while it runs what changed. Asks nobody."""
    members = settings.members(plan.source)
    owners = {one.name: one.machine.source if one.machine.source in members else plan.source for one in plan.entries}
    told = {}
    for name in {owner for owner in owners.values() if owner in members}:
        with contextlib.closing(open_source(name, members[name])) as source:
            told[name] = source.capabilities.live_deltas
    return {name: told.get(owner, False) for name, owner in owners.items()}
