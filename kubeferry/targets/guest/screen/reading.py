"""Text off a picture of a screen, letter by letter; pure.

Consoles draw each letter in a cell of its own, always with the same dots in one colour on another: a letter is known by
a digest of them. That reads firmware, boot loaders and consoles of Linux exactly, and nothing that is drawn in another
font, in shades, or out of the grid.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kubeferry.targets.guest.screen.letters import EFI_LETTERS, LETTERS
from kubeferry.targets.guest.screen.pictures import Picture

LETTER_DOTS = 8
FEWEST_LETTERS = 4
KNOWN_SHARE = 0.6
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
# Columns and lines of UEFI's consoles (EDK2, GraphicsConsole.c), which lie in the middle of the screen.
EFI_MODES = ((80, 25), (80, 50), (100, 31), (128, 40), (160, 42), (240, 56))


@dataclass(frozen=True, slots=True)
class Grid:
    """Where letters lie on a picture: cells of so many dots, from a first one on."""

    step: int
    height: int
    letters: Mapping[int, str]
    left: int = 0
    top: int = 0


def text_on(picture: Picture) -> tuple[str, ...] | None:
    """The lines that are written on it, without empty ones; within a line UNKNOWN stands for what is no letter that is
    known. None where nothing that can be read is written on it."""
    best: tuple[str, ...] | None = None
    most = FEWEST_LETTERS - 1
    for grid in grids(picture):
        lines = tuple(_lines(picture, grid))
        written = "".join("".join(lines).split())
        known = len(written) - written.count(UNKNOWN)
        if known > most and known >= KNOWN_SHARE * len(written):
            # At the end of a line it is the cursor.
            best, most = tuple(text for line in lines if (text := line.rstrip(f" {UNKNOWN}"))), known
    return best


def grids(picture: Picture) -> Iterator[Grid]:
    """Where letters may lie on a picture of this size: those of VGA and Linux, then those of UEFI."""
    width, height = picture.width, len(picture.rows)
    # VGA's text mode gives each letter of 8 dots a ninth one; graphics do not.
    yield Grid(9 if width == 720 else 8, 16, forms_of(LETTERS))
    for columns, lines in dict.fromkeys((*EFI_MODES, (width // 8, height // 19))):
        left, top = (width - columns * 8) // 2, (height - lines * 19) // 2
        if left >= 0 and top >= 0:
            yield Grid(8, 19, forms_of(EFI_LETTERS), left, top)


@lru_cache(maxsize=2)
def forms_of(letters: str) -> Mapping[int, str]:
    """From lines of a letter and the digests of its forms."""
    rows = (line.split() for line in letters.splitlines())
    return {int(digest, 16): row[0] for row in rows if row for digest in row[1:]}


def _lines(picture: Picture, grid: Grid) -> Iterator[str]:
    for cells in digests_on(picture, grid):
        yield "".join(" " if cell is None else grid.letters.get(cell, UNKNOWN) for cell in cells).rstrip()


def digests_on(picture: Picture, grid: Grid) -> Iterator[list[int | None]]:
    """The digest of each cell, line by line; none for a line of one colour."""
    cells = range(grid.left * 3, (picture.width - LETTER_DOTS) * 3 + 1, grid.step * 3)
    for top in range(grid.top, len(picture.rows) - grid.height + 1, grid.height):
        rows = picture.rows[top : top + grid.height]
        plain = all(row == rows[0][:3] * picture.width for row in rows)
        yield [] if plain else [digest(b"".join(row[at : at + LETTER_DOTS * 3] for row in rows)) for at in cells]


@lru_cache(maxsize=4096)
def digest(cell: bytes) -> int | None:
    """What a letter is known by, whatever its two colours: the checksum of a byte a dot, zero for the colour of the
    first one. None for a cell of one colour, -1 for one of more than two."""
    dots = [cell[at : at + 3] for at in range(0, len(cell), 3)]
    colours = set(dots)
    if len(colours) != 2:
        return None if len(colours) == 1 else -1
    return zlib.crc32(bytes(dot != dots[0] for dot in dots))
