"""Tiny guests that boot in seconds from their own disks: built without root, mounts or loop devices.

A system disk has a DOS partition table, a FAT partition that both BIOS (syslinux) and UEFI (systemd-boot) start from,
and an ext4 partition labelled `lab-data` with the boot counter and data that is worth copying. `lab/guest/` holds what
runs inside. Built disks are kept in the user's cache under the hash of everything that went into them.

`python -m lab.guests NAME FILE` builds one disk.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import struct
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from kubeferry.errors import SourceUnavailable
from kubeferry.outside.process import ProgramFailed, require, run
from lab import debian, initramfs, packages

Kernel = Literal["cloud", "generic"]
Make = Callable[[Path], None]

MIB = 2**20
SECTOR = 512
BOOT_START = MIB
BOOT_SIZE = 48 * MIB
DATA_START = BOOT_START + BOOT_SIZE
HOLE = 64 * MIB
KEPT_SECONDS = 14 * 24 * 3600

# Two builds of one guest give the same bytes, so every tool is told the same time.
BUILT = 1_700_000_000
FIXED_TIME = {"SOURCE_DATE_EPOCH": str(BUILT), "E2FSPROGS_FAKE_TIME": str(BUILT), "TZ": "UTC"}

KERNELS: dict[Kernel, str] = {"cloud": "linux-image-cloud-amd64", "generic": "linux-image-amd64"}
BUSYBOX = Path("/bin/busybox")
MASTER_BOOT_RECORD = Path("/usr/lib/syslinux/mbr/mbr.bin")
PROGRAMS = ("apt-get", "dpkg-deb", "mkfs.vfat", "mkfs.ext4", "mmd", "mcopy", "syslinux", "debugfs", "qemu-img", "ldd")


@dataclass(frozen=True, slots=True)
class Spec:
    """What a system disk is made of. The generic kernel knows old hardware (e1000, AHCI), the cloud one starts faster.

    `size` is the virtual size and `payload` what is filled with data, in bytes. With `second_disk` the guest waits for
    a disk from `build_data_disk` before it is ready; a `writer` writes to its disks all the time. A `plain` one has no
    guest agent, and asks for a login on its screen; one that `panics` finds no init, and stays so. `address` (with its
    bits) is its own, beside what it leases; with `peer`, an address, it shows that machine's page. With `units` it is a
    whole Debian (`lab/debian.py`) with these services beside its own; only root can build that.
    """

    name: str
    kernel: Kernel = "cloud"
    size: int = 512 * MIB
    payload: int = 24 * MIB
    second_disk: bool = False
    writer: bool = False
    units: tuple[tuple[str, str], ...] = ()
    plain: bool = False
    panics: bool = False
    address: str = ""
    peer: str = ""


def build_guest(spec: Spec, dest: Path) -> Path:
    """A bootable raw disk at `dest` (replaced if it is there). Returns `dest`."""
    require(*PROGRAMS, *(debian.PROGRAMS if spec.units else ()))
    boot = boot_files(spec.kernel)
    system = (debian.root().name, inspect.getsource(debian)) if spec.units else ()
    key = _key("system", *map(str, astuple(spec)), boot.name, inspect.getsource(sys.modules[__name__]), *system)
    return _from_cache(key, dest, lambda image: _system_disk(spec, boot, image))


def build_data_disk(name: str, dest: Path, *, size: int = 512 * MIB, payload: int = 24 * MIB) -> Path:
    """A raw disk without partitions, ext4 labelled `lab-srv`, that a guest with `second_disk` mounts at /srv."""
    require(*PROGRAMS)
    key = _key("data", name, str(size), str(payload), inspect.getsource(sys.modules[__name__]))

    def make(image: Path) -> None:
        _sparse(image, size)
        _file_system(image, "lab-srv", Spec(name, size=size, payload=payload), start=0)

    return _from_cache(key, dest, make)


def boot_count(disk: Path, *, format: str = "raw", start: int = DATA_START, scratch: Path | None = None) -> int:  # noqa: A002
    """How often the guest of this disk has booted, read without starting or mounting it. The disk is only read.

    `start` is where its file system begins, in bytes (0 for a data disk). Raises SourceUnavailable where there is none,
    or where the guest is running now.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        raw = Path(folder) / "disk.raw"
        try:
            # A raw disk too: a running guest's disk is behind its guest, and qemu-img honours QEMU's locks.
            run(["qemu-img", "convert", "-f", format, "-O", "raw", str(disk), str(raw)])
        except ProgramFailed as error:
            raise SourceUnavailable(f"{disk} cannot be read", why=error.why, fix="Stop its machine first.") from error
        said = run(["debugfs", "-R", "cat /boots", f"{raw}?offset={start}"])
    if not said.out.strip().isdigit():
        raise SourceUnavailable(
            f"there is no boot counter on {disk}", why=said.err.strip(), fix="Is it a disk of a lab guest?"
        )
    return int(said.out)


