"""What a run that was stopped leaves: the machines whose source is off, or may be, and the way back, in words."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
from collections.abc import Mapping, Sequence

from flows.cli.output import facts_of
from kubeferry.documents import Plan
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.journal import Journal
from kubeferry.life.machine_state import Phase, way_of
from kubeferry.life.states import ENDS, MachineState
from kubeferry.outside import stopping
from kubeferry.words import plain_lines


def left_off(states: Mapping[str, MachineState], plan: Sequence[str]) -> tuple[str, str]:
    """Whose source is off, or may be, and which way each is going; and the command that leads those back that are not
    on the way back. Empty where there is none. `plan` are the words that name the plan on the command line."""
    left = {name: one for name, one in states.items() if one.owes_restart and one.resumes not in ENDS}
    told: dict[tuple[bool, str], list[str]] = {}
    for name, state in left.items():
        told.setdefault((not state.source_off, way_of(state.resumes)), []).append(name)
    why = [
        f"{'it may be off, or go off, of' if asked else 'the source is off of'} {', '.join(names)}, {way}"
        for (asked, way), names in sorted(told.items())
    ]
    on = [name for name, state in left.items() if state.resumes is not Phase.ROLLING_BACK]
    words = [*plan, *(word for name in on for word in ("-m", name))]
    return "; ".join(why), f"kubeferry rollback {shlex.join(words)}" if on else ""


def _fix(back: str, where: str) -> str:
    """What to do about machines that were left so: `back` is the command that leads back those that are not on the way
    back, empty where all are."""
    if not back:
        return f"Run the same command again: it goes on with the way back from {where}, and starts the source again."
    return f"Run the same command again: each goes on its way from {where}. Or start what was stopped again: `{back}`."


def at_a_safe_point(plan: Plan, journal: Journal, machines: tuple[str, ...], named: Sequence[str]) -> Interrupted:
    """What a run says that has stopped as it was asked to."""
    with contextlib.suppress(KubeferryError):  # a journal that does not answer now
        states = journal.states(plan.digest)
        why, back = left_off({name: states[name] for name in machines if name in states}, named)
        if why:
            return stopping.interrupted(why=why, fix=_fix(back, "the last durable block"))
    return stopping.interrupted()


def at_once(standing: Mapping[str, MachineState], named: Sequence[str], as_json: bool, by: signal.Signals) -> str:
    """What one says that is stopped for the second time, from memory: the journal may be what it waits for. Empty
    where no source is off."""
    why, back = left_off(dict(standing), named)
    if not why:
        return ""
    error = Interrupted("stopped at once", why=why, fix=_fix(back, "the last checkpoint"), by=by)
    return json.dumps({"error": facts_of(error, None)}) + "\n" if as_json else f"\n{plain_lines(str(error))}\n"
