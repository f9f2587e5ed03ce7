"""The source of a plan, opened: one, or an estate, in which machines are looked for where the journal has seen them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from kubeferry.documents import Config, Entry, Plan
from kubeferry.errors import Problem
from kubeferry.journal import Journal
from kubeferry.life.events import Located
from kubeferry.model import Machine
from kubeferry.sources import Source, open_named
from kubeferry.steps.cutover import stand_in_plan
from kubeferry.steps.work import Work
from kubeferry.words import first_of

NAMED = 8

logger = logging.getLogger(__name__)


def source_of(plan: Plan, config: Config, journal: Journal | None = None) -> Source:
    """For all of the plan's machines. `journal` is the one that records what is done there; without one nothing is."""
    places = places_of(plan, journal) if journal is not None and config.is_estate(plan.source) else {}
    return open_named(config, plan.source, journal=journal.identity if journal else "", places=places)


def source_for(
    plan: Plan, entry: Entry, config: Config, journal: Journal, work: Callable[[], Work], tell: Callable[[str], None]
) -> Source:
    """For one machine under way, whose `work` there is once it is asked anything. Where an estate finds it elsewhere
    than it was, that is recorded before anything is done there, and told."""
    if not config.is_estate(plan.source):
        return open_named(config, plan.source, journal=journal.identity)

    def found(machine: Machine, place: str) -> None:
        stand_in_plan(work())
        work().record(Located(source=place))
        told = f"it is at source {place} of {plan.source}, and was discovered at {machine.source}"
        logger.warning("%s: %s", entry.name, told)
        tell(told)

    state = journal.state(plan.digest, entry.name)
    known = state.place or (entry.machine.source if state.source_off else "")  # it was stopped there
    places = {entry.machine.id: known} if known else {}
    return open_named(config, plan.source, journal=journal.identity, of=entry.machine, places=places, found=found)


def places_of(plan: Plan, journal: Journal) -> dict[str, str]:
    """By their ids where machines were found that had left the source of their inventory."""
    states = journal.states(plan.digest)
    found = {entry.machine.id: states[entry.name].place for entry in plan.entries if entry.name in states}
    return {identity: place for identity, place in found.items() if place}


def unknown_source(plan: Plan, config: Config) -> Problem | None:
    """What keeps a configuration from opening the plan's source; None for nothing."""
    if config.members(plan.source):
        return None
    members = sorted({entry.machine.source for entry in plan.entries})
    fix = "Add it, or use the configuration that the plan was made with."
    if len(members) > 1:
        named = ", ".join(members)
        fix = f"Its machines are of several sources. Add `estates: {{{plan.source}: [{named}]}}`, and what is missing."
    known = first_of(sorted((*config.sources, *(config.estates or {}))), NAMED)
    return Problem("sources", f"no source is called {plan.source!r}; there is {known}", fix)
