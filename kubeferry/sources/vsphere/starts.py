"""When a machine was last started, from the events that vSphere keeps of it."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

STARTED = ("VmPoweredOnEvent", "DrsVmPoweredOnEvent")


def last_start(vm: Any, content: Any) -> str:
    """The number of its newest start; empty where no start is kept any more, or we may not read events."""
    own = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
    asked = vim.event.EventFilterSpec(entity=own, eventTypeId=list(STARTED))
    try:
        told = content.eventManager.QueryEvents(asked)
    except vim.fault.NoPermission:
        return ""
    return str(max((one.key for one in told), default=""))
