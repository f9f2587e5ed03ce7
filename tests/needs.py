"""What tests need of this machine. Where something is missing they skip and name it; under CI nothing may be missing.

pytestmark = needs("libvirtd", "virsh", "root")     a mark, for a module or a test
here("qemu-img")                                    at the top of a module, or inside a fixture
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from lab import iscsi
from lab.cluster.programs import has_go
from lab.vcenter import binary

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
CI = os.environ.get("CI") == "true"


def needs(*things: str) -> pytest.MarkDecorator:
    """A mark that skips where one of `things` is missing. Raises RuntimeError under CI."""
    gone = missing(*things)
    return pytest.mark.skipif(bool(gone), reason=f"missing: {', '.join(gone)}")


def here(*things: str) -> None:
    """Skip the module or the test where one of `things` is missing. Raises RuntimeError under CI."""
    if gone := missing(*things):
        pytest.skip(f"missing: {', '.join(gone)}", allow_module_level=True)


def missing(*things: str) -> list[str]:
    """Those that are not here: programs by their names, `root`, `vcenter` (the simulator, or Go to build it),
    `qemu-block-extra` (QEMU's drivers for disks on servers)."""
    gone = [thing for thing in things if not _is_here(thing)]
    if gone and CI:
        raise RuntimeError(f"missing, and CI must not skip: {', '.join(gone)}")
    return gone


def or_skip(error: Exception) -> NoReturn:
    """What a test needs could not be made: raised again under CI, else the test is skipped."""
    if CI:
        raise error
    pytest.skip(str(error))


def _is_here(thing: str) -> bool:
    if thing == "root":
        return os.geteuid() == 0
    if thing == "qemu-block-extra":
        return bool(iscsi.DRIVERS)
    if thing == "vcenter":
        return binary.path().exists() or has_go()
    return shutil.which(thing, path=PATH) is not None