def boot_files(kernel: Kernel) -> Path:
    """A cached folder with vmlinuz, initrd.img and bootx64.efi, named by what went into it."""
    found = packages.candidates(KERNELS[kernel], "qemu-guest-agent", "systemd-boot-efi")
    image = packages.candidates(found[KERNELS[kernel]].depends[0])
    parts = [*image.values(), found["qemu-guest-agent"], found["systemd-boot-efi"]]
    scripts = [(initramfs.SCRIPTS / script).read_bytes() for script in sorted(initramfs.PLACES)]
    key = _key(*(part.file for part in parts), inspect.getsource(initramfs), *scripts, BUSYBOX.read_bytes())
    folder = packages.cache_folder("boot") / key
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=packages.cache_folder("work")) as work:
        made = Path(work) / "boot"
        made.mkdir()
        with packages.unpacked(parts[0]) as linux, packages.unpacked(parts[1]) as agent:
            (made / "vmlinuz").write_bytes(next(linux.glob("boot/vmlinuz-*")).read_bytes())
            modules = next(linux.glob("lib/modules/*"))
            (made / "initrd.img").write_bytes(initramfs.build(modules, agent / "usr/sbin/qemu-ga", BUSYBOX))
        with packages.unpacked(parts[2]) as loader:
            efi = loader / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
            (made / "bootx64.efi").write_bytes(efi.read_bytes())
        return _settled(made, folder)


