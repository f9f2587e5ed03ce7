"""The libraries that come with an extra of ours: one that is not there is told in a line, and what brings it.

What is installed and cannot be loaded lacks a library of the system, and that has another cure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from kubeferry.errors import ToolMissing


@dataclass(frozen=True, slots=True)
class Library:
    """`project` is its name at the package index, `extra` ours that brings it, `system` the Debian packages that it is
    loaded from, `build` those that it is compiled with."""

    project: str
    extra: str
    system: str = ""
    build: str = ""


_LIBVIRT = Library("libvirt-python", "libvirt", "libvirt0", "libvirt-dev pkg-config gcc python3-dev")
_VMWARE = Library("pyvmomi", "vmware")
_AWS = Library("boto3", "aws")
_UEFI = Library("uefivars", "aws")
BY_MODULE = {
    "libvirt": _LIBVIRT,
    "libvirt_qemu": _LIBVIRT,
    "libvirtmod": _LIBVIRT,
    "libvirtmod_qemu": _LIBVIRT,
    "pyVmomi": _VMWARE,
    "pyVim": _VMWARE,
    "boto3": _AWS,
    "botocore": _AWS,
    "pyuefivars": _UEFI,
    "google_crc32c": _UEFI,
}


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """For the imports in the block. Raises ToolMissing for a library of an extra that is not there, or not loadable;
    another import that fails is a fault of ours, and is let through."""
    try:
        yield
    except ImportError as error:
        library = BY_MODULE.get((error.name or "").partition(".")[0])
        if library is None:
            raise
        raise told(library, error) from error


def told(library: Library, error: ImportError) -> ToolMissing:
    """What is missing, and the command that brings it."""
    if isinstance(error, ModuleNotFoundError):
        first = f"apt-get install {library.build} && " if library.build else ""
        fix = f"{first}pipx inject kubeferry {library.project} (without pipx: pip install {library.project})"
        return ToolMissing(f"{library.project} is not installed: it comes with the extra `{library.extra}`", fix=fix)
    again = f"pipx inject --force kubeferry {library.project}"
    fix = f"apt-get install {library.system}" if library.system else again
    return ToolMissing(f"{library.project} cannot be loaded", why=str(error), fix=fix)
