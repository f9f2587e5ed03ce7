"""The verb that looks after machines at night: caretake."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from flows.cli.logs import logged
from flows.cli.options import config_option, dry_run_option, json_option
from flows.cli.output import print_json, print_log, session
from flows.cli.resuming import let_go_on
from kubeferry.config import find_config, read_config
from kubeferry.documents import Config
from kubeferry.errors import Interrupted, KubeferryError
from kubeferry.journal import Journal
from kubeferry.outside import stopping
from kubeferry.words import plain, plain_lines


@click.command()
@config_option
@click.option(
    "--every",
    type=click.FloatRange(1, 86400),
    metavar="SECONDS",
    help="Look again and again, so many seconds apart, until it is stopped; else once.",
)
@dry_run_option
@json_option
@logged
def caretake(config: Path | None, every: float | None, dry_run: bool, as_json: bool) -> None:
    """Take up machines whose source is off while nobody is at work on them, and those whose commit is due.

    Looks at all plans of the journal, once or `--every` so often: from a systemd timer or a CronJob, each minute. It
    needs no Prefect. A machine whose runner was killed, cut off or stopped is gone on with while its deadline allows,
    and led back where it does not; one that is watched is asked its probes again, and committed or led back when its
    time is over. Exit code 1 where somebody is to look at it.
    """
    settings = read_config(find_config(config))
    if every is None:
        failed = _look(settings, dry_run, as_json)
        if failed:
            print_log(session())
            raise click.exceptions.Exit(1)
        return
    with contextlib.suppress(Interrupted):
        while True:
            try:
                _look(settings, dry_run, as_json)
            except Interrupted:
                raise
            except KubeferryError as error:  # a journal that is away now may be there the next time
                click.secho(plain_lines(str(error)), fg="red", err=True)
            stopping.pause(every)


def _look(settings: Config, dry_run: bool, as_json: bool) -> bool:
    """One look, told; whether somebody is to look at what it has found."""
    from flows.caretaking import look_after

    with contextlib.closing(Journal.open(settings.journal)) as journal:
        looked = look_after(settings, journal, dry_run=dry_run)
        resumed = [] if dry_run else let_go_on(settings, journal)
    if as_json:
        print_json(looked.facts())
        return looked.failed
    for one in looked.taken:
        ended = f": {one.outcome.ended}" if one.outcome else ""
        click.echo(plain(f"{one.plan}: {one.machine}{ended}   ({one.why})"))
        if one.failed:
            click.secho(plain_lines(str(one.failed)), fg="red", err=True)
    for named, error in looked.troubles.items():
        click.secho(plain_lines(f"plan {named}: {error}"), fg="red", err=True)
    for plan, alarm in looked.alarms:
        told = f"{plan.name}: {alarm.machine}: {alarm.what}\n  why: {alarm.why}\n  fix: {alarm.fix}"
        click.secho(plain_lines(told), fg="red", bold=True, err=True)
    for line in looked.unanswered:
        click.secho(plain(line), fg="yellow", err=True)
    for name in resumed:
        click.echo(plain(f"{name} is approved, and goes on in Prefect"))
    click.echo(str(looked) + (f"; {looked.told}" if looked.told else ""))
    return looked.failed
