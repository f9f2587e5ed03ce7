"""The lab's guests: booted in real QEMU with both firmwares, on old and new hardware, and counted from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from flows.serving.ports import free_port
from kubeferry.errors import SourceUnavailable
from kubeferry.outside.process import Child, child, run
from lab import guests, initramfs, packages
from tests.needs import needs

pytestmark = [
    needs("qemu-system-x86_64", "qemu-img", *guests.PROGRAMS),
    pytest.mark.timeout(600),  # guests boot without KVM
]

BOOT_SECONDS = 180
AGENT_SECONDS = 60
VIRTIO = ("q35", "virtio-blk-pci", "virtio-net-pci")
OLD = ("pc", "ide-hd", "e1000")
AHCI = ("q35", "ide-hd", "e1000e")


@dataclass(frozen=True)
class Guest:
    """A guest that runs now, and the ways to talk to it."""

    process: Child
    folder: Path
    port: int
    seconds_to_ready: float

    def ask(self, execute: str) -> Any:
        """What the guest agent answers; the question is put again until it listens."""
        limit = time.monotonic() + AGENT_SECONDS
        while time.monotonic() < limit:
            with contextlib.suppress(TimeoutError), self.agent() as lines:
                send(lines, execute)
                return json.loads(lines.readline())["return"]
        raise AssertionError(f"the guest agent did not answer {execute}")

    def tell(self, execute: str) -> None:
        """Ask for what is never answered: the guest goes down."""
        with self.agent() as lines:
            send(lines, execute)

    @contextmanager
    def agent(self) -> Iterator[IO[bytes]]:
        """A conversation with the agent, once it has cleared what an earlier one has left behind."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(3)
            connection.connect(str(self.folder / "agent"))
            with connection.makefile("rwb") as lines:
                lines.write(b"\xff")  # no JSON begins like this: the agent drops a half request
                send(lines, "guest-sync-delimited", id=7)
                while b'"return": 7' not in lines.readline():
                    pass
                yield lines

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
            return answer.read().decode()

    def monitor(self, execute: str, **arguments: object) -> None:
        """One monitor command that answers nothing of interest."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.folder / "qmp"))
            with connection.makefile("rwb") as lines:
                lines.readline()
                send(lines, "qmp_capabilities")
                send(lines, execute, **arguments)
                for _ in range(2):
                    while "return" not in (said := json.loads(lines.readline())):
                        assert "error" not in said, said


def send(lines: IO[bytes], execute: str, **arguments: object) -> None:
    lines.write(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
    lines.flush()


@contextmanager
def booted(
    disk: Path, folder: Path, hardware: tuple[str, str, str] = VIRTIO, *, uefi: bool = False, second: Path | None = None
) -> Iterator[Guest]:
    folder.mkdir()
    machine, block, nic = hardware
    port = free_port()
    argv = f"""
        qemu-system-x86_64 -accel tcg -M {machine} -m 256 -nodefaults -display none -no-reboot -vga std
        -serial file:{folder}/serial -qmp unix:{folder}/qmp,server=on,wait=off
        -chardev socket,id=ga,path={folder}/agent,server=on,wait=off
        -device virtio-serial -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0
        -netdev user,id=n,hostfwd=tcp:127.0.0.1:{port}-:80 -device {nic},netdev=n
    """.split()
    for number, path in enumerate([disk, second] if second else [disk]):
        argv += ["-drive", f"if=none,id=d{number},file={path},format=raw"]
        argv += ["-device", f"{block},drive=d{number},bootindex={number}"]
    if uefi:
        variables = shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", folder / "vars")
        argv += ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]
        argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
    started = time.monotonic()
    with child(argv, log=folder / "qemu.log") as process:
        serial = folder / "serial"
        while not serial.exists() or "READY" not in serial.read_text(errors="replace"):
            assert process.poll() is None, process.tail()
            assert time.monotonic() - started < BOOT_SECONDS, serial.read_text(errors="replace")
            time.sleep(0.1)
        yield Guest(process, folder, port, time.monotonic() - started)


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guests.build_guest(guests.Spec("web"), tmp_path_factory.mktemp("web") / "web.raw")


def copy(disk: Path, folder: Path) -> Path:
    run(["cp", "--sparse=always", str(disk), str(folder / "disk.raw")])
    return folder / "disk.raw"


def page_until(guest: Guest, path: str, seconds: float = 60) -> str:
    limit = time.monotonic() + seconds
    while True:
        try:
            return guest.page(path)
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.2)


def picture_colours(path: Path) -> int:
    """How many different colours a PPM screenshot has."""
    content = path.read_bytes().split(b"\n", 3)[3]
    return len({content[at : at + 3] for at in range(0, len(content), 3)})


def shows_its_status(guest: Guest, path: Path, seconds: float = 60) -> bool:
    """Whether the screen shows the status page, which is drawn after the web page is served: in several colours."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        guest.monitor("screendump", filename=str(path))
        if picture_colours(path) >= 4:
            return True
        time.sleep(0.5)
    return False


