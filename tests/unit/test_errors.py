"""Errors for a person: what others say in them is shown, and commands nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from kubeferry.errors import Deferred, HeldBack, InputInvalid, KubeferryError, Problem, SourceRefused

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


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 (our own)
@pytest.mark.parametrize(
    "error",
    [
        HeldBack("db waits", machine="web", by=("db",), turn=False),
        Deferred("its window is closed", machine="web", until="2026-11-30T02:00:00Z", opening="tonight"),
        InputInvalid("it is wrong", [Problem("a", "x", "Set a.")]),
        SourceRefused("what", why="why", fix="fix", machine="web", disk="vda"),
    ],
)
def test_a_copy_has_all_that_the_error_has(
    error: KubeferryError, again: Callable[[KubeferryError], KubeferryError]
) -> None:
    made = again(error)
    assert made is not error
    assert (type(made), str(made), made.args, vars(made)) == (type(error), str(error), error.args, vars(error))
