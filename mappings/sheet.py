"""The wave sheet: a plan as a table that people sort, filter and edit, and what they have changed in it.

A cell that differs from what stood there before is an edit, and stands above the policy until somebody empties it. What
stood there is kept in the last column, row by row, so that rows may be sorted and columns moved: there a cell that
nobody touched is told from one that somebody wants to stay so. Without that column every cell counts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeferry.documents import OF_AN_APP, Inventory, MachinePolicy, Policy
from kubeferry.documents.grid import Grid
from kubeferry.errors import InputInvalid, Problem
from kubeferry.words import first_of, meant
from mappings import sheet_cells
from mappings.apps import gathered
from mappings.sheet_cells import NONE, Said, Wrong
from mappings.wishes import Settled, settled

KEY = "machine"
EDITED = ("app", "owner", "wave", "window", "after", "mode", "include")
TOLD = ("size", "memory", "cpus", "copy time", "verdict", "why", "waits for")
FREE = "notes"
PLANNED = "planned"
COLUMNS = (KEY, *EDITED, *TOLD, FREE, PLANNED)

_A = {"app": "an app", "wave": "a wave", "window": "a window"}
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody has written into a cell, and what stood there before; both as the sheet shows them."""

    machine: str
    column: str
    before: str
    after: str


@dataclass(slots=True)
class Edits:
    """What a sheet says: the choices that stand above the policy, by machine, and each change as a person sees it."""

    choices: dict[str, MachinePolicy] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


def read_edits(grid: Grid, name: str, inventory: Inventory, policy: Policy) -> Edits:
    """The edits in a sheet of this name. Raises InputInvalid with every row and column that says what cannot be:
    machines that are none, or stand there twice, cells that say nothing we know, an app that is to move in two waves.
    """
    wished = settled(policy, inventory.machines)
    reading = _Reading(grid, name, inventory, policy, wished)
    edits = reading.edits()
    if reading.problems:
        raise InputInvalid(f"{name} cannot be followed", reading.problems)
    return edits


def policy_says(choice: MachinePolicy, policy: Policy, column: str) -> str:
    """What a machine's choice says of a column, as a cell has it; empty where it leaves it open."""
    match column:
        case "after":
            return sheet_cells.listed(choice.after)
        case "include":
            return "yes" if choice.include else "no"
        case "mode":
            return choice.mode or policy.mode
    return str(getattr(choice, column) or "")


