"""A mark as text: short enough for a tag, and read strictly, for anybody may write there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubeferry import marks
from kubeferry.model import Cpu, Machine, Memory, Power

WHEN = "2026-11-29T10:44:39.123Z"
MARK = marks.StopMark(
    "0" * 12, Power.RUNNING, "2026-11-29T10:44:39+00:00", "a1" * 32, WHEN, marks.short("17"), "wave 1"
)


@pytest.mark.parametrize("mark", [MARK, replace(MARK, start="", name=""), replace(MARK, before=Power.PAUSED)])
def test_a_mark_is_read_as_it_was_written(mark: marks.StopMark) -> None:
    assert marks.read(marks.written(mark)) == mark


def test_a_long_name_is_cut_and_what_could_command_a_terminal_is_not_there() -> None:
    text = marks.written(replace(MARK, name="\x1b[2J" + "n" * 500))
    assert (len(text), "\x1b" in text) == (marks.LIMIT, False)
    assert marks.read(text)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "yes", marks.written(MARK)[1:], marks.written(MARK).replace("v1", "v2")),
        marks.written(MARK).replace("running", "off"),
        marks.written(MARK).replace("2026-", "20x6-"),
        marks.written(MARK) + "\nmore",
    ],
)
def test_what_is_not_of_this_form_is_no_mark(text: str | None) -> None:
    assert marks.read(text) is None


def test_a_mark_is_of_the_machine_that_was_stopped_and_not_of_a_copy_of_it_and_of_one_that_is_off() -> None:
    mine = replace(MARK, of=marks.short("id-web"))
    room = {"source": "lab", "cpu": Cpu(vcpus=1), "memory": Memory(size_bytes=1)}
    web = Machine(id="id-web", name="web", power=Power.OFF, metadata={marks.KEY: marks.written(mine)}, **room)
    assert marks.of(web) == mine
    assert marks.of(web.model_copy(update={"id": "id-of-its-clone"})) is None
    assert marks.of(web.model_copy(update={"power": Power.RUNNING})) is None
    assert marks.of(web.model_copy(update={"metadata": {}})) is None


def test_a_mark_of_an_earlier_start_does_not_hold() -> None:
    assert MARK.holds("17")
    assert not MARK.holds("18")
    assert MARK.holds(""), "the source cannot tell any more"
    assert replace(MARK, start="").holds("18"), "the source could not tell then"


def test_the_mark_of_a_machine_that_has_moved_comes_back_as_it_was_written() -> None:
    moved = marks.MoveMark("2026-01-01T00:00:00Z", "d1", "2026-01-01T00:00:00.123Z", "wave 1")
    assert marks.read_move(f"{marks.written_move(moved)}\n") == moved
    assert len(marks.written_move(replace(moved, name="x" * 999))) == marks.LIMIT
    assert str(moved) == "moved by kubeferry at 2026-01-01T00:00:00Z, by plan wave 1 (d1)"


@pytest.mark.parametrize(("text", "is_one"), [(None, False), ("", False), ("\n", False), ("v2 at=today", True)])
def test_what_stands_where_that_mark_does_is_one_even_if_it_cannot_be_read(text: str | None, is_one: bool) -> None:
    assert marks.read_move(text) == (marks.MoveMark() if is_one else None)
