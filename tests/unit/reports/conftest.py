"""A small estate as the demo has it, and its events on a clock that the test turns: no source, target or journal."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubeferry.documents import Entry, Observation, Plan, PlannedDisk, Probe, ProbeResult, Wave, freeze
from kubeferry.life import events as ev
from kubeferry.life.states import Recorded
from kubeferry.model import (
    Carried,
    Concern,
    Cpu,
    Disk,
    Fate,
    Firmware,
    Guest,
    Machine,
    Marker,
    Memory,
    Nic,
    Power,
    Severity,
)

MIB, GIB = 1 << 20, 1 << 30
NOON = datetime(2026, 7, 14, 9, 12, 0, tzinfo=UTC)
ROOTS = {"vda": "3f" * 32, "vdb": "a7" * 32, "sda": "0c" * 32}

PROBES = (
    Probe(kind="agent"),
    Probe(kind="http", port=80, path="/boots"),
    Probe(kind="counter", path="/data/boots"),
)
SEEN = (
    ProbeResult(kind="agent", what="the guest agent answers", ok=True, evidence="guest-ping was answered", seconds=9.4),
    ProbeResult(
        kind="http", what="GET /boots on port 80 answers 200", ok=True, evidence="200: 4 boots so far", seconds=9.9
    ),
    ProbeResult(
        kind="counter",
        what="the number in /data/boots went up by exactly one",
        ok=True,
        evidence="3 at the source, 4 here",
        seconds=10.2,
    ),
)
CARRIED = (
    Carried(field="cpu.vcpus", fate=Fate.CARRIED, source="2", target="domain.cpu.cores"),
    Carried(field="memory.size", fate=Fate.CARRIED, source="512 MiB", target="domain.memory.guest"),
    Carried(
        field="disks[hda].bus",
        fate=Fate.CHANGED,
        source="ide",
        target="sata",
        reason="KubeVirt has no IDE bus; SATA is the nearest that the guest can boot from",
    ),
    Carried(field="devices[video]", fate=Fate.LOST, source="cirrus", reason="KubeVirt chooses the video device"),
)


def png(width: int = 8, height: int = 4) -> bytes:
    """A small grey picture. Its head may claim any size: only as many rows are in it as a test's picture needs."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(min(width, 64)) for _ in range(min(height, 64))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def entry(name: str, *, disks: tuple[str, ...] = ("vda",), **changes: Any) -> Entry:
    machine = Machine(
        id=f"uuid-{name}",
        name=name,
        source="lab",
        power=Power.RUNNING,
        firmware=Firmware(kind="bios"),
        cpu=Cpu(vcpus=2),
        memory=Memory(size_bytes=512 * MIB),
        disks=tuple(Disk(id=disk, capacity_bytes=GIB) for disk in disks),
        nics=(Nic(id="net0"),),
        guest=Guest(os_name="Debian GNU/Linux 12"),
    )
    facts: dict[str, Any] = {
        "name": name,
        "target_name": "".join(c for c in name.lower() if c.isalnum()) or "machine",
        "namespace": "demo",
        "machine": machine,
        "disks": tuple(
            PlannedDisk(disk=disk, claim=f"claim-{disk}", volume=disk, size_bytes=GIB, claim_bytes=GIB + (GIB >> 4))
            for disk in disks
        ),
        "manifests": (),
        "probes": PROBES,
        "carried": CARRIED,
        "concerns": (
            Concern(
                id="disk.bus", severity=Severity.WARNING, what="the IDE disk becomes a SATA disk", fix="Nothing to do."
            ),
        ),
    }
    return Entry(**(facts | changes))


def plan_of(*entries: Entry, excluded: dict[str, str] | None = None) -> Plan:
    return freeze(
        Plan(
            name="demo",
            created_at="2026-07-14T09:00:00.000+00:00",
            source="lab",
            inventory_digest="1" * 64,
            waves=(Wave(name="wave-1", machines=tuple(one.name for one in entries)),) if entries else (),
            entries=entries,
            excluded=excluded or {},
        )
    )


