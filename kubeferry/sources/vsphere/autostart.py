"""What a machine's host starts by itself, in its own list (`HostAutoStartManager`): read whole, taken out, put back.

The list is that of the host on which the machine is registered. A cluster with vSphere HA has none, and starts nothing
that somebody has switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyVmomi import vim

from kubeferry.errors import Problem
from kubeferry.model import Autostart
from kubeferry.sources.vsphere.client import Client

PRIVILEGE = "Host.Config.AutoStart"
MANAGER, HOST, CONFIG = "configManager.autoStartManager", "runtime.host", "config"
FIELDS = ("startAction", "startOrder", "startDelay", "waitForHeartbeat", "stopAction", "stopDelay")
_NUMBERS = frozenset({"startOrder", "startDelay", "stopDelay"})
# As govc takes a machine out of the list.
_OUT = {
    "startAction": "none",
    "startOrder": "-1",
    "startDelay": "-1",
    "waitForHeartbeat": "systemDefault",
    "stopAction": "none",
    "stopDelay": "-1",
}


def told(client: Client, vm: Any, content: Any) -> Autostart | None:
    """What the host does with this machine when it starts; None where that is nothing, where it starts none at all, and
    where its list is not ours to see."""
    manager = _manager(client, vm, content)
    config = client.raw(manager, CONFIG, content=content) if manager is not None else None
    if config is None or (config.defaults is not None and config.defaults.enabled is False):
        return None
    own = next((one for one in config.powerInfo or () if one.key._moId == vm._moId), None)
    if own is None or str(own.startAction).lower() != "poweron":
        return None
    settings = {name: str(getattr(own, name)) for name in FIELDS if getattr(own, name) is not None}
    place = f", as number {own.startOrder}" if (own.startOrder or 0) > 0 else ""
    return Autostart(words=f"with its host{place}", settings=settings)


def put(client: Client, vm: Any, wanted: Autostart | None, content: Any) -> None:
    """Let the host's list say this of the machine. Raises what the client's library raises."""
    if told(client, vm, content) == wanted:
        return
    manager = _manager(client, vm, content)
    if manager is None:
        raise vim.fault.NoPermission(privilegeId=PRIVILEGE, msg="the list of its host is not ours to see")
    given = _OUT | (wanted.settings if wanted else {})
    told_anew = {name: int(value) if name in _NUMBERS else value for name, value in given.items()}
    own = vim.host.AutoStartManager.AutoPowerInfo(key=vm, **told_anew)
    manager.ReconfigureAutostart(spec=vim.host.AutoStartManager.Config(powerInfo=[own]))


def forbidden(client: Client, vm: Any, content: Any) -> Iterator[Problem]:
    """A machine that its host starts by itself, where our role may not keep it from doing so. Nothing is done."""
    found = told(client, vm, content)
    if found is None:
        return
    host = client.raw(vm, HOST, content=content)
    session = client.raw(content.sessionManager, "currentSession", content=content)
    told_of = content.authorizationManager.HasPrivilegeOnEntities([host], session.key, [PRIVILEGE])
    granted = any(one.isGranted for entity in told_of or () for one in entity.privAvailability or ())
    if not granted:
        what = f"it starts {found.words}, and our role may not switch that off: the privilege {PRIVILEGE} is missing"
        fix = "Give the role of this user that privilege on the host, or take the machine out of its automatic start."
        yield Problem("power", what, fix)


def _manager(client: Client, vm: Any, content: Any) -> Any:
    """That of its host; None for a machine without one, and where it is not ours to see."""
    host = client.raw(vm, HOST, content=content)
    return client.raw(host, MANAGER, content=content) if host is not None else None