def partition_table(size: int) -> bytes:
    """The 66 bytes at 446 of a disk of `size` bytes: an active FAT partition that UEFI knows too, and one for Linux."""

    def entry(flag: int, kind: int, start: int, length: int) -> bytes:
        unused = b"\xfe\xff\xff"  # cylinder, head and sector of old: "use the sector numbers"
        return struct.pack("<B3sB3sII", flag, unused, kind, unused, start // SECTOR, length // SECTOR)

    boot = entry(0x80, 0xEF, BOOT_START, BOOT_SIZE)
    return boot + entry(0, 0x83, DATA_START, size - DATA_START) + bytes(32) + b"\x55\xaa"


def kernel_arguments(spec: Spec) -> str:
    """The last console named is the one that the guest's scripts speak to: the serial line."""
    start = ["rdinit=/nowhere", "panic=0"] if spec.panics else ["rdinit=/init", "panic=5"]
    words = {
        "lab.srv": spec.second_disk,
        "lab.writer": spec.writer,
        "lab.plain": spec.plain,
        "lab.system": bool(spec.units),
    }
    wanted = [word for word, on in words.items() if on]
    wanted += [f"lab.{word}={value}" for word, value in (("address", spec.address), ("peer", spec.peer)) if value]
    return " ".join(["console=tty0", "console=ttyS0,115200", "quiet", *start, f"lab.name={spec.name}", *wanted])


def _system_disk(spec: Spec, boot: Path, image: Path) -> None:
    _sparse(image, spec.size)
    partition = image.with_suffix(".boot")
    _boot_partition(spec, boot, partition)
    with image.open("r+b") as disk, partition.open("rb") as content:
        disk.write(MASTER_BOOT_RECORD.read_bytes()[:440].ljust(440, b"\0"))
        disk.write(struct.pack("<IH", _number(spec.name), 0) + partition_table(spec.size))
        while block := content.read(MIB):
            if block.strip(b"\0"):
                disk.seek(BOOT_START + content.tell() - len(block))
                disk.write(block)
    partition.unlink()
    _file_system(image, "lab-data", spec, start=DATA_START)


def _boot_partition(spec: Spec, boot: Path, partition: Path) -> None:
    _sparse(partition, BOOT_SIZE)
    run(["mkfs.vfat", "-n", "LAB-BOOT", "-i", f"{_number(spec.name):08x}", "--invariant", str(partition)])
    arguments = kernel_arguments(spec)
    with tempfile.TemporaryDirectory(dir=partition.parent) as folder:
        texts = {
            "syslinux.cfg": "DEFAULT lab\nPROMPT 0\nLABEL lab\n KERNEL /vmlinuz\n INITRD /initrd.img\n"
            f" APPEND {arguments}\n",
            "loader.conf": "default lab\ntimeout 0\n",
            "lab.conf": f"title {spec.name}\nlinux /vmlinuz\ninitrd /initrd.img\noptions {arguments}\n",
        }
        for name, text in texts.items():
            (Path(folder) / name).write_text(text)
        places = {
            boot / "vmlinuz": "::/",
            boot / "initrd.img": "::/",
            boot / "bootx64.efi": "::/EFI/BOOT/BOOTX64.EFI",
            Path(folder) / "syslinux.cfg": "::/",
            Path(folder) / "loader.conf": "::/loader/",
            Path(folder) / "lab.conf": "::/loader/entries/",
        }
        image = ["-i", str(partition)]
        run(["mmd", *image, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"], env=FIXED_TIME)
        for source, place in places.items():
            run(["mcopy", *image, str(source), place], env=FIXED_TIME)
    run(["syslinux", "--install", str(partition)], env=FIXED_TIME)


def _file_system(image: Path, label: str, spec: Spec, *, start: int) -> None:
    """An ext4 file system to the end of the image, with a counter at zero and the payload, the same for the same
    name."""
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        root = Path(folder) / "root"
        root.mkdir()
        root.chmod(0o755)
        (root / "boots").write_text("0\n")
        _payload(root, f"{label} {spec.name}", spec.payload)
        identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{label}.{spec.name}")
        extended = f"offset={start},root_owner=0:0,hash_seed={identity},lazy_itable_init=1,lazy_journal_init=1"
        options = ["-L", label, "-U", str(identity), "-d", str(root), "-E", extended, "-J", "size=4"]
        paths = sorted(root.rglob("*"))
        for path in (root, *paths):
            os.utime(path, (BUILT, BUILT))  # nothing reads the folders from here on: that would be the time of it
        names = [f"/{path.relative_to(root)}" for path in paths]
        if spec.units:
            debian.unpack(root, spec.name, spec.units)
        size = (spec.size - start) // 1024
        run(["mkfs.ext4", "-q", "-F", "-b", "4096", *options, str(image), f"{size}k"], env=FIXED_TIME)
        # The time of a file's last change cannot be set from outside, and mkfs copies it: set it in the image.
        changes = Path(folder) / "changes"
        changes.write_text("".join(f"set_inode_field {name} ctime @{BUILT}\n" for name in ["/", *names]))
        run(["debugfs", "-w", "-f", str(changes), f"{image}?offset={start}"], env=FIXED_TIME)


def _payload(root: Path, seed: str, size: int) -> None:
    """Files of random-looking data, one file of one repeated line, one that is nearly all hole."""
    source = random.Random(seed)  # noqa: S311 (data to copy, not a secret)
    sums = []
    folder = root / "payload"
    folder.mkdir()
    for number in range(size // (4 * MIB)):
        content = source.randbytes(4 * MIB)
        (folder / f"part-{number:02}").write_bytes(content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  payload/part-{number:02}\n")
    (folder / "log.txt").write_bytes(f"{seed}: nothing happened\n".encode() * 50_000)
    with (folder / "hole").open("wb") as sparse:
        sparse.write(b"first")
        sparse.seek(HOLE - 4)
        sparse.write(b"last")
    (root / "payload.sha256").write_text("".join(sums))


def _from_cache(key: str, dest: Path, make: Make) -> Path:
    kept = packages.cache_folder("disks") / key
    if kept.exists():
        os.utime(kept)
    else:
        _forget_old(kept.parent)
        with tempfile.TemporaryDirectory(dir=packages.cache_folder("work")) as work:
            made = Path(work) / "disk"
            make(made)
            _settled(made, kept)
    dest.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "--sparse=always", "--reflink=auto", "--no-preserve=all", "-T", str(kept), str(dest)])
    return dest


def _forget_old(folder: Path) -> None:
    """Every change of the recipe makes new disks: those that nobody has asked for in a while are dropped."""
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - KEPT_SECONDS:
            path.unlink(missing_ok=True)


def _settled(made: Path, kept: Path) -> Path:
    """Move a finished thing to its place in the cache; another process may have been faster with the same content."""
    try:
        made.rename(kept)
    except OSError:
        if not kept.exists():
            raise
    return kept


def _sparse(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)


def _key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:24]


def _number(name: str) -> int:
    """A volume's 32-bit number, the same for the same name."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


if __name__ == "__main__":
    print(build_guest(Spec(sys.argv[1]), Path(sys.argv[2])))
