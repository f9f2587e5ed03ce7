"""The verb with which a person lets a wave go on that has stopped: lift."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from flows.cli.asking import announce, confirm, person, yes_option
from flows.cli.logs import logged
from flows.cli.options import config_option, json_option, members_of, opened, plan_named
from flows.cli.output import print_json
from kubeferry.errors import InputInvalid, Problem
from kubeferry.journal import Journal
from kubeferry.life.decisions import Decided, DecisionKind, Scope
from kubeferry.steps.turns import order_of
from kubeferry.words import first_of, plain

NAMED = 5


@click.command()
@plan_named
@config_option
@click.option("--wave", required=True, help="The wave that has stopped.")
@click.option("--reason", default="", help="Why it may go on, for the report.")
@yes_option
@json_option
@logged
def lift(
    plan: Path | None,
    named: str | None,
    config: Path | None,
    wave: str,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Let a wave go on that has stopped: what failed before counts no more. Recorded with your name."""
    frozen, settings, _ = opened(plan, named, config)
    members_of(frozen, wave)
    who = person()
    with contextlib.closing(Journal.open(settings.journal)) as journal:
        held, failed = order_of(frozen, journal, journal.states(frozen.digest)).stopped(wave)
        if held is None:
            fix = "`kubeferry status` says what each machine waits for."
            raise InputInvalid("there is nothing to lift", [Problem(f"--wave {wave}", "it has not stopped", fix)])
        announce([held.why])
        confirm(f"{who}: let wave {wave} go on all the same", yes=yes)
        journal.keep_plan(frozen)
        payload = {"failed": list(failed), "why": held.why, "reason": reason}
        scope = Scope(wave=wave, machines=tuple(members_of(frozen, wave)))
        what = Decided(kind=DecisionKind.STOP_LIFTED, scope=scope, payload=payload, by=who)
        decision = journal.decide(frozen.digest, what)
    if as_json:
        print_json({"wave": wave, "by": who, "at": decision.at, "failed": list(failed)})
        return
    click.echo(plain(f"the stop of wave {wave} is lifted by {who}: {first_of(failed, NAMED)} count no more"))
