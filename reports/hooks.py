"""Hooks: what was run around a machine's newest cutover, and what the plan would run besides; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from kubeferry.documents import Entry, Hook, PlannedHook
from kubeferry.life.hook_events import HookRun
from kubeferry.life.hooks import key_of
from kubeferry.life.states import Recorded
from reports.shapes import HookReport
from reports.timeline import whole_cutover
from reports.wording import console, plain


def hook_reports(entry: Entry, records: Sequence[Recorded]) -> tuple[HookReport, ...]:
    """Each run of a hook in the newest cutover, in their order, and then those of the plan that were not run in it."""
    runs = [(record.at, record.event) for record in whole_cutover(records) if isinstance(record.event, HookRun)]
    hooks = {key_of(hook.on, hook.name, of_app=bool(hook.of_app)): hook for hook in entry.hooks or ()}
    return (*_run(runs, hooks), *_left({_key(event) for _, event in runs}, hooks))


def _key(event: HookRun) -> str:
    return key_of(event.phase, event.hook, of_app=bool(event.of_app))


def _run(runs: Sequence[tuple[str, HookRun]], hooks: Mapping[str, PlannedHook]) -> Iterator[HookReport]:
    for at, event in runs:
        hook = hooks.get(_key(event))
        yield HookReport(
            phase=event.phase.value,
            name=plain(event.hook, 80),
            what=what(hook) if hook else event.how,
            app=plain(event.of_app, 80),
            at=plain(at, 40),
            ok=event.ok,
            code=event.code,
            seconds=event.seconds,
            why=plain(event.why),
            said=console(event.said),
        )


def _left(known: set[str], hooks: Mapping[str, PlannedHook]) -> Iterator[HookReport]:
    for key, hook in hooks.items():
        if key not in known:
            yield HookReport(phase=hook.on.value, name=plain(hook.name, 80), what=what(hook))


def what(hook: Hook) -> str:
    """What a hook does, in words. An address is told without its parameters."""
    if hook.kind == "http":
        parts = urlsplit(hook.url or "")
        where = f"{parts.scheme}://{parts.netloc}{parts.path}" if hook.url else f"the address in {hook.url_env}"
        return plain(f"POST to {where}")
    inside = ", in the guest" if hook.kind == "guest" else ""
    return plain(f"{' '.join(hook.argv or ())}{inside}")