def test_bios_then_uefi_each_counts_one_boot(web: Path, tmp_path: Path) -> None:
    disk = copy(web, tmp_path)
    assert guests.boot_count(disk) == 0
    with booted(disk, tmp_path / "bios") as guest:
        assert guest.ask("guest-get-host-name") == {"host-name": "web"}
        assert guest.ask("guest-get-osinfo")["id"] == "ferry"
        assert page_until(guest, "/boots") == "1\n"
        assert "<h1>web</h1>" in guest.page("/")
        assert shows_its_status(guest, tmp_path / "screen.ppm")
        guest.monitor("system_powerdown")
        assert guest.process.wait(60) == 0
    assert guests.boot_count(disk) == 1
    with booted(disk, tmp_path / "uefi", uefi=True) as guest:
        assert page_until(guest, "/boots") == "2\n"
        assert "UEFI" in guest.page("/")
        assert shows_its_status(guest, tmp_path / "screen-uefi.ppm")
        guest.tell("guest-shutdown")
        assert guest.process.wait(60) == 0
    assert guests.boot_count(disk) == 2
    checked = run(["e2fsck", "-fn", f"{disk}?offset={guests.DATA_START}"], check=False)
    assert checked.code == 0, checked.out


def test_old_hardware_then_new(tmp_path: Path) -> None:
    disk = guests.build_guest(guests.Spec("legacy", kernel="generic"), tmp_path / "legacy.raw")
    for boots, hardware in enumerate((OLD, AHCI), start=1):
        with booted(disk, tmp_path / f"run{boots}", hardware) as guest:
            assert page_until(guest, "/boots") == f"{boots}\n"
            assert guest.ask("guest-ping") == {}
            guest.monitor("system_powerdown")
            assert guest.process.wait(60) == 0
        assert guests.boot_count(disk) == boots


def test_second_disk_is_waited_for_and_counted(tmp_path: Path) -> None:
    disk = guests.build_guest(guests.Spec("db", second_disk=True), tmp_path / "db.raw")
    second = guests.build_data_disk("db", tmp_path / "srv.raw")
    with booted(disk, tmp_path / "run", uefi=True, second=second) as guest:
        assert page_until(guest, "/srv-boots") == "1\n"
        guest.monitor("system_powerdown")
        assert guest.process.wait(60) == 0
    layer = tmp_path / "layer.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(second), "-F", "raw", str(layer)])
    assert guests.boot_count(layer, format="qcow2", start=0) == 1
    assert guests.boot_count(disk) == 1


def test_building_twice_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = guests.build_guest(guests.Spec("same"), tmp_path / "first.raw")
    boot = guests.boot_files("cloud")
    monkeypatch.setattr(packages, "cache_folder", lambda *parts: _made(tmp_path.joinpath("cache", *parts)))
    monkeypatch.setattr(guests, "boot_files", lambda kernel: boot)
    second = guests.build_guest(guests.Spec("same"), tmp_path / "second.raw")
    done = run(["cmp", str(first), str(second)], check=False)
    assert done.code == 0, done.out


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_disk_without_a_counter_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "empty.raw"
    disk.write_bytes(bytes(2**20))
    with pytest.raises(SourceUnavailable, match=r"no boot counter on .*empty\.raw"):
        guests.boot_count(disk)


def test_the_archive_is_read_by_cpio(tmp_path: Path) -> None:
    archive = initramfs.Archive()
    archive.folder("etc")
    archive.file("etc/name", b"one")
    archive.file("init", b"#!/bin/sh\n", executable=True)
    archive.link("sh", "init")
    (tmp_path / "archive").write_bytes(archive.content())
    run(["busybox", "cpio", "-i", "-F", "archive"], cwd=tmp_path)
    assert (tmp_path / "etc/name").read_bytes() == b"one"
    assert os.access(tmp_path / "init", os.X_OK)
    assert not os.access(tmp_path / "etc/name", os.X_OK)
    assert (tmp_path / "sh").readlink() == Path("init")


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    needs = {"disk": "bus,core", "bus": "core", "core": ""}
    for name, wanted in needs.items():
        (tmp_path / name).write_bytes(
            b"\x7fELF\0license=GPL\0depends=" + wanted.encode() + b"\0name=" + name.encode() + b"\0"
        )
    files = {name: tmp_path / name for name in needs}
    assert initramfs.loading_order(["disk", "built-in"], files) == ["core", "bus", "disk"]


def test_apt_fields_are_read() -> None:
    kernel = "Package: linux-image-amd64\nVersion: 6.1.2-1\nDepends: linux-image-6.1.0-1-amd64 (= 6.1.2-1), a | b\n"
    found = packages.parse(f"{kernel}\nPackage: a\nVersion: 1:2\n")
    assert found["linux-image-amd64"].depends == ("linux-image-6.1.0-1-amd64", "a")
    assert found["a"].file == "a_1%3a2"
    assert found["a"].depends == ()


def test_the_partition_table_is_what_sfdisk_expects(tmp_path: Path) -> None:
    if shutil.which("sfdisk") is None:
        pytest.skip("not installed: sfdisk")
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(256 * guests.MIB)
        file.seek(446)
        file.write(guests.partition_table(256 * guests.MIB))
    boot, data = json.loads(run(["sfdisk", "--json", str(disk)]).out)["partitiontable"]["partitions"]
    assert (boot["start"], boot["size"], boot["type"], boot["bootable"]) == (2048, 98304, "ef", True)
    assert (data["start"], data["size"], data["type"]) == (100352, 423936, "83")
