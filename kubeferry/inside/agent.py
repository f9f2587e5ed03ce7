"""The QEMU guest agent's answers as what a system said of itself (QEMU's `qga/qapi-schema.json`).

Who asks is the caller's business: `Ask` puts one command to the agent, whatever runs the machine.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from kubeferry.inside.said import ADDRESSES, CARDS, CLOCK_SECONDS, MOUNTS, CardSaid, MountSaid, Said
from kubeferry.outside import stopping
from kubeferry.words import plain

WORD_LIMIT = 120
SERVICES_SECONDS = 10.0
STARTED_SECONDS = 90.0
STARTED_POLL_SECONDS = 1.0
SLOW_SECONDS = 2 * CLOCK_SECONDS
POLL_SECONDS = 0.1
NANOSECONDS = 1_000_000_000
_STATES = frozenset({"active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance"})


class Ask(Protocol):
    """One command to an agent; its answer, None where it does not answer, refuses or does not know it."""

    def __call__(self, command: str, **arguments: object) -> Any: ...


def said(ask: Ask, services: Iterable[str] = (), *, now: Callable[[], float] = time.time) -> Said:
    """What the system says of itself, with the states of these services. `now` is the host's clock, in seconds.

    Raises Interrupted when somebody asks to stop."""
    return Said(
        hostname=_word(_of(ask("guest-get-host-name"), "host-name")) or None,
        cards=cards(ask("guest-network-get-interfaces")),
        mounts=mounts(ask("guest-get-fsinfo")),
        time_zone=zone(ask("guest-get-timezone")),
        clock_ahead_seconds=clock_ahead(ask, now=now),
        services=states(ask, tuple(services)),
    )


def cards(answer: object) -> tuple[CardSaid, ...]:
    """The cards in an answer to guest-network-get-interfaces; the loopback is none."""
    found = (_card(one) for one in _list(answer)[:CARDS])
    return tuple(card for card in found if card is not None)


def mounts(answer: object) -> tuple[MountSaid, ...]:
    """The file systems in an answer to guest-get-fsinfo, by where they are."""
    found = (mount(one.get("mountpoint"), one.get("type"), one.get("total-bytes")) for one in _list(answer))
    return in_order(found)


def zone(answer: object) -> str | None:
    """The time zone in an answer to guest-get-timezone, in words."""
    offset = _of(answer, "offset")
    return zone_words(_word(_of(answer, "zone")), offset) if isinstance(offset, int) else None


def zone_words(name: str, offset_seconds: int) -> str:
    """A time zone in words: `CET, UTC+01:00`."""
    minutes = abs(offset_seconds) // 60
    told = f"UTC{'-' if offset_seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{name}, {told}" if name else told


def mount(where: object, kind: object, size_bytes: object) -> MountSaid:
    """A mount, from what was said of it, whatever that is."""
    whole = isinstance(size_bytes, int) and not isinstance(size_bytes, bool) and 0 <= size_bytes < 2**63
    return MountSaid(where=_word(where), kind=_word(kind), size_bytes=size_bytes if whole else None)


def in_order(found: Iterable[MountSaid]) -> tuple[MountSaid, ...]:
    """By where they are; those that are nowhere are left out."""
    return tuple(sorted((one for one in found if one.where), key=lambda one: one.where)[:MOUNTS])


def card(name: object, mac: object, addresses: Iterable[object]) -> CardSaid:
    """A card, from what was said of it, whatever that is."""
    kept = {told for address in addresses if (told := _address(address))}
    return CardSaid(
        name=_word(name), mac=_word(mac).lower().replace("-", ":"), addresses=tuple(sorted(kept)[:ADDRESSES])
    )


def clock_ahead(ask: Ask, *, now: Callable[[], float] = time.time) -> float | None:
    """How far the system's clock is ahead of the host's, in seconds; None where the answer took so long that it says
    nothing."""
    before = now()
    told = ask("guest-get-time")
    after = now()
    if not isinstance(told, int) or isinstance(told, bool) or after - before > SLOW_SECONDS:
        return None
    return round(told / NANOSECONDS - (before + after) / 2, 1)


def states(ask: Ask, names: tuple[str, ...]) -> dict[str, str]:
    """systemd's word for each of these units; empty where the agent runs no programs, or there is no systemd.

    An agent answers before most services are there: while one of these is not, and systemd still starts what belongs
    to its start, they are asked again, for `STARTED_SECONDS` at most."""
    limit = time.monotonic() + STARTED_SECONDS
    found = _states(ask, names)
    while set(found.values()) - {"active"} and _is_starting(ask) and time.monotonic() < limit:
        stopping.pause(STARTED_POLL_SECONDS)
        found = _states(ask, names)
    return found


# --- inside ----------------------------------------------------------------------------------------------------------


def _states(ask: Ask, names: tuple[str, ...]) -> dict[str, str]:
    if not names:
        return {}
    words = _printed(ask, "systemctl", "is-active", "--", *names).split()
    if len(words) != len(names) or not set(words) <= _STATES:
        return {}
    return dict(zip(names, words, strict=True))


def _is_starting(ask: Ask) -> bool:
    return _printed(ask, "systemctl", "is-system-running").strip() in {"initializing", "starting"}


def _card(one: dict[str, Any]) -> CardSaid | None:
    told = card(
        one.get("name"),
        one.get("hardware-address"),
        (each.get("ip-address") for each in _list(one.get("ip-addresses"))),
    )
    loopback = told.mac in {"", "00:00:00:00:00:00"} and told.name.startswith("lo")
    return None if loopback or "loopback" in told.name.lower() else told


def _address(told: object) -> str | None:
    try:
        found = ipaddress.ip_address(str(told).partition("%")[0])
    except ValueError:
        return None
    return None if found.is_link_local or found.is_loopback else str(found)


def _printed(ask: Ask, path: str, *words: str) -> str:
    """What a program of the guest printed; empty where it could not be run or did not end."""
    begun = ask("guest-exec", path=path, arg=list(words), **{"capture-output": True})
    pid = _of(begun, "pid")
    limit = time.monotonic() + SERVICES_SECONDS
    while isinstance(pid, int) and time.monotonic() < limit:
        told = ask("guest-exec-status", pid=pid)
        if not isinstance(told, dict):
            break
        if told.get("exited"):
            return _decoded(told.get("out-data"))
        stopping.pause(POLL_SECONDS)
    return ""


def _decoded(text: object) -> str:
    with contextlib.suppress(binascii.Error, ValueError, TypeError):
        return base64.b64decode(text).decode("utf-8", "replace")  # type: ignore[arg-type]
    return ""


def _of(answer: object, name: str) -> object:
    return answer.get(name) if isinstance(answer, dict) else None


def _list(answer: object) -> list[dict[str, Any]]:
    return list(_dicts(answer)) if isinstance(answer, list) else []


def _dicts(answer: list[Any]) -> Iterator[dict[str, Any]]:
    return (one for one in answer if isinstance(one, dict))


def _word(told: object) -> str:
    """One line that a document can hold."""
    return plain(told[:WORD_LIMIT]).encode("utf-8", "replace").decode() if isinstance(told, str) else ""
