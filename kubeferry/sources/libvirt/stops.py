"""What a stop of a domain meets, and whether there is a way back from it: asked while it runs, and nothing is done.

What libvirt's access driver allows an account (polkit) cannot be asked beforehand: it is asked at the deed.
"""

from __future__ import annotations

from collections.abc import Iterator

import libvirt

from kubeferry.errors import Problem
from kubeferry.model import Power
from kubeferry.sources.facts.xml_tree import read_tree
from kubeferry.sources.libvirt.domain.dialect import DOMAIN
from kubeferry.sources.libvirt.guest import is_lost, power_of

# A flag that no libvirt knows: a connection that may write refuses it as such, one that may not as a whole.
UNKNOWN_FLAG = 1 << 30


def unstoppable(domain: libvirt.virDomain) -> Iterator[Problem]:
    """What keeps a machine from being stopped so that its disks are whole and it can come back."""
    if not domain.isPersistent():
        fix = "Make it persistent first: `virsh dumpxml NAME > f.xml; virsh define f.xml`."
        yield Problem("domain", "it is transient and would vanish when it stops", fix)
    yield from saved(domain)
    if power_of(domain) is Power.PAUSED:
        yield Problem("power", "it is paused and cannot shut down", "Resume it, or power it off by hand.")
    yield from _read_only(domain)
    if domain.isActive():
        yield from _stays_up(domain)


def saved(domain: libvirt.virDomain) -> Iterator[Problem]:
    """A machine whose memory was saved is off, but goes on from there: what it had not written yet is in the memory."""
    if domain.isPersistent() and domain.hasManagedSaveImage():
        fix = "Start it, or drop the saved memory with `virsh managedsave-remove`."
        yield Problem("power", "its memory is saved: its disks alone are not whole", fix)


def _read_only(domain: libvirt.virDomain) -> Iterator[Problem]:
    """A connection that may only look: nothing can be stopped by it, nor started again. Asked for a start with a flag
    that does not exist, which no libvirt carries out."""
    try:
        domain.createWithFlags(UNKNOWN_FLAG)
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED:
            fix = "Connect to the socket that may write, as a user who may manage machines (a member of group libvirt)."
            yield Problem("connection", "libvirt lets us look only: it cannot be stopped, nor started again", fix)


def _stays_up(domain: libvirt.virDomain) -> Iterator[Problem]:
    """A running machine that does not stay off when it shuts down."""
    said = read_tree(domain.XMLDesc(0), "domain", DOMAIN).value("on_poweroff") or "destroy"
    if said != "destroy":
        fix = "Set <on_poweroff>destroy</on_poweroff> in its definition and start it anew."
        yield Problem("power", f"a shutdown does not switch it off: its on_poweroff is {said}", fix)
