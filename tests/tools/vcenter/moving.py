"""A machine of the lab's vCenter on its way into a folder, round by round."""

from __future__ import annotations

import os
import random
from pathlib import Path

from converters.engine.disks import Outcome, copy_disk
from converters.engine.transfer import Options
from kubeferry.documents import StopPolicy
from kubeferry.ledger import External
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.sources import Round, Source
from lab.vcenter.place import Place

MIB = 1 << 20
PIECE = 64 << 10
SIZES = (9 * MIB, 3 * MIB)
FORCE = StopPolicy(agent_seconds=0.2, acpi_seconds=0.2, force=True)
CHANCE = random.Random(3)


class Moving:
    """A machine on its way into a folder."""

    def __init__(self, source: Source, machine: Machine, lab: Place, folder: Path) -> None:
        self.source, self.machine, self.lab, self.folder = source, machine, lab, folder
        self.told: list[External] = []
        self.roots: dict[str, str] = {}
        self.round = 0

    def open(self, since: Marker | None = None, *, final: bool = False) -> Round:
        return self.source.open_round(self.machine, since=since, final=final, remote=False, ledger=self.told.append)

    def copy(self, opened: Round) -> dict[str, Outcome]:
        found = {}
        for disk, ref in opened.refs.items():
            target, size = self.folder / f"{disk}.raw", ref.size_bytes or 0
            if not target.exists():
                target.touch()
                os.truncate(target, size)
            found[disk] = copy_disk(
                ref,
                DiskRef(uri=target.as_uri()),
                self.folder / f"{disk}.kff",
                copy_id=str(self.round),
                options=Options(since=self.roots.get(disk)),
            )
        opened.seen.update({disk: one.stream_digest for disk, one in found.items() if one.stream_digest})
        self.round += 1
        self.roots = {disk: one.root for disk, one in found.items()}
        return found

    def equal(self) -> bool:
        return all(
            (self.folder / f"{disk.id}.raw").read_bytes() == file.path.read_bytes()
            for disk, file in zip(self.machine.data_disks, self.lab.disks(self.machine.name), strict=True)
        )

    def write(self, disk: int, offset: int, letter: bytes = b"x") -> None:
        self.lab.write(self.machine.name, disk, offset, letter * PIECE)

    def stop(self) -> None:
        self.source.stop(self.machine, FORCE, lambda _words, _at, _said=None: None)

    def warm(self) -> Round:
        """A first round, copied and closed."""
        opened = self.open()
        self.copy(opened)
        self.source.close_round(opened)
        return opened
