"""What a system said of itself at one moment. What it did not tell is empty or None, and is never taken for "none"."""

from __future__ import annotations

from kubeferry.shapes import Value
from kubeferry.values import Bytes

CLOCK_SECONDS = 2.0
"""A clock within so many seconds of the host's counts as right: half of the time of an answer is in the figure."""
CARDS = 32
ADDRESSES = 32
MOUNTS = 128
"""At most so many are kept: a guest may say anything, and a journal keeps what it says."""


class CardSaid(Value):
    """A network card as the system names it. `mac` in small letters with colons; `addresses` without those
    that every card makes for itself (link-local ones)."""

    name: str = ""
    mac: str = ""
    addresses: tuple[str, ...] = ()


class MountSaid(Value):
    """A file system of a disk where the system has it. `size_bytes` is what it can hold."""

    where: str
    kind: str = ""
    size_bytes: Bytes | None = None


class Said(Value):
    """All of it. `clock_ahead_seconds` is how far its clock is ahead of that of the host that asked, negative behind;
    half the time that the answer took is in it. `services` are those that the plan asks for: name -> its state in the
    system's word."""

    hostname: str | None = None
    cards: tuple[CardSaid, ...] = ()
    mounts: tuple[MountSaid, ...] = ()
    time_zone: str | None = None
    clock_ahead_seconds: float | None = None
    services: dict[str, str] = {}
