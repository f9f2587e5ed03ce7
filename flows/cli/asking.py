"""What a person is asked before it is done, and who that person is."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
from collections.abc import Iterable

import click

from kubeferry.words import plain

yes_option = click.option("--yes", is_flag=True, help="Do not ask: it was thought of. A script is never asked.")


def person() -> str:
    """The person at this terminal, for the journal: `ann on host`; also behind sudo."""
    name = os.environ.get("SUDO_USER", "")
    if not name:
        with contextlib.suppress(KeyError, OSError):  # an account without a name
            name = getpass.getuser()
    return f"{name or f'user {os.getuid()}'} on {socket.gethostname()}"


def announce(lines: Iterable[str]) -> None:
    """Say on standard error what is about to be done, a line each: standard output is for what was done."""
    for line in lines:
        click.secho(plain(line), fg="yellow", err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask where a person sits at a terminal, unless he has said yes already. Where the answer is no the verb ends with
    1: nothing was done yet."""
    if yes or sys.stdin is None or not sys.stdin.isatty():
        return
    if not click.confirm(plain(question), err=True):
        click.echo("nothing was done", err=True)
        raise click.exceptions.Exit(1)
