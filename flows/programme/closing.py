"""The flows that close: release, report."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.ends import both_ends
from flows.moves import kept_plan
from flows.programme.artifacts import Shelf, page, plan_key
from flows.programme.kept import settings_of
from flows.programme.naming import run_name
from flows.programme.showing import ui
from flows.programme.texts import table
from flows.reporting import built
from flows.struck import strike_logs, struck_errors, without_secrets
from kubeferry.outside.clock import now
from kubeferry.steps.release import release_plan
from kubeferry.words import counted
from reports.markdown import render_markdown
from reports.pages import write_report

MOST = 200  # machines that one page of Prefect's may hold whole


@flow(name="release", flow_run_name=run_name("release", "plan"), persist_result=False)
def release(
    plan: str, config: str | None = None, digest: str | None = None, dry_run: bool = False
) -> dict[str, object]:
    """Drop what was only needed for the move, and prove that nothing is left. What has moved stays.

    `dry_run` says what would be done, and changes nothing. `plan` is the name or digest of one that the journal holds.
    """
    strike_logs()
    with struck_errors():
        settings = settings_of(config)
        frozen = kept_plan(settings, plan, digest or "")
        with both_ends(settings, frozen) as (journal, target, source):
            lines = release_plan(frozen, journal, target, source, everything=False, dry_run=dry_run)
            done = [without_secrets(line) for line in lines]
            open_things = [f"{thing.kind} {thing.name}" for thing in journal.ledger_open(frozen.digest)]
    text = "\n".join(["# Release", "", *(f"- {line}" for line in done or ["nothing is left to account for"])])
    what = f"{counted(len(open_things), 'thing')} left"
    Shelf().markdown(plan_key("release", frozen.digest), f"{text}\n", f"{frozen.name}: {what}")
    return {"dryRun": dry_run, "done": done, "open": open_things}


@flow(name="report", flow_run_name=run_name("report", "plan"), persist_result=False)
def report(
    plan: str, config: str | None = None, digest: str | None = None, out: str | None = None
) -> dict[str, object]:
    """Write the report of a plan, from the plan and the journal alone: what was proven of each machine.

    It stands on a page of Prefect's; `out` is a folder of the worker's for HTML, JSON and Markdown, too.
    """
    strike_logs()
    with struck_errors():
        settings = settings_of(config)
        frozen = kept_plan(settings, plan, digest or "")
        made = built(frozen, settings, generated_at=now("seconds"))
        paths = write_report(made, Path(out)) if out else []
    if len(made.machines) > MOST:
        rows = ((one.name, str(one.verdict)) for one in made.machines)
        text = "\n".join([f"# {made.sentence}", "", *table(("machine", "verdict"), rows)])
    else:
        text = render_markdown(made)
    waves = [f"- [wave {wave.name}]({ui()}{page(plan_key('wave', frozen.digest, wave.name))})" for wave in frozen.waves]
    Shelf().markdown(
        plan_key("report", frozen.digest), "\n".join([text, "", *waves, ""]), f"{frozen.name}: {made.verdict}"
    )
    return {"verdict": made.sentence, "files": [str(path) for path in paths]}
