"""The machine that is left behind at its source: nothing starts it by itself, people who look at it read where it went,
and somebody asks whether it runs.

What starts it is recorded, then switched off once it is seen off: until then a hypervisor that starts anew may bring it
back, since no copy of it runs. Where what is stopped would be ended or replaced (`replaces_stopped`), it is off before
the stop. A rollback puts back what was recorded, whatever came in between.

What people read is no thing of the ledger: it stays, and a source that is gone must not keep `release` from its end.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubeferry import marks
from kubeferry.documents import Entry, Plan
from kubeferry.errors import Fenced, Interrupted, KubeferryError, LoginLost, PermanentError, SourceRefused
from kubeferry.journal import Journal
from kubeferry.life.events import AutostartRecorded, NotesRecorded, SourceMarked
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import UP, Autostart, Power
from kubeferry.outside import clock
from kubeferry.sources import Source
from kubeferry.steps.marks import tell
from kubeferry.steps.precedence import by_another
from kubeferry.steps.work import Work
from kubeferry.words import first_of

NAMED = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A machine that has moved, and whose source runs."""

    machine: str
    what: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen of the sources of machines that have moved: `alarms`; and of those that did not answer, why, which
    is no alarm. `asked` counts the machines that were looked at."""

    alarms: tuple[Alarm, ...] = ()
    unanswered: tuple[str, ...] = ()
    asked: int = 0


# --- pure ------------------------------------------------------------------------------------------------------------


def left_behind(plan: Plan, states: Mapping[str, MachineState]) -> list[Entry]:
    """The machines whose source is to stay off for good: they have moved, and their copy is there."""
    known = ((entry, states.get(entry.name)) for entry in plan.entries)
    return [entry for entry, state in known if state and state.resumes is Phase.COMMITTED and not state.removed]


def alarm_of(plan: Plan, entry: Entry, state: MachineState, power: Power) -> Alarm:
    """What to say of a source that runs beside its copy, or may."""
    source = last = state.place or entry.machine.source
    if entry.machine.source != plan.source:  # an estate, all of which was asked
        source = f"a source of {plan.source} (it was left at {last})"
    at = next((at for phase, at in reversed(state.timeline) if phase is Phase.COMMITTED), "")
    quiet = f"; what starts it by itself ({state.autostart.words}) was switched off then" if state.autostart else ""
    return Alarm(
        entry.name,
        f"the machine that was left behind is {power} at {source}, beside its copy",
        f"it moved to {entry.namespace}/{entry.target_name} at {at}, by plan {plan.name}{quiet}: somebody or something "
        "has started it since. What is written in it is in no copy, and both may answer under one address",
        "Shut it down there. If it is to be the machine again, `kubeferry rollback` stops the copy first.",
    )


# --- what starts it --------------------------------------------------------------------------------------------------


def recorded(work: Work) -> Autostart | None:
    """What starts the source by itself now, recorded; None for nothing."""
    found = work.source.autostart(work.entry.machine)
    if found is not None and found != work.state().autostart:
        work.record(AutostartRecorded(was=found))
    return found


def switch_off(work: Work) -> None:
    """Nothing starts the source by itself any more. Raises SourceRefused where that is not so all the same: a copy must
    not be joined by its source when a hypervisor starts."""
    machine = work.entry.machine
    work.source.set_autostart(machine, None)
    if (still := work.source.autostart(machine)) is not None:
        raise SourceRefused(
            f"it is started {still.words}, and that cannot be switched off",
            why="its source took the change, and tells the same as before",
            fix="Switch it off there by hand, and run the same command again.",
            machine=work.entry.name,
        )


def put_back(work: Work, state: MachineState) -> None:
    """What was recorded starts the source by itself again; of a machine that is not there any more nothing is put back.
    Raises where that fails: it is not as it was before."""
    if state.autostart is None:
        return
    try:
        work.source.set_autostart(work.entry.machine, state.autostart)
    except (Fenced, Interrupted, LoginLost):
        raise
    except PermanentError as error:
        if not _is_gone(work):
            raise _not_put_back(work, state.autostart, error) from error


def _is_gone(work: Work) -> bool:
    try:
        work.source.power(work.entry.machine)
    except LoginLost:
        return False
    except SourceRefused:
        return True
    return False


def _not_put_back(work: Work, was: Autostart, error: PermanentError) -> SourceRefused:
    how = ", ".join(f"{name} {value}" for name, value in was.settings.items())
    return SourceRefused(
        f"that it starts {was.words} could not be put back at its source",
        why=error.reason,
        fix=f"{error.fix} Or set it there by hand ({how}); then run the same command again.".strip(),
        machine=work.entry.name,
    )


# --- what people read ------------------------------------------------------------------------------------------------


def mark(work: Work) -> None:
    """Say at the source of a machine that has moved where it is, below what people have written there, which is
    recorded first. Where that fails, a note in the journal is all, and the next run tries again."""
    state = work.state()
    wanted = work.source.capabilities.runs and state.resumes is Phase.COMMITTED
    if not wanted or state.removed or state.marked:
        return
    try:
        _mark(work, state)
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        tell(work, "nothing could be written at the source that the machine has moved", error)


def _mark(work: Work, state: MachineState) -> None:
    machine = work.entry.machine
    now, place = work.source.notes(machine), f"{work.entry.namespace}/{work.entry.target_name}"
    notes = state.notes
    before = marks.restored(now, notes.before, notes.line) if notes else marks.without_line(now)
    if notes is None or notes.before != before or not marks.is_of(notes.line, place, work.plan.name):
        line = marks.moved_line(place, work.plan.name, clock.now("seconds"))
        work.record(notes := NotesRecorded(before=before, line=line))
    wanted = marks.with_line(notes.before, notes.line)
    if now != wanted:
        work.source.write_notes(machine, wanted, now)
    if work.source.notes(machine) == wanted:
        work.record(SourceMarked())


def refuse_left_behind(work: Work) -> None:
    """Raise PermanentError where the source says that it was left behind by a move to another place than this plan's:
    what runs there is neither seen nor stopped here, whatever plan, name or source it was moved by."""
    if not work.source.capabilities.runs:
        return
    line, place = "", f"{work.entry.namespace}/{work.entry.target_name}"
    with contextlib.suppress(SourceRefused):  # who may not read that may not write it either
        line = marks.line_in(work.source.notes(work.entry.machine))
    if line and not line.startswith(f"moved to {place} by "):
        raise PermanentError(
            "an older plan's copy of it may be running elsewhere at the target",
            why=f"its source says: {line}",
            fix="Leave it out; or roll that move back first, with the journal that holds it. Where that copy is gone, "
            "take the line away at the source, and run the same command again.",
            machine=work.entry.name,
        )


def take_away(work: Work, state: MachineState) -> None:
    """What people have written stands there alone again. Where that fails, a note says so: it keeps no source off."""
    if state.notes is None:
        return
    machine = work.entry.machine
    try:
        now = work.source.notes(machine)
        before = marks.restored(now, state.notes.before, state.notes.line)
        if now != before:
            work.source.write_notes(machine, before, now)
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:
        tell(work, "what says at the source that the machine has moved could not be taken away", error)


# --- whether it runs -------------------------------------------------------------------------------------------------


def watch_sources(plan: Plan, journal: Journal, open_source: Callable[[], Source]) -> Watched:
    """Ask the source of a plan once about all machines that have moved. Nothing is done to any. `open_source` gives it
    connected, and is called only where there is something to ask; a connection stays its opener's to close."""
    states = journal.states(plan.digest)
    entries = left_behind(plan, states)
    if not entries:
        return Watched()
    try:
        source = open_source()
        entries = entries if source.capabilities.runs else []
        powers = source.powers([entry.machine for entry in entries]) if entries else {}
    except Interrupted:
        raise
    except KubeferryError as error:
        told = f"{plan.source} does not tell whether machines that have moved are off: {error.reason}"
        return Watched(unanswered=(told,), asked=len(entries))
    up = [entry for entry in entries if powers.get(entry.machine.id) in UP]
    unknown = [entry.name for entry in entries if powers.get(entry.machine.id) is Power.UNKNOWN]
    silent = (f"{plan.source} does not tell whether {first_of(unknown, NAMED)} is off",) if unknown else ()
    alarms = [
        alarm_of(plan, entry, states[entry.name], powers[entry.machine.id])
        for entry in up
        if not _is_of_another(journal, plan, entry)
    ]
    return Watched(tuple(alarms), unanswered=silent, asked=len(entries))


def _is_of_another(journal: Journal, plan: Plan, entry: Entry) -> bool:
    """Whether another plan did something to the machine since: how its source is to be, is that plan's to know."""
    return by_another(journal, plan.digest, entry) is not None
