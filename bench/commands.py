"""How long a person waits for the command line: its help, and where the machines of a large plan stand.

Each is a program of its own, from its start to its end; the ratio is to the interpreter that does nothing. The journal
has four events of every machine. The first `status` reads the plan's YAML, the next one what the first one kept of it.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kubeferry.documents import Inventory, JournalConfig, Plan, Policy, save
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Planned, RollbackBegun, RolledBack
from kubeferry.model import Cpu, Disk, DiskBus, Firmware, FirmwareKind, Machine, Memory, Nic, Power
from mappings.plan import make_plan

KUBEFERRY = [sys.executable, "-m", "flows"]
CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources: {lab: {kind: memory, uri: "memory:///nowhere"}}
target: {kind: memory, path: target}
"""


def a_machine(number: int) -> Machine:
    """Two disks, one NIC; no two have the same name or address."""
    name = f"machine-{number:04}"
    disks = (_disk(name, "vda", 20), _disk(name, "vdb", 200))
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    return Machine(
        id=f"id-{name}",
        name=name,
        source="lab",
        power=Power.RUNNING,
        arch="x86_64",
        machine_type="pc-q35-7.2",
        firmware=Firmware(kind=FirmwareKind.BIOS),
        cpu=Cpu(vcpus=2),
        memory=Memory(size_bytes=4 << 30),
        disks=disks,
        nics=(Nic(id="nic0", network_kind="network", network="default", model="virtio", mac=mac),),
    )


def _disk(machine: str, name: str, gib: int) -> Disk:
    uri = f"file:///srv/{machine}-{name}.img"
    return Disk(
        id=name, bus=DiskBus.VIRTIO, uri=uri, source_kind="file", format="raw", chain=(), capacity_bytes=gib << 30
    )


def estate(folder: Path, machines: int) -> Plan:
    """A configuration, a plan and a journal in which every machine was rolled back once."""
    made_at = "2026-01-01T00:00:00Z"
    inventory = Inventory(
        source="lab", source_kind="memory", observed_at=made_at, machines=tuple(a_machine(n) for n in range(machines))
    )
    plan = make_plan(inventory, Policy(), name="lab", created_at=made_at)
    save(plan, folder / "plan.yaml")
    (folder / "kubeferry.yaml").write_text(CONFIG)
    with Journal.open(JournalConfig(url=f"sqlite:///{folder}/kubeferry.db")) as journal:
        journal.register_plan(plan.digest, plan.name, "")
        for entry in plan.entries:
            disks = tuple(disk.disk for disk in entry.disks)
            with journal.lease(plan.digest, entry.name) as lease:
                journal.append(lease, Planned(plan_digest=plan.digest, disks=disks))
                journal.append(lease, CutoverBegun(power_before=Power.OFF))
                journal.append(lease, RollbackBegun(reason="asked for"))
                journal.append(lease, RolledBack())
    return plan


def took(command: list[str], folder: Path) -> float:
    begun = time.monotonic()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begun


def rows(machines: int, rounds: int) -> str:
    """The table: seconds, and how many times as long as an interpreter that does nothing, median and spread."""
    lines = ["| command | seconds, median (min - max) | times the bare interpreter |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        estate(folder, machines)

        def forget() -> None:
            shutil.rmtree(folder / ".kubeferry", ignore_errors=True)

        def nothing() -> None:
            pass

        status = [*KUBEFERRY, "status", "plan.yaml"]
        commands: list[tuple[str, list[str], Callable[[], None]]] = [
            ("kubeferry --help", [*KUBEFERRY, "--help"], nothing),
            (f"kubeferry status, {machines} machines, the first time", status, forget),
            (f"kubeferry status, {machines} machines", status, nothing),
        ]
        for label, command, before in commands:
            seconds, ratios = [], []
            for _ in range(rounds):
                before()
                bare = took([sys.executable, "-c", "pass"], folder)
                seconds.append(took(command, folder))
                ratios.append(seconds[-1] / bare)
            spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} - {max(seconds):.2f})"
            lines.append(f"| {label} | {spread} | {statistics.median(ratios):.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(rows(500, 5))
