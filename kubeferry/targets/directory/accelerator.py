"""Whether hardware virtualization works here, seen and not assumed.

A device `/dev/kvm` that can be opened says little: nested and shared machines have one on which QEMU aborts or a guest
stops with an internal error. So a machine without disks is run under KVM, and its BIOS must come to its end.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

from kubeferry.errors import TargetUnavailable
from kubeferry.outside import process, stopping
from kubeferry.targets.directory import qmp
from kubeferry.targets.directory.qemu import PROGRAM

KVM_DEVICE = Path("/dev/kvm")
TRIAL_SECONDS = 2.0
BIOS_END = "No bootable device"


@functools.cache
def usable() -> Literal["kvm", "tcg"]:
    """`kvm` where a machine was seen to run with it, else `tcg`. Tried once a process, in about two seconds."""
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return "tcg"
    with tempfile.TemporaryDirectory(prefix="kubeferry-kvm-") as folder:
        return "kvm" if runs(Path(folder), "kvm", "host") else "tcg"


def runs(folder: Path, accelerator: str, cpu: str) -> bool:
    """Whether a machine without disks comes through its BIOS and still runs. Leaves files in `folder`."""
    debug, socket = folder / "bios.log", folder / "qmp"
    argv = [PROGRAM, "-machine", f"q35,accel={accelerator}", "-cpu", cpu, "-m", "64M", "-nodefaults", "-no-user-config"]
    argv += [
        "-display",
        "none",
        "-chardev",
        f"file,id=debug,path={debug}",
        "-device",
        "isa-debugcon,iobase=0x402,chardev=debug",
    ]
    argv += ["-qmp", f"unix:{socket},server=on,wait=off"]
    deadline = time.monotonic() + TRIAL_SECONDS
    with process.child(argv, log=folder / "qemu.log") as machine:
        while machine.poll() is None and time.monotonic() < deadline:
            if debug.exists() and BIOS_END in debug.read_text(errors="replace"):
                return _is_running(socket)
            stopping.pause(0.05)
    return False


def _is_running(socket: Path) -> bool:
    try:
        with qmp.connect(socket, timeout=2) as monitor:
            return monitor.status() == "running"
    except TargetUnavailable:
        return False
