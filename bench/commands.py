"""How long a person waits for the command line: its help, and where the machines of a large plan stand.

Each is a program of its own, from its start to its end; the ratio is of its CPU time to that of an interpreter that
does nothing. The journal has four events of each of the first 500 machines. The first `status` of a large plan that
somebody else wrote reads its YAML, the next one what was kept of it; of what `plan` writes, that is kept at once.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from kubeferry.documents import Inventory, JournalConfig, Plan, Policy, save
from kubeferry.journal import Journal
from kubeferry.life.events import CutoverBegun, Planned, RollbackBegun, RolledBack
from kubeferry.model import Cpu, Machine, Nic, Power
from lab.machines import a_disk
from lab.machines import a_machine as plain_machine
from mappings.plan import make_plan

KUBEFERRY = [sys.executable, "-m", "flows"]
RECORDED = 500  # machines with events; each is four commits that wait for the disk
LARGE = 5000
DISKS = {"vda": 20, "vdb": 200}  # GiB
TIMED = Path(__file__).resolve().parent / "timed.py"
CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources: {lab: {kind: memory, uri: "memory:///nowhere"}}
target: {kind: memory, path: target}
"""


def a_machine(number: int) -> Machine:
    """Two disks, one NIC; no two have the same name or address."""
    name = f"machine-{number:04}"
    disks = (a_disk(Path(f"/srv/{name}-{one}.img"), one, capacity_bytes=gib << 30) for one, gib in DISKS.items())
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    facts = {
        "power": Power.RUNNING,
        "machine_type": "pc-q35-7.2",
        "cpu": Cpu(vcpus=2),
        "nics": (Nic(id="nic0", network_kind="network", network="default", model="virtio", mac=mac),),
    }
    return plain_machine(name, *disks, memory_bytes=4 << 30, **facts)


def estate(folder: Path, machines: int) -> Plan:
    """A configuration, a plan and a journal in which every machine, up to a number, was rolled back once."""
    made_at = "2026-01-01T00:00:00Z"
    inventory = Inventory(
        source="lab", source_kind="memory", observed_at=made_at, machines=tuple(a_machine(n) for n in range(machines))
    )
    plan = make_plan(inventory, Policy(), name="lab", created_at=made_at)
    save(plan, folder / "plan.yaml")
    (folder / "kubeferry.yaml").write_text(CONFIG)
    with Journal.open(JournalConfig(url=f"sqlite:///{folder}/kubeferry.db")) as journal:
        journal.keep_plan(plan)
        for entry in plan.entries[:RECORDED]:
            disks = tuple(disk.disk for disk in entry.disks)
            with journal.lease(plan.digest, entry.name) as lease:
                journal.append(lease, Planned(plan_digest=plan.digest, disks=disks))
                journal.append(lease, CutoverBegun(power_before=Power.OFF))
                journal.append(lease, RollbackBegun(reason="asked for"))
                journal.append(lease, RolledBack())
    return plan


def took(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Seconds from start to end, of them those that it computed, and its peak memory in MiB."""
    timed = [sys.executable, "-I", "-S", str(TIMED), str(folder / "kubeferry.yaml"), *command]
    told = json.loads(subprocess.run(timed, cwd=folder, capture_output=True, check=True).stdout)
    if told["code"]:
        raise subprocess.CalledProcessError(told["code"], command)
    return told["seconds"], told["cpu"], told["peak"] / 2**20


def spread(values: list[float], digits: int = 2) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def rows(machines: int, rounds: int) -> str:
    """The table: seconds, and how many times as long as an interpreter that does nothing, median and spread."""
    lines = [
        "| command | seconds, median (min - max) | CPU s | peak MiB | times the bare interpreter's |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small", Path(name) / "large"
        for folder, number in ((small, 3), (large, machines)):
            folder.mkdir()
            estate(folder, number)
        status = [*KUBEFERRY, "status", "plan.yaml"]
        lines += [
            _row("kubeferry --help", [*KUBEFERRY, "--help"], small, rounds),
            _row("kubeferry status, 3 machines", status, small, rounds),
            _row(f"kubeferry status, {machines} machines, the first time", status, large, rounds, forget=True),
            _row(f"kubeferry status, {machines} machines", status, large, rounds),
        ]
        huge = Path(name) / "huge"
        huge.mkdir()
        estate(huge, LARGE)
        lines.append(_row(f"kubeferry status, {LARGE} machines, after `plan`", status, huge, 1))
        lines.append(_row(f"kubeferry status, {LARGE} machines, the first time", status, huge, 1, forget=True))
        report = [*KUBEFERRY, "report", "plan.yaml"]
        lines.append(_row(f"kubeferry report, {LARGE} machines", report, huge, 1))
    return "\n".join(lines)


def _row(label: str, command: list[str], folder: Path, rounds: int, *, forget: bool = False) -> str:
    runs, ratios = [], []
    for _ in range(rounds):
        if forget:
            shutil.rmtree(folder / ".kubeferry", ignore_errors=True)
        _, bare, _ = took([sys.executable, "-c", "pass"], folder)
        runs.append(took(command, folder))
        ratios.append(runs[-1][1] / bare)
    seconds, computed, peaks = (list(values) for values in zip(*runs, strict=True))
    told = f"{spread(seconds)} | {spread(computed)} | {spread(peaks, 0)}"
    return f"| {label} | {told} | {statistics.median(ratios):.0f} |"


if __name__ == "__main__":
    print(rows(500, 5))
