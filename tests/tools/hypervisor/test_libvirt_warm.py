"""Rounds of running machines on the real libvirtd: a booted guest that writes all the time, and disks that cannot tell
what changed. Where a guest would only cost time, machines without a system are written to by QEMU itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from kubeferry.documents import StopPolicy
from kubeferry.outside.process import child, run
from kubeferry.sources import Source
from kubeferry.sources.libvirt.guest import ask
from lab import daemons, guests
from lab.bare import Bare
from lab.daemons import URI, virsh
from tests.needs import needs
from tests.tools.hypervisor.rounds import MIB, Copy, checkpoints, domain, no_words, stop, until, write

pytestmark = [
    needs(*daemons.PROGRAMS, *guests.PROGRAMS, "qemu-nbd", "root"),
    pytest.mark.xdist_group("libvirt"),  # one libvirtd a machine: its tests take turns
    pytest.mark.timeout(600),  # guests boot, and every byte is compared
]

GENTLE = StopPolicy(agent_seconds=30, acpi_seconds=30)
AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"


def booted(bare: Bare, devices: str) -> str:
    """A guest with a qcow2 disk and a raw one that has written for a while."""
    raw = guests.build_guest(
        guests.Spec("busy", size=192 * MIB, payload=8 * MIB, second_disk=True, writer=True), bare.folder / "s.raw"
    )
    system = bare.folder / "system.qcow2"
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(system)])
    raw.unlink()
    data = guests.build_data_disk("busy", bare.folder / "data.raw", size=96 * MIB, payload=8 * MIB)
    serial = f"<serial type='pty'><log file='{bare.folder}/serial.log'/><target port='0'/></serial>"
    name = bare.define("busy", (system, "qcow2"), (data, "raw"), devices=f"{serial}{RNG}{devices}", mib=256)
    virsh("start", name)
    ready(bare, 1)
    return name


def ready(bare: Bare, boots: int) -> None:
    until(lambda: f"READY name=busy boots={boots}" in (bare.folder / "serial.log").read_text(errors="replace"))


def answers_if(devices: str, name: str) -> None:
    running = domain(name)
    until(lambda: not devices or ask(running, "guest-ping") is not None)


@pytest.mark.parametrize("devices", [AGENT, ""], ids=["agent", "no agent"])
def test_a_guest_that_writes_all_the_time_is_copied_round_by_round(
    bare: Bare, source: Source, tmp_path: Path, devices: str
) -> None:
    (tmp_path / "target").mkdir()
    copy = Copy(source, booted(bare, devices), tmp_path / "target")
    answers_if(devices, copy.name)
    first, _ = copy.round()
    assert first.consistency == ("frozen" if devices else "crash")
    marker = first.marker
    for number in range(3):
        time.sleep(1)
        if number == 1:
            virsh("reset", copy.name)  # its file systems are as after a loss of power, and go on
            ready(bare, 2)
            answers_if(devices, copy.name)
        opened, done = copy.round(marker)
        assert (opened.refs["vda"].changed, opened.refs["vdb"].changed) == (
            f"qemu:dirty-bitmap:{opened.marker.token}",
            None,
        )
        assert 0 < done["vda"].tally.read < 64 * MIB
        assert opened.consistency == first.consistency
        assert set(checkpoints(copy.name)) == {marker.token, opened.marker.token}
        assert opened.marker != marker
        marker = opened.marker
    stopped = source.stop(copy.machine, GENTLE, no_words)
    assert stopped.how == ("agent" if devices else "acpi")
    last, done = copy.round(marker, final=True)
    assert last.consistency == "off"
    assert last.refs["vda"].changed == f"qemu:dirty-bitmap:{marker.token}"
    assert done["vda"].tally.read < 64 * MIB
    copy.equals_the_stopped_source()
    copy.leaves_nothing()
    assert guests.boot_count(tmp_path / "target" / "vda.img") == 2


@pytest.mark.slow
def test_a_guest_is_let_go_when_the_process_that_holds_it_still_is_killed(bare: Bare, tmp_path: Path) -> None:
    name = booted(bare, AGENT)
    running = domain(name)
    answers_if(AGENT, name)
    script = (
        "import sys, time, libvirt; from pathlib import Path; from kubeferry.sources.libvirt.freeze import frozen\n"
        "domain = libvirt.open(sys.argv[1]).lookupByName(sys.argv[2])\n"
        "with frozen(domain, sys.argv[1], Path(sys.argv[3])): time.sleep(600)\n"
    )
    argv = [sys.executable, "-c", script, URI, name, str(tmp_path / "guard.pid")]
    with child(argv, log=tmp_path / "log", env={"PYTHONPATH": str(Path.cwd())}) as holding:
        until(lambda: ask(running, "guest-fsfreeze-status") == "frozen")
        os.kill(holding.pid, signal.SIGKILL)
        until(lambda: ask(running, "guest-fsfreeze-status") == "thawed", 30)


def test_raw_and_qcow2_disks_side_by_side(copy: Copy) -> None:
    write(copy, "vda", 0, b"a")
    write(copy, "vdb", 0, b"b")
    first, _ = copy.round()
    assert {ref.changed for ref in first.refs.values()} == {None}
    write(copy, "vda", MIB, b"c")
    write(copy, "vdb", MIB, b"d")
    second, done = copy.round(first.marker)
    assert second.refs["vda"].changed is not None
    assert second.refs["vdb"].changed is None
    assert done["vda"].tally.read == MIB  # the block that holds what was written
    write(copy, "vdb", 2 * MIB, b"e")
    stop(copy)
    last, done = copy.round(second.marker, final=True)
    assert [last.refs[disk].changed is None for disk in ("vda", "vdb")] == [False, True]
    assert done["vda"].tally.read == 0
    copy.equals_the_stopped_source()
    copy.leaves_nothing()


def test_a_machine_of_raw_disks_only_has_full_rounds(bare: Bare, source: Source, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    old = bare.image("old.qcow2", form="qcow2")
    run(["qemu-img", "amend", "-f", "qcow2", "-o", "compat=0.10", str(old)])
    copy = Copy(source, bare.define("raw", (bare.image("a.raw"), "raw"), (old, "qcow2")), tmp_path / "target")
    virsh("start", copy.name)
    first, _ = copy.round()
    write(copy, "vda", 0, b"x")
    write(copy, "vdb", 0, b"y")
    second, _ = copy.round(first.marker)
    assert second.marker != first.marker
    assert {ref.changed for ref in second.refs.values()} == {None}
    assert checkpoints(copy.name) == []
    stop(copy)
    copy.round(second.marker, final=True)
    copy.equals_the_stopped_source()
    copy.leaves_nothing()
