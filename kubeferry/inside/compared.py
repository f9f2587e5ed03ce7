"""What a system said before the move and after it, beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from kubeferry.inside.said import CLOCK_SECONDS, CardSaid, MountSaid, Said
from kubeferry.shapes import Value
from kubeferry.words import size

_UNTOLD = "not told"
_NONE = "none"

Outcome = Literal["same", "changed", "unknown"]
Read = Callable[[CardSaid], str | None]


class Compared(Value):
    """One thing, before and after. `outcome`: same, changed, or unknown where one of the two did not tell it."""

    what: str
    before: str
    after: str
    outcome: Outcome


def compared(before: Said, after: Said) -> tuple[Compared, ...]:
    """All that at least one of them told, in the order in which a person asks."""
    return (
        *_one("host name", before.hostname, after.hostname),
        *_cards(before.cards, after.cards),
        *_mounts(before.mounts, after.mounts),
        *_one("time zone", before.time_zone, after.time_zone),
        *_clock(before.clock_ahead_seconds, after.clock_ahead_seconds),
        *_services(before.services, after.services),
    )


def _one(what: str, before: str | None, after: str | None) -> Iterator[Compared]:
    if before is None and after is None:
        return
    unknown = before is None or after is None
    outcome: Outcome = "unknown" if unknown else "same" if before == after else "changed"
    yield Compared(what=what, before=before or _UNTOLD, after=after or _UNTOLD, outcome=outcome)


def _cards(before: tuple[CardSaid, ...], after: tuple[CardSaid, ...]) -> Iterator[Compared]:
    """By MAC: a name is what may have changed. Cards of which no one tells a MAC go by their names."""
    if not before and not after:
        return
    was, now = _by_mac(before), _by_mac(after)
    for key in [*was, *(key for key in now if key not in was)]:
        yield from _one(f"card {key}: name", _told(was, key, before, _name), _told(now, key, after, _name))
        yield from _one(
            f"card {key}: addresses", _told(was, key, before, _addresses), _told(now, key, after, _addresses)
        )


def _by_mac(cards: tuple[CardSaid, ...]) -> dict[str, CardSaid]:
    return {card.mac or card.name: card for card in cards}


def _told(cards: Mapping[str, CardSaid], key: str, told: tuple[CardSaid, ...], read: Read) -> str | None:
    """What is told of one card: None where nothing is told of any, `none` where this one is not among them."""
    if not told:
        return None
    return read(cards[key]) if key in cards else _NONE


def _name(card: CardSaid) -> str | None:
    return card.name or None


def _addresses(card: CardSaid) -> str:
    return ", ".join(card.addresses) or _NONE


def _mounts(before: tuple[MountSaid, ...], after: tuple[MountSaid, ...]) -> Iterator[Compared]:
    was, now = ({mount.where: mount for mount in told} for told in (before, after))
    for where in sorted(was.keys() | now.keys()):
        one, other = was.get(where), now.get(where)
        kinds, sizes = one and other and one.kind and other.kind, one and other and one.size_bytes and other.size_bytes
        words = [_mount(mount, kind=bool(kinds), held=bool(sizes)) if mount else _NONE for mount in (one, other)]
        yield from _one(f"mount {where}", words[0] if was else None, words[1] if now else None)


def _mount(mount: MountSaid, *, kind: bool, held: bool) -> str:
    """What both tell of it: not every source tells kinds and sizes."""
    parts = (mount.kind if kind else "", size(mount.size_bytes) if held else "")
    return ", ".join(part for part in parts if part) or "there"


def _clock(before: float | None, after: float | None) -> Iterator[Compared]:
    """What counts is whether the clock is right now, or as wrong as it was."""
    if before is None and after is None:
        return
    outcome: Outcome = "unknown"
    if after is not None and (abs(after) <= CLOCK_SECONDS or before is not None):
        near = abs(after) <= CLOCK_SECONDS or abs(after - (before or 0.0)) <= CLOCK_SECONDS
        outcome = "same" if near else "changed"
    yield Compared(what="clock", before=_ahead(before), after=_ahead(after), outcome=outcome)


def _ahead(seconds: float | None) -> str:
    if seconds is None:
        return _UNTOLD
    if abs(seconds) <= CLOCK_SECONDS:
        return "right"
    return f"{abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"


def _services(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Compared]:
    for name in sorted(before.keys() | after.keys()):
        yield from _one(f"service {name}", before.get(name), after.get(name))
