"""What has to be installed for the lab cluster, and why: looked at before anything is touched."""

from __future__ import annotations

import grp
import os
import shutil
from pathlib import Path

from kubeferry.errors import InputInvalid, Problem, ToolMissing
from lab.cluster import hypervisor

# Program -> Debian package and what the cluster needs it for. `lab/bootstrap cluster` installs the packages.
NEEDED = {
    "etcd": ("etcd-server", "keeps the cluster's objects"),
    "containerd": ("containerd", "runs the pods"),
    "runc": ("runc", "starts their containers"),
    "nft": ("nftables", "the rules that kube-proxy makes"),
    "openssl": ("openssl", "the cluster's certificates"),
    "ip": ("iproute2", "links and addresses of the node"),
    "unshare": ("util-linux", "the node's namespaces"),
    "losetup": ("mount", "volumes on loop devices"),
    "mkfs.ext4": ("e2fsprogs", "file systems of volumes"),
    "sysctl": ("procps", "the node's kernel settings"),
    "tini": ("tini", "process 1 of the node"),
    "gcc": ("gcc", "compiles the pause program"),
    "busybox": ("busybox-static", "the image that tests run"),
    "mmdebstrap": ("mmdebstrap", "the root file systems of images"),
    "buildah": ("buildah", "builds the mover's image"),
    "sshd": ("openssh-server", "the hypervisor's way in for movers"),
    "ssh-keygen": ("openssh-client", "the hypervisor's keys"),
    "qemu-nbd": ("qemu-utils", "serves the hypervisor's disks"),
}
NEEDED_FOR_KUBEVIRT = {
    "xz": ("xz-utils", "unpacks the archive of KubeVirt and CDI"),
}
# Where Debian puts what only root starts; not everybody has it on the search path.
ROOTS_FOLDERS = ("/usr/sbin", "/sbin")
CNI_PLUGINS = Path("/usr/lib/cni")
# Where the archives of go.dev are unpacked by custom, and where Debian's backports have it.
GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")


def require(*, kubevirt: bool) -> None:
    """Raise ToolMissing, naming every missing package, or InputInvalid where the user is not root."""
    if os.geteuid() != 0:
        fix = "Run it as root, on a machine that may be changed."
        raise InputInvalid("the lab cluster cannot run", [Problem("user", "only root can make a node", fix)])
    wanted = NEEDED | (NEEDED_FOR_KUBEVIRT if kubevirt else {})
    where = ":".join([os.environ.get("PATH", ""), *ROOTS_FOLDERS])
    missing = {entry for program, entry in wanted.items() if shutil.which(program, path=where) is None}
    if not (CNI_PLUGINS / "bridge").exists():
        missing.add(("containernetworking-plugins", "the pods' links"))
    if not any(group.gr_name == hypervisor.GROUP for group in grp.getgrall()):
        missing.add(("libvirt-daemon-system", "the group that opens the hypervisor's sockets"))
    if missing:
        reasons = "; ".join(f"{package}: {reason}" for package, reason in sorted(missing))
        names = " ".join(sorted(package for package, _ in missing))
        raise ToolMissing("the lab cluster needs more programs", why=reasons, fix=f"apt-get install {names}")


def has_go() -> bool:
    """Whether there is a Go tool."""
    return _go() is not None


def _go() -> str | None:
    return shutil.which("go") or shutil.which("go", path=":".join(GO_FOLDERS))


def go() -> str:
    """The path of the Go tool. Raises ToolMissing."""
    found = _go()
    if found is None:
        raise ToolMissing(
            "Go is not installed",
            why="the lab's Kubernetes is built from its modules",
            fix="Install Go 1.24 or newer from https://go.dev/dl/ into /usr/local/go.",
        )
    return found
