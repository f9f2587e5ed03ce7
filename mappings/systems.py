"""The system inside a machine: its family and its age, from whatever words the source has for it.

Sources speak differently: libosinfo's URLs, vSphere's guest ids, an OVF's description, the agent's pretty name, a
kernel's release. Each is looked at; what none of them tells is unknown (None), never guessed.
"""

from __future__ import annotations

import re

from kubeferry.model import Guest, Machine

# The last version of each system whose own drivers know virtio 0.9 only. Linux learned virtio 1 with 4.0 (in 2015);
# RHEL 7 has it in its 3.10. Windows before 6.0 has only the old driver packages.
_LAST_LEGACY = (
    (r"rhel|red ?hat(?: enterprise linux)?|centos|oracle ?linux|oracle\.com/ol|scientific(?: ?linux)?", 6),
    (r"debian", 8),
    (r"ubuntu", 14),
    (r"sles|sled|suse linux enterprise(?: server| desktop)?", 11),
    (r"fedora", 20),
)
_LEGACY_WINDOWS = re.compile(
    r"winxp|winnet|win2000|winnt|microsoft\.com/win/(xp|2k3|2k\b)|windows (xp|2000|nt|server 2003)"
)
# A VMX calls Windows Server 2008 `longhorn`.
_WINDOWS = re.compile(r"microsoft|windows|\bwin(xp|net|2000|nt|vista|longhorn)|\blonghorn")
_KERNEL = re.compile(r"([0-9]+)\.([0-9]+)")
# vSphere writes the word size behind a name that has no version: `ubuntu64Guest`, and `centos64Guest` for 4 to 6.
_WORD_SIZE = 64
_VIRTIO_1_KERNEL = (4, 0)
# The last version of each system that its makers no longer mend for everybody (2026).
_LAST_ENDED = (
    (r"rhel|red ?hat(?: enterprise linux)?|oracle ?linux|oracle\.com/ol|scientific(?: ?linux)?", 7),
    (r"centos", 8),
    (r"debian", 11),
    (r"ubuntu", 20),
    (r"sles|sled|suse linux enterprise(?: server| desktop)?", 12),
)
_ENDED_WINDOWS = re.compile(
    r"win(xp|net|2000|nt|vista|longhorn)|\blonghorn|microsoft\.com/win/(xp|vista|7|8|2k(3|8|12)?\b)"
    r"|windows (xp|2000|nt|vista|7|8|server (2003|2008|2012))|windows(7|8)(server)?"
)
_LINUX = re.compile(
    r"linux|debian|ubuntu|rhel|red ?hat|centos|fedora|rocky|alma|suse|sles|\bol[0-9]|alpine|gentoo|photon|flatcar"
)
_NO_LINUX = re.compile(
    r"bsd|solaris|darwin|mac ?os|netware|\bdos\b|os/2|unixware|openserver|aix|hp-?ux|esxi?\b|vmkernel"
)


def is_windows(guest: Guest) -> bool:
    return _WINDOWS.search(_said(guest)) is not None


def is_linux(guest: Guest) -> bool | None:
    """Whether the system is a Linux; None where its words do not tell: AWS calls all but Windows `Linux/UNIX`."""
    said = _said(guest).replace("linux/unix", "")
    if _WINDOWS.search(said) or _NO_LINUX.search(said):
        return False
    return True if _LINUX.search(said) else None


def out_of_support(guest: Guest) -> bool | None:
    """Whether its makers have ended the support that all their users have; None where its version is not known."""
    said = _said(guest)
    if _WINDOWS.search(said):
        return _ENDED_WINDOWS.search(said) is not None
    for family, last in _LAST_ENDED:
        if (version := _version(said, family)) is not None:
            return version <= last
    return None


def wants_windows(machine: Machine) -> bool:
    """Whether the machine runs Windows and its source has no words for the platform, as other hypervisors have none."""
    return is_windows(machine.guest) and not machine.hyperv and not machine.features


def knows_virtio_1(guest: Guest) -> bool | None:
    """Whether the system's own drivers know virtio 1, which is all that a Q35 machine has without being asked."""
    if (kernel := _KERNEL.match(guest.kernel or "")) is not None:
        release = (int(kernel[1]), int(kernel[2]))
        return release >= _VIRTIO_1_KERNEL or ".el7" in (guest.kernel or "")
    said = _said(guest)
    if _WINDOWS.search(said):
        return _LEGACY_WINDOWS.search(said) is None
    for family, last in _LAST_LEGACY:
        if (version := _version(said, family)) is not None:
            return version > last
    return None


def _version(said: str, family: str) -> int | None:
    """The first number behind a system's name, in whichever of its words it stands."""
    for found in re.finditer(rf"(?:{family})[^0-9]{{0,24}}([0-9]{{1,4}})", said):
        number = int(found[1])
        if number == _WORD_SIZE:
            return 6 if re.match("centos|oracle", found[0]) else None
        return number
    return None


def _said(guest: Guest) -> str:
    return f"{guest.os_id or ''} {guest.os_name or ''}".lower()
