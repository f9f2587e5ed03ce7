"""How fast a transfer goes, and how long what is left of it takes: a range. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 12
ENOUGH = 5


@dataclass(slots=True)
class Rates:
    """The last rates of one transfer, in bytes per second: what is left takes as long as the slowest or the fastest."""

    seen: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, bytes_per_second: float) -> None:
        """One more; none where nothing moved."""
        if bytes_per_second > 0:
            self.seen.append(bytes_per_second)

    @property
    def known(self) -> bool:
        """Whether so many were seen that they say something of what is left."""
        return len(self.seen) >= ENOUGH

    def seconds_left(self, left_bytes: int) -> tuple[float, float] | None:
        """Shortest and longest time left; None until a rate was seen."""
        if not self.seen:
            return None
        return left_bytes / max(self.seen), left_bytes / min(self.seen)
