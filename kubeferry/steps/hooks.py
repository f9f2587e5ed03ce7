"""The steps that run hooks: each one's end is recorded before the next is begun, good or bad.

A hook whose end was not recorded is run again by whoever goes on, with the same call; one that was recorded as well is
not run again in the same cutover. Before the move's end the first that fails ends the step; after it all are run, and
what failed is told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

from kubeferry.documents import Entry, HookPhase, PlannedHook
from kubeferry.errors import (
    Fenced,
    HookFailed,
    Interrupted,
    KubeferryError,
    LateHookFailed,
    SourceRefused,
    TransientError,
)
from kubeferry.inside.agent import Ask
from kubeferry.life.action_kinds import Action
from kubeferry.life.deadline import seconds_left
from kubeferry.life.hook_actions import THOSE_OF
from kubeferry.life.hook_events import HookRun
from kubeferry.life.hooks import Call, call_of, failed_at_end, told
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import UP, Concern, Severity
from kubeferry.sources import Source
from kubeferry.steps import hook_kinds, power
from kubeferry.steps.hook_kinds import Heard
from kubeferry.steps.in_time import SHORTEST_SECONDS
from kubeferry.steps.work import Work

UNREADY = "hook.unready"
"""The concern of a hook that could not be run where it is asked for."""
_FIX = "Mend what it calls, and run `kubeferry migrate --again`; or take it out of the policy and plan again."
_AGAIN = "Mend what it calls, and run the same command again: it runs the hook once more."

logger = logging.getLogger(__name__)


def run(work: Work, action: Action, _state: MachineState) -> None:
    """Run the hooks that this action names. Raises HookFailed where one fails; nothing is done, nor recorded, where
    its copy is to run and somebody has started the source."""
    phase = THOSE_OF[action.kind].phase
    if phase is HookPhase.AFTER_START and not power.start_target(work):
        return
    failed: list[HookRun] = []
    for hook in action.hooks:
        ended = _run_one(work, hook, work.state())
        work.record(ended)
        if not ended.ok:
            failed.append(ended)
            if not phase.at_end:
                break
    if failed:
        raise _error(work.entry, failed)


def failure(entry: Entry, state: MachineState) -> LateHookFailed | None:
    """The error of a machine whose move has come to its end, with hooks that failed; None where none did."""
    failed = failed_at_end(state)
    return _late(entry, failed) if failed else None


def _error(entry: Entry, failed: Sequence[HookRun]) -> HookFailed:
    one = failed[0]
    if one.phase.at_end:
        return _late(entry, failed)
    what = f"its hook {one.phase} {one.hook} failed"
    so = {
        HookPhase.BEFORE_STOP: "nothing was stopped",
        HookPhase.AFTER_STOP: "nothing was copied after the stop",
        HookPhase.AFTER_START: "its probes were not asked",
    }[one.phase]
    return HookFailed(what, why=f"{_why(one)}; {so}", fix=_FIX, machine=entry.name)


def _late(entry: Entry, failed: Sequence[HookRun]) -> LateHookFailed:
    which = ", ".join(f"{one.phase} {one.hook}" for one in failed)
    moved = "it has moved" if failed[0].phase is HookPhase.AFTER_COMMIT else "it was rolled back"
    many = "hooks" if len(failed) > 1 else "hook"
    why = "; ".join(_why(one) for one in failed)
    return LateHookFailed(f"{moved}, and its {many} {which} failed", why=why, fix=_AGAIN, machine=entry.name)


def _why(run: HookRun) -> str:
    last = run.said.strip().rpartition("\n")[2]
    return f"{run.why}: {last}" if last else run.why


def late_failures(state: MachineState) -> str:
    """What failed after the move's end, to go on a sentence with; empty for nothing."""
    return "; ".join(told(run) for run in failed_at_end(state))


# --- one hook --------------------------------------------------------------------------------------------------------


def _run_one(work: Work, hook: PlannedHook, state: MachineState) -> HookRun:
    call = call_to(work, hook, state)
    left = _time_left(work, state)
    seconds = hook.timeout_seconds if left is None else max(min(hook.timeout_seconds, left), SHORTEST_SECONDS)
    logger.info("%s: hook %s %s (%s) is run", work.entry.name, hook.on, hook.name, hook.kind)
    begun = time.monotonic()
    heard = hook_kinds.kept(_heard(work, hook, call, seconds), hook)
    took = round(time.monotonic() - begun, 3)
    level, how = (logging.INFO, "ended well") if heard.ok else (logging.WARNING, f"failed: {heard.why}")
    logger.log(level, "%s: hook %s %s %s after %s s", work.entry.name, hook.on, hook.name, how, took)
    return HookRun(
        hook=hook.name,
        phase=hook.on,
        how=hook.kind,
        of_app=(work.entry.app or "") if hook.of_app else "",
        ok=heard.ok,
        code=heard.code,
        seconds=took,
        said=heard.said,
        why=heard.why,
        call=call.call,
    )


