"""Firmware for a machine in local QEMU: this host's code, with variables of the source where there are any.

What the source has kept is only read: a started machine writes to a copy.
"""

from __future__ import annotations

from pathlib import Path

from kubeferry.errors import ToolMissing
from kubeferry.targets.directory.layout import MachineFolder
from kubeferry.targets.directory.qemu import FirmwareNeed

# Code and empty variables, by distribution; the first pair that exists is taken.
FIRMWARE = {
    "uefi": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ),
    "uefi-secure": (
        ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ),
}


def files(need: FirmwareNeed) -> tuple[Path, Path] | None:
    """UEFI code and empty variables, None for BIOS. Raises ToolMissing where there are none."""
    if need == "bios":
        return None
    for code, variables in FIRMWARE[need]:
        if Path(code).exists() and Path(variables).exists():
            return Path(code), Path(variables)
    raise ToolMissing(f"there is no {need} firmware for QEMU here", fix="apt-get install ovmf")


def pair(folder: MachineFolder, need: FirmwareNeed) -> tuple[Path, Path] | None:
    """UEFI code and the variables to start with: those of the source where this host's code can read them, else empty
    ones. None for BIOS. Raises ToolMissing where there is no firmware."""
    found = files(need)
    if found is None or not folder.variables.exists():
        return found
    code, empty = found
    return code, folder.variables if folder.variables.stat().st_size == empty.stat().st_size else empty


def unshown(folder: MachineFolder, started_with: tuple[Path, Path] | None) -> tuple[str, ...]:
    """What of the source's variables a machine cannot show that was started with this pair."""
    if not folder.variables.exists() or (started_with is not None and started_with[1] == folder.variables):
        return ()
    return ("UEFI variables of the source (the firmware here has flash of another size)",)