class _Reading:
    """One call's way through the rows."""

    def __init__(self, grid: Grid, name: str, inventory: Inventory, policy: Policy, wished: Settled) -> None:
        self.problems: list[Problem] = []
        self._grid, self._name, self._policy, self._wished = grid, name, policy, wished
        self._inventory = inventory
        self._machines = [machine.name for machine in inventory.machines]
        self._row_of: dict[str, int] = {}
        self._cells_of: dict[str, list[str]] = {}
        self._rows = list(self._of_machines())
        apps = {*(policy.apps or {}), *(choice.app for choice in wished.policy.machines.values() if choice.app)}
        apps |= {self._try_app(row) for _, row in self._rows} - {""}
        waves = {choice.wave for choice in wished.policy.machines.values() if choice.wave}
        self._known: dict[str, Collection[str]] = {"app": apps, "wave": waves, "window": ()}
        self._after = {*self._machines, *(f"{OF_AN_APP}{one}" for one in apps)}

    def edits(self) -> Edits:
        """What the rows say; what is wrong with them stands in `problems`."""
        found = Edits()
        for number, row in self._rows:
            machine = self._cell(row, KEY)
            said: dict[str, Any] = {}
            before = self._before(row, machine)
            for column in EDITED:
                cell = self._cell(row, column)
                stood = before.get(column, "")
                if not cell or cell == stood:
                    continue
                try:
                    value = self._read(column, cell)
                except Wrong as wrong:
                    self._refuse(number, column, wrong.what, wrong.fix)
                    continue
                if self._stood(column, stood, value):
                    continue
                if column == "after" and machine in (value if isinstance(value, tuple) else ()):
                    self._refuse(number, column, "it cannot come after itself", "Remove it.")
                    continue
                said[column] = value
                found.changes.append(Change(machine, column, stood, shown(value)))
            if said:
                found.choices[machine] = MachinePolicy(**said)
        self._refuse_parted(found)
        self._refuse_ordered(found)
        return found

    def _of_machines(self) -> Iterator[tuple[int, list[str]]]:
        """The rows of machines, each with its number in the spreadsheet."""
        known = frozenset(self._machines)
        for number, row in enumerate(self._grid.rows, start=2):
            machine = self._cell(row, KEY)
            if not machine:
                if stray := [column for column in EDITED if self._cell(row, column)]:
                    what = f"it says {stray[0]}, and names no machine"
                    self._refuse(number, KEY, what, "Name the machine, or empty the row but for its notes.")
            elif machine not in known:
                fix = meant(machine, known) or f"Name one of: {first_of(self._machines, _SHOWN) or 'none'}."
                self._refuse(number, KEY, f"{machine!r} is no machine of the inventory", f"{fix} Or remove the row.")
            elif machine in self._row_of:
                what = f"{machine} stands in row {self._row_of[machine]}, too"
                self._refuse(number, KEY, what, "Remove one of the two rows.")
            else:
                self._row_of[machine], self._cells_of[machine] = number, row
                yield number, row

    def _refuse(self, number: int, column: str, what: str, fix: str) -> None:
        at = self._grid.place(column)
        told = f"{column} ({letters(at)})" if at is not None else column
        self.problems.append(Problem(f"{self._name} row {number}, column {told}", what, fix))

    def _cell(self, row: list[str], column: str) -> str:
        place = self._grid.place(column)
        return "" if place is None else row[place].strip()

    def _before(self, row: list[str], machine: str) -> Mapping[str, str]:
        """What stood in the cells of a row when it was written; what the policy says, where that is not known."""
        try:
            told = json.loads(self._cell(row, PLANNED))
            if isinstance(told, dict) and told.get(KEY) == machine:
                return {column: str(value) for column, value in told.items()}
        except ValueError:
            pass
        choice = self._wished.policy.of(machine)
        return {column: policy_says(choice, self._policy, column) for column in EDITED}

    def _read(self, column: str, cell: str) -> Said:
        match column:
            case "after":
                return sheet_cells.names(cell, self._after)
            case "mode":
                return sheet_cells.mode(cell)
            case "include":
                return sheet_cells.yes_or_no(cell)
            case "owner":
                return "" if cell == NONE else cell
        name = sheet_cells.short_name(cell, self._known[column], _A[column])
        return ANY_TIME if column == "window" and not name else name

    def _stood(self, column: str, stood: str, value: Said) -> bool:
        """Whether that is what stood there, however it is written."""
        with contextlib.suppress(Wrong):  # of names that are none any more nothing is the same
            return bool(stood) and _same(value, self._read(column, stood))
        return False

    def _try_app(self, row: list[str]) -> str:
        cell = self._cell(row, "app")
        try:
            return sheet_cells.short_name(cell, self._policy.apps or {}, _A["app"]) if cell else ""
        except Wrong:
            return ""

    def _refuse_parted(self, edits: Edits) -> None:
        """Machines of one app that the sheet gives several waves."""
        waves: dict[str, dict[str, str]] = {}
        for machine, choice in edits.choices.items():
            app = choice.app if choice.app is not None else self._wished.policy.of(machine).app
            app = app or self._app_in_sheet(machine)
            if app and choice.wave:
                waves.setdefault(app, {}).setdefault(choice.wave, machine)
        for app, by_wave in waves.items():
            (first, one), *others = by_wave.items()
            for wave, machine in others:
                both = f"{one} (row {self._row_of[one]}) of the same app {app} in {first}"
                what = f"{machine} is to move in {wave}, and {both}"
                fix = "An app moves in one wave: give all of its rows the same, or only one of them."
                self._refuse(self._row_of[machine], "wave", what, fix)

    def _refuse_ordered(self, edits: Edits) -> None:
        """Machines that are to come after nothing, and that their app's order holds back all the same."""
        said = {name: one.after for name, one in edits.choices.items() if "after" in one.model_fields_set}
        free = [name for name, after in said.items() if not after]
        if not free or self.problems:
            return
        wished = settled(self._policy, self._inventory.machines, edits.choices)
        apps = gathered(wished.policy, wished.machines, wished.decided)
        for name in free:
            if behind := apps.policy.of(name).after:
                whose = f"by the order of its app {apps.of[name]}"
                what = f"it comes after {first_of(behind, _SHOWN)} {whose}, which `-` does not take away"
                fix = f"Change `order`, `after` or `probes` of {apps.of[name]} in the policy; or empty the cell."
                self._refuse(self._row_of[name], "after", what, fix)

    def _app_in_sheet(self, machine: str) -> str:
        return self._try_app(self._cells_of[machine])


def _same(one: Said, other: Said) -> bool:
    """Whether two cells say the same: of what comes before a machine the order says nothing."""
    return set(one) == set(other) if isinstance(one, tuple) and isinstance(other, tuple) else one == other


ANY_TIME = "any"
"""The window that is none."""


def shown(value: Said) -> str:
    """What somebody has said, as the sheet shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (sheet_cells.listed(value) if isinstance(value, tuple) else value) or NONE


def letters(place: int) -> str:
    """A column as spreadsheets call it: A, B, …, AA."""
    text = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def with_rows(grid: Grid | None, rows: Mapping[str, Mapping[str, str]], edits: Edits) -> Grid:
    """The sheet with these rows, by machine in their order: each where it stood, new ones at the end. Edits are kept,
    and so is everything in cells that are not ours. `rows` say the cells of a machine as planned."""
    grid = grid or Grid([])
    grid.add_columns(COLUMNS)
    place = {column: at for column in COLUMNS if (at := grid.place(column)) is not None}
    by_machine = {row[place[KEY]].strip(): row for row in grid.rows if row[place[KEY]].strip()}
    edited = {(one.machine, one.column): one for one in edits.changes}
    for machine, cells in rows.items():
        if (row := by_machine.get(machine)) is None:
            row = [""] * len(grid.header)
            grid.rows.append(row)
        stood = dict(cells)
        row[place[KEY]] = machine
        for column in (*EDITED, *TOLD):
            change = edited.get((machine, column))
            row[place[column]] = change.after if change else cells.get(column, "")
            if change:
                stood[column] = change.before
        row[place[PLANNED]] = _planned(machine, stood)
    return grid


def _planned(machine: str, cells: Mapping[str, str]) -> str:
    told = {KEY: machine} | {column: cells[column] for column in EDITED if cells.get(column)}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def told(edits: Edits) -> Collection[str]:
    """What the sheet changes, machine by machine, as lines."""
    by_machine: dict[str, list[str]] = {}
    for one in edits.changes:
        by_machine.setdefault(one.machine, []).append(f"{one.column} {one.before or 'open'} -> {one.after}")
    return [f"{machine}: {', '.join(changes)}" for machine, changes in by_machine.items()]
