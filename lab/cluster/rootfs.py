"""The file system below virt-launcher, virt-handler and CDI's programs: Debian sid with libvirt, QEMU and nbdkit.

From sid because virt-launcher is linked against its libvirt and libnbd. mmdebstrap checks signatures as apt does.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from kubeferry.errors import ToolMissing
from kubeferry.outside.process import run
from lab.cluster.images import archive_key
from lab.cluster.progress import say
from lab.packages import cache_folder

SUITE = "sid"
BUILD_SECONDS = 1200
PACKAGES = (
    "acl",
    "ca-certificates",
    "ethtool",
    "iproute2",
    "iptables",
    "kmod",
    "libcap2-bin",
    "libnbd0",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "nbdkit",
    "nftables",
    "ovmf",
    "passt",
    "procps",
    "qemu-system-x86",
    "qemu-utils",
    "seabios",
    "swtpm-tools",
    "util-linux",
    "xorriso",
)
# What nobody in a container reads: a third of the size.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def command(suite: str, packages: tuple[str, ...], mirror: str, dest: Path) -> list[str]:
    """The mmdebstrap call. A mirror's sid may be older than its validity: a lab prefers it to none."""
    options = ['--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=APT::Install-Recommends "false"']
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    return [
        "nice",
        "-n",
        "19",
        "mmdebstrap",
        "--variant=minbase",
        "--skip=output/dev",
        *options,
        f"--include={','.join(packages)}",
        suite,
        str(dest),
        mirror,
    ]


def ensure() -> Path:
    """KubeVirt's file system as a tar file. Raises ProgramFailed."""
    return debian(SUITE, PACKAGES)


def debian(suite: str, packages: tuple[str, ...]) -> Path:
    """A Debian with these packages as a tar file, built if it is not in the cache (about a minute)."""
    key = archive_key(suite.encode(), *(package.encode() for package in (*packages, *LEFT_OUT)))
    dest = cache_folder("images") / f"{suite}-{key}.tar"
    if not dest.exists():
        say(f"making a Debian {suite} root file system: a minute or two, once")
        with tempfile.TemporaryDirectory(dir=dest.parent) as arriving:
            built = Path(arriving) / "root.tar"
            run(command(suite, packages, _mirror(), built), timeout=BUILD_SECONDS)
            built.rename(dest)
    return dest


def read(root: Path, name: str) -> bytes:
    """The content of one file of the tar file. Raises KeyError where it is not there."""
    with tarfile.open(root) as tar:
        member = tar.extractfile(f"./{name}")
        if member is None:
            raise KeyError(name)
        return member.read()


def _mirror() -> str:
    """The Debian mirror that this machine's apt uses, whatever its suite."""
    listed = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]).out
    mirrors = [line.split()[1] for line in listed.splitlines() if line.startswith("Debian ") and "security" not in line]
    if not mirrors:
        raise ToolMissing("apt knows no Debian mirror", fix="Run `apt-get update` on a Debian machine.")
    return mirrors[0]
