"""What came back from a receiver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """`taken`: it is delivered. `away`: the same message may be taken later. `refused`: the receiver is there, and does
    not want this message."""

    TAKEN = "taken"
    AWAY = "away"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `said` is it in words, of one line, without secrets; `wait_seconds` is how long the receiver asks to
    be left alone."""

    fate: Fate
    said: str
    wait_seconds: float = 0.0
