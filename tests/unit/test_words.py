"""Numbers with their nouns, sizes, and what was meant."""

from __future__ import annotations

import pytest

from kubeferry.words import counted, meant, plain_lines, size


@pytest.mark.parametrize(("number", "text"), [(0, "0 machines"), (1, "1 machine"), (2, "2 machines")])
def test_one_is_one(number: int, text: str) -> None:
    assert counted(number, "machine") == text


def test_a_plural_of_its_own() -> None:
    assert [counted(number, "block differs", "blocks differ") for number in (1, 3)] == [
        "1 block differs",
        "3 blocks differ",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (2**20 - 1, "1048575 B"),
        (2**20, "1 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (2**41, "2 TiB"),
    ],
)
def test_sizes(number: int | None, text: str) -> None:
    assert size(number) == text


def test_what_was_meant() -> None:
    assert meant("wbe", ["web", "db"]) == "Did you mean 'web'?"
    assert meant("web-3", ["web-1", "web-2", "x"]) == "Did you mean 'web-2' or 'web-1'?"
    assert meant("zzz", ["web"]) == ""


def test_lines_stay_lines_and_command_no_terminal() -> None:
    assert plain_lines("a\x1b[2J\tb\n\rc\n") == "a\ufffd[2J b\n c\n"
