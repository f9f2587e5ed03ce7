"""What starts a domain with its host: a flag beside its definition, and in newer versions another one for the next
start of the host alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from kubeferry.model import Autostart

ALWAYS, ONCE = "autostart", "autostartOnce"
_WORDS = {ALWAYS: "with its host", ONCE: "with the next start of its host"}
_UNKNOWN = frozenset({libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_RPC})


def told(domain: libvirt.virDomain) -> Autostart | None:
    """What is set of a domain; None where nothing is, and for one that vanishes when it stops."""
    if not domain.isPersistent():
        return None
    settings = {name: "yes" for name, is_set in _flags(domain) if is_set}
    return Autostart(words=" and ".join(_WORDS[name] for name in settings), settings=settings) if settings else None


def put(domain: libvirt.virDomain, wanted: Autostart | None) -> None:
    """Let both be as wanted. Raises libvirtError where that is not allowed."""
    settings = wanted.settings if wanted else {}
    setters: dict[str, Callable[[int], Any]] = {ALWAYS: domain.setAutostart}
    setters[ONCE] = getattr(domain, "setAutostartOnce", domain.setAutostart)
    for name, is_set in _flags(domain):
        if is_set != (name in settings):
            setters[name](int(name in settings))


def _flags(domain: libvirt.virDomain) -> list[tuple[str, bool]]:
    """What libvirt tells of a domain, by name; what this version of it, or that of its host, does not know is not
    told."""
    flags = [(ALWAYS, bool(domain.autostart()))]
    once = getattr(domain, "autostartOnce", None)
    if once is not None:
        try:
            flags.append((ONCE, bool(once())))
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _UNKNOWN:
                raise
    return flags
