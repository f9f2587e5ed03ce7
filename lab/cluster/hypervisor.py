"""The hypervisor that pods read from: this machine's files behind a real sshd, in a network namespace of its own.

Pods reach it through the node; nothing of this machine's own network is involved. It sees this machine's /run, where
the disks' sockets are, and has one account more than this machine: `kubeferry`, which may forward sockets and has no
shell. When its process 1 ends, the kernel ends all of it, its link included.
"""

from __future__ import annotations

import contextlib
import grp
from dataclasses import dataclass
from pathlib import Path

from kubeferry.outside.process import alive, detached, end_detached, run
from lab.cluster.node import Node
from lab.cluster.place import Place
from lab.cluster.progress import wait_until

ACCOUNT = "kubeferry"
ACCOUNT_ID = 6107
GROUP = "libvirt-qemu"
ADDRESS = "10.245.2.2"
NODE_ADDRESS = "10.245.2.1"
PORT = 22
PRIVATE = Path("/run/sshd")
LINK = "hypervisor"
FAR_LINK = "uplink"
START_SECONDS = 20
# What a key that only moves disks needs: no terminal, no command, no agent; sockets of this machine, forwarded.
RESTRICTIONS = 'restrict,port-forwarding,command="/bin/false"'


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """How movers reach it. `key` is the private key's file, `host_key` what the host proves itself with."""

    host: str
    port: int
    user: str
    host_key: str
    key: Path
    group: str


def start(node: Node) -> None:
    """The sshd answers from inside the node."""
    place = node.place
    if _pid(place) is not None:
        return
    folder = _folder(place)
    folder.mkdir(parents=True, exist_ok=True)
    _write_keys(folder)
    _write_accounts(folder)
    (folder / "sshd_config").write_text(_config(folder))
    _start(place, folder)
    wait_until(lambda: _pid(place) is not None, seconds=START_SECONDS, what="the hypervisor's process 1")
    _connect(node, _pid(place) or 0)
    wait_until(lambda: _answers(node), seconds=START_SECONDS, what="the hypervisor's sshd")


def end(place: Place) -> bool:
    """It is gone; returns whether it ran."""
    ended = end_detached(_pidfile(place), program="sshd")
    with contextlib.suppress(OSError):
        PRIVATE.rmdir()  # empty unless this machine has an sshd of its own
    return ended


def find(place: Place) -> Hypervisor | None:
    """The running one."""
    if _pid(place) is None:
        return None
    folder = _folder(place)
    kind, key, *_ = (folder / "host.pub").read_text().split()
    return Hypervisor(ADDRESS, PORT, ACCOUNT, f"{kind} {key}", folder / "client", GROUP)


# --- inside ----------------------------------------------------------------------------------------------------------


def _folder(place: Place) -> Path:
    return place.state / "hypervisor"


def _pidfile(place: Place) -> Path:
    """Not beside those of the node's own daemons: it is not one of them."""
    return place.state / "hypervisor.pid"


def _pid(place: Place) -> int | None:
    return alive(_pidfile(place), program="sshd")


def _config(folder: Path) -> str:
    return f"""\
ListenAddress 0.0.0.0:{PORT}
HostKey {folder}/host
AuthorizedKeysFile {PRIVATE}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers {ACCOUNT}
AllowTcpForwarding local
AllowStreamLocalForwarding local
X11Forwarding no
LogLevel VERBOSE
"""


def _write_keys(folder: Path) -> None:
    for name in ("host", "client"):
        if not (folder / name).exists():
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"kubeferry-lab-{name}", "-f", str(folder / name)]
            )
    (folder / "authorized_keys").write_text(f"{RESTRICTIONS} {(folder / 'client.pub').read_text()}")


def _write_accounts(folder: Path) -> None:
    """This machine's accounts and one more, to be laid over the real files where only the sshd sees them."""
    group = grp.getgrnam(GROUP).gr_gid
    entry = f"{ACCOUNT}:x:{ACCOUNT_ID}:{group}:moves disks:/nonexistent:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + entry)
    # A star is a password that nothing matches; a lock would refuse keys, too.
    (folder / "shadow").touch(mode=0o600)
    (folder / "shadow").write_text(Path("/etc/shadow").read_text() + f"{ACCOUNT}:*:20000:0:99999:7:::\n")


def _start(place: Place, folder: Path) -> None:
    script = " && ".join(
        [
            # sshd wants this folder; here it is its own, and the account can read it.
            f"mkdir -p {PRIVATE} && mount -t tmpfs -o mode=755 tmpfs {PRIVATE}",
            f"cp {folder / 'authorized_keys'} {PRIVATE}/",
            *(f"mount --bind {folder / name} /etc/{name}" for name in ("passwd", "shadow")),
            "ip link set lo up",
            f"exec /usr/sbin/sshd -D -e -f {folder / 'sshd_config'}",
        ]
    )
    argv = ["unshare", "--mount", "--net", "--uts", "--", "sh", "-c", script]
    detached(argv, pidfile=_pidfile(place), log=place.log("hypervisor"))


def _connect(node: Node, pid: int) -> None:
    """A link from the node; pods find the way through it."""
    run(["ip", "link", "add", f"{LINK}0", "type", "veth", "peer", "name", f"{LINK}1"])
    run(["ip", "link", "set", f"{LINK}0", "netns", str(node.pid), "name", LINK])
    run(["ip", "link", "set", f"{LINK}1", "netns", str(pid), "name", FAR_LINK])
    node.run(["ip", "address", "add", f"{NODE_ADDRESS}/30", "dev", LINK])
    node.run(["ip", "link", "set", LINK, "up"])
    inside = ["nsenter", "--target", str(pid), "--net", "--"]
    run([*inside, "ip", "address", "add", f"{ADDRESS}/30", "dev", FAR_LINK])
    run([*inside, "ip", "link", "set", FAR_LINK, "up"])
    run([*inside, "ip", "route", "add", "default", "via", NODE_ADDRESS])


def _answers(node: Node) -> bool:
    probe = f"exec 3<>/dev/tcp/{ADDRESS}/{PORT} && head -c 4 <&3"
    return run(node.argv(["bash", "-c", probe]), check=False, timeout=10).out.startswith("SSH-")
