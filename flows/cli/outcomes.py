"""How the machines of a run ended, for whoever has started it: a table, or a list for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flows.cli.output import print_json, print_table
from kubeferry.errors import HeldBack, InputInvalid, Interrupted, Problem
from kubeferry.words import counted, plain, plain_lines

if TYPE_CHECKING:
    from flows.migrate import Outcome


def tell_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    """Say each machine's outcome, and its error with what to do about it."""
    if as_json:
        print_json([_as_told(one) for one in outcomes])
        return
    print_table(
        ("machine", "phase", ""),
        [(one.machine, one.phase, one.error.what if one.error else plain(one.left)) for one in outcomes],
    )
    phases = [one.phase for one in outcomes]
    parts = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases))
    held = [one.error for one in outcomes if isinstance(one.error, HeldBack)]
    click.echo(f"total: {counted(len(outcomes), 'machine')} ({parts}{f', {len(held)} held back' if held else ''})")
    for outcome in outcomes:
        # A stop is told once, for all of them; so is what to do about machines that are held back.
        if outcome.error and not isinstance(outcome.error, (Interrupted, HeldBack)):
            click.secho(f"\n{plain_lines(str(outcome.error))}", fg="red", err=True)
    for fix in dict.fromkeys(one.fix for one in held):
        many = counted(sum(one.fix == fix for one in held), "machine")
        click.secho(f"\nheld back: {many}. {fix}", fg="yellow", err=True)


def _as_told(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    told = {"machine": outcome.machine, "phase": outcome.phase, "error": str(error or "")}
    held = {"heldBack": error.why_held, "waitsFor": list(error.by)} if isinstance(error, HeldBack) else {}
    return told | held | ({"left": outcome.left} if outcome.left else {})


def nothing_begun(outcomes: list[Outcome]) -> InputInvalid:
    """The error where each machine of a run waits for others, that are none of it."""
    held = [one.error for one in outcomes if isinstance(one.error, HeldBack)]
    fix = "Move what it waits for first, or mend it. To move it all the same, name it and say --out-of-order."
    approval = all(error.settled_by for error in held)
    what = "these machines are not approved" if approval else "what these machines wait for has not moved"
    problems = [Problem(f"--machine {error.machine}", error.why_held, error.settled_by or fix) for error in held]
    return InputInvalid(f"nothing was begun: {what}", problems)
