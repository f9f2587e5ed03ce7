"""How the machines of a run ended, for whoever has started it: a table, or a list for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flows.cli.output import print_json, print_table
from kubeferry.errors import Deferred, HeldBack, Interrupted
from kubeferry.words import counted, plain, plain_lines

if TYPE_CHECKING:
    from flows.told import Outcome


def tell_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    """Say each machine's outcome, and its error with what to do about it."""
    if as_json:
        print_json([_as_told(one) for one in outcomes])
        return
    print_table(
        ("machine", "phase", ""),
        [(one.machine, one.ended, one.error.what if one.error else plain(one.left)) for one in outcomes],
    )
    phases = [one.ended for one in outcomes]
    parts = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases))
    waiting = [one.error for one in outcomes if isinstance(one.error, HeldBack)]
    held = [error for error in waiting if not isinstance(error, Deferred)]
    click.echo(f"total: {counted(len(outcomes), 'machine')} ({parts}{f', {len(held)} held back' if held else ''})")
    for outcome in outcomes:
        # A stop is told once, for all of them; so is what to do about machines that are held back.
        if outcome.error and not isinstance(outcome.error, (Interrupted, HeldBack)):
            click.secho(f"\n{plain_lines(str(outcome.error))}", fg="red", err=True)
    for fix in dict.fromkeys(one.fix for one in held):
        many = counted(sum(one.fix == fix for one in held), "machine")
        click.secho(f"\nheld back: {many}. {fix}", fg="yellow", err=True)
    for fix in dict.fromkeys(error.fix for error in waiting if isinstance(error, Deferred)):
        same = sum(error.fix == fix for error in waiting)
        click.secho(f"\ndeferred: {counted(same, 'machine')}. {fix}", fg="yellow", err=True)


def _as_told(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    told = {"machine": outcome.machine, "phase": outcome.phase, "error": str(error or "")}
    held: dict[str, Any] = {}
    if isinstance(error, HeldBack):
        held = {"heldBack": error.why_held, "waitsFor": list(error.by)}
    if isinstance(error, Deferred):
        held |= {"nextOpening": error.until or None}
    return told | held | ({"left": outcome.left} if outcome.left else {})
