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
from kubeferry.life.states import ENDS, MachineState
from kubeferry.outside import stopping
from kubeferry.words import plain_lines


def left_off(states: Mapping[str, MachineState], plan: Sequence[str]) -> tuple[str, str]:
    """Whose source is off, or may be, and the command that starts it again; empty where there is none. `plan` are the
    words that name the plan on the command line."""
    left = {name: one for name, one in states.items() if one.owes_restart and one.resumes not in ENDS}
    if not left:
        return "", ""
    off = ", ".join(name for name, state in left.items() if state.source_off)
    asked = ", ".join(name for name, state in left.items() if not state.source_off)
    why = [off and f"the source is off of {off}", asked and f"it may be off, or go off, of {asked}"]
    words = [*plan, *(word for name in left for word in ("-m", name))]
    return "; ".join(filter(None, why)), f"kubeferry rollback {shlex.join(words)}"


def at_a_safe_point(plan: Plan, journal: Journal, machines: tuple[str, ...], named: Sequence[str]) -> Interrupted:
    """What a run says that has stopped as it was asked to."""
    with contextlib.suppress(KubeferryError):  # a journal that does not answer now
        states = journal.states(plan.digest)
        why, back = left_off({name: states[name] for name in machines if name in states}, named)
        if why:
            return stopping.interrupted(
                why=why,
                fix="Run the same command again: it goes on from the last durable block. Or start what was stopped "
                f"again: `{back}`.",
            )
    return stopping.interrupted()


def at_once(standing: Mapping[str, MachineState], named: Sequence[str], as_json: bool, by: signal.Signals) -> str:
    """What one says that is stopped for the second time, from memory: the journal may be what it waits for. Empty
    where no source is off."""
    why, back = left_off(dict(standing), named)
    if not why:
        return ""
    fix = f"Run the same command again: it goes on from the last checkpoint. Or start what was stopped again: `{back}`."
    error = Interrupted("stopped at once", why=why, fix=fix, by=by)
    return json.dumps({"error": facts_of(error, None)}) + "\n" if as_json else f"\n{plain_lines(str(error))}\n"
