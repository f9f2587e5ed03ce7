"""When a machine was last started, and how it went off, from the events that vSphere keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from pyVmomi import vim

from kubeferry.sources import WentOff

STARTED = ("VmPoweredOnEvent", "DrsVmPoweredOnEvent")
OFF = "VmPoweredOffEvent"
STOPS = ("VmGuestShutdownEvent", "VmStoppingEvent", OFF)
"""What is told of a stop: that Tools were asked for it, that it was switched off, and that it is off."""


def last_start(vm: Any, content: Any) -> str:
    """The number of its newest start; empty where no start is kept any more, or we may not read events."""
    return str(max((one.key for one in _events(vm, content, STARTED)), default=""))


def went_off(vm: Any, content: Any, user: str) -> WentOff:
    """How it went off since it was started last, for a session of this user."""
    return told_of(_events(vm, content, (*STARTED, *STOPS)), user)


def told_of(events: Sequence[Any], user: str) -> WentOff:
    """What these events say, in whatever order. Who it was is said only where all since its start are there: else what
    we have caused may be gone. Of one that nobody named has caused (its own system, a host that failed) only when."""
    told = sorted(events, key=lambda one: one.key)
    starts = [at for at, one in enumerate(told) if _kind(one) in STARTED]
    stops = [one for one in told[starts[-1] if starts else 0 :] if _kind(one) in STOPS]
    off = next((one for one in reversed(stops) if _kind(one) == OFF), None)
    if off is None:
        return WentOff()
    at = off.createdTime.astimezone(UTC).isoformat(timespec="seconds")
    users = [str(one.userName) for one in stops if one.userName]
    if not starts or not users or user.casefold() in {one.casefold() for one in users}:
        return WentOff(at=at)
    return WentOff(by=f"user {users[-1]}", at=at)


def _kind(event: Any) -> str:
    return type(event).__name__.rpartition(".")[2]


def _events(vm: Any, content: Any, kinds: Sequence[str]) -> list[Any]:
    own = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
    asked = vim.event.EventFilterSpec(entity=own, eventTypeId=list(kinds))
    try:
        return list(content.eventManager.QueryEvents(asked) or ())
    except vim.fault.NoPermission:
        return []
