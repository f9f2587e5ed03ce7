"""The time of this host, as documents and events tell it. What several hosts must agree on is the journal's clock."""

from __future__ import annotations

from datetime import UTC, datetime


def moment() -> datetime:
    """UTC, now."""
    return datetime.now(UTC)


def now(timespec: str = "milliseconds") -> str:
    """The same in ISO 8601, to the millisecond, or as `datetime.isoformat` has `timespec`."""
    return moment().isoformat(timespec=timespec)
