"""The verb that cleans up: release."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.asking import announce, confirm, yes_option
from flows.cli.logs import logged
from flows.cli.options import config_option, dry_run_option, json_option, opened, plan_named
from flows.cli.output import print_event, print_json
from flows.ends import both_ends
from kubeferry.words import plain


@click.command()
@plan_named
@config_option
@click.option("--everything", is_flag=True, help="Remove the migrated disks and manifests too. There is no way back.")
@yes_option
@dry_run_option
@json_option
@logged
def release(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    everything: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Drop what was only needed for the move, and prove that nothing is left."""
    from kubeferry.steps.release import losses, release_plan

    frozen, settings, _ = opened(plan, named, config)
    done = []
    with both_ends(settings, frozen) as (journal, target, source):
        if everything and (lost := losses(frozen, journal, target, source)):
            announce(lost)
            confirm("Remove all that", yes=yes or dry_run)
        journal.keep_plan(frozen)
        for line in release_plan(frozen, journal, target, source, everything=everything, dry_run=dry_run):
            done.append(line)
            if as_json:
                print_event("step", text=line)
            else:
                click.echo(plain(line))
        left = [f"{thing.kind} {thing.name}" for thing in journal.ledger_open(frozen.digest)]
    if not as_json and not done:
        click.echo("nothing is left to account for")
    if as_json:
        print_json({"dryRun": dry_run, "done": done, "open": left})
