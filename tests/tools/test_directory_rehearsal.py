"""A rehearsal in a target folder with real QEMU: a guest that boots from its copied disk while its source goes on."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from kubeferry.documents import Probe
from kubeferry.errors import KubeferryError
from kubeferry.outside import process
from kubeferry.targets.directory import target as directory
from kubeferry.targets.directory.layout import TargetFolder
from kubeferry.targets.directory.rehearsing import machine_of
from kubeferry.targets.guest import agent
from lab import guests
from tests.needs import needs, or_skip
from tests.tools.folder_target import MIB, SIZE, Place, an_entry
from tests.tools.test_directory_target import guest_wget, listening

pytestmark = needs("qemu-system-x86_64", "qemu-img")

PROBES = (
    Probe(kind="agent", timeout_seconds=100),
    Probe(kind="http", port=80, path="/boots", expect="1", timeout_seconds=100),
    Probe(kind="counter", path="/data/boots", timeout_seconds=100),
    Probe(kind="serial", expect="READY name=", timeout_seconds=100),
)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("guest") / "disk.img"
    try:
        return guests.build_guest(guests.Spec("tried", size=SIZE, payload=4 * MIB), made)
    except KubeferryError as error:
        or_skip(error)
        raise


def test_a_guest_boots_isolated_and_its_disk_stays_as_it_was(place: Place, disk: Path) -> None:
    """I2: its twin runs on out there."""
    entry = an_entry("tried", probes=PROBES)
    image = place.ready(entry, disk)
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    place.target.rehearse(entry, place.written.append)
    seen = place.target.observe_rehearsal(entry)

    assert seen.passed, seen.probes
    assert [probe.kind for probe in seen.probes] == ["agent", "http", "serial"]
    (left,) = seen.not_asked
    assert left.startswith("the number in /data/boots went up by exactly one: it compares with what the source says")
    assert "rehearsed" in seen.where
    assert seen.screenshot
    assert "READY name=" in seen.console_tail
    machine = machine_of(entry, TargetFolder(place.root).machine("tried"))
    with listening() as (port, hits), agent.connect(machine.agent) as guest:
        assert guest_wget(guest, "http://127.0.0.1/boots") == 0, "the question works"
        assert guest_wget(guest, f"http://10.0.2.2:{port}/") != 0
    assert hits == []

    assert place.target.end_rehearsal(entry)
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert guests.boot_count(image) == 0
    assert [
        thing for thing in place.written if thing.kind in {"process", "folder"} and place.target.exists(thing)
    ] == []
    assert not (place.root / "machines" / "tried" / "rehearsal").exists()


def test_one_whose_runner_was_killed_is_found_and_ended_by_the_next(place: Place, disk: Path) -> None:
    entry = an_entry("left")
    place.ready(entry, disk)
    place.target.rehearse(entry, place.written.append, 1)
    again = directory.connect(place.target_config)
    assert again.end_rehearsal(entry, 2)
    assert not machine_of(entry, TargetFolder(place.root).machine("left")).alive()


def test_one_that_died_by_itself_is_no_hindrance(place: Place, disk: Path) -> None:
    entry = an_entry("died")
    place.ready(entry, disk)
    place.target.rehearse(entry, place.written.append)
    machine = machine_of(entry, TargetFolder(place.root).machine("died"))
    pid = process.alive(machine.pidfile, program=str(machine.monitor))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    short = entry.model_copy(update={"probes": (Probe(kind="agent", timeout_seconds=5),)})
    (probe,) = place.target.observe_rehearsal(short).probes
    assert not probe.ok
    place.target.end_rehearsal(entry)
    place.target.rehearse(entry, place.written.append)
    assert machine.alive()
    place.target.end_rehearsal(entry)
