"""Whose hooks a machine runs: its own, and those of its app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubeferry.documents import AppPolicy, Entry, Hook, HookPhase, PlannedApp, PlannedHook, Wave

P = HookPhase


def with_hooks_of_apps(
    entries: Sequence[Entry], apps: Iterable[PlannedApp], said: Mapping[str, AppPolicy], waves: Iterable[Wave]
) -> tuple[Entry, ...]:
    """The entries with the hooks of their apps. Of one that moves as one each is run by one machine, which comes first
    or last there as the phase asks for; of any other app each of its machines runs them."""
    hooks = {app.name: one.hooks for app in apps if (one := said.get(app.name)) and one.hooks}
    if not hooks:
        return tuple(entries)
    order = [name for wave in waves for name in wave.machines]
    whose = {app.name: (app, _in_order(app, order)) for app in apps if app.name in hooks}
    return tuple(_with(entry, hooks.get(entry.app or ""), *whose.get(entry.app or "", (None, ()))) for entry in entries)


def _in_order(app: PlannedApp, order: Sequence[str]) -> tuple[str, ...]:
    """Its machines in the order of their start."""
    places = {name: number for number, name in enumerate(order)}
    return tuple(sorted(app.members, key=lambda name: (app.tier_of(name), places[name])))


def _with(entry: Entry, of_app: Sequence[Hook] | None, app: PlannedApp | None, order: Sequence[str]) -> Entry:
    """Before the stop the app's come first, at any other point the machine's own."""
    if not of_app or app is None:
        return entry
    own = [hook for hook in of_app if not app.together or _runs(app, hook.on, order) == entry.name]
    theirs = [_planned(hook, of_app=True) for hook in own]
    first = [hook for hook in theirs if hook.on is P.BEFORE_STOP]
    last = [hook for hook in theirs if hook.on is not P.BEFORE_STOP]
    return entry.model_copy(update={"hooks": (*first, *(entry.hooks or ()), *last) or None})


def _planned(hook: Hook, *, of_app: bool) -> PlannedHook:
    return PlannedHook(**hook.model_dump(exclude_unset=True), of_app=of_app or None)


def _runs(app: PlannedApp, phase: HookPhase, order: Sequence[str]) -> str:
    """The machine that is stopped first, or is stopped, started, committed or given back last: stops go through the
    tiers backwards, and within one in the plan's order."""
    if phase is P.BEFORE_STOP:
        return next(name for name in order if app.tier_of(name) == app.tier_of(order[-1]))
    if phase is P.AFTER_STOP:
        return next(name for name in reversed(order) if app.tier_of(name) == app.tier_of(order[0]))
    return order[-1]


def planned_hooks(hooks: Sequence[Hook] | None) -> tuple[PlannedHook, ...] | None:
    """A machine's own hooks as its entry has them."""
    return tuple(_planned(hook, of_app=False) for hook in hooks or ()) or None
