"""The verb that sets a plan up on a Prefect server: deploy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import FILE, config_option, dry_run_option, json_option, opened, plan_named, policy_of
from flows.cli.output import print_json
from flows.spreading import refuse_unspreadable
from kubeferry.documents import Config, Plan, dump
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.words import counted, plain

if TYPE_CHECKING:
    from flows.deploying.compared import Change

SCHEDULER_SECONDS = 20.0
"""So long the server's scheduler has for the first runs of what is new; it looks each five seconds."""


@click.command()
@plan_named
@config_option
@click.option("--pool", default="kubeferry", show_default=True, help="The work pool; made, of type process, if absent.")
@click.option("--policy", type=FILE, help="The plan's policy: with it, `assess` and `plan` are deployed, too.")
@click.option(
    "--config-at",
    metavar="PATH",
    help="Where workers have the configuration; the same place by default. Empty: where their KUBEFERRY_CONFIG says.",
)
@click.option("--webhook", metavar="BLOCK", help="A block of type Webhook, called for runs that did not end well.")
@click.option(
    "--caretake-every",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How often `caretake` runs by itself. 0: never, since a timer of the host calls it.",
)
@click.option("--remove", is_flag=True, help="Take away what was made for the plan.")
@dry_run_option
@json_option
def deploy(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    pool: str,
    policy: Path | None,
    config_at: str | None,
    webhook: str | None,
    caretake_every: int,
    remove: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set a plan up on your Prefect server: deployments with their schedules, limits and automations.

    Asked again, it does what has changed, and nothing else; what others have made there is left alone. The plan is kept
    in the journal, where workers find it.
    """
    frozen, settings, path = opened(plan, named, config)
    _refuse_no_server()
    refuse_unspreadable(settings, path)
    from flows.serving.reached import reached

    with reached():
        from flows.deploying import compared, server
        from flows.deploying.wanted import Choices, wanted

        journal = _kept(frozen, settings, policy, dry_run=dry_run or remove)
        place = str(path.resolve()) if config_at is None else config_at
        kept = frozen.name if policy or _has_policy(settings, frozen.name) else ""
        block = server.block(webhook) if webhook else ""
        choices = Choices(journal, pool, place, kept, block, caretake_every, bool(settings.spread))
        asked = server.in_their_words(wanted(frozen, choices))
        found = server.found(asked)
        if problems := compared.foreign(asked, found):
            raise InputInvalid("the server has things of these names that are not this plan's", problems)
        todo = compared.removals(asked, found) if remove else compared.changes(asked, found)
        for change in todo if not dry_run else ():
            server.do(change, asked, found.pool or "process")
        made = bool(todo) and not dry_run
        warned = [] if remove else server.warnings(asked, seconds=SCHEDULER_SECONDS if made else 0)
    _tell(todo, warned, pool, remove=remove, dry_run=dry_run, as_json=as_json)


def _tell(todo: Sequence[Change], warned: list[str], pool: str, *, remove: bool, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"dryRun": dry_run, "changes": [one.facts() for one in todo], "warnings": warned})
        return
    for change in todo:
        click.echo(plain(change.told(done=not dry_run)))
    if not todo:
        click.echo("nothing is there to remove" if remove else "nothing to change")
    else:
        click.echo(f"{counted(len(todo), 'change')}{' to make' if dry_run else ' made'}")
    for text in warned:
        click.secho(plain(text), fg="yellow", err=True)
    if not dry_run and todo and not remove:
        click.echo(f"a worker runs them: prefect worker start --pool {pool}")


def _refuse_no_server() -> None:
    """Raise where there is no server to deploy to: one of our own ends with the command that started it."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        fix = "Set it to your server's, as http://prefect.example:4200/api."
        raise InputInvalid("there is no Prefect server", [Problem("PREFECT_API_URL", "it is not set", fix)])
    from flows.serving.reached import away
    from flows.serving.server import Api

    if why := Api(url).wait(2.0):
        raise away(why)


def _kept(plan: Plan, settings: Config, policy: Path | None, *, dry_run: bool) -> str:
    """What tells the journal from others; the plan, and its policy if one is given, are in it from now on."""
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        if not dry_run:
            journal.keep_plan(plan)
            if policy:
                journal.keep_document("Policy", plan.name, dump(policy_of(policy)))
        return journal.identity


def _has_policy(settings: Config, name: str) -> bool:
    with contextlib.closing(Journal.open(settings.journal)) as journal, contextlib.suppress(InputInvalid):
        return bool(journal.document("Policy", name))
    return False
