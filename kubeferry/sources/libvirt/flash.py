"""The UEFI variables of a domain: the file that stands for its flash, on its hypervisor."""

from __future__ import annotations

from pathlib import Path

from kubeferry.errors import PermanentError, SourceRefused
from kubeferry.images.contents import contents
from kubeferry.images.variables import MOST_BYTES, variables_of
from kubeferry.model import Concern, Firmware, Severity
from kubeferry.sources.libvirt.hosts import Host, is_missing

LEAVE_FIX = "Look at the file; or leave them behind with keepVariables: false in the policy, and plan again."
READ_BYTES = 4 * MOST_BYTES
"""A qcow2 image is larger than the flash that it stands for."""


def variables(firmware: Firmware, machine: str, host: Host) -> bytes | None:
    """The content of the flash; None where the definition names no file, or libvirt has not made it yet, as before the
    first start. Raises SourceRefused where it cannot be read."""
    if firmware.nvram is None:
        return None
    path = Path(firmware.nvram)
    if is_missing(path, host):
        return None
    found = host.read(path, 0, READ_BYTES)
    if firmware.nvram_format != "qcow2":
        return found
    try:
        return contents(found, MOST_BYTES)
    except ValueError as error:
        raise SourceRefused(
            f"its UEFI variables in {path} cannot be read",
            why=str(error),
            fix=LEAVE_FIX,
            machine=machine,
        ) from error


def concerns(firmware: Firmware, machine: str, host: Host) -> list[Concern]:
    """One where there are variables that cannot be read as such. A plan that carries them is refused then, while the
    machine still runs."""
    try:
        found = variables(firmware, machine, host)
        if found is not None:
            variables_of(found)
    except PermanentError as error:
        what = f"{machine}: its UEFI variables cannot be carried: {error.why or error.what}"
        return [Concern(id="source.variables", severity=Severity.WARNING, what=what, fix=LEAVE_FIX)]
    return []
