"""A machine that is copied round by round, each round proven; and what a test does to it meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import libvirt

from converters.endpoints import open_source as open_disk
from converters.engine.disks import Outcome, copy_disk, parse_ref, prepare_target, verify_disk
from converters.engine.transfer import Options
from kubeferry.documents import StopPolicy
from kubeferry.ledger import AT_SOURCE, External
from kubeferry.model import DiskRef, Machine, Marker, Power
from kubeferry.outside.process import run
from kubeferry.sources import Round, Source
from kubeferry.sources.disks.exports import digest
from kubeferry.uris import local_path
from lab.bare import write_inside
from lab.daemons import URI, virsh

MIB = 1 << 20
PIECE = 64 << 10
RUN = Path("/run/kubeferry")
BOOT_SECONDS = 120
FORCE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2, force=True)


@dataclass
class Copy:
    """A machine that is copied round by round, each round proven against the view that it was made of."""

    source: Source
    name: str
    folder: Path
    told: list[External] = field(default_factory=list)
    roots: dict[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def machine(self) -> Machine:
        return next(one for one in self.source.discover().machines if one.name == self.name)

    def open(
        self,
        since: Marker | None = None,
        *,
        final: bool = False,
        remote: bool = False,
        machine: Machine | None = None,
    ) -> Round:
        return self.source.open_round(
            machine or self.machine, since=since, final=final, remote=remote, ledger=self.told.append
        )

    def round(
        self, since: Marker | None = None, *, final: bool = False, remote: bool = False
    ) -> tuple[Round, dict[str, Outcome]]:
        opened = self.open(since, final=final, remote=remote)
        done = {disk: self.fetch(disk, ref) for disk, ref in opened.refs.items()}
        self.number += 1
        self.source.close_round(opened)
        return opened, done

    def fetch(self, disk: str, ref: DiskRef) -> Outcome:
        """Copy one disk as the engine does, and compare all of it with its view, read whole."""
        target, fingerprint = parse_ref(str(self.folder / f"{disk}.img")), self.folder / f"{disk}.kff"
        with open_disk(ref) as view:
            zero = prepare_target(target, view.size, fingerprint) if disk not in self.roots else False
        options = Options(since=self.roots.get(disk))
        outcome = copy_disk(ref, target, fingerprint, copy_id=str(self.number), target_reads_zero=zero, options=options)
        self.roots[disk] = outcome.root
        assert not verify_disk(target, fingerprint).differing
        with open_disk(ref) as view, (self.folder / f"{disk}.img").open("rb") as copied:
            buffer = memoryview(bytearray(MIB))
            for offset in range(0, view.size, MIB):
                piece = buffer[: min(MIB, view.size - offset)]
                view.read_into(offset, piece)
                assert copied.read(len(piece)) == piece, f"{disk} differs at {offset}"
        return outcome

    def equals_the_stopped_source(self) -> None:
        for disk, image, form in self.images():
            run(["qemu-img", "compare", "-f", form, "-F", "raw", str(image), str(self.folder / f"{disk}.img")])

    def images(self) -> list[tuple[str, Path, str]]:
        """The disks of the machine that lie in files: name, image and format."""
        found = [(disk, local_path(disk.uri or "")) for disk in self.machine.data_disks]
        return [(disk.id, path, disk.format or "") for disk, path in found if path is not None]

    def leaves_nothing(self) -> None:
        """The machine is off, and nothing at the source tells of us."""
        assert {thing.kind for thing in self.told} <= AT_SOURCE
        machine = self.machine
        assert machine.power is Power.OFF
        self.source.forget(machine)
        assert self.source.forget(machine) == []
        assert virsh("checkpoint-list", self.name, "--name").strip() == ""
        assert not any(self.source.exists(thing) for thing in self.told)
        assert all(bitmaps(image) == [] for _, image, _ in self.images())
        assert not list(self.folder.parent.rglob(".kubeferry*"))
        # This machine is shared: a folder that is still there must be somebody else's, and one that is empty nobody's.
        left = [path.name for path in RUN.iterdir()] if RUN.exists() else ["somebody else's"]
        assert left
        assert not any(name.startswith(digest(f"{machine.source}/{machine.id}")) for name in left)


def bitmaps(image: Path) -> list[str]:
    told = json.loads(run(["qemu-img", "info", "--output=json", str(image)]).out)
    return [one["name"] for one in told.get("format-specific", {}).get("data", {}).get("bitmaps", [])]


def checkpoints(name: str) -> list[str]:
    return virsh("checkpoint-list", name, "--name").split()


def domain(name: str) -> libvirt.virDomain:
    return libvirt.open(URI).lookupByName(name)


def no_words(_words: dict[str, str], _at: str, _said: object = None) -> None:
    """Whatever the guest said is of no interest here."""


def write(copy: Copy, disk: str, offset: int, letter: bytes) -> None:
    write_inside(copy.name, f"virtio-disk{'ab'.index(disk[-1])}", offset, letter * PIECE)


def stop(copy: Copy) -> None:
    copy.source.stop(copy.machine, FORCE, no_words)


def kill_qemu(copy: Copy) -> None:
    pid = int(Path(f"/run/libvirt/qemu/{copy.name}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: copy.source.power(copy.machine) is not Power.RUNNING)


def until(holds: Callable[[], bool], seconds: float = BOOT_SECONDS) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.1)
