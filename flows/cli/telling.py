"""The verbs that tell others: notify, metrics."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import FILE, config_option, dry_run_option, json_option
from flows.cli.output import print_event, print_json, print_table, until_interrupted
from kubeferry.config import find_config, read_config
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.words import counted, plain

if TYPE_CHECKING:
    from kubeferry.documents import Config
    from kubeferry.notices import Told

LISTEN = "127.0.0.1:9469"


@click.command()
@config_option
@click.option("--test", "testing", is_flag=True, help="Send each receiver a test, past the outbox; say what came back.")
@click.option("--again", is_flag=True, help="Send also what was refused and set aside, and wait for no pause.")
@dry_run_option
@json_option
def notify(config: Path | None, testing: bool, again: bool, dry_run: bool, as_json: bool) -> None:
    """Send what waits in the outbox to whom the configuration names.

    Runs send by themselves; call this each minute (cron, a timer) where messages must not wait for the next run.
    """
    settings = read_config(find_config(config))
    if settings.notify is None:
        fix = "Write `notify` into it: `webhooks`, `mail`, or both."
        raise InputInvalid("nobody is to be told", [Problem("notify", "the configuration has none", fix)])
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        if testing and not dry_run:
            _test(journal, settings, as_json)
        elif dry_run:
            _say_what_would_be_sent(journal, settings, as_json)
        else:
            _send(journal, settings, again, as_json)


def _send(journal: Journal, settings: Config, again: bool, as_json: bool) -> None:
    from flows.telling import of_queues
    from kubeferry.notices import deliver
    from kubeferry.notices.deriving import names_of

    if again and settings.notify:
        journal.outbox.again(names_of(settings.notify))
    done = deliver(journal, settings)
    if as_json:
        receivers = [
            {"sent": one.sent, "busy": one.busy, **of_queues([one.left])[0], "problems": [str(p) for p in one.problems]}
            for one in done.told
        ]
        print_json({"sent": done.sent, "receivers": receivers, "unread": list(done.unread)})
    else:
        rows = [(one.receiver, str(one.sent), str(one.left.waiting), _state(one)) for one in done.told]
        print_table(("receiver", "sent", "waiting", ""), rows)
        for line in done.unread:
            click.secho(plain(line), fg="yellow", err=True)
        click.echo(f"total: {counted(done.sent, 'message')} sent, {done.waiting} waiting")
    if any(one.problems for one in done.told):
        raise click.exceptions.Exit(2)
    if done.waiting or done.unread:
        raise click.exceptions.Exit(1)


def _state(told: Told) -> str:
    """Why a receiver was not told of all, in a line."""
    parts = [str(problem) for problem in told.problems]
    if told.busy:
        parts.append("another process tells it now")
    if told.left.waiting and told.left.tries:
        parts.append(f"{told.left.error}; tried again at {told.left.next_at}")
    if told.left.undeliverable:
        parts.append(f"{told.left.undeliverable} set aside: {told.left.refusal}")
    return plain("; ".join(parts))


def _test(journal: Journal, settings: Config, as_json: bool) -> None:
    from kubeferry.notices import try_out
    from kubeferry.notices.answers import Fate

    answers = try_out(journal, settings)
    if as_json:
        print_json({name: {"fate": answer.fate, "said": answer.said} for name, answer in answers.items()})
    else:
        rows = [(name, str(answer.fate), plain(answer.said)) for name, answer in answers.items()]
        print_table(("receiver", "", "said"), rows)
    if any(answer.fate is not Fate.TAKEN for answer in answers.values()):
        raise click.exceptions.Exit(1)


def _say_what_would_be_sent(journal: Journal, settings: Config, as_json: bool) -> None:
    from flows.telling import in_words, of_queues
    from kubeferry.notices import forecast, problems

    queues, coming, wrong = journal.outbox.queues(), forecast(journal, settings), problems(settings)
    if as_json:
        told = [{"receiver": one.receiver, "message": one.text} for one in coming]
        facts = {"dryRun": True, "receivers": of_queues(queues), "coming": told, "problems": [str(p) for p in wrong]}
        print_json(facts)
        return
    for line in in_words(queues):
        click.echo(line)
    for one in coming:
        click.echo(plain(f"would be told: {one.receiver}: {one.text}"))
    for problem in wrong:
        click.secho(plain(str(problem)), fg="yellow", err=True)
    if not coming and not any(one.waiting for one in queues):
        click.echo("nothing waits")


@click.command()
@config_option
@click.option("--listen", metavar="HOST:PORT", help=f"Answer there by HTTP until it is stopped; {LISTEN} by default.")
@click.option("--textfile", type=FILE, help="Write them to this file, whole, and end: for node_exporter's collector.")
@json_option
def metrics(config: Path | None, listen: str | None, textfile: Path | None, as_json: bool) -> None:
    """Give the journal's figures to Prometheus, by HTTP or as a file.

    Nobody is asked but the journal, and nothing is changed.
    """
    from flows.metrics.collecting import Collector
    from flows.metrics.exposition import render
    from flows.metrics.listening import listening, place_of
    from kubeferry.outside import atomic

    if listen and textfile:
        raise click.UsageError("Name one: --listen, or --textfile.")
    host, port = place_of(listen or LISTEN)
    settings = read_config(find_config(config))
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        collector = Collector(journal)
        if textfile:
            families = collector.collect()
            atomic.replace_text(textfile, render(families))
            if as_json:
                print_json({"written": str(textfile), "samples": sum(len(one.samples) for one in families)})
            return
        collector.collect()  # the first time takes longest, and says what is wrong to whoever has started it
        with listening(collector, host, port) as url:
            if as_json:
                print_event("server", url=url)
            else:
                click.echo(f"metrics: {url}   (Ctrl-C ends it)")
            until_interrupted()
