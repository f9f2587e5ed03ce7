"""What the system inside a running instance says of itself, as KubeVirt tells it.

KubeVirt asks the agent every few minutes and keeps the answers, so cards, mounts and the time zone come from there. The
clock and the services are asked here and now, by a command in the machine's pod: only where the plan needs that right
all the same.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from kubeferry.documents import Entry
from kubeferry.errors import KubeferryError
from kubeferry.inside import agent
from kubeferry.inside.said import CardSaid, MountSaid, Said
from kubeferry.targets.kubevirt.checks.rights import runs_commands
from kubeferry.targets.kubevirt.guest_access import GuestAccess

_ZONE = re.compile(r"(?P<name>[^,]*), (?P<offset>-?\d{1,6})")

Object = dict[str, Any]


def said(access: GuestAccess, entry: Entry, kept: Object | None) -> Said | None:
    """What it says of itself, with what KubeVirt has `kept` of the agent's answers; None where no agent answers."""
    if kept is None:
        return None
    found = told(kept, access.instance())
    if not runs_commands(entry):
        return found
    with contextlib.suppress(KubeferryError):
        asked = {
            "clock_ahead_seconds": agent.clock_ahead(access.ask),
            "services": agent.states(access.ask, entry.stop.services or ()),
        }
        return found.model_copy(update=asked)
    return found


def told(kept: Object, instance: Object) -> Said:
    """What KubeVirt keeps of the agent's answers (VirtualMachineInstanceGuestAgentInfo), and the instance's status."""
    hostname = kept.get("hostname")
    return Said(
        hostname=hostname if isinstance(hostname, str) and hostname else None,
        cards=_cards(instance.get("status", {}).get("interfaces")),
        mounts=_mounts((kept.get("fsInfo") or {}).get("disks")),
        time_zone=_zone(kept.get("timezone")),
    )


def _cards(interfaces: Any) -> tuple[CardSaid, ...]:
    """Those of which the agent told: without it there is no name in the guest."""
    return tuple(
        agent.card(one.get("interfaceName"), one.get("mac"), one.get("ipAddresses") or ())
        for one in interfaces or ()
        if "guest-agent" in str(one.get("infoSource"))
    )


def _mounts(disks: Any) -> tuple[MountSaid, ...]:
    return agent.in_order(
        agent.mount(one.get("mountPoint"), one.get("fileSystemType"), one.get("totalBytes")) for one in disks or ()
    )


def _zone(text: Any) -> str | None:
    """`NAME, SECONDS EAST` in words (KubeVirt's pkg/virt-launcher/virtwrap/manager.go); `, 0` where it knows none."""
    found = _ZONE.fullmatch(text) if isinstance(text, str) else None
    return agent.zone_words(found["name"], int(found["offset"])) if found and found["name"] else None
