"""The files of disks behind the simulator: which one a machine writes to now, what it held once, what differs. Edge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVim.connect import SmartConnect
from pyVmomi import vim

GRAIN = 64 << 10


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A disk of a machine: its key, its size, the file with its bytes."""

    key: int
    size: int
    path: Path


def logged_in(host: str, port: int, user: str, password: str) -> Any:
    """A session with the simulator itself, past the relay."""
    return SmartConnect(protocol="http", host=host, port=port, user=user, pwd=password).RetrieveContent()


def files_of(content: Any, machine: str) -> list[DiskFile]:
    """The disks of a machine (`vm-12`), in the order of their keys."""
    vm: Any = vim.VirtualMachine(machine, content.rootFolder._stub)
    stores = {store.name: Path(store.summary.url) for store in vm.datastore}
    found = []
    for device in vm.config.hardware.device:
        if type(device).__name__.endswith("VirtualDisk"):
            path = place(stores, device.backing.fileName, delta=device.backing.parent is not None)
            found.append(DiskFile(device.key, device.capacityInBytes, path))
    return sorted(found, key=lambda one: one.key)


def place(stores: dict[str, Path], name: str, *, delta: bool = False) -> Path:
    """The file with the bytes of `[STORE] FOLDER/DISK.vmdk`."""
    store, _, path = name.removeprefix("[").partition("] ")
    kind = "delta" if delta else "flat"
    return stores[store] / f"{path.removesuffix('.vmdk')}-{kind}.vmdk"


def differing(one: Path, other: Path, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each stretch of grains in which two files differ."""
    with one.open("rb") as left, other.open("rb") as right:
        yield from _stretches((left.read(GRAIN) != right.read(GRAIN) for _ in range(0, size, GRAIN)), size)


def allocated(path: Path, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each stretch of grains that holds data."""
    with path.open("rb") as file:
        yield from _stretches((any(file.read(GRAIN)) for _ in range(0, size, GRAIN)), size)


def _stretches(grains: Iterator[bool], size: int) -> Iterator[tuple[int, int]]:
    start = -1
    for number, marked in enumerate(grains):
        if marked and start < 0:
            start = number * GRAIN
        elif not marked and start >= 0:
            yield start, number * GRAIN - start
            start = -1
    if start >= 0:
        yield start, size - start


def filled(path: Path, source: Path) -> None:
    """Put a disk's content in place, holes kept."""
    size = source.stat().st_size
    with source.open("rb") as disk, path.open("r+b") as file:
        file.truncate(0)
        file.truncate(size)
        position = 0
        while position < size:
            try:
                start = os.lseek(disk.fileno(), position, os.SEEK_DATA)
            except OSError:
                return
            position = os.lseek(disk.fileno(), start, os.SEEK_HOLE)
            disk.seek(start)
            file.seek(start)
            while (left := position - file.tell()) > 0:
                file.write(disk.read(min(left, 1 << 20)))
