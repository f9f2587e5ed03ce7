"""Boot seen on the screen: what stays, what moves, and what is no system however still it stands."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from kubeferry.documents import Probe
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.targets.directory.local_access import LocalAccess
from kubeferry.targets.guest import probes
from kubeferry.targets.guest.screen.pictures import Picture
from kubeferry.targets.guest.screen.watching import STOPS, Watch, seen
from tests.unit.targets.screen.drawing import RED, Screen, console

LOGIN = ("Debian GNU/Linux 12 web tty1", "", "web login: ")
BIOS = ("SeaBIOS (version 1.16.2-debian-1.16.2-1)", "", "Booting from Hard Disk...")


def wallpaper() -> Screen:
    """A picture that is no text."""
    screen, dots = Screen(800, 600, ground=b"\x30\x40\x80"), random.Random(3)
    for _ in range(200):
        screen.fill(dots.randrange(700), dots.randrange(500), dots.randbytes(3), width=90, height=70)
    return screen


# --- over time -------------------------------------------------------------------------------------------------------


def test_a_login_that_stays_is_a_system(font: None) -> None:
    watch, screen = Watch(20), console(*LOGIN).png
    assert watch.look(screen, 100).words == "the picture has stayed as it is for 0 of 20 s"
    assert watch.look(screen, 119.5).words == "the picture has stayed as it is for 20 of 20 s"
    assert not watch.look(screen, 119.9).ok
    late = watch.look(screen, 120)
    assert (late.ok, late.words) == (True, "the screen says 'web login:'; the same for 20 s")


def test_a_cursor_may_blink(font: None) -> None:
    lit, dark = console(*LOGIN), Screen()
    for number, line in enumerate(LOGIN):
        dark.write(line, number)
    watch = Watch(3)
    assert [watch.look((lit if at % 2 else dark).png, at).ok for at in range(5)] == [False] * 3 + [True] * 2


def test_a_line_of_text_begins_the_time_anew(font: None) -> None:
    watch, lines = Watch(3), [*LOGIN]
    for at in range(10):
        lines.insert(0, f"[   1.{at}] device {at} is there")
        assert not watch.look(console(*lines).png, at).ok
    assert not watch.look(console(*lines).png, 11.9).ok
    assert watch.look(console(*lines).png, 12).ok


def test_what_grows_slowly_does_not_stay(font: None) -> None:
    """Each picture is compared with the first of those that stayed, not with the one before it."""
    watch = Watch(5)
    for at in range(30):
        screen = console(*LOGIN)
        screen.fill(0, 200, RED, width=8 + at * 8, height=8)
        assert not watch.look(screen.png, at).ok


def test_another_mode_is_another_picture(font: None) -> None:
    watch = Watch(2)
    assert not watch.look(console(*LOGIN).png, 0).ok
    assert not watch.look(console(*LOGIN, width=1280, height=800, step=8).png, 2).ok
    assert watch.look(console(*LOGIN, width=1280, height=800, step=8).png, 4).ok


# --- what stays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((*BIOS,), "no system yet: 'Booting from Hard Disk...'"),
        ((*BIOS, "Boot failed: not a bootable disk", "", "No bootable device."), "'No bootable device.'"),
        (("iPXE (http://ipxe.org) 00:03.0", "Nothing to boot: No such file"), "'Nothing to boot"),
        (("BdsDxe: No bootable option or device was found.",), "no system yet"),
        (("UEFI Interactive Shell v2.2", "Shell> "), "'Shell>'"),
        (("Shell> _",), "no system yet"),
        (("GNU GRUB  version 2.06", "*Debian GNU/Linux"), "no system yet"),
        (("error: no such partition.", "grub rescue> "), "no system yet"),
        (("ALERT! /dev/sda1 does not exist.", "(initramfs) "), "no system yet"),
        (("You are in emergency mode.", "Give root password for maintenance"), "no system yet"),
        (("A start job is running for /dev/sdb (12s / no limit)",), "no system yet"),
        (("[ 1.0] Kernel panic - not syncing: VFS", "[ 1.1] ---[ end ]---", *["x"] * 9), "a system that gave up"),
        (("web login: ", "[ 9.0] Kernel panic - not syncing: Attempted to kill init!"), "a system that gave up"),
        (("[  2.0] sd 0:0:0:0: [sda] Attached SCSI disk",), "text without 'login:'; its last line: '[ 2.0] sd"),
        ((*LOGIN, *BIOS), "no system yet"),
    ],
)  # fmt: skip
def test_what_is_no_system_is_told_by_its_words(font: None, lines: tuple[str, ...], words: str) -> None:
    sight = seen(console(*lines).picture)
    assert not sight.ok
    assert words in sight.words


def test_words_of_firmware_may_stand_above_those_of_the_system(font: None) -> None:
    assert seen(console(*BIOS, *LOGIN).picture).ok


def test_expected_words_take_the_place_of_a_login(font: None) -> None:
    page = console("web is up", "Boots 7").picture
    assert not seen(page).ok
    assert seen(page, "is up") == seen(page, "web is")
    assert seen(page, "is up").ok
    assert "text without 'is down'" in seen(page, "is down").words
    assert not seen(console(*LOGIN).picture, "is up").ok
    assert not seen(console(*BIOS).picture, "Booting").ok, "whatever is expected, it is no word of firmware's"
    assert "no text that can be read" in seen(wallpaper().picture, "is up").words


def test_a_picture_that_is_no_text_is_a_system(font: None) -> None:
    assert seen(wallpaper().picture).words == "a picture that is no text"


def flat(colour: bytes) -> Screen:
    screen = Screen(1024, 768, ground=colour)
    screen.fill(100, 100, b"\xff" * 3, width=200, height=120)
    screen.fill(130, 130, RED, width=20, height=20)
    return screen


@pytest.mark.parametrize(
    ("screen", "words"),
    [
        (Screen(), "an empty screen"),
        (console(), "an empty screen"),
        (Screen(ground=b"\x30\x40\x80"), "an empty screen"),
        (flat(bytes(3)), "nearly black"),
        (flat(b"\x10\x10\x12"), "nearly black"),
        *((flat(bytes(colour)), "as blue as") for colour in STOPS),
    ],
)
def test_an_empty_a_dark_and_a_blue_screen_are_no_system(font: None, screen: Screen, words: str) -> None:
    sight = seen(screen.picture)
    assert not sight.ok
    assert words in sight.words


def test_a_console_in_letters_that_are_not_known_is_no_system() -> None:
    """What cannot be read may be a panic."""
    assert "without text that can be read" in seen(console(*LOGIN).picture).words


# --- as a probe ------------------------------------------------------------------------------------------------------


class Machine:
    """A screen that shows one picture after the other, a second each."""

    def __init__(self, *shown: bytes | Exception) -> None:
        self.now = 0.0
        self._shown = shown

    def clock(self) -> float:
        self.now += 0.25
        return self.now

    def picture(self) -> bytes:
        found = self._shown[min(int(self.now), len(self._shown) - 1)]
        if isinstance(found, Exception):
            raise found
        return found


def run(machine: Machine | None, **wanted: object) -> probes.ProbeResult:
    shown = machine or Machine(b"")
    taken = machine.picture if machine else None
    way = LocalAccess(Path("no agent"), None, {}, shown.clock, lambda: None, picture=taken)
    probe = Probe.model_validate({"kind": "screen", "stillSeconds": 3, "timeoutSeconds": 30, **wanted})
    return probes.run((probe,), way, {})[0]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PAUSE_SECONDS", 0)


def test_a_probe_waits_until_the_screen_has_come_to_rest(font: None) -> None:
    late = TargetUnavailable("QEMU gave no picture of the screen")
    result = run(Machine(late, b"no picture", console(*BIOS).png, console(*LOGIN).png))
    assert (result.ok, result.kind) == (True, "screen")
    assert result.what == "the screen stays as it is for 3 s, and shows a login or a picture"
    assert 6 <= result.seconds < 9


def test_what_was_not_seen_has_not_stayed(font: None) -> None:
    gap, login = TargetUnavailable("QEMU gave no picture of the screen"), console(*LOGIN).png
    result = run(Machine(login, login, gap, login, login, gap, login))
    assert result.ok
    assert 9 <= result.seconds < 11


def test_a_probe_tells_what_it_saw_last(font: None) -> None:
    dead = run(Machine(console(*BIOS, "No bootable device.").png))
    assert not dead.ok
    assert dead.evidence == "not within 30 s; the last try: no system yet: 'No bootable device.'; the same for 28 s"
    assert run(Machine(b"no picture")).evidence.endswith("the picture of the screen cannot be read: it is no PNG")


def test_a_machine_without_a_screen_fails_at_once() -> None:
    result = run(None, timeoutSeconds=3600)
    assert not result.ok
    assert "no screen" in result.evidence


def test_who_may_not_take_pictures_is_told_at_once() -> None:
    result = run(Machine(TargetRefused("GET vnc/screenshot: forbidden")), timeoutSeconds=3600)
    assert "forbidden" in result.evidence


def test_a_picture_is_taken_once_a_second(font: None) -> None:
    machine, taken = Machine(console(*LOGIN).png), []

    def counted() -> bytes:
        taken.append(machine.now)
        return machine.picture()

    way = LocalAccess(Path("no agent"), None, {}, machine.clock, lambda: None, picture=counted)
    probes.run((Probe(kind="screen", still_seconds=5, timeout_seconds=30),), way, {})
    assert min(after - before for before, after in itertools.pairwise(taken)) >= 1


def test_the_time_to_stay_fits_into_the_time_of_the_probe() -> None:
    with pytest.raises(ValueError, match="20 s"):
        Probe(kind="screen", timeout_seconds=20)
    assert Probe(kind="screen", still_seconds=5, timeout_seconds=20).still == 5


@pytest.mark.parametrize("field", ["status", "tls", "host", "stillSeconds"])
def test_a_probe_has_no_words_of_another_kind(field: str) -> None:
    said = {"status": 200, "tls": "unchecked", "host": "a", "stillSeconds": 3}[field]
    with pytest.raises(ValueError, match="a probe of kind tcp has no"):
        Probe.model_validate({"kind": "tcp", "port": 22, field: said})


def test_an_odd_picture_is_none_rather_than_an_end() -> None:
    assert seen(Picture(1, (b"abc",))).words == "an empty screen"
