"""The UEFI variables of a domain: the file that stands for its flash, on its hypervisor."""

from __future__ import annotations

from pathlib import Path

from kubeferry.errors import SourceRefused
from kubeferry.images.contents import contents
from kubeferry.images.variables import MOST_BYTES
from kubeferry.model import Firmware
from kubeferry.sources.libvirt.hosts import Host

READ_BYTES = 4 * MOST_BYTES
"""A qcow2 image is larger than the flash that it stands for."""


def variables(firmware: Firmware, machine: str, host: Host) -> bytes | None:
    """The content of the flash; None where the definition names no file, or libvirt has not made it yet, as before the
    first start. Raises SourceRefused where it cannot be read."""
    if firmware.nvram is None:
        return None
    path = Path(firmware.nvram)
    if host.run(["test", "-e", str(path)]).code == 1:
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
            fix="Look at it with `qemu-img info`; or leave them behind: keepVariables: false in the machine's policy.",
            machine=machine,
        ) from error
