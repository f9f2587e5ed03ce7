"""libvirtd on a machine that has no init system, or has not started it: started here, and ended here.

Two things that an init system does are made up for: somebody collects the processes of machines that ended, and
/dev/kvm has the group that Debian gives it.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from kubeferry.errors import SourceUnavailable
from kubeferry.outside.process import alive, detached, end_detached, run

URI = "qemu:///system"
# In the order of their start: libvirtd writes its machines' serial lines through virtlogd.
DAEMONS = ("virtlogd", "libvirtd")
# What a machine must have for all this, and for the machines themselves.
PROGRAMS = (*DAEMONS, "virsh", "tini", "qemu-system-x86_64", "qemu-img")
START_SECONDS = 20
SOCKETS = Path("/run/libvirt")
KVM_DEVICE = Path("/dev/kvm")
KVM_NOTE = "kvm.json"
# Machines leave libvirtd's family when they start. Where process 1 does not collect the dead (containers, small VMs),
# libvirtd would wait half a minute for each machine that ended: this parent collects them.
REAPER = ("tini", "-s", "--")


def virsh(*arguments: str, timeout: float = 60) -> str:
    """What virsh says. Raises ProgramFailed."""
    return run(["virsh", "-q", "-c", URI, *arguments], timeout=timeout).out


def answers() -> bool:
    """Whether a libvirtd answers."""
    return run(["virsh", "-q", "-c", URI, "uri"], check=False, timeout=30).code == 0


@contextlib.contextmanager
def running(folder: Path) -> Iterator[None]:
    """libvirtd answers for as long as the block lasts; what was started for it is ended with it."""
    start(folder)
    try:
        yield
    finally:
        stop(folder)


def start(folder: Path) -> list[str]:
    """Make sure that libvirtd answers; returns the daemons that were started, their pids kept in `folder`."""
    if answers():
        return []
    if os.geteuid() != 0:
        raise SourceUnavailable(f"{URI} does not answer", fix="Start libvirtd, or run this as root.")
    started = []
    for program in DAEMONS:
        if not _listening(program):
            if program == "libvirtd":
                _open_kvm(folder)
            detached(
                [*REAPER, f"/usr/sbin/{program}"], pidfile=_pidfile(folder, program), log=folder / f"{program}.log"
            )
            _wait_for(program, folder)
            started.append(program)
    if not answers():
        raise SourceUnavailable(f"{URI} does not answer", why=_tail(folder, "libvirtd"))
    return started


def stop(folder: Path) -> list[str]:
    """End those daemons that `start` started here, unless another's machine runs by now; returns lines about it."""
    ours = [program for program in DAEMONS if alive(_pidfile(folder, program), program=program)]
    if ours and answers() and (others := virsh("list", "--name").split()):
        return [f"{', '.join(ours)} left running for {', '.join(others)}"]
    lines = [f"{program} ended" for program in reversed(DAEMONS) if _end(folder, program)]
    return [*lines, *_close_kvm(folder)]


def _end(folder: Path, program: str) -> bool:
    return end_detached(_pidfile(folder, program), program=program)


def _open_kvm(folder: Path) -> None:
    """Give /dev/kvm the group and mode that udev would have given it, and remember what it had.

    Else QEMU's own user cannot open it but libvirtd can, and libvirtd looks at QEMU's abilities anew for each call: ten
    seconds each time.
    """
    if not KVM_DEVICE.exists():
        return
    was = KVM_DEVICE.stat()
    group = grp.getgrnam("kvm").gr_gid
    if was.st_gid != group and not was.st_mode & 0o006:
        (folder / KVM_NOTE).write_text(json.dumps({"gid": was.st_gid, "mode": stat.S_IMODE(was.st_mode)}))
        os.chown(KVM_DEVICE, -1, group)
        KVM_DEVICE.chmod(0o660)


def _close_kvm(folder: Path) -> list[str]:
    note = folder / KVM_NOTE
    if not note.exists():
        return []
    was = json.loads(note.read_text())
    KVM_DEVICE.chmod(was["mode"])
    os.chown(KVM_DEVICE, -1, was["gid"])
    note.unlink()
    return [f"{KVM_DEVICE} has its group and mode again"]


def _pidfile(folder: Path, program: str) -> Path:
    return folder / f"{program}.pid"


def _listening(program: str) -> bool:
    """Whether the daemon takes connections on its control socket."""
    path = SOCKETS / {"virtlogd": "virtlogd-sock", "libvirtd": "libvirt-sock"}[program]
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _wait_for(program: str, folder: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while not _listening(program):
        if alive(_pidfile(folder, program), program=program) is None or time.monotonic() > limit:
            raise SourceUnavailable(f"{program} did not start", why=_tail(folder, program))
        time.sleep(0.05)


def _tail(folder: Path, program: str) -> str:
    log = folder / f"{program}.log"
    return log.read_text(errors="replace")[-2000:].strip() if log.exists() else ""
