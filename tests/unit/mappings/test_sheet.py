"""The wave sheet, as a table of cells: edits survive whatever a spreadsheet does to rows and columns."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeferry.documents import Inventory, Policy
from kubeferry.documents.grid import Grid, read_grid, written
from kubeferry.errors import InputInvalid
from kubeferry.model import Machine, Nic
from mappings import sheet_cells
from mappings.plan import Planned, planned
from mappings.sheet import EDITED, Edits, letters, read_edits, told, with_rows
from mappings.sheet_cells import Wrong
from mappings.sheet_rows import rows_of

WHEN = "2026-11-24T02:00:00Z"
NAMES = ("a1", "a2", "b", "c, the third", "d")


@pytest.fixture
def inventory(machine: Callable[..., Machine]) -> Inventory:
    def one(number: int, name: str) -> Machine:
        mac = f"52:54:00:00:00:0{number}"
        nic = Nic(id="net0", network_kind="network", network="default", model="virtio", mac=mac)
        return machine(name=name, nics=(nic,), uuid=f"6f1d2b3c-1111-4222-8333-44445555666{number}")

    machines = tuple(one(number, name) for number, name in enumerate(NAMES))
    return Inventory(source="lab", source_kind="libvirt", observed_at=WHEN, machines=machines)


def policy(**said: Any) -> Policy:
    return Policy.model_validate({"apiVersion": "kubeferry.io/v1alpha1", "kind": "Policy"} | said)


POLICY = policy(apps={"shop": {"members": ["a*"], "owner": "Anna"}}, machines={"d": {"after": ["b"], "wave": "last"}})


def round_of(text: str | None, inventory: Inventory, own: Policy = POLICY) -> tuple[Planned, str, Edits]:
    """A plan by this sheet, and the sheet as it is written then."""
    grid = None if text is None else read_grid(text.encode(), "waves.csv", "machine")
    edits = Edits() if grid is None else read_edits(grid, "waves.csv", inventory, own)
    made = planned(inventory, own, name="first", created_at=WHEN, sheet=edits.choices)
    return made, written(with_rows(grid, rows_of(made, inventory), edits)), edits


def grid_of(text: str) -> Grid:
    return read_grid(text.encode(), "waves.csv", "machine")


def row(grid: Grid, machine: str) -> list[str]:
    return next(one for one in grid.rows if one[grid.place("machine") or 0] == machine)


def edited(text: str, machine: str, **cells: str) -> str:
    grid = grid_of(text)
    for column, cell in cells.items():
        row(grid, machine)[grid.place(column) or 0] = cell
    return written(grid)


def test_an_edit_is_kept_where_the_policy_changes_and_what_nobody_edited_follows_the_policy(
    inventory: Inventory,
) -> None:
    _, text, _ = round_of(None, inventory)
    text = edited(text, "b", mode="warm")
    changed = policy(apps={"shop": {"members": ["a*"], "wave": "w9"}}, mode="cold")
    made, text, edits = round_of(text, inventory, changed)
    assert told(edits) == ["b: mode cold -> warm"]
    assert {entry.name: entry.mode for entry in made.plan.entries if entry.mode == "warm"} == {"b": "warm"}
    assert row(grid_of(text), "a1")[grid_of(text).place("wave") or 0] == "w9"
    assert made.plan.entry("d").after is None


def test_an_edit_is_taken_back_by_emptying_its_cell_or_by_what_stood_there(inventory: Inventory) -> None:
    first, before, _ = round_of(None, inventory)
    _, text, _ = round_of(edited(before, "b", wave="early", owner="Bert"), inventory)
    for back in ({"wave": "", "owner": ""}, {"wave": "wave-1", "owner": ""}):
        made, after, edits = round_of(edited(text, "b", **back), inventory)
        assert (made.plan.digest, after, edits.choices) == (first.plan.digest, before, {})


def test_nothing_at_all_is_a_dash(inventory: Inventory) -> None:
    own = policy(apps={"shop": {"members": ["a*"], "owner": "Anna"}}, machines={"d": {"after": ["b"], "wave": "last"}})
    _, text, _ = round_of(None, inventory, own)
    text = edited(edited(text, "d", after="-", wave="-"), "a1", app="-", owner="-")
    made, again, _ = round_of(text, inventory, own)
    assert [wave.machines for wave in made.plan.waves] == [("a1", "a2", "b", "c, the third", "d")]
    assert (made.plan.entry("a1").app, made.plan.entry("a1").owner) == (None, None)
    assert [app.members for app in made.plan.apps or ()] == [("a2",)]
    assert round_of(again, inventory, own)[1] == again


def test_a_name_with_a_comma_is_one_name(inventory: Inventory) -> None:
    _, text, _ = round_of(None, inventory)
    made, text, _ = round_of(edited(text, "b", after="c, the third"), inventory)
    assert made.plan.entry("b").after == ("c, the third",)
    made, text, _ = round_of(edited(text, "b", after="c, the third\na1"), inventory)
    assert made.plan.entry("b").after == ("c, the third", "a1")
    assert round_of(text, inventory)[1] == text


def test_two_waves_for_one_app_are_told_with_both_rows(inventory: Inventory) -> None:
    _, text, _ = round_of(None, inventory)
    text = edited(edited(text, "a1", wave="w1"), "a2", wave="w2")
    with pytest.raises(InputInvalid) as refused:
        round_of(text, inventory)
    assert "row 3, column wave (D): a2 is to move in w2, and a1 (row 2) of the same app shop in w1" in str(
        refused.value
    )


def test_a_cell_of_another_row_is_no_measure_of_what_stood_there(inventory: Inventory) -> None:
    """Somebody has filled the last column downwards: what stood in a row is what the policy says of its machine."""
    _, text, _ = round_of(None, inventory)
    grid = grid_of(text)
    for one in grid.rows:
        one[grid.place("planned") or 0] = row(grid, "b")[grid.place("planned") or 0]
    made, _, edits = round_of(written(grid), inventory)
    assert "d" not in edits.choices  # its wave is the policy's
    assert made.plan.entry("d").after == ("b",)


@pytest.mark.parametrize(
    ("text", "name"),
    [("W1", "w1"), (" Wave 1 ", "wave-1"), ("wave_1", "wave-1"), ("7", "7"), ("2026-12-05", "2026-12-05"), ("-", "")],
)
def test_names_as_people_write_them(text: str, name: str) -> None:
    assert sheet_cells.short_name(text, (), "a wave") == name


@pytest.mark.parametrize("text", ["1-2", "01.02.2026", "5/12", "01. Feb", "1-Feb-26", "Dez 24", "Mrz. 2026", "No!"])
def test_names_that_spreadsheets_have_made_something_else_of(text: str) -> None:
    with pytest.raises(Wrong):
        sheet_cells.short_name(text, (), "a wave")


def test_a_name_that_is_known_is_no_date() -> None:
    assert sheet_cells.short_name("1-2", {"1-2"}, "a wave") == "1-2"


def test_columns_are_called_as_spreadsheets_do() -> None:
    assert [letters(place) for place in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]


EDITS = {
    "app": ["shop", "crm", "-", ""],
    "owner": ["Anna", "Bert Ü.", "=Anna", "-", ""],
    "wave": ["w1", "Wave 2", "-", ""],
    "after": ["b", "app:shop", "-", ""],
    "mode": ["warm", "COLD", ""],
    "include": ["no", "Yes", ""],
}


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_edits_survive_sorting_columns_and_a_second_round(inventory: Inventory, data: st.DataObject) -> None:
    _, text, _ = round_of(None, inventory)
    grid = grid_of(text)
    for one in grid.rows:
        for column in data.draw(st.sets(st.sampled_from([name for name in EDITED if name in EDITS]), max_size=2)):
            one[grid.place(column) or 0] = data.draw(st.sampled_from(EDITS[column]))
    grid.header.append("ticket")
    for one in grid.rows:
        one.append(data.draw(st.sampled_from(["CHG-1", "", "=1+1"])))
    chance = random.Random(data.draw(st.integers(0, 99)))
    places = list(range(len(grid.header)))
    chance.shuffle(places)
    chance.shuffle(grid.rows)
    moved = Grid([grid.header[at] for at in places], [[one[at] for at in places] for one in grid.rows], ";")
    try:
        made, once, edits = round_of(written(moved), inventory)
    except InputInvalid as refused:
        assert all(problem.fix for problem in refused.problems)  # noqa: PT017 (refused is one of two right answers)
        return
    again, twice, same = round_of(once, inventory)
    assert (twice, same.choices, again.plan.digest) == (once, edits.choices, made.plan.digest)
    after = grid_of(once)
    assert [one[after.place("ticket") or 0] for one in after.rows] == [
        one[moved.place("ticket") or 0] for one in moved.rows
    ]
    assert after.header == moved.header
    for name, choice in edits.choices.items():
        if choice.mode and name not in made.plan.excluded:
            assert made.plan.entry(name).mode == choice.mode
        if choice.wave and name not in made.plan.excluded:
            wave = next(wave.name for wave in made.plan.waves if name in wave.machines)
            assert wave == choice.wave
