"""What a guest says of itself through VMware Tools. Pure: it reads the properties of `GuestInfo`.

Tools tell neither the names of cards nor the clock, and count a file system's bytes in another way than QEMU's agent:
those are left out, so that nothing is called changed that was only told by somebody else.
"""

from __future__ import annotations

from kubeferry.inside import agent
from kubeferry.inside.said import Said
from kubeferry.sources.vsphere.plain import Plain

PROPERTIES = ("guest.hostName", "guest.net", "guest.disk")


def said(props: Plain) -> Said:
    """From the values of `PROPERTIES`, some of which may be missing."""
    hostname = props.get("guest.hostName")
    return Said(
        hostname=hostname if isinstance(hostname, str) and hostname else None,
        cards=tuple(
            agent.card("", nic.get("macAddress"), nic.get("ipAddress") or ()) for nic in props.get("guest.net") or ()
        ),
        mounts=agent.in_order(
            agent.mount(disk.get("diskPath"), disk.get("filesystemType"), None)
            for disk in props.get("guest.disk") or ()
        ),
    )
