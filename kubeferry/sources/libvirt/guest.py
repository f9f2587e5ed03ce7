"""Talking to a guest's agent through libvirt, and the words for libvirt's own states and errors."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import libvirt
import libvirt_qemu

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.inside import agent
from kubeferry.model import Guest, Power
from kubeferry.sources import Inside

AGENT_SECONDS = 5
FILE_LIMIT_BYTES = 64 * 1024
WORD_LIMIT = 255

POWERS = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,  # on its way down, not there yet
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}

# The connection is gone, or was never made: the next call may find it again.
_LOST = frozenset({libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_INVALID_CONN})
_LOST_FROM = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})


def power_of(domain: libvirt.virDomain) -> Power:
    """The power state of a domain at this moment."""
    return POWERS.get(domain.state()[0], Power.UNKNOWN)


def is_lost(error: libvirt.libvirtError) -> bool:
    """Whether an error says that the connection, not the request, is at fault."""
    return error.get_error_code() in _LOST or error.get_error_domain() in _LOST_FROM


def translated(error: libvirt.libvirtError, uri: str, machine: str) -> KubeferryError:
    """libvirt's error as one of ours."""
    said = error.get_error_message() or str(error)
    if is_lost(error):
        host = urlsplit(uri).hostname
        start = f"on {host}, see that this host may log in there" if host else "(`systemctl start libvirtd`)"
        fix = f"Start libvirtd {start}, and run the same command again."
        return SourceUnavailable(f"libvirt at {uri} does not answer", why=said, fix=fix, machine=machine)
    if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        fix = "Let what is being done to the machine end (`virsh domjobinfo`), and run the same command again."
        return SourceUnavailable("libvirt is busy with the machine", why=said, fix=fix, machine=machine)
    if error.get_error_code() == libvirt.VIR_ERR_NO_CONNECT:
        fix = "Write a URI such as qemu:///system."
        return SourceRefused(f"libvirt knows no {uri}", why=said, fix=fix, machine=machine)
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        fix = "Discover and plan again, or define it again."
        return SourceRefused("the source has no such machine any more", why=said, fix=fix, machine=machine)
    if not machine:
        fix = f"See what `virsh --connect {uri} list` says, and correct the source's `uri` or what it names."
        return SourceRefused(f"libvirt refused {uri}", why=said, fix=fix)
    fix = "Look at the machine with `virsh`, settle it, and run the same command again."
    return SourceRefused("libvirt refused", why=said, fix=fix, machine=machine)


def ask(domain: libvirt.virDomain, command: str, *, patience: int = AGENT_SECONDS, **arguments: Any) -> Any:
    """One command to the guest agent; its answer, or None when it does not answer in time or does not know it.
    `patience` is in seconds.

    Raises libvirtError only when the connection to libvirt is lost.
    """
    request = {"execute": command} | ({"arguments": arguments} if arguments else {})
    try:
        return json.loads(libvirt_qemu.qemuAgentCommand(domain, json.dumps(request), patience, 0))["return"]
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
        return None
    except (ValueError, KeyError, TypeError):
        return None


def inside(domain: libvirt.virDomain, uri: str, machine: str) -> Inside:
    """The ways to the system in a running domain: its agent, and the addresses that this or libvirt's own networks
    tell. Raises libvirtError only when the connection is lost."""

    def asked(command: str, **arguments: Any) -> Any:
        try:
            return ask(domain, command, **arguments)
        except libvirt.libvirtError as error:
            raise translated(error, uri, machine) from error

    cards = agent.cards(ask(domain, "guest-network-get-interfaces"))
    told = [address for card in cards for address in card.addresses]
    return Inside(tuple(dict.fromkeys((*told, *_leased(domain)))), asked)


def _leased(domain: libvirt.virDomain) -> list[str]:
    """What libvirt's own DHCP servers have given it."""
    try:
        found = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE)
    except libvirt.libvirtError as error:
        if is_lost(error):
            raise
        return []
    return [str(one["addr"]) for card in found.values() for one in card.get("addrs") or ()]


def read_file(domain: libvirt.virDomain, path: str) -> str | None:
    """A small text file in the guest; None when the agent does not give it. At most 64 KiB are read."""
    handle = ask(domain, "guest-file-open", path=path, mode="r")
    if handle is None:
        return None
    answer = ask(domain, "guest-file-read", handle=handle, count=FILE_LIMIT_BYTES)
    ask(domain, "guest-file-close", handle=handle)
    return content(answer)


def content(answer: Any) -> str | None:
    """The text in a guest's answer; None where it holds none, whatever else the guest made up."""
    try:
        return base64.b64decode(answer["buf-b64"])[:FILE_LIMIT_BYTES].decode("utf-8", "replace")
    except (KeyError, TypeError, ValueError):
        return None


def word(answer: Any, *names: str) -> str | None:
    """The first of these that a guest's answer holds, cut to a name's length, in characters that a document can hold:
    the guest may say anything."""
    told = answer if isinstance(answer, dict) else {}
    found = next((value for name in names if isinstance(value := told.get(name), str) and value), None)
    return None if found is None else found[:WORD_LIMIT].encode("utf-8", "replace").decode()


def facts(domain: libvirt.virDomain, known: Guest) -> Guest:
    """What the running guest says of itself, added to what its definition says."""
    if not known.agent_channel:
        return known
    if ask(domain, "guest-ping") is None:
        return known.model_copy(update={"agent_answers": False})
    system = ask(domain, "guest-get-osinfo")
    return known.model_copy(
        update={
            "agent_answers": True,
            "os_name": word(system, "pretty-name", "name"),
            "kernel": word(system, "kernel-release"),
            "hostname": word(ask(domain, "guest-get-host-name"), "host-name"),
        }
    )
