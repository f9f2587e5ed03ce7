"""Which hooks are owed now, and what each of them is told. Pure.

What was run stands in the journal, by cutover: a hook that ended well is not run again in it, whoever goes on, and one
whose end was not recorded is run once more. So each is run at least once, and by its `call` it can tell that it was
there before. A cutover that begins anew owes all of them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubeferry.documents.hooks import Hook, HookPhase, PlannedHook
from kubeferry.life.hook_events import HookRun
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import UP

P = HookPhase


_IN: Mapping[HookPhase, Phase] = {
    P.BEFORE_STOP: Phase.CUTTING_OVER,
    P.AFTER_STOP: Phase.CUTTING_OVER,
    P.AFTER_START: Phase.STARTED,
    P.AFTER_COMMIT: Phase.COMMITTED,
    P.AFTER_ROLLBACK: Phase.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What a hook is told. `call` is stable: the same for the same hook in the same cutover, whoever runs it."""

    machine: str
    plan: str
    digest: str
    app: str
    wave: str
    phase: HookPhase
    hook: str
    call: str

    @property
    def environment(self) -> dict[str, str]:
        """As variables of a program's environment."""
        return {f"KUBEFERRY_{name.upper()}": value for name, value in self.body().items()}

    def body(self) -> dict[str, str]:
        """As JSON has it."""
        return {
            "machine": self.machine,
            "plan": self.plan,
            "digest": self.digest,
            "app": self.app,
            "wave": self.wave,
            "phase": self.phase.value,
            "hook": self.hook,
            "call": self.call,
        }


def key_of(phase: HookPhase, name: str, *, of_app: bool) -> str:
    """What a hook is known by among those of its machine."""
    return f"{phase}/{'app:' if of_app else ''}{name}"


def key_of_hook(hook: PlannedHook) -> str:
    """The same of one that is planned."""
    return key_of(hook.on, hook.name, of_app=bool(hook.of_app))


def key_of_run(run: HookRun) -> str:
    """The same of one that was run."""
    return key_of(run.phase, run.hook, of_app=bool(run.of_app))


def call_of(journal: str, plan: str, machine: str, cutover: int, hook: PlannedHook) -> str:
    """What tells a hook's run from all others: of a journal, a plan, a machine, and of which of its cutovers."""
    key = key_of_hook(hook)
    return hashlib.sha256("\n".join((journal, plan, machine, str(cutover), key)).encode()).hexdigest()[:32]


def due(
    hooks: Sequence[PlannedHook],
    state: MachineState,
    phase: HookPhase,
    *,
    of_app: bool | None = None,
    runs_on: bool = True,
    again: bool = True,
) -> tuple[PlannedHook, ...]:
    """Those of a phase that are owed, in their order: not run yet in this cutover, or, with `again`, run and failed.
    `of_app`: only the app's, or only the machine's own. `runs_on`: its copy runs after the commit."""
    if phase is P.AFTER_ROLLBACK and state.undone is None:
        return ()  # nothing was taken back that a hook had been run for
    chosen = (hook for hook in hooks if hook.on is phase and of_app in {None, bool(hook.of_app)})
    return tuple(
        hook
        for hook in chosen
        if not unrunnable(hook, state, runs_on=runs_on) and _is_owed(state.hooks.get(key_of_hook(hook)), again=again)
    )


def _is_owed(run: HookRun | None, *, again: bool) -> bool:
    return run is None or (again and not run.ok)


def unrunnable(hook: Hook, state: MachineState, *, runs_on: bool = True) -> str:
    """Why there is no system that could run a hook of the guest, so that it is left out; empty where there is one."""
    if hook.kind != "guest":
        return ""
    before = state.undone if hook.on is P.AFTER_ROLLBACK else state.power_before
    if hook.on.at_source and before not in UP:
        return "its source did not run"
    return "its copy does not stay on after the commit" if hook.on is P.AFTER_COMMIT and not runs_on else ""


def prepared_for(state: MachineState) -> bool:
    """Whether hooks before its stop were run, and no stop was asked for: its service may be drained, and nothing else
    was done to it."""
    before = any(run.phase is P.BEFORE_STOP for run in state.hooks.values())
    return before and state.resumes is Phase.CUTTING_OVER and not (state.stop_asked or state.source_off)


def failed_at_end(state: MachineState) -> tuple[HookRun, ...]:
    """Hooks after the move's end that failed when they were run last."""
    return tuple(run for run in state.hooks.values() if run.phase.at_end and not run.ok)


def named(hooks: Sequence[Hook]) -> str:
    """Hooks in words: `drain (command), warm (guest)`."""
    return ", ".join(f"{hook.name} ({hook.kind})" for hook in hooks)


def told(run: HookRun) -> str:
    """That a hook failed, for the middle of a sentence."""
    return f"hook {run.phase} {run.hook} failed: {run.why}"


def why_not_now(event: HookRun, state: MachineState) -> str:
    """Why a hook of this phase cannot have been run now; empty where it can."""
    if state.resumes is not _IN[event.phase]:
        return f"no hook {event.phase} is run now"
    if event.phase is P.BEFORE_STOP and state.stop_asked:
        return "the source was asked to stop"
    if event.phase is P.AFTER_STOP and not state.source_off:
        return "the source is not confirmed off"
    return "no cutover was taken back" if event.phase is P.AFTER_ROLLBACK and state.undone is None else ""


def with_run(state: MachineState, event: HookRun) -> MachineState:
    """With one more hook that was run in its cutover."""
    return replace(state, hooks={**state.hooks, key_of_run(event): event})
