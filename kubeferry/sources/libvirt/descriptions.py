"""What people have written of a domain: its description, in its definition, and while it runs in that, too."""

from __future__ import annotations

import libvirt


def told(domain: libvirt.virDomain) -> str | None:
    """The description; None for none, and for a domain that vanishes when it stops."""
    if not domain.isPersistent():
        return None
    try:
        return str(domain.metadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise


def put(domain: libvirt.virDomain, notes: str | None) -> None:
    """Let this be the description. Raises libvirtError where that is not allowed, and for a transient domain."""
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, notes, None, None, flags)
