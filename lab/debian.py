"""A whole Debian with systemd, udev, tpm2-tools and its own guest agent, as the file system of a guest with services.

What an installation has and this has not: a kernel and a boot loader of its own. The lab's initramfs loads the drivers,
counts the boot, and hands over to systemd.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kubeferry.outside.process import run
from lab.cluster import rootfs

SUITE = "bookworm"
PACKAGES = ("dbus", "qemu-guest-agent", "systemd-sysv", "tpm2-tools", "udev")
PROGRAMS = ("mmdebstrap", "tar")
UNITS = "etc/systemd/system"
SCRIPTS = "usr/local/lib"
WANTED = f"{UNITS}/multi-user.target.wants"
SERVICE = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -e {script}
"""
# What is of no use to a guest that lives for a minute, and takes its processor.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer")
MACHINE_ID = "6b756265666572727900000000000001"


def root() -> Path:
    """The system as a tar file in the cache. Raises ToolMissing, ProgramFailed."""
    return rootfs.debian(SUITE, PACKAGES)


def unpack(folder: Path, name: str, units: Iterable[tuple[str, str]]) -> None:
    """Put the system into a folder, for root only: its files keep their owners. `units` are services by their names,
    and the shell's script of each, at every boot: it is active when that has ended well, until the system goes down.
    The counter of boots is found where it is in the other guests."""
    run(["tar", "--extract", "--numeric-owner", f"--file={root()}", f"--directory={folder}"], timeout=300)
    (folder / "etc/hostname").write_text(f"{name}\n")
    (folder / "etc/machine-id").write_text(f"{MACHINE_ID}\n")
    for made in ("dev", "data"):
        (folder / made).mkdir(exist_ok=True)
    (folder / "data/boots").symlink_to("../boots")
    (folder / WANTED).mkdir(parents=True, exist_ok=True)
    for unit in MASKED:
        (folder / UNITS / unit).symlink_to("/dev/null")
    for unit, does in units:
        (folder / SCRIPTS / unit).write_text(does)
        (folder / UNITS / unit).write_text(SERVICE.format(script=f"/{SCRIPTS}/{unit}"))
        (folder / WANTED / unit).symlink_to(f"/{UNITS}/{unit}")
