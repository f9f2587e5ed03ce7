"""The mark in a domain's metadata, under a namespace of our own: in its definition, and while it runs in that, too."""

from __future__ import annotations

from xml.sax.saxutils import escape, unescape

import libvirt

from kubeferry.marks import StopMark, read, written

URI = "urn:kubeferry:stopped"
PREFIX = "kubeferry"
_TAG = "stopped"
_GONE = frozenset({libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN})


def leave(domain: libvirt.virDomain, mark: StopMark) -> None:
    """Write the mark. Raises libvirtError where that is not allowed, and for a transient domain."""
    _set(domain, f"<{_TAG}>{escape(written(mark))}</{_TAG}>")


def found(domain: libvirt.virDomain) -> StopMark | None:
    """The mark in the definition; a transient domain has none."""
    element = _element(domain)
    return read(unescape(element.partition(">")[2].rpartition("<")[0])) if element else None


def is_there(domain: libvirt.virDomain) -> bool:
    """Whether something stands where marks do."""
    return _element(domain) is not None


def take_away(domain: libvirt.virDomain) -> bool:
    """Whether there was one."""
    there = is_there(domain)
    if there:
        _set(domain, None)
    return there


def _element(domain: libvirt.virDomain) -> str | None:
    if not domain.isPersistent():
        return None
    try:
        return str(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, URI, libvirt.VIR_DOMAIN_AFFECT_CONFIG))
    except libvirt.libvirtError as error:
        if error.get_error_code() in _GONE:
            return None
        raise


def _set(domain: libvirt.virDomain, element: str | None) -> None:
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, PREFIX, URI, flags)
