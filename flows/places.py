"""Which machines of a wave begin next, where how many may be at work at once is limited over all runs.

A machine without a slot steps aside: those behind it that find one begin meanwhile, and it is looked at again when
another one has ended, and now and then.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TYPE_CHECKING

from kubeferry.errors import KubeferryError
from kubeferry.life.machine_state import MachineState
from kubeferry.outside import stopping
from kubeferry.schedule.slots import Full, Slot
from kubeferry.steps import slots
from kubeferry.steps.slots import COUNTED, Unit
from kubeferry.steps.work import Work

if TYPE_CHECKING:
    from flows.migrate import Run

AGAIN_SECONDS = 2.0  # who waits for another run's slot looks so often

logger = logging.getLogger(__name__)


class NoSlot(Exception):
    """What was free a moment ago is not any more. Nothing was done to the machine, and nothing went wrong."""


def take_slots(run: Run, works: Sequence[Work]) -> None:
    """Take what these machines need, under their leases, for as long as they last. Raises NoSlot."""
    if slots.take(works, run.goal):
        raise NoSlot


def in_turn(run: Run, pool: Executor, units: Sequence[Unit], drive: Callable[[Unit], bool]) -> None:
    """Drive these, as many at a time as the pool has threads, in their order as far as there are slots. Those that
    `drive` returns False of have another turn. Nobody begins any more where somebody asks to stop."""
    waiting, going = list(units), dict[Future[bool], Unit]()
    wanted = slots.asked(run.plan, run.config.limits, waiting) if run.goal in COUNTED else {}
    said: dict[Unit, str] = {}
    while waiting or going:
        aside = _aside(run, waiting, wanted)
        free = run.at_once - len(going)
        for unit in _next(waiting, aside, going.values(), wanted, free):
            waiting.remove(unit)
            going[pool.submit(drive, unit)] = unit
        for unit, full in aside.items():
            _say(run, unit, full, said)
        if going:
            ended, _ = wait(going, AGAIN_SECONDS if aside else None, FIRST_COMPLETED)
            # What was lost here would be begun again without end: an error of a turn goes on.
            waiting += [unit for turn in ended if not turn.result() and (unit := going[turn])]
            going = {turn: unit for turn, unit in going.items() if turn not in ended}
        elif waiting:
            stopping.wait(AGAIN_SECONDS)
        if stopping.requested():
            waiting = []


def _next(
    waiting: Sequence[Unit], aside: Container[Unit], going: Iterable[Unit], wanted: slots.Wanted, most: int
) -> list[Unit]:
    """Those that begin now. What is going may not have its slots yet, and counts."""
    found: list[Unit] = []
    taken = Counter(slot for unit in going for slot in _of(unit, wanted))
    for unit in waiting:
        if len(found) >= most:
            break
        own = Counter(_of(unit, wanted))
        if unit not in aside and all(not taken[slot] or taken[slot] + own[slot] <= slot.most for slot in own):
            found.append(unit)
            taken += own
    return found


def _of(unit: Unit, wanted: slots.Wanted) -> list[Slot]:
    return [slot for slots in wanted.get(unit, {}).values() for slot in slots]


def _aside(run: Run, waiting: Sequence[Unit], wanted: slots.Wanted) -> dict[Unit, tuple[Full, ...]]:
    """Those that have no slot now, and why. Where the journal cannot say it, they begin, and meet that themselves. What
    was refused, or waits for its window, needs none: nothing is done to it."""
    asked = {
        unit: wanted[unit]
        for unit in waiting
        if unit in wanted and not any(name in run.refused or name in run.deferred for name in unit)
    }
    try:
        asked = {u: one for u, one in asked.items() if not slots.stay_back(run.goal, [_state(run, n) for n in u])}
        return slots.full(run.plan.digest, run.journal, asked, lambda name: _state(run, name))
    except KubeferryError as error:
        logger.info("it is not known which slots are free: %s", error.reason)
        return {}


def _state(run: Run, name: str) -> MachineState:
    known = run.standing.get(name)
    return known if known is not None else run.journal.state(run.plan.digest, name)


def _say(run: Run, unit: Unit, full: Sequence[Full], said: dict[Unit, str]) -> None:
    """Once for each reason."""
    text = f"waits for a slot: {'; '.join(map(str, full))}"
    if said.get(unit) != text:
        said[unit] = text
        for name in unit:
            run.board.action(name, text)
