"""An estate of two real libvirtds and a folder of exports, from its inventory to its report; one machine is migrated
live from one hypervisor to the other when it was copied ahead already."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import Inventory, Plan, load
from kubeferry.life.events import DiskCopied, Located
from kubeferry.outside.process import run
from lab import ova
from lab.bare import Bare
from lab.hypervisors import PROGRAMS, Hypervisor, hypervisor
from tests.needs import needs
from tests.runs.test_ova_moved import BOOT

pytestmark = [
    *(pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("server")),
    needs(*PROGRAMS, "root"),
]

MIB = 2**20
SIZE = 8 * MIB
WEB, DB, OLD = (f"kft-estate-{os.getpid()}-{name}" for name in ("web", "db", "old"))
POLICY: dict[str, Any] = {
    "mode": "warm",
    "probes": [{"kind": "serial", "expect": "READY", "timeoutSeconds": 120}],
    "stop": {"agentSeconds": 0, "acpiSeconds": 0, "force": True},
}


@pytest.fixture
def hypervisors(tmp_path: Path) -> Iterator[tuple[Hypervisor, Hypervisor]]:
    with hypervisor("hv1", tmp_path / "hv1") as one, hypervisor("hv2", tmp_path / "hv2") as other:
        yield one, other


def disk(path: Path) -> Path:
    """The qcow2 disk of a machine that says READY on its serial port, and holds some data."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(BOOT.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512) + os.urandom(2 * MIB) + bytes(5 * MIB))
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)])
    return path


def estate(small: Any, one: Hypervisor, other: Hypervisor, folder: Path) -> dict[str, Path]:
    """`web` runs at hv1, `db` at hv2, and `old` is an export; their disks by name."""
    disks = {name: disk(folder / f"{name}.qcow2") for name in (WEB, DB, OLD)}
    for where, name in ((one, WEB), (other, DB)):
        where.define(Bare(folder, "").xml(name, (disks[name], "qcow2"), devices="<serial type='null'/>"))
        where.virsh("start", name)
    exports = folder / "exports"
    exports.mkdir()
    ova.export(exports / "old.ova", OLD, [ova.PackedDisk("d1", "d1.vmdk", SIZE, disks[OLD].with_suffix(".raw"))])
    sources: dict[str, Any] = {hv.name: {"kind": "libvirt", "uri": hv.uri} for hv in (one, other)}
    sources["exports"] = {"kind": "ova", "uri": exports.as_uri()}
    config = yaml.safe_load((small.folder / "kubeferry.yaml").read_text())
    config |= {"sources": sources, "estates": {"berlin": ["hv1", "hv2", "exports"]}}
    (small.folder / "kubeferry.yaml").write_text(yaml.safe_dump(config))
    small.policy(**POLICY)
    return disks


def ok(small: Any, *words: str) -> str:
    code, out, err = small.command(*words)
    assert code == 0, f"{words}\n{out[-3000:]}\n{err[-3000:]}"
    return f"{out}{err}"


def test_an_estate_is_moved_and_a_machine_is_handed_on_meanwhile(
    small: Any, hypervisors: tuple[Hypervisor, Hypervisor], tmp_path: Path
) -> None:
    one, other = hypervisors
    disks = estate(small, one, other, tmp_path)
    ok(small, "discover")
    found = load(small.folder / "inventory.yaml", Inventory)
    assert {machine.name: machine.source for machine in found.machines} == {WEB: "hv1", DB: "hv2", OLD: "exports"}
    ok(small, "assess", "inventory.yaml", "--policy", "policy.yaml")
    plan = small.plan()
    ok(small, "precopy", "plan.yaml")

    one.hand_on(WEB, other)
    write = 'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P 0x77 6M 64k"'
    other.virsh("qemu-monitor-command", WEB, "--hmp", write)

    ok(small, "rehearse", "plan.yaml", "--machine", WEB)
    ok(small, "probe", "plan.yaml", "--at", "source", "-m", WEB, "-m", DB)
    ok(small, "migrate", "plan.yaml")
    assert other.machines() == []
    assert_copied(small, plan, disks)
    assert_found(small, plan)
    assert "off at hv2 since" in ok(small, "status", "plan.yaml")
    ok(small, "caretake")

    other.virsh("start", WEB)
    code, out, err = small.command("caretake")
    assert (code, WEB in f"{out}{err}") == (1, True)
    ok(small, "rollback", "plan.yaml", "--machine", WEB, "--lose-writes", "--yes")
    assert other.machines() == [WEB]
    ok(small, "release", "plan.yaml")
    ok(small, "report", "plan.yaml", "--out", "report")
    told = (small.folder / "report" / "report.json").read_text()
    assert "it was found at source hv2 of its estate" in told
    assert json.loads(told)


def assert_copied(small: Any, plan: Plan, disks: dict[str, Path]) -> None:
    """What is at the target is what each disk holds."""
    for entry in plan.entries:
        (image,) = small.target.rglob(f"*{entry.disks[0].claim}*.img")
        run(["qemu-img", "compare", "-f", "qcow2", "-F", "raw", str(disks[entry.name]), str(image)])


def assert_found(small: Any, plan: Plan) -> None:
    """Where it was found stands in the journal; all of it was read again then, and only what was new was written."""
    with small.journal() as journal:
        events = [record.event for record in journal.events(plan.digest, WEB)]
    assert [event.source for event in events if isinstance(event, Located)] == ["hv2"]
    second = [event for event in events if isinstance(event, DiskCopied)][1]
    assert (second.round, second.written_bytes) == (2, MIB)
    assert second.read_bytes > 2 * MIB
