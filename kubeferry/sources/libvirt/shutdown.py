"""Stopping a domain: what its guest says last, and the ways to stop it, gentlest first."""

from __future__ import annotations

import contextlib
import functools
import time
from enum import Enum

import libvirt

from kubeferry.documents import StopPolicy
from kubeferry.inside import agent
from kubeferry.outside import clock, stopping
from kubeferry.sources import Hear
from kubeferry.sources.libvirt.guest import ask, read_file

FORCED_STOP_SECONDS = 30.0
POLL_SECONDS = 0.2
_NO_WAY = frozenset(
    {
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_NO_SUPPORT,
    }
)


def listen(domain: libvirt.virDomain, policy: StopPolicy, hear: Hear) -> str | None:
    """Hear what the guest says; returns when it was heard last, None if never."""
    if ask(domain, "guest-ping") is None:
        return None
    said = agent.said(functools.partial(ask, domain), policy.services or ())
    words = {path: text for path in policy.last_words if (text := read_file(domain, path)) is not None}
    at = clock.now()
    hear(words, at, said)
    return at


def stop(domain: libvirt.virDomain, policy: StopPolicy) -> str | None:
    """The ways to stop, gentlest first; returns the one that worked.

    A guest that goes down at once takes its agent along before that has answered, and QEMU its monitor: what was asked
    and failed may have been heard. So the last of the gentle ways is waited for in any case, and for as long as an
    agent that is there is to have.
    """
    agent = _asked(domain, libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    if agent is Asked.TAKEN and _is_off_within(domain, policy.agent_seconds):
        return "agent"
    button = _asked(domain, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    lost = policy.agent_seconds if agent is Asked.PERHAPS else 0.0
    if _is_off_within(domain, max(policy.acpi_seconds, lost)):
        return "agent" if button is not Asked.TAKEN and agent is not Asked.NOT else "acpi"
    if policy.force:
        with contextlib.suppress(libvirt.libvirtError):
            domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        if domain.isActive():
            domain.destroy()
        return "forced" if _is_off_within(domain, FORCED_STOP_SECONDS) else None
    return None


class Asked(Enum):
    """What became of a request to stop."""

    TAKEN, PERHAPS, NOT = range(3)


def _asked(domain: libvirt.virDomain, way: int) -> Asked:
    """A machine that has no such way says so; any other failure may have come after the guest heard it. A lost
    connection shows in the next look."""
    try:
        domain.shutdownFlags(way)
    except libvirt.libvirtError as error:
        return Asked.NOT if error.get_error_code() in _NO_WAY else Asked.PERHAPS
    return Asked.TAKEN


def _is_off_within(domain: libvirt.virDomain, seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while domain.isActive():
        if time.monotonic() > limit:
            return False
        stopping.pause(POLL_SECONDS)
    return True
