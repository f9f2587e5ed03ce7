"""What a verb prints, for a person or for a program.

For a program (`--json`), standard output holds JSON only: the result, on one line. Work that takes long says before it,
a line an event, how it goes on: `{"event": KIND, "at": TIME, …}`. The last line is the result, which has no `event`.
An error is one line of JSON, the last one on standard error: `{"error": {…}}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from flows.cli import tables
from kubeferry.errors import InputInvalid, Interrupted, KubeferryError
from kubeferry.outside import stopping
from kubeferry.outside.clock import now
from kubeferry.outside.streams import Aside
from kubeferry.passwords import struck
from kubeferry.words import plain_lines

_line = threading.Lock()  # machines' threads report at once: a line is whole


@dataclass(slots=True)
class Session:
    """One call of the program: how it speaks, and where its log is. The context's object."""

    as_json: bool = False
    verbose: bool = False
    log: Path | None = None
    log_format: str = "text"


def session() -> Session:
    """That of the verb that runs."""
    found = click.get_current_context().find_object(Session)
    return found or Session()


# --- for a person -----------------------------------------------------------------------------------------------------


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table, whole; see `tables`."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    heading, *body = tables.lines(headings, rows, width)
    click.secho(heading, bold=True)
    for line in body:
        click.echo(line)


def coloured() -> bool | None:
    """Whether colours are shown: never with NO_COLOR set to anything, else as click decides for the stream."""
    return False if os.environ.get("NO_COLOR") else None


# --- for a program ----------------------------------------------------------------------------------------------------


def print_json(content: Any) -> None:
    """The result, on one line."""
    with _line:
        click.echo(json.dumps(content))


def print_event(event: str, **facts: object) -> None:
    """One thing that happened on the way, in its line, at once: whoever reads them waits for them."""
    print_line(event_line(event, **facts))


def event_line(event: str, **facts: object) -> str:
    """One thing that happened now."""
    return json.dumps({"event": event, "at": now(), **facts})


def print_line(line: str) -> None:
    """A line, whole and at once."""
    with _line:
        click.echo(line)
        sys.stdout.flush()


@contextlib.contextmanager
def beside() -> Iterator[Aside]:
    """What machines' threads say meanwhile is printed beside them: who does not read on (`| less`) holds up none."""
    said = Aside(print_line)
    try:
        yield said
    finally:
        said.close(given_up=stopping.requested)


# --- errors -----------------------------------------------------------------------------------------------------------


def print_error(error: KubeferryError, told: Session) -> None:
    """What happened, why, what to do, and where the log of it is."""
    if told.as_json:
        click.echo(json.dumps({"error": facts_of(error, told.log)}), err=True)
        return
    if not isinstance(error, Interrupted):  # a stop that was asked for is no failure
        click.secho("failed: ", fg="red", bold=True, nl=False, err=True, color=coloured())
    click.echo(plain_lines(struck(str(error))), err=True)
    print_log(told)


def print_log(told: Session) -> None:
    """Where the log of this run is, below an error."""
    if told.log and not told.as_json:
        click.echo(f"  log: {told.log}", err=True)


def until_interrupted() -> None:
    """Wait for somebody to end what is shown."""
    with contextlib.suppress(Interrupted):
        while True:
            stopping.pause(3600)


def facts_of(error: KubeferryError, log: Path | None) -> dict[str, object]:
    """An error for a program: the sentences that a person reads, each in its field."""
    facts: dict[str, object] = {
        "kind": type(error).__name__,
        "what": struck(error.what),
        "why": struck(error.why),
        "fix": struck(error.fix),
        "machine": error.machine,
        "disk": error.disk,
        "exitCode": error.exit_code,
    }
    if isinstance(error, InputInvalid):
        facts["problems"] = [
            {"where": one.where, "what": struck(one.what), "fix": struck(one.fix)} for one in error.problems
        ]
    return facts | ({"log": str(log)} if log else {})
