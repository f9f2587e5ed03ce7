"""The time of this host, as documents and events tell it. What several hosts must agree on is the journal's clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now(timespec: str = "milliseconds") -> str:
    """UTC in ISO 8601, to the millisecond, or as `datetime.isoformat` has `timespec`."""
    return datetime.now(UTC).isoformat(timespec=timespec)
