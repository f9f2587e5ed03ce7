"""The guests' root file system: a cpio archive (newc) in memory, the same bytes for the same input, made without root.

Only what a guest needs is in it: busybox, the guest agent with its libraries, and kernel modules with the modules that
those depend on, in loading order.
"""

from __future__ import annotations

import gzip
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from kubeferry.outside.process import run

SCRIPTS = Path(__file__).resolve().parent / "guest"
FOLDERS = """
bin sbin lib lib/modules lib/x86_64-linux-gnu lib64 etc etc/acpi etc/acpi/PWRF
dev proc run sys tmp var var/run data srv www
"""

# Where each of our scripts goes. The power button's path is where busybox acpid looks for its action.
PLACES = {
    "init": "init",
    "shutdown": "sbin/shutdown",
    "status": "bin/status",
    "lease": "sbin/lease",
    "writer": "bin/writer",
    "power-button": "etc/acpi/PWRF/00000080",
    "os-release": "etc/os-release",
}

# One set for where a guest comes from and where it goes: IDE and e1000 of an old machine, AHCI and virtio of its next.
MODULES = """
virtio_pci virtio_blk virtio_scsi virtio_net virtio_console virtio-rng sd_mod ata_piix ahci e1000 e1000e
crc32c_generic ext4 af_packet button evdev efivarfs
"""


class Archive:
    """A newc archive that grows entry by entry."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def folder(self, path: str) -> None:
        self._add(path, stat.S_IFDIR | 0o755, b"")

    def link(self, path: str, to: str) -> None:
        self._add(path, stat.S_IFLNK | 0o777, to.encode())

    def file(self, path: str, content: bytes, *, executable: bool = False) -> None:
        self._add(path, stat.S_IFREG | (0o755 if executable else 0o644), content)

    def content(self) -> bytes:
        """The whole archive with its trailer."""
        self._add("TRAILER!!!", 0, b"")
        return b"".join(self._parts)

    def _add(self, path: str, mode: int, content: bytes) -> None:
        self._count += 1
        name = path.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device (4), name size, checksum: eight hex digits each.
        numbers = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        self._parts += [_padded(header), _padded(content)]


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def loading_order(wanted: Iterable[str], files: Mapping[str, Path]) -> list[str]:
    """Names of the modules to load, each after what it depends on. A name without a file is built into the kernel."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in files and name not in order:
            for needed in dependencies(files[name].read_bytes()):
                visit(needed)
            order.append(name)

    for name in wanted:
        visit(module_name(name))
    return order


def dependencies(module: bytes) -> list[str]:
    """The modules that a module says it needs (`depends=` of its .modinfo section)."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    return [module_name(name) for name in match[1].decode().split(",") if name] if match else []


def module_name(name: str) -> str:
    """Files say virtio-rng where other modules say virtio_rng."""
    return name.replace("-", "_")


def build(modules: Path, agent: Path, busybox: Path) -> bytes:
    """The compressed archive. `modules` is the kernel's lib/modules/VERSION folder, `agent` the qemu-ga program."""
    archive = Archive()
    for folder in FOLDERS.split():
        archive.folder(folder)
    archive.file("bin/busybox", busybox.read_bytes(), executable=True)
    archive.link("bin/sh", "busybox")
    archive.file("bin/qemu-ga", agent.read_bytes(), executable=True)
    for place, library in libraries(agent):
        archive.file(place, library.read_bytes(), executable=True)
    for script, place in PLACES.items():
        archive.file(place, (SCRIPTS / script).read_bytes(), executable=True)
    files = {module_name(path.stem): path for path in sorted(modules.glob("kernel/**/*.ko"))}
    order = loading_order(MODULES.split(), files)
    for name in order:
        archive.file(f"lib/modules/{name}.ko", files[name].read_bytes())
    archive.file("etc/modules", "".join(f"{name}\n" for name in order).encode())
    # Level 1: an emulated processor unpacks it just as fast, and building takes a third of the time.
    return gzip.compress(archive.content(), compresslevel=1, mtime=0)


def libraries(program: Path) -> list[tuple[str, Path]]:
    """The shared libraries that a program needs: where each goes, and the file of this machine."""
    found = [("lib64/ld-linux-x86-64.so.2", Path("/lib64/ld-linux-x86-64.so.2"))]
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", run(["ldd", str(program)]).out, re.MULTILINE):
        found.append((f"lib/x86_64-linux-gnu/{name}", Path(path)))
    return found
