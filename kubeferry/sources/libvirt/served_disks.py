"""Disks that a server has, as the hypervisor reaches them: asked through its own QEMU, let in with libvirt's secrets.

A secret is asked of libvirt for as long as a program needs it, and handed to that program on its standard input: it is
in no document, in no file and on no command line. One that libvirt keeps to itself (`private`) cannot be had.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping

import libvirt

from kubeferry.errors import KubeferryError, Problem, SourceRefused
from kubeferry.images.network import Login, Logins, is_read, node
from kubeferry.model import Disk, DiskRef
from kubeferry.sources.libvirt.domain.network import Access, accesses
from kubeferry.sources.libvirt.guest import is_lost
from kubeferry.sources.libvirt.hosts import Host

_USAGES = {"iscsi": libvirt.VIR_SECRET_USAGE_TYPE_ISCSI, "ceph": libvirt.VIR_SECRET_USAGE_TYPE_CEPH}
_FIX = (
    "Look at it from the hypervisor (`qemu-img info`): its QEMU needs its drivers for that (Debian: qemu-block-extra), "
    "the server must be there, and let it in as the domain says."
)


def logins(domain: libvirt.virDomain, disks: Mapping[str, str | None]) -> Logins:
    """How the hypervisor is let in to those of these disks (their URIs, by id) that servers have. Raises SourceRefused
    where libvirt does not give a secret."""
    wanted = [disk for disk, uri in disks.items() if is_read(uri)]
    if not wanted:
        return {}
    told = accesses(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if domain.isPersistent() else 0))
    return {disk: _login(domain, disk, told.get(disk, Access())) for disk in wanted}


def of_refs(domain: libvirt.virDomain, refs: Mapping[str, DiskRef]) -> Logins:
    """The same, of references to disks."""
    return logins(domain, {disk: ref.uri for disk, ref in refs.items()})


def problems(domain: libvirt.virDomain, refs: Mapping[str, DiskRef], host: Host) -> Iterator[Problem]:
    """What speaks against reading those that servers have; `where` is the disk's id. They are opened for that, to be
    read only."""
    for disk, ref in refs.items():
        try:
            for login in logins(domain, {disk: ref.uri}).values():
                size = _size(ref.uri, login, host)
                if ref.size_bytes not in {None, size}:
                    yield Problem(disk, f"its server has {size} bytes of it, and libvirt says {ref.size_bytes}", _FIX)
        except KubeferryError as error:
            yield Problem(disk, f"{error.reason}: {error.why}", error.fix)


def with_size(domain: libvirt.virDomain, disk: Disk, host: Host) -> Disk:
    """The disk with its size, where a server has it and libvirt does not ask that one; unknown where it cannot be
    asked."""
    if disk.capacity_bytes is None and is_read(disk.uri):
        with contextlib.suppress(KubeferryError):
            for login in logins(domain, {disk.id: disk.uri}).values():
                return disk.model_copy(update={"capacity_bytes": _size(disk.uri or "", login, host)})
    return disk


def _login(domain: libvirt.virDomain, disk: str, access: Access) -> Login:
    secret = _secret(domain, disk, access) if access.uuid or access.usage else None
    return Login(access.initiator, access.config, access.user, secret)


def _secret(domain: libvirt.virDomain, disk: str, access: Access) -> bytes:
    connection = domain.connect()
    try:
        if access.uuid:
            return bytes(connection.secretLookupByUUIDString(access.uuid).value())
        kind = _USAGES.get(access.kind, libvirt.VIR_SECRET_USAGE_TYPE_NONE)
        return bytes(connection.secretLookupByUsage(kind, access.usage).value())
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
        raise SourceRefused(
            f"libvirt does not give the secret that {disk} is opened with",
            why=error.get_error_message() or str(error),
            fix="Define it anew without private='yes', and set its value; or copy the disk to an image of its own.",
            machine=domain.name(),
            disk=disk,
        ) from error


def _size(uri: str, login: Login, host: Host) -> int:
    """The size of a disk as its server says it, in bytes. Raises SourceRefused where it cannot be opened."""
    image = json.dumps(node(uri, login), sort_keys=True)
    done = host.ask(["qemu-img", "info", "--output=json", *login.words, f"json:{image}"], login.stdin)
    with contextlib.suppress(ValueError, TypeError, KeyError):
        if not done.code:
            return int(json.loads(done.out)["virtual-size"])
    why = " ".join(done.err.split()) or f"qemu-img ended with exit code {done.code}"
    raise SourceRefused(f"{uri} cannot be opened on its hypervisor", why=why, fix=_FIX)
