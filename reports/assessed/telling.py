"""Words for the pages of an assessment: ranges with what they rest on, how a machine is proven, how it goes back.

Pure.
"""

from __future__ import annotations

from kubeferry.documents.assessment import Assessment, Card
from kubeferry.model import Power
from kubeferry.targets.guest.probes import describe
from reports.assessed.estate import Member, Together
from reports.wording import size

NOT_KNOWN = "not known"

VERDICTS = {
    "blocked": "blocked",
    "incomplete": "sizes missing",
    "ready-with-warnings": "ready, with warnings",
    "ready": "ready",
    "excluded": "left out",
}
SENTENCES = {
    "ready": "Nothing speaks against the move.",
    "ready-with-warnings": "Nothing stops the move. Read what to check first.",
    "blocked": "It does not move until what is listed here is settled.",
    "incomplete": "Nothing speaks against the move, but sizes of disks are missing: discover it with access.",
    "excluded": "The policy leaves it out. This page shows what would happen.",
}
PLACES = {"vm": "a VM", "container": "a candidate for a container", "stay": "stays, until somebody decides otherwise"}
SPOKEN = {"vm": "for a VM", "container": "for a container", "stay": "for staying"}
TONES = {"blocked": "bad", "incomplete": "warn", "ready-with-warnings": "warn", "ready": "good", "excluded": "idle"}


def span(low: float, high: float) -> str:
    """A range of seconds in words: `2 to 20 min`; of one that is nothing, `none`."""
    if high <= 0:
        return "none"
    short, long = rough(low), rough(high)
    return short if short == long else f"{_shared(short, long)} to {long}"


def rough(seconds: float) -> str:
    """Seconds without a precision that no estimate has: `40 s`, `20 min`, `3.5 h`, `2 d`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"
    return f"{seconds / 86400:.1f}".removesuffix(".0") + " d"


def _shared(low: str, high: str) -> str:
    """The lower end without its unit, where both have the same."""
    return low.rsplit(" ", 1)[0] if low.rsplit(" ", 1)[-1] == high.rsplit(" ", 1)[-1] else low


def sizes(there: Together | Member) -> str:
    """How large disks are; those of which nobody knows it are counted and not sized."""
    known, unsized = _known(there)
    if not unsized:
        return size(known) if known else "no disks"
    unknown = f"{unsized} of unknown size"
    return f"{size(known)}, {unknown}" if known else unknown


def _known(there: Together | Member) -> tuple[int, int]:
    if isinstance(there, Together):
        return there.size_bytes, there.unsized
    return sum(disk.size_bytes for disk in there.told.disks), there.told.unsized


def copy_time(there: Together | Member) -> str:
    """How long copies take; of several machines, one after the other."""
    low, high = there.seconds if isinstance(there, Together) else _seconds(there.told)
    _, unsized = _known(there)
    if unsized:
        return f"more than {span(low, high)}" if high > 0 else NOT_KNOWN
    return span(low, high)


def _seconds(told: Assessment) -> tuple[float, float]:
    return told.estimate.low_seconds, told.estimate.high_seconds


def amount(told: Assessment) -> str:
    """How much of a machine is copied."""
    low, high = told.estimate.low_bytes, told.estimate.high_bytes
    if told.unsized:
        return f"{size(low)} to {size(high)}, and what is not known" if high else NOT_KNOWN
    if not high:
        return "nothing"
    return size(low) if low == high else f"{size(low)} to {size(high)}"


def downtime(told: Assessment) -> str:
    """How long nobody answers, in few words."""
    expected = told.downtime
    if expected is None:
        return NOT_KNOWN
    if expected.kind == "none":
        return "none"
    if expected.high_seconds is None or expected.low_seconds is None:
        return NOT_KNOWN
    return f"at least {span(expected.low_seconds, expected.high_seconds)}"


def card_goes(card: Card) -> str:
    """Where a card is plugged in, as a sentence without its end."""
    if not card.network:
        return f"nowhere: {card.why}"
    address = "keeps its MAC address" if card.keeps_mac else "gets a new MAC address"
    joined = f" ({card.joined})" if card.joined else ""
    return f"{card.network}{joined}, as {card.becomes}; {address}"


def proofs(told: Assessment) -> list[str]:
    """What is asked of the started copy before the move counts."""
    return [describe(probe) for probe in told.probes]


def way_back(told: Assessment) -> list[str]:
    """What happens when something fails, and how a person goes back."""
    running = told.power not in {Power.OFF, Power.CRASHED}
    source = "the source is started again" if running else "the source stays off, as it was"
    together = f" All of {', '.join((told.name, *told.moves_with))} go back as one." if told.moves_with else ""
    return [
        f"A probe that fails, or bytes that differ: the copy is stopped first, then {source}.{together}",
        "Until the commit nothing at the source is changed or removed; its disks are never written.",
        "A person goes back at any time, also after the commit: what was written to the copy since is lost then.",
    ]
