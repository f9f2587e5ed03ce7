"""Disks of a domain that a server has: where they are, and how the hypervisor is let in there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from kubeferry.images.network import SCHEMES
from kubeferry.sources.facts.xml_tree import Node, read_tree
from kubeferry.sources.libvirt.domain.dialect import DOMAIN

_SECRETS = {"iscsi", "ceph"}


@dataclass(frozen=True, slots=True)
class Access:
    """How a domain says that its hypervisor is let in. The secret itself is libvirt's: `uuid` and `usage` only say
    which one it is, by its UUID or by what it is for; `kind` is libvirt's word for that (iscsi, ceph)."""

    initiator: str = ""
    config: str = ""
    user: str = ""
    kind: str = ""
    uuid: str = ""
    usage: str = ""


def uri_of(source: Node) -> str | None:
    """`rbd://mon1:6789,mon2:6789/pool/image`; a server behind a socket is `nbd+unix:///name?socket=/run/nbd`."""
    protocol, name = source.value(".@protocol"), source.value(".@name")
    if protocol is None:
        return None
    hosts, asked, transport = [], [], None
    for host in source.all("host"):
        transport = host.value(".@transport") or transport
        if (socket := host.value(".@socket")) is not None:
            asked = [f"socket={quote(socket)}"]
        if (address := host.value(".@name")) is not None:
            bracketed = f"[{address}]" if ":" in address else quote(address, safe="")
            port = host.value(".@port")
            hosts.append(f"{bracketed}:{port}" if port else bracketed)
    if protocol == "rbd" and (snapshot := source.value("snapshot@name")) is not None:
        asked.append(f"snapshot={quote(snapshot, safe='')}")
    scheme = protocol if transport in {None, "tcp"} else f"{protocol}+{transport}"
    path = quote((name or "").lstrip("/"))
    return f"{scheme}://{','.join(hosts)}/{path}" + (f"?{'&'.join(asked)}" if asked else "")


def read_access(disk: Node) -> Access:
    """How a disk's hypervisor is let in; nothing for a disk of another kind. It says nothing of the machine, and counts
    as read."""
    source = disk.child("source")
    if disk.peek(".@type") != "network" or source.peek(".@protocol") not in SCHEMES:
        return Access()
    auth = next((one for one in (disk.child("auth"), source.child("auth")) if one.present), disk.child("auth"))
    secret = auth.child("secret")
    return Access(
        initiator=source.value("initiator/iqn@name") or "",
        config=source.value("config@file") or "",
        user=auth.value(".@username") or "",
        kind=secret.word(".@type", _SECRETS) or "",
        uuid=secret.value(".@uuid") or "",
        usage=secret.value(".@usage") or "",
    )


def accesses(xml: str) -> dict[str, Access]:
    """How the hypervisor is let in to each disk of a domain's XML, by the disk's id."""
    root = read_tree(xml, "domain", DOMAIN)
    return {disk.peek("target@dev") or "": read_access(disk) for disk in root.all("devices/disk")}
