"""KubeVirt's images, from its programs and Debian: what upstream's images hold, where virt-launcher looks for it."""

from __future__ import annotations

from pathlib import Path

from kubeferry.targets.directory import accelerator
from lab.cluster import rootfs
from lab.cluster.archive import Image, Layer, LayerWriter, read_layer
from lab.cluster.bundle import Bundle

REPOSITORY = "localhost/kubevirt"
TAG = "lab"
SMALL = ("virt-operator", "virt-api", "virt-controller", "virt-exportproxy", "virt-synchronization-controller")
LAUNCHER_PROGRAMS = (
    "virt-launcher",
    "virt-launcher-monitor",
    "virt-probe",
    "virt-freezer",
    "virt-tail",
    "container-disk",
)
# The user that KubeVirt and CDI run guests and importers as, and the one of the programs that need no rights at all.
QEMU = 107
NOBODY = 1001
USERS = """\
root:x:0:0:root:/root:/bin/sh
qemu:x:107:107::/home/qemu:/bin/sh
nonroot-user:x:1001:1001::/home/nonroot-user:/bin/sh
libvirt-qemu:x:64055:64055::/nonexistent:/bin/false
nobody:x:65534:65534::/nonexistent:/bin/false
"""
# libvirtd of Debian asks for libvirt-qemu when it starts, although its configuration names qemu.
GROUPS = """\
root:x:0:
tty:x:5:
qemu:x:107:
kvm:x:992:qemu
libvirt:x:994:
nonroot-user:x:1001:
libvirt-qemu:x:64055:
nogroup:x:65534:
"""
# Version 2 of the kernel's format, effective, with the bit of CAP_NET_BIND_SERVICE (10) permitted.
NET_BIND_SERVICE = bytes.fromhex("0100000200040000000000000000000000000000")
# Debian has the one libvirtd for everything, KubeVirt starts and asks virtqemud: the same program under that name, and
# its sockets under both.
VIRTQEMUD = """\
#!/bin/sh
mkdir -p /var/run/libvirt
for kind in sock sock-ro admin-sock; do
    ln -sfn libvirt-$kind /var/run/libvirt/virtqemud-$kind
done
exec /usr/lib/lab/virtqemud "$@"
"""
# KubeVirt looks for firmware where Fedora has it. Its names -> Debian's.
FIRMWARE = {
    "OVMF_CODE.fd": "OVMF_CODE_4M.fd",
    "OVMF_VARS.fd": "OVMF_VARS_4M.fd",
    "OVMF_CODE.secboot.fd": "OVMF_CODE_4M.secboot.fd",
    "OVMF_VARS.secboot.fd": "OVMF_VARS_4M.ms.fd",
}


def build(bundle: Bundle, root: Path, base: Layer, work: Path) -> list[Image]:
    """All images of KubeVirt. `base` is the layer of the tar file `root`; new layers are written into `work`."""
    images = [_small(bundle, name, work) for name in SMALL]
    return [*images, _handler(bundle, base, work), _launcher(bundle, root, base, work)]


def image_name(program: str) -> str:
    """The name that the operators' manifests use."""
    return f"{REPOSITORY}/{program}:{TAG}"


def write_users(files: LayerWriter) -> None:
    """The users, and /var/run as a relative link: an absolute one leads out of the image when mounts are prepared."""
    files.text("etc/passwd", USERS)
    files.text("etc/group", GROUPS)
    files.link("var/run", "../run")


def node_labeller(script: str) -> str:
    """KubeVirt's script that asks libvirt about the node. It takes a /dev/kvm that is there for one that works."""
    chosen = "VIRTTYPE=${PREFERRED_VIRTTYPE}"
    if chosen not in script:
        raise ValueError(f"the node labeller has no line {chosen!r}")
    return script if accelerator.usable() == "kvm" else script.replace(chosen, "VIRTTYPE=qemu")


def _small(bundle: Bundle, name: str, work: Path) -> Image:
    path = work / f"{name}.layer"
    with LayerWriter(path) as files:
        files.program(f"usr/bin/{name}", bundle.program(name))
        files.folder("tmp", mode=0o1777)
        write_users(files)
    return Image(image_name(name), (read_layer(path),), entrypoint=(f"/usr/bin/{name}",), user=str(NOBODY))


def _handler(bundle: Bundle, base: Layer, work: Path) -> Image:
    path = work / "virt-handler.layer"
    with LayerWriter(path) as files:
        for name in ("virt-handler", "virt-chroot"):
            files.program(f"usr/bin/{name}", bundle.program(name))
        write_users(files)
    return Image(image_name("virt-handler"), (base, read_layer(path)), entrypoint=("/usr/bin/virt-handler",))


def _launcher(bundle: Bundle, root: Path, base: Layer, work: Path) -> Image:
    path, conf = work / "virt-launcher.layer", bundle.folder / "kubevirt" / "conf"
    with LayerWriter(path) as files:
        write_users(files)
        for name in LAUNCHER_PROGRAMS:
            capability = NET_BIND_SERVICE if name == "virt-launcher-monitor" else b""
            files.program(f"usr/bin/{name}", bundle.program(name), capability=capability)
        files.text("usr/bin/node-labeller.sh", node_labeller((conf / "node-labeller.sh").read_text()), mode=0o755)
        files.folder("home/qemu", owner=QEMU)
        for name in ("qemu.conf", "virtqemud.conf"):
            files.text(f"etc/libvirt/{name}", (conf / name).read_text())
        files.folder("etc/libvirt/hooks", owner=QEMU)
        files.program("etc/libvirt/hooks/qemu", bundle.program("libvirt-hook-client"), owner=QEMU)
        files.text("etc/nsswitch.conf", (conf / "nsswitch.conf").read_text())
        files.content("usr/lib/lab/virtqemud", rootfs.read(root, "usr/sbin/libvirtd"), mode=0o755)
        files.text("usr/sbin/virtqemud", VIRTQEMUD, mode=0o755)
        for name, debian in FIRMWARE.items():
            files.link(f"usr/share/edk2/ovmf/{name}", f"../../OVMF/{debian}")
        files.folder("usr/lib64/qemu-kvm")
    entry = ("/usr/bin/virt-launcher",)
    return Image(image_name("virt-launcher"), (base, read_layer(path)), entrypoint=entry, user=str(QEMU))
