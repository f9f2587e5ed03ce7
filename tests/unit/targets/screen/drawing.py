"""Screens of text in a font that the test makes up: what each letter looks like is nobody's business but its digest's.

What real firmware and real consoles draw, and whether their letters are known, is tried in
`tests/tools/test_proof_without_agent.py`.
"""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass, field

from kubeferry.targets.guest.screen import pictures, reading
from kubeferry.targets.guest.screen.pictures import Picture

BLACK, GREY, RED = bytes(3), b"\xaa\xaa\xaa", b"\xaa\x00\x00"
PRINTABLE = "".join(map(chr, range(33, 127)))


def drawn(letter: str, height: int) -> list[int]:
    """The rows of a letter, a bit a dot; the first dot is empty, as in nearly every font."""
    rows = random.Random(f"{letter} {height}").choices(range(1, 255), k=height)
    return [rows[0] & 0x7F, *rows[1:]]


def forms(height: int) -> str:
    """The made-up font as `kubeferry.targets.guest.screen.letters` holds one."""
    lines = []
    for letter in PRINTABLE:
        dots = "".join(f"{row:08b}" for row in drawn(letter, height))
        lines.append(f"{letter} {reading.digest(b''.join(GREY if dot == '1' else BLACK for dot in dots)):08x}")
    return "\n".join(lines)


@dataclass
class Screen:
    """A screen, black at first; by default VGA's text mode."""

    width: int = 720
    height: int = 400
    step: int = 9
    line: int = 16
    left: int = 0
    top: int = 0
    ground: bytes = BLACK
    rows: list[bytearray] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [bytearray(self.ground * self.width) for _ in range(self.height)]

    def fill(self, column: int, line: int, colour: bytes, *, width: int, height: int) -> None:
        for row in self.rows[line : line + height]:
            row[column * 3 : (column + width) * 3] = colour * width

    def write(self, text: str, line: int = 0, column: int = 0, colour: bytes = GREY, ground: bytes = BLACK) -> None:
        for number, letter in enumerate(text):
            at = self.left + (column + number) * self.step
            self.fill(at, self.top + line * self.line, ground, width=self.step, height=self.line)
            for down, bits in enumerate(drawn(letter, self.line) if letter != " " else []):
                row = self.rows[self.top + line * self.line + down]
                for dot in range(8):
                    if bits >> (7 - dot) & 1:
                        row[(at + dot) * 3 : (at + dot + 1) * 3] = colour

    def cursor(self, line: int, column: int) -> None:
        at = self.left + column * self.step
        self.fill(at, self.top + line * self.line + 13, GREY, width=self.step, height=2)

    @property
    def picture(self) -> Picture:
        return Picture(self.width, tuple(map(bytes, self.rows)))

    @property
    def png(self) -> bytes:
        packed = zlib.compress(b"".join(b"\0" + row for row in self.rows))
        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
        made = (struct.pack(">I", len(one)) + kind + one + bytes(4) for kind, one in chunks)
        return pictures.MAGIC + b"".join(made)


def console(*lines: str, **more: int) -> Screen:
    """A console with these lines from the top, and its cursor behind the last one."""
    screen = Screen(**more)
    for number, line in enumerate(lines):
        screen.write(line, number)
    screen.cursor(max(len(lines) - 1, 0), len(lines[-1]) if lines else 0)
    return screen
