"""The letters of consoles by the digests of their dots: what `kubeferry.targets.guest.screen.letters` holds.

No font is copied: a digest draws nothing. SeaBIOS's letters, EDK2's and the kernel's own are learned from pictures of a
QEMU that shows them; those that are set up later are read from Debian's console-setup-linux, and from what is named
besides (kbd's, which Debian leaves out: data/consolefonts/{eurlatgr,default8x16,latarcyrheb-sun16,lat9w-16}.psfu of its
source).

`python -m lab.letters FILE...` prints the module, from all of these and FILEs in the form of psf(5).
"""

from __future__ import annotations

import gzip
import itertools
import string
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kubeferry.errors import SourceUnavailable
from kubeferry.outside import process
from kubeferry.targets.directory import qmp
from kubeferry.targets.guest.screen import reading
from kubeferry.targets.guest.screen.pictures import Picture, decoded
from lab import guests, packages

PRINTABLE = "".join(map(chr, range(33, 127)))
NAME = string.ascii_letters + string.digits
CONSOLE_FONTS = ("Fixed16", "Terminus16", "TerminusBold16", "TerminusBoldVGA16", "VGA16")
FIRMWARE = Path("/usr/share/OVMF")
PICTURE_SECONDS = 90.0

# Sets text mode, prints the characters from ! to ~ by the BIOS, and halts.
BOOT_SECTOR = bytes.fromhex("b80300cd10 b021 50b40ebb0700cd1058 fec0 3c7f 75f1 f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
PAGE = f"{PRINTABLE[:47]}\r\n{PRINTABLE[47:]}\r\n"

Letters = dict[str, int]


# --- from fonts ------------------------------------------------------------------------------------------------------


def of_font(content: bytes) -> Letters:
    """The printable ASCII of a font of psf(5), 8 dots wide. Raises ValueError for any other font."""
    if content[:2] == b"\x36\x04":
        height, start, count = content[3], 4, 512 if content[2] & 1 else 256
        width, unicode = 8, _first_table(content[start + count * height :]) if content[2] & 6 else {}
    else:
        magic, _, start, flags, count, size, height, width = struct.unpack("<8I", content[:32])
        if magic != 0x864AB572:
            raise ValueError("it is no font of psf(5)")
        unicode = _second_table(content[start + count * size :]) if flags & 1 else {}
    if width != 8:
        raise ValueError(f"its letters are {width} dots wide")
    places = unicode or {ord(letter): ord(letter) for letter in PRINTABLE}
    drawn = ((letter, start + places[ord(letter)] * height) for letter in PRINTABLE if ord(letter) in places)
    return {letter: _digest(content[at : at + height]) for letter, at in drawn}


def _first_table(table: bytes) -> dict[int, int]:
    places: dict[int, int] = {}
    glyph = 0
    for (code,) in struct.iter_unpack("<H", table[: len(table) // 2 * 2]):
        if code == 0xFFFF:
            glyph += 1
        else:
            places.setdefault(code, glyph)
    return places


def _second_table(table: bytes) -> dict[int, int]:
    return {
        ord(letter): glyph
        for glyph, said in reversed(list(enumerate(table.split(b"\xff"))))
        for letter in said.partition(b"\xfe")[0].decode(errors="replace")
    }


def _digest(rows: bytes) -> int:
    dots = "".join(f"{row:08b}" for row in rows)
    found = reading.digest(b"".join(b"\xff\xff\xff" if dot == "1" else bytes(3) for dot in dots))
    if found is None:
        raise ValueError("a letter has no dots")
    return found


def of_consoles() -> Iterator[Letters]:
    """The letters of each font that Debian sets up."""
    found = packages.candidates("console-setup-linux")
    with packages.unpacked(found["console-setup-linux"]) as folder:
        for font in CONSOLE_FONTS:
            file = folder / "usr/share/consolefonts" / f"Lat15-{font}.psf.gz"
            yield of_font(gzip.decompress(file.read_bytes()))


# --- from pictures ---------------------------------------------------------------------------------------------------


def of_bios() -> Letters:
    """SeaBIOS's letters, as its VGA BIOS shows them."""
    with tempfile.TemporaryDirectory() as work:
        disk = Path(work) / "disk"
        disk.write_bytes(BOOT_SECTOR.ljust(1 << 20, b"\0"))
        return _pictured(Path(work), ["-drive", f"file={disk},format=raw"], _in_text_mode)


def of_efi() -> Letters:
    """EDK2's letters, as the shell of Debian's OVMF shows them."""
    with tempfile.TemporaryDirectory() as work:
        shared = Path(work) / "shared"
        shared.mkdir()
        (shared / "page.txt").write_bytes(PAGE.encode("ascii"))
        (shared / "startup.nsh").write_text("@echo -off\r\ncls\r\ntype fs0:\\page.txt\r\nstall 99999999\r\n")
        options = [*_efi(), "-drive", f"file=fat:{shared},format=raw,snapshot=on"]
        return _pictured(Path(work), options, _in_the_middle)


def of_kernel() -> Letters:
    """Letters and digits as Linux draws them where no font was set: the name of a lab guest, on UEFI's screen."""
    with tempfile.TemporaryDirectory() as work:
        disk = guests.build_guest(guests.Spec(NAME, size=192 << 20, payload=4 << 20), Path(work) / "disk")
        return _pictured(Path(work), [*_efi(), "-drive", f"file={disk},format=raw,if=virtio"], _as_a_name)


def _efi() -> list[str]:
    code = f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"
    return ["-drive", code, "-drive", f"if=pflash,format=raw,snapshot=on,file={FIRMWARE / 'OVMF_VARS_4M.fd'}"]


def _as_a_name(picture: Picture) -> Letters:
    grid = next(reading.grids(picture))
    for line in reading.digests_on(picture, grid):
        cells = itertools.groupby(line, lambda cell: cell is None)
        words = (list(word) for empty, word in cells if not empty)
        if name := next((word for word in words if len(word) == len(NAME) and -1 not in word), None):
            return _paired(name, NAME)
    return {}


def _in_text_mode(picture: Picture) -> Letters:
    grid = next(reading.grids(picture))
    cells = [cell for line in list(reading.digests_on(picture, grid))[:2] for cell in line[:80]]
    return _paired(cells[: len(PRINTABLE)])


def _in_the_middle(picture: Picture) -> Letters:
    for grid in list(reading.grids(picture))[1:]:
        lines = [[cell for cell in line if cell is not None] for line in reading.digests_on(picture, grid)]
        for first, second in itertools.pairwise(lines):
            if len(first) == len(second) == len(PAGE) // 2 - 2 and -1 not in first:
                return _paired([*first, *second])
    return {}


def _paired(cells: list[int | None], letters: str = PRINTABLE) -> Letters:
    """Nothing where the letters are not all there yet."""
    found = {letter: cell for letter, cell in zip(letters, cells, strict=False) if cell is not None and cell >= 0}
    return found if len(found) == len(letters) else {}


def _pictured(work: Path, options: list[str], read: Callable[[Picture], Letters]) -> Letters:
    """What a machine shows, once it is all there."""
    argv = ["qemu-system-x86_64", "-machine", "q35", "-display", "none", "-net", "none", "-m", "256", *options]
    argv += ["-qmp", f"unix:{work / 'qmp'},server=on,wait=off"]
    process.detached((*argv,), pidfile=work / "pid", log=work / "log")
    try:
        for _ in range(int(PICTURE_SECONDS)):
            time.sleep(1)
            with qmp.connect(work / "qmp") as monitor:
                monitor.screenshot(work / "picture.png")
            if found := read(decoded((work / "picture.png").read_bytes())):
                return found
    finally:
        process.end_detached(work / "pid", program=str(work / "qmp"))
    raise SourceUnavailable("a machine does not show its letters", fix="Look at what it shows with `screendump`.")


# --- the module ------------------------------------------------------------------------------------------------------

HEAD = '''"""The letters of consoles: each with the digests of the dots that it is drawn with (`reading.digest`).

Made by `python -m lab.letters`. `LETTERS`, 16 dots high: SeaBIOS, and Linux with its own font, with Fixed, Terminus and
VGA of console-setup, and with eurlatgr, default8x16, latarcyrheb-sun16 and lat9w-16 of kbd. `EFI_LETTERS`, 19 dots
high: EDK2.
"""
'''


def table(fonts: list[Letters]) -> str:
    """One line a letter. Raises ValueError where two letters are drawn alike."""
    forms = {letter: sorted({font[letter] for font in fonts if letter in font}) for letter in PRINTABLE}
    flat = [form for each in forms.values() for form in each]
    if len(set(flat)) != len(flat):
        raise ValueError("two letters are drawn alike")
    return "\n".join(" ".join([letter, *(f"{form:08x}" for form in found)]) for letter, found in forms.items())


def main() -> None:
    given = [of_font(Path(name).read_bytes()) for name in sys.argv[1:]]
    print(HEAD)
    print(f'LETTERS = r"""\n{table([of_bios(), of_kernel(), *of_consoles(), *given])}\n"""\n')
    print(f'EFI_LETTERS = r"""\n{table([of_efi()])}\n"""')


if __name__ == "__main__":
    main()
