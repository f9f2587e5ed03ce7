"""Errors for a person: what others say in them is shown, and commands nothing."""

from __future__ import annotations

from kubeferry.errors import InputInvalid, KubeferryError, Problem, SourceRefused

ESCAPES = "\x1b[2J\x1b]0;owned\x07"


def test_no_part_of_an_error_commands_a_terminal() -> None:
    parts = {name: f"{name}{ESCAPES}" for name in ("why", "fix", "machine", "disk")}
    error = SourceRefused(f"what{ESCAPES}", **parts)
    said = [str(error), error.what, error.why, error.fix, error.machine, error.disk, error.subject, *error.args]
    assert all(line.isprintable() for one in said for line in one.split("\n"))
    assert error.why.startswith("why")


def test_nor_does_a_problem() -> None:
    error = InputInvalid("it is wrong", [Problem(f"a{ESCAPES}", f"b{ESCAPES}", f"c{ESCAPES}")])
    assert all(line.isprintable() for line in str(error).split("\n"))


def test_what_to_do_about_several_problems_is_sentences() -> None:
    error = InputInvalid(
        "it is wrong", [Problem("a", "x", "Set a."), Problem("b", "y", "Set b"), Problem("c", "z", "Set a.")]
    )
    assert error.fix == "Set a. Set b."


def test_lines_stay_lines() -> None:
    assert str(KubeferryError("one", why="two\nthree")) == "one\n  why: two\nthree"
