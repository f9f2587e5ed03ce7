"""Text off a screen: in the places where consoles draw it, in any two colours, and nothing where it is not known."""

from __future__ import annotations

import random

import pytest

from kubeferry.targets.guest.screen.letters import EFI_LETTERS, LETTERS
from kubeferry.targets.guest.screen.pictures import Picture
from kubeferry.targets.guest.screen.reading import UNKNOWN, forms_of, text_on
from tests.unit.targets.screen.drawing import GREY, PRINTABLE, RED, Screen, console

KERNEL = {"width": 1280, "height": 800, "step": 8}
EFI = {"width": 1280, "height": 800, "step": 8, "line": 19, "left": 320, "top": 162}


@pytest.mark.parametrize("place", [{}, KERNEL, EFI, {"width": 800, "height": 600, "step": 8}])
def test_every_letter_is_read_where_consoles_draw_it(font: None, place: dict[str, int]) -> None:
    screen = console("No bootable device.", "", PRINTABLE[:60], PRINTABLE[60:], **place)
    lines = text_on(screen.picture)
    assert lines == ("No bootable device.", PRINTABLE[:60], PRINTABLE[60:])


def test_colours_do_not_matter(font: None) -> None:
    screen = Screen()
    screen.write("red on black", 0, 0, RED)
    screen.write("black on grey", 0, 20, bytes(3), GREY)
    assert text_on(screen.picture) == ("red on black        black on grey",)


def test_what_is_unknown_stands_where_it_is(font: None) -> None:
    screen = console("login: ~ root")
    screen.fill(9 * 7, 3, RED, width=5, height=9)
    assert text_on(screen.picture) == (f"login: {UNKNOWN} root",)


def test_a_screen_with_little_or_nothing_that_is_known_has_no_text(font: None) -> None:
    assert text_on(Screen().picture) is None
    assert text_on(console("abc").picture) is None, "three letters may be there by chance"
    assert text_on(console().picture) is None
    half = console("login: root")
    for column in range(20, 60):
        half.fill(column * 9 + 2, 40, RED, width=3, height=7)
    assert text_on(half.picture) is None, "most of what is written there is not known"


def test_a_drawing_is_no_text(font: None) -> None:
    dots = random.Random(7)
    rows = tuple(dots.randbytes(3 * 640) for _ in range(480))
    assert text_on(Picture(640, rows)) is None


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 400), (720, 15), (9, 19)])
def test_a_screen_may_be_smaller_than_a_letter(font: None, width: int, height: int) -> None:
    assert text_on(Picture(width, (bytes(3 * width),) * height)) is None


def test_the_known_letters_are_all_of_ascii_and_no_two_are_drawn_alike() -> None:
    for table in (LETTERS, EFI_LETTERS):
        assert set(forms_of(table).values()) == set(PRINTABLE)
        assert len(forms_of(table)) == sum(len(line.split()) - 1 for line in table.splitlines() if line)
