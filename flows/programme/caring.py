"""The flow that looks after machines which nobody is at work on: caretake."""

from __future__ import annotations

import contextlib

from prefect import flow

from flows.caretaking import look_after
from flows.programme.artifacts import Shelf
from flows.programme.kept import settings_of
from flows.programme.texts import plain, table
from flows.programme.waiting import go_on
from flows.struck import strike_logs, struck_errors, without_secrets
from kubeferry.journal import Journal

KEY = "caretake"


@flow(name="caretake", persist_result=False)
def caretake(config: str | None = None, dry_run: bool = False) -> dict[str, object]:
    """Take up machines whose source is off while nobody is at work on them, and those whose commit is due.

    One look at all plans of the journal: what `kubeferry caretake` does each minute where neither Prefect nor a worker
    is needed for it. Rely on that one, and have this one beside it to see what was found. Cutovers that wait for an
    approval go on where there is one. `dry_run` only looks.
    """
    strike_logs()
    with struck_errors():
        settings = settings_of(config)
        with contextlib.closing(Journal.open(settings.journal)) as journal:
            looked = look_after(settings, journal, dry_run=dry_run)
            resumed = [] if dry_run else go_on(settings, journal)
    rows = ((one.plan, one.machine, one.outcome.phase if one.outcome else "", one.why) for one in looked.taken)
    text = "\n".join([f"# {looked}", "", *table(("plan", "machine", "now", "why"), rows), *_approved(resumed)])
    Shelf().markdown(KEY, f"{without_secrets(text)}\n", str(looked))
    return {name: without_secrets(str(told)) for name, told in looked.facts().items()}


def _approved(resumed: list[str]) -> list[str]:
    return ["", *(f"- {plain(name)} is approved, and goes on" for name in resumed)] if resumed else []