def _time_left(work: Work, state: MachineState) -> float | None:
    """What the cutover has left, of a set the one that has least; None where nothing bounds it."""
    found = [left for one in work.of_set(state) if (left := seconds_left(one, work.now())) is not None]
    return min(found, default=None)


def _heard(work: Work, hook: PlannedHook, call: Call, seconds: float) -> Heard:
    if hook.kind == "command":
        return hook_kinds.by_command(hook, call, seconds)
    if hook.kind == "http":
        return hook_kinds.by_http(hook, call, seconds)
    try:
        ask, none = _agent(work, hook)
        if ask is None:
            return Heard(ok=False, why=none)
        return hook_kinds.by_guest(hook, call, seconds, ask, windows=_is_windows(work.entry))
    except (Fenced, Interrupted):
        raise
    except KubeferryError as error:  # what may pass is tried again, while something depends on it
        if error.transient and not hook.on.at_end:
            raise
        return Heard(ok=False, why=error.reason)


def _agent(work: Work, hook: PlannedHook) -> tuple[Ask | None, str]:
    """The agent of the system that runs now: the source's, or its copy's; None with the reason."""
    if not hook.on.at_source:
        return work.target.agent(work.entry), ""
    inside = work.source.inside(work.entry.machine)
    return inside.ask, inside.no_agent or "its source has no way to its agent"


def _is_windows(entry: Entry) -> bool:
    guest = entry.machine.guest
    return "windows" in f"{guest.os_id or ''} {guest.os_name or ''}".lower()


def call_to(work: Work, hook: PlannedHook, state: MachineState) -> Call:
    """What a hook is told."""
    entry, plan = work.entry, work.plan
    wave = next((wave.name for wave in plan.waves if entry.name in wave.machines), "")
    call = call_of(work.journal.identity, plan.digest, entry.name, state.cutovers, hook)
    return Call(entry.name, plan.name, plan.digest, entry.app or "", wave, hook.on, hook.name, call)


# --- before anything is touched --------------------------------------------------------------------------------------


def concerns_of(source: Source, entry: Entry) -> list[Concern]:
    """What keeps hooks of a machine from being run from here, as things are: programs and variables that are not there,
    and an agent of its source that starts none."""
    found = [
        (hook, why)
        for hook in entry.hooks or ()
        for why in (*hook_kinds.hindrances(hook), *_of_guest(source, entry, hook))
    ]
    return [
        Concern(
            id=UNREADY,
            severity=Severity.CRITICAL,
            what=f"{entry.name}: hook {hook.on} {hook.name} cannot be run: {why}",
            fix="Mend that, where the move is driven or in the guest; or take the hook out, and plan again.",
        )
        for hook, why in found
    ]


def _of_guest(source: Source, entry: Entry, hook: PlannedHook) -> Iterator[str]:
    """Of a source that runs; what the copy's agent may do shows when it is started."""
    if hook.kind != "guest" or not hook.on.at_source or source.power(entry.machine) not in UP:
        return
    try:
        inside = source.inside(entry.machine)
    except SourceRefused as refused:
        yield refused.reason
        return
    if inside.ask is None:
        yield inside.no_agent or "its source has no way to its agent"
        return
    told = inside.ask("guest-info")
    known = told.get("supported_commands") if isinstance(told, dict) else None
    if not isinstance(known, list):
        yield "the guest agent does not answer"
    elif not any(isinstance(one, dict) and one.get("name") == "guest-exec" and one.get("enabled") for one in known):
        yield "the guest agent may start no programs (guest-exec)"


def refuse_unready(work: Work) -> None:
    """Raise SourceRefused where a hook could not be run: nothing was begun. A source that does not answer now is asked
    again at its hook."""
    try:
        found = concerns_of(work.source, work.entry)
    except TransientError:
        return
    if found:
        raise SourceRefused(
            "it cannot be moved as planned",
            why="; ".join(one.what for one in found),
            fix=found[0].fix,
            machine=work.entry.name,
        )


def is_back(error: KubeferryError, state: MachineState) -> bool:
    """Whether a hook failed after the way back: what led there is what is told."""
    return isinstance(error, LateHookFailed) and state.phase is Phase.ROLLED_BACK
