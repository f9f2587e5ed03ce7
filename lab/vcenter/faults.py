"""What a test can have go wrong at the relay."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Fault:
    """`times` answers to requests whose path or SOAP method begins with `at` go wrong. `kind` is a status (503), or
    `cut` (half of the body, then the connection ends), `drop` (no answer), `whole` (200 instead of 206), `shifted`
    (another range than was asked for), `fault:NAME` (a SOAP fault). The first `after` such requests go well."""

    at: str
    kind: str
    times: int = 1
    after: int = 0


@dataclass(slots=True)
class Rules:
    """How strict the relay is, and what goes wrong. Tests change it while it runs."""

    areas_per_answer: int = 4
    lease_seconds: int = 300
    deaf: set[str] = field(default_factory=set)
    """Machines (`vm-12`) whose tools do not run."""
    denied: set[str] = field(default_factory=set)
    """Privileges that our role has not."""
    stale: set[str] = field(default_factory=set)
    """Change ids that are too old."""
    faults: list[Fault] = field(default_factory=list)
    miscounted: set[str] = field(default_factory=set)
    """Ends of the names of streams (`:1`) of which a manifest has another SHA-1 than what was sent."""
    stream_pause: float = 0.0
    """Seconds between two pieces of a stream."""
    asked: list[str] = field(default_factory=list)
    """What was asked, in order: SOAP methods, and `GET /folder/…`."""
    sent: int = 0
    """Bytes of files and streams that were sent."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, name: str) -> str | None:
        """The kind of fault for this request, used up by it; None where it goes well."""
        with self._lock:
            self.asked.append(name)
            for fault in self.faults:
                if not name.startswith(fault.at) or fault.times <= 0:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    return None
                fault.times -= 1
                return fault.kind
        return None

    def count(self, name: str) -> int:
        """How often something was asked."""
        return sum(one.startswith(name) for one in self.asked)