@dataclass
class Life:
    """One machine's events. `then` turns the clock and records; `stop` ends before the named kind of event."""

    plan: Plan
    entry: Entry
    now: datetime = NOON
    fence: int = 1
    records: list[Recorded] = field(default_factory=list)

    def at(self, seconds: float = 0.0) -> str:
        return (self.now + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")

    def then(self, seconds: float, event: ev.Event) -> Life:
        self.now += timedelta(seconds=seconds)
        writer = f"host:{1000 + self.fence}:1:x"
        self.records.append(Recorded(event, self.at(), len(self.records) + 1, self.fence, writer))
        return self

    def resumed(self) -> Life:
        """From here on another run writes."""
        self.fence += 1
        return self

    def begun(self, power: Power = Power.RUNNING) -> Life:
        disks = tuple(disk.disk for disk in self.entry.disks)
        if not self.records:
            self.then(0, ev.Planned(plan_digest=self.plan.digest, disks=disks))
        return self.then(0.4, ev.CutoverBegun(power_before=power))

    def stopped(self) -> Life:
        self.then(0.5, ev.LastWords(at=self.at(0.3), words={"/data/boots": "3"}))
        return self.then(6.1, ev.SourceStopped(how="agent", at=self.at(6.0), last_answer_at=self.at(0.2)))

    def copied(self, disk: str, after: float = 4.0, **changes: Any) -> Life:
        facts: dict[str, Any] = {
            "disk": disk,
            "round": 1,
            "root": ROOTS.get(disk, "5e" * 32),
            "algorithm": "blake3",
            "size_bytes": GIB,
            "data_bytes": 310 * MIB,
            "read_bytes": 310 * MIB,
            "written_bytes": 310 * MIB,
            "seconds": after - 0.2,
        }
        return self.then(after, ev.DiskCopied(**(facts | changes)))

    def verified(self, disk: str, after: float = 1.5, **changes: Any) -> Life:
        facts: dict[str, Any] = {
            "disk": disk,
            "root": ROOTS.get(disk, "5e" * 32),
            "read_bytes": 310 * MIB,
            "seconds": after - 0.1,
        }
        return self.then(after, ev.DiskVerified(**(facts | changes)))

    def moved_bytes(self) -> Life:
        self.then(0.1, ev.CopyBegun(round=1, final=True))
        for disk in self.entry.disks:
            self.copied(disk.disk)
        for disk in self.entry.disks:
            self.verified(disk.disk)
        return self

    def ahead(self, *rounds: int) -> Life:
        """Rounds while the source ran, of so many bytes a disk each."""
        self.then(0, ev.Planned(plan_digest=self.plan.digest, disks=tuple(disk.disk for disk in self.entry.disks)))
        view = None
        for number, count in enumerate(rounds, 1):
            since, view = view, Marker(source="lab", token=f"view-{number}", taken_at=self.at())
            self.then(0.3, ev.CopyBegun(round=number, final=False, view=view, since=since, consistency="frozen"))
            same = 0 if since is None else 310 * MIB - count
            for disk in self.entry.disks:
                self.copied(disk.disk, round=number, data_bytes=count, read_bytes=count, written_bytes=count)
            for disk in self.entry.disks:
                self.verified(disk.disk, read_bytes=count, same_bytes=same)
            moved = count * len(self.entry.disks)
            self.then(0.1, ev.Synced(round=number, data_bytes=moved, seconds=3.8 * len(self.entry.disks)))
        return self

    def final(self, count: int) -> Life:
        """The last round, of a source that is off."""
        number = max(r.event.round for r in self.records if isinstance(r.event, ev.CopyBegun)) + 1
        self.then(0.1, ev.CopyBegun(round=number, final=True))
        for disk in self.entry.disks:
            self.copied(disk.disk, 0.6, round=number, data_bytes=count, read_bytes=count, written_bytes=count)
        for disk in self.entry.disks:
            self.verified(disk.disk, 0.4, read_bytes=count, same_bytes=310 * MIB - count)
        return self

    def observed(self, probes: Iterable[ProbeResult] = SEEN, **changes: Any) -> Life:
        self.then(0.2, ev.Applied(changes=("created virtualmachine.yaml",)))
        started_at = self.at(0.6)
        self.then(0.9, ev.Started(where=self.entry.target_name))
        answers = tuple(probes)
        first = min((answer.seconds for answer in answers if answer.ok), default=None)
        facts: dict[str, Any] = {
            "machine": self.entry.name,
            "started_at": started_at,
            "where": "local QEMU, isolated",
            "accelerator": "tcg",
            "probes": answers,
            "guest": {"system": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-56-cloud-amd64"},
            "screenshot": png_uri(png()),
            "console_tail": "[    0.000000] Linux version 6.1.0\n[    1.803322] web is up",
            "first_answer_seconds": first,
            "first_answer_at": None if first is None else self.at(first - 0.3),
        }
        seen = Observation(**(facts | changes))
        return self.then(10.6, ev.Observed(observation=seen.model_dump(mode="json", by_alias=True)))

    def committed(self, probes: int = len(SEEN), strategy: str = "") -> Life:
        self.then(0.1, ev.Validated(probes_passed=probes))
        self.then(1.2, ev.TargetStopped())
        return self.then(0.1, ev.Committed(run_strategy=strategy))


@pytest.fixture(scope="session")
def estate() -> type[Estate]:
    return Estate


class Estate:
    """The builders, for tests (which cannot import this file)."""

    entry = staticmethod(entry)
    plan = staticmethod(plan_of)
    png = staticmethod(png)
    png_uri = staticmethod(png_uri)
    Life = Life
    SEEN = SEEN
    ROOTS = ROOTS

    @staticmethod
    def life(name: str = "web", **changes: Any) -> Life:
        """A machine alone in its plan, of which nothing is recorded yet."""
        one = entry(name, **changes)
        return Life(plan_of(one), one)
