"""What was projected of a cutover before it began, as ranges: the values that stand in the journal, to be scored after
the fact. Seconds and bytes; None is what nobody can know yet, and nothing stands in for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, model_validator

from kubeferry.model import Value
from kubeferry.words import duration

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Range(Value):
    """From `low` to `high`, and what is most likely in between."""

    low: Amount
    likely: Amount
    high: Amount

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low <= self.likely <= self.high:
            raise ValueError("a range goes from low by likely to high")
        return self

    def __add__(self, other: Range) -> Range:
        return Range(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)

    def __contains__(self, actual: float) -> bool:
        return self.low <= actual <= self.high


NOTHING = Range(low=0, likely=0, high=0)


def total(ranges: Iterable[Range | None]) -> Range | None:
    """The sum; None where one of them is not known."""
    found = NOTHING
    for one in ranges:
        if one is None:
            return None
        found += one
    return found


class Part(Value):
    """One part of the downtime: how long, or None, and what that rests on or lacks, in words."""

    name: str
    seconds: Range | None = None
    why: str = ""


class Projected(Value):
    """What is known of a cutover that would begin `at` this moment (UTC, ISO 8601).

    `churn` is what the machine writes, `rate` what is copied, both in bytes per second; `delta_bytes` is what would be
    left to be copied after the stop. `parts` make the downtime, up to the first answer of the copy; `proven` is how
    long until all probes have passed; `back` is the time to go back. `machines` is how many cutovers of others it rests
    on.
    """

    at: str
    parts: tuple[Part, ...] = ()
    churn: Range | None = None
    rate: Range | None = None
    delta_bytes: Range | None = None
    downtime: Range | None = None
    proven: Range | None = None
    back: Range | None = None
    back_why: str = ""
    machines: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not known, and why."""
        return tuple(f"{part.name}: {part.why}" for part in self.parts if part.seconds is None)

    @property
    def is_known(self) -> bool:
        """Whether anything at all was seen of what it takes; the time that hooks have is none of that."""
        return any(part.seconds and part.seconds.high > 0 for part in self.parts if not part.name.startswith("hooks"))

    @property
    def known_high(self) -> float:
        """The longest that all which is known of it takes together, until it is proven."""
        return sum(part.seconds.high for part in self.parts if part.seconds)

    def told(self) -> str:
        """The downtime for people: `2 to 5 min`, or what of it is known."""
        if self.downtime:
            return spoken(self.downtime)
        known = [f"{part.name} {spoken(part.seconds)}" for part in self.parts if part.seconds]
        lacking = [part.name for part in self.parts if part.seconds is None]
        if not self.is_known:
            return (
                f"not known: {next((part.why for part in self.parts if part.seconds is None), 'nothing was seen yet')}"
            )
        return f"{', '.join(known)}; not known: {', '.join(lacking)}"


def spoken(seconds: Range) -> str:
    """A range of seconds for people."""
    low, high = duration(seconds.low), duration(seconds.high)
    return low if low == high else f"{low} to {high}"
