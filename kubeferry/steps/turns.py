"""Whose turn it is in a run, by what the journal says of all machines of its plan (`kubeferry.life.held`)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Mapping

from kubeferry.documents import Outline, Plan
from kubeferry.errors import KubeferryError, ToolMissing
from kubeferry.journal import Journal
from kubeferry.life.decisions import lifted
from kubeferry.life.events import Note
from kubeferry.life.held import Held, Order, after, has_moved
from kubeferry.life.states import MachineState
from kubeferry.life.tries import is_past_stop
from kubeferry.steps.approvals import unapproved
from kubeferry.steps.cutover import stand_in_plan
from kubeferry.steps.precedence import by_another
from kubeferry.steps.work import Work


def order_of(plan: Plan | Outline, journal: Journal, states: dict[str, MachineState], *, again: bool = False) -> Order:
    """The order of a plan's machines, which stand like this in the journal."""
    return Order(
        plan,
        states,
        moved_elsewhere(plan, journal),
        again=again,
        lifted=lifted(journal.decisions(plan.digest)),
        unapproved=_lacking(plan, journal, states),
    )


def _lacking(plan: Plan | Outline, journal: Journal, states: Mapping[str, MachineState]) -> dict[str, str]:
    """What machines lack of their approval. Where nobody can verify any, the others wait for the sake of those whose
    source is off: these need none any more."""
    names = [entry.name for entry in plan.entries]
    try:
        return unapproved(plan, journal, names)
    except ToolMissing as error:
        if not any(is_past_stop(state) for state in states.values()):
            raise
        return dict.fromkeys(names, f"nobody can verify its approval: {error.reason}")


def moved_elsewhere(plan: Plan | Outline, journal: Journal) -> frozenset[str]:
    """Machines that others come after, and that another plan has moved: nobody waits for this one to do so."""
    if all(one.digest == plan.digest for one in journal.plans()):
        return frozenset()
    named = frozenset(one for ones in after(plan).values() for one in ones)
    newest = {entry.name: by_another(journal, plan.digest, entry) for entry in plan.entries if entry.name in named}
    return frozenset(name for name, last in newest.items() if last is not None and has_moved(last.state))


class Turns:
    """The turns of one run; threads may share it. `insisted` names the person who has said that its machines move out
    of order: none of them is held back then but for want of an approval, and what would have held it back is
    recorded."""

    def __init__(self, plan: Plan, journal: Journal, *, again: bool = False, insisted: str = "") -> None:
        self._plan, self._journal, self._insisted = plan, journal, insisted
        self._order = order_of(plan, journal, journal.states(plan.digest), again=again)
        self._lock = threading.Lock()

    def held(self, unit: Collection[str]) -> Held | None:
        """Why these machines, which move as one, have to wait now."""
        self._look_at_approvals(unit)
        held = self._found(unit)
        return held if held and (held.approval or not self._insisted) else None

    def out_of_reach(self, machines: Collection[str], refused: Collection[str] = ()) -> dict[str, Held]:
        """Those of the run's machines whose turn does not come in it, and why."""
        with self._lock:
            if not self._insisted:
                return self._order.out_of_reach(machines, refused)
            found = {name: self._order.held(name) for name in machines if name not in refused}
        return {name: held for name, held in found.items() if held and held.approval}

    def _look_at_approvals(self, unit: Collection[str]) -> None:
        """Approvals are given, withdrawn and run out while others move. Where nobody can look now, they count as seen
        before: they are looked at again before a source is stopped."""
        with contextlib.suppress(KubeferryError):
            lacking = unapproved(self._plan, self._journal, unit)
            with self._lock:
                self._order.lack(lacking)

    def ended(self, unit: Iterable[str]) -> None:
        """The run of these machines has ended, however: what the others wait for is looked at again."""
        for name in unit:
            try:
                state = self._journal.state(self._plan.digest, name)
            except KubeferryError:  # it counts as it was seen before: nobody goes on because of what nobody knows
                continue
            with self._lock:
                self._order.see(name, state)

    def insist(self, work: Work) -> None:
        """Record that a machine moves out of order, where it does, and who has said so."""
        if self._insisted and (held := self._found((work.entry.name,))) and not held.approval:
            stand_in_plan(work)
            work.record(Note(text=f"{self._insisted} moves it out of order: {held.why}"))

    def _found(self, unit: Iterable[str]) -> Held | None:
        with self._lock:
            return next(filter(None, map(self._order.held, unit)), None)
