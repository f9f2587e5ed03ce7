"""The wave sheet on disk: read before a plan is made, written after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from kubeferry.documents import Inventory, Policy
from kubeferry.documents.grid import Grid, read_grid, written
from kubeferry.errors import InputInvalid, Problem
from kubeferry.outside.atomic import replace_text
from kubeferry.words import plain
from mappings.plan import Planned
from mappings.sheet import KEY, Edits, read_edits, told, with_rows
from mappings.sheet_rows import rows_of

MOST = 64 * 1024**2
"""Bytes of a sheet that is read; thousands of machines take one."""


def read_sheet(path: Path | None, inventory: Inventory, policy: Policy) -> tuple[Grid | None, Edits]:
    """The sheet in this file and what it says; nothing of one that is not there yet. Raises InputInvalid."""
    if path is None or not path.exists():
        return None, Edits()
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST + 1)
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from error
    if len(data) > MOST:
        raise _refused(path, f"it is larger than {MOST // 1024**2} MiB")
    grid = read_grid(data, path.name, KEY)
    return grid, read_edits(grid, path.name, inventory, policy)


def write_sheet(path: Path, grid: Grid | None, made: Planned, inventory: Inventory, edits: Edits) -> None:
    """Write the sheet as the plan has it now, with the edits in their place. Raises InputInvalid."""
    try:
        replace_text(path, written(with_rows(grid, rows_of(made, inventory), edits)))
    except OSError as error:
        raise _refused(path, f"it cannot be written: {error.strerror}") from error


def _refused(path: Path, what: str) -> InputInvalid:
    fix = "Close it where it is open, or name another file with --sheet."
    return InputInvalid("the wave sheet is of no use", [Problem(str(path), what, fix)])


def tell_edits(path: Path, edits: Edits, *, err: bool = False) -> None:
    """What the sheet says in the place of the policy."""
    for line in _lines(path, edits):
        click.echo(plain(line), err=err)


def _lines(path: Path, edits: Edits) -> Iterator[str]:
    if edits.changes:
        yield f"{path} stands above the policy in:"
        yield from (f"  {line}" for line in told(edits))
