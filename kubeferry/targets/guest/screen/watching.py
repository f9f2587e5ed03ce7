"""Boot seen on the screen: what a screen shows, over time; pure.

A system has booted, as far as a screen can show it, once the picture stays as it is and is either text that asks for a
login (or holds what is expected), or a picture that is no text, neither nearly all of one colour nor nearly black.
Firmware, boot loaders, emergency shells and panics are known by their words.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kubeferry.targets.guest.agent import printable
from kubeferry.targets.guest.screen.pictures import Picture, changed, decoded, main_colour
from kubeferry.targets.guest.screen.reading import text_on

CURSOR_SQUARES = 2
LOGIN = "login:"
ONE_COLOUR = 0.995
DARK, DARK_SHARE = 40, 0.9
STOP_SHARE = 0.6

PANICS = (
    "Kernel panic",
    "Unable to mount root",
    "Oops:",
    "panic: ",
    "A problem has been detected and Windows",
    "Your PC ran into a problem",
    "Your device ran into a problem",
)
"""Of kernels that gave up: anywhere on the screen."""

NOT_BOOTED = (
    # SeaBIOS and iPXE
    *("SeaBIOS (", "Machine UUID", "Booting from", "Boot failed", "No bootable device", "Press ESC for boot menu"),
    *("iPXE", "Nothing to boot", "No more network devices", "Configuring (net"),
    # EDK2
    *(
        "BdsDxe:",
        "No bootable option",
        "Boot Manager",
        "Start PXE over",
        "Start HTTP Boot",
        "Shell>",
        "UEFI Interactive",
    ),
    *("Boot Maintenance", "F10=Save", "Select Language"),
    # boot sectors and boot loaders
    *("Missing operating system", "Error loading operating system", "Operating System not found", "Invalid partition"),
    *("BOOTMGR", "NTLDR", "Windows Boot Manager", "Windows failed to start", "Windows Error Recovery"),
    *("GNU GRUB", "grub>", "grub rescue>", "GRUB loading", "Welcome to GRUB", "selected OS", "highlighted entry"),
    *("ISOLINUX", "SYSLINUX", "boot:", "Could not find kernel image", "Loading Linux", "Loading initial ramdisk"),
    # systems that have not come up
    *("(initramfs)", "dracut:/#", "emergency mode", "for maintenance", "rescue mode", "A start job is running"),
    *("mountroot>", "Automatic Repair", "Recovery Mode", "Press Enter to continue booting"),
)
"""Of what comes before a system, or stands in its place."""

STOPS = ((0, 120, 215), (0, 103, 192), (17, 115, 170), (1, 117, 171), (0, 0, 170), (0, 0, 128), (0, 0, 130))
"""The blues of Windows' stop and recovery screens."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether a system is seen, and what is seen in words."""

    ok: bool
    words: str


@dataclass(slots=True)
class Watch:
    """Pictures as they come. `still_seconds`: so long a picture must stay as it is; a cursor may blink on it. `expect`:
    words that must be in its text, in the place of a login."""

    still_seconds: float
    expect: str = ""
    _newest: bytes = b""
    _held: Picture | None = None
    _since: float = 0
    _shown: Sight | None = field(default=None)

    def look(self, png: bytes, now: float) -> Sight:
        """At another picture, at a moment in seconds. Raises ValueError for what is none."""
        if png != self._newest:
            picture = decoded(png)
            if self._held is None or changed(self._held, picture) > CURSOR_SQUARES:
                self._held, self._since, self._shown = picture, now, None
            self._newest = png
        if self._held is None:
            raise ValueError("it is empty")
        still = now - self._since
        if still < self.still_seconds:
            return Sight(False, f"the picture has stayed as it is for {still:.0f} of {self.still_seconds:g} s")
        if self._shown is None:
            self._shown = seen(self._held, self.expect)
        return Sight(self._shown.ok, f"{self._shown.words}; the same for {still:.0f} s")


def seen(picture: Picture, expect: str = "") -> Sight:
    """What a picture that stays shows."""
    lines = text_on(picture)
    if lines is None:
        return _without_text(picture, expect)
    if gave_up := _holding(PANICS, lines):
        return Sight(False, f"a system that gave up: {gave_up}")
    wanted = expect or LOGIN
    at = max((number for number, line in enumerate(lines) if wanted in line), default=None)
    # Firmware's words may still stand above those of the system that it has started.
    if not_booted := _holding(NOT_BOOTED, lines[at or 0 :]):
        return Sight(False, f"no system yet: {not_booted}")
    if at is None:
        return Sight(False, f"text without {printable(wanted, 40)!r}; its last line: {printable(lines[-1], 100)!r}")
    return Sight(True, f"the screen says {printable(lines[at], 100)!r}")


def _holding(words: tuple[str, ...], lines: tuple[str, ...]) -> str:
    """The last line that holds one of the words, quoted; empty where none does."""
    return next((repr(printable(line, 100)) for line in reversed(lines) if any(word in line for word in words)), "")


def _without_text(picture: Picture, expect: str) -> Sight:
    colour, share = main_colour(picture)
    if expect:
        return Sight(False, "no text that can be read")
    if share >= ONE_COLOUR:
        return Sight(False, "an empty screen")
    if max(colour) <= DARK and share >= DARK_SHARE:
        return Sight(False, "a screen that is nearly black, without text that can be read")
    if colour in STOPS and share >= STOP_SHARE:
        return Sight(False, f"a screen as blue as those on which Windows says that it cannot go on: {colour}")
    return Sight(True, "a picture that is no text")
