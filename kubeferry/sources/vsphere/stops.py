"""What a stop of a machine meets, and whether there is a way back from it: asked while it runs, and nothing is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeferry.errors import Problem
from kubeferry.model import Power
from kubeferry.sources.vsphere.client import Client
from kubeferry.sources.vsphere.machine import POWER
from kubeferry.sources.vsphere.plain import Plain

FLAG = "config.flags.snapshotPowerOffBehavior"
STATES = (
    "runtime.powerState",
    "runtime.question",
    "runtime.connectionState",
    "guest.toolsRunningStatus",
    FLAG,
    "snapshot",
)
# What a machine does by itself when it is switched off, with a snapshot; anything else leaves its disks as they are.
REVERTS = "revert"
PRIVILEGES = {
    "VirtualMachine.Interact.PowerOff": "stop it",
    "VirtualMachine.Interact.PowerOn": "start it again",
}


def power(props: Plain) -> Power:
    """The power state among properties."""
    return POWER.get(props.get("runtime.powerState", ""), Power.UNKNOWN)


def unstoppable(props: Plain) -> Iterator[Problem]:
    """What keeps a machine from being stopped so that its disks are whole and it can come back."""
    if power(props) is Power.PAUSED:
        yield Problem("power", "it is suspended: its disks alone are not whole", "Resume it, or switch it off by hand.")
    if props.get("runtime.question"):
        yield Problem("question", "it waits for an answer to a question", "Answer it in vSphere.")
    if props.get("runtime.connectionState", "connected") != "connected":
        state = props["runtime.connectionState"]
        yield Problem("connection", f"its host is {state}", "Bring the host back, or register the machine anew.")
    if power(props) is Power.RUNNING and props.get(FLAG) == REVERTS and props.get("snapshot"):
        fix = "Set its snapshots' power-off behaviour to `power off` (snapshot.action in its advanced configuration)."
        yield Problem("power", "it goes back to its snapshot when it is switched off: what it wrote since is lost", fix)


def forbidden(client: Client, vm: Any, content: Any) -> Iterator[Problem]:
    """What our role does not allow of the way to a stop and back."""
    session = client.raw(content.sessionManager, "currentSession", content=content)
    told = content.authorizationManager.HasPrivilegeOnEntities([vm], session.key, list(PRIVILEGES))
    granted = {one.privId: bool(one.isGranted) for entity in told or () for one in entity.privAvailability or ()}
    for privilege, deed in PRIVILEGES.items():
        if not granted.get(privilege, False):
            fix = "Give the role of this user what docs/vmware.md lists, on this machine."
            yield Problem("power", f"our role may not {deed}: the privilege {privilege} is missing", fix)
