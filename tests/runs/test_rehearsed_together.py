"""The machines of an app rehearsed together by the whole program, with real guests: db, then web, whose page needs db.

Both have addresses of their own on a network that exists nowhere on this host. A twin of db with the same address runs
apart from them, as the source would.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeferry.documents import Probe, TargetConfig
from kubeferry.errors import KubeferryError
from kubeferry.life.machine_state import Phase
from kubeferry.life.rehearsal import has_passed
from kubeferry.model import Power
from kubeferry.targets.directory import target as directory
from kubeferry.targets.directory.layout import TargetFolder
from kubeferry.targets.directory.rehearsing import machine_of
from kubeferry.targets.guest import agent
from kubeferry.targets.memory import target as memory
from lab import guests
from tests.needs import here, or_skip
from tests.runs.test_rehearsal_killed import NOBODY, machines, until
from tests.tools.folder_target import MIB, SIZE, Place, an_entry
from tests.tools.test_directory_target import guest_wget, listening

NAMES = ("db", "web")
DB, WEB = "192.168.77.10", "192.168.77.20"
LATE = 100
SEES_DB = {"kind": "http", "port": 80, "path": "/peer", "expect": "<title>db</title>", "timeoutSeconds": LATE}


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    here("qemu-system-x86_64", "qemu-img")
    folder = tmp_path_factory.mktemp("guests")
    specs = (
        guests.Spec("db", size=SIZE, payload=4 * MIB, address=f"{DB}/24"),
        guests.Spec("web", size=SIZE, payload=4 * MIB, address=f"{WEB}/24", peer=DB),
    )
    try:
        return {spec.name: guests.build_guest(spec, folder / f"{spec.name}.img") for spec in specs}
    except KubeferryError as error:
        or_skip(error)
        raise


def app(small: Any, order: Any = (), asked: Any = (), **policy: Any) -> None:
    """The machines as an app, planned and copied ahead."""
    for name in NAMES:
        if name not in [machine.name for machine in small.machines]:
            small.add(name)
    together = {"members": list(NAMES), "order": list(order), "probes": list(asked), "rehearsal": {"together": True}}
    small.policy(mode="warm", apps={"shop": together}, **policy)
    small.plan()
    code, _, err = small.command("precopy", "plan.yaml")
    assert code == 0, err


@pytest.fixture
def shop(disks: dict[str, Path], small: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An app of two machines, copied ahead into a target folder; whatever runs there ends with the test."""
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    for name in NAMES:
        subprocess.run(["cp", "--sparse=always", str(disks[name]), str(small.disk(name))], check=True)
        small.add(name, small.disk(name))
    alive = {"kind": "agent", "timeoutSeconds": LATE}
    app(
        small,
        probes=[alive],
        machines={"web": {"probes": [dict(alive), dict(SEES_DB)]}},
        order=[["db"], ["web"]],
        asked=[{**SEES_DB, "machine": "web"}],
    )
    yield small
    for pid, _ in machines(small):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def twin(disks: dict[str, Path], tmp_path: Path) -> Iterator[tuple[Place, Any]]:
    """A machine with db's disk and address that runs for itself, and what it sends is kept."""
    place = Place(tmp_path / "elsewhere")
    entry = an_entry("twin", probes=(Probe(kind="agent", timeout_seconds=LATE), Probe(kind="packets")))
    place.ready(entry, disks["db"])
    place.target.rehearse(entry, place.written.append)
    yield place, entry
    place.stop()


def nothing_is_left(small: Any) -> None:
    assert machines(small) == []
    for name in NAMES:
        assert not (small.target / "machines" / name / "rehearsal").exists()
        assert small.power(name) is Power.RUNNING
    assert not [thread for thread in threading.enumerate() if thread.name == "carries frames" and thread.is_alive()]


def roots(small: Any) -> dict[str, str]:
    images = (small.target / "machines").glob("*/disks/*.img")
    return {image.name: hashlib.sha256(image.read_bytes()).hexdigest() for image in images}


def sent_to(capture: bytes) -> set[str]:
    """The MAC addresses that frames of a capture (pcap) go to."""
    found, at = set(), 24
    while at + 16 < len(capture):
        kept = struct.unpack_from("=I", capture, at + 8)[0]
        found.add(capture[at + 16 : at + 22].hex(":"))
        at += 16 + kept
    return found


@pytest.mark.timeout(240)
def test_web_reaches_db_by_its_address_and_nothing_reaches_them(
    shop: Any, twin: tuple[Place, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, twin_entry = twin
    seen: list[str] = []
    looked_at = directory.DirectoryTarget.observe_rehearsal

    def observe(self: Any, entry: Any) -> Any:
        observation = looked_at(self, entry)
        seen.append(entry.name)
        if seen[-2:] == ["web", "web"]:  # the probe of the app: all of them run
            folder = TargetFolder(shop.target)
            web = machine_of(entry, folder.machine("web"))
            other = machine_of(twin_entry, TargetFolder(place.root).machine("twin"))
            with listening() as (port, hits), agent.connect(web.agent) as guest, agent.connect(other.agent) as apart:
                assert guest_wget(guest, f"http://{DB}/") == 0
                assert guest_wget(guest, f"http://198.18.0.2:{port}/") != 0
                assert guest_wget(apart, "http://127.0.0.1/boots") == 0
                assert guest_wget(apart, f"http://{WEB}/") != 0, "nobody else is on their network"
            assert hits == []
            assert socket.if_nameindex() == interfaces, "nothing of it is on this host's networks"
            assert web.sockets.stat().st_mode & 0o777 == 0o700
        return observation

    monkeypatch.setattr(directory.DirectoryTarget, "observe_rehearsal", observe)
    before, interfaces = roots(shop), socket.if_nameindex()
    code, out, err = shop.command("rehearse", "plan.yaml", "-m", "web")
    assert code == 0, out + err
    assert "db too: app shop is rehearsed together" in err
    assert seen == ["db", "web", "web"]
    for name in NAMES:
        assert (shop.state(name).phase, has_passed(shop.state(name))) == (Phase.REHEARSED, True)
    assert shop.state("web").rehearsal.app_observed.passed == 1
    assert roots(shop) == before
    nothing_is_left(shop)

    assert place.target.observe_rehearsal(twin_entry).passed, "it ran on undisturbed"
    (capture,) = machine_of(twin_entry, TargetFolder(place.root).machine("twin")).captures()
    cards = {str(nic.mac) for machine in shop.machines for nic in machine.nics}
    assert sent_to(capture.read_bytes()).isdisjoint(cards), "it has answered none of them"


@pytest.mark.timeout(240)
def test_killed_in_the_middle_the_next_command_of_one_ends_all_of_them(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines without a system, whose probes wait for long."""
    here("qemu-system-x86_64", "qemu-img")
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    app(small, probes=[{"kind": "agent", "timeoutSeconds": 300}])
    program = subprocess.Popen(
        small.program("rehearse", "plan.yaml", "--app", "shop"),
        cwd=small.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: small.kinds("web")[-1:] == ["rehearsal-started"])
    os.killpg(program.pid, signal.SIGKILL)
    program.wait(10)
    assert len(machines(small)) == 2, "QEMU goes on without it"
    code, _, err = small.command("precopy", "plan.yaml", "-m", "web")
    assert code == 0, err
    nothing_is_left(small)
    for name in NAMES:
        assert small.state(name).phase is Phase.SYNCED
        assert "nobody looked at its copy" in small.state(name).rehearsal.failed
    assert small.kinds("db")[-1] == "rehearsal-ended", "it was not copied, and nothing runs over it"


@pytest.mark.timeout(120)
def test_all_of_an_app_are_taken_whichever_is_named_and_who_did_not_pass_is_not_moved(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between doubles: what the commands say and do."""
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    small.configure(target="memory", path=str(small.folder))
    target = memory.connect(TargetConfig(kind="memory", path=str(small.folder)))
    asked = [{"kind": "serial", "expect": "open"}]
    app(small, order=[["db"], ["web"]], asked=asked, rehearsal={"required": True}, probes=[{"kind": "agent"}])
    told = small.command("rehearse", "plan.yaml", "-m", "db", "--dry-run")[1]
    assert told.count("all of them run at the same time") == 2
    assert "rehearse-app" in told

    target.answers["serial"] = False
    code, out, err = small.command("precopy", "plan.yaml", "-m", "db", "--rehearse")
    assert (code, out.count("not passed")) == (2, 3), out + err
    assert "web too: app shop is rehearsed together" in err
    assert "web: app shop did not pass" in err
    assert [len(small.state(name).rounds) for name in NAMES] == [2, 2]
    code, _, err = small.command("migrate", "plan.yaml", "--rehearse")
    assert (code, "precopy --rehearse --app shop" in err) == (2, True), err
    assert {small.power(name) for name in NAMES} == {Power.RUNNING}

    target.answers.clear()
    assert small.command("rehearse", "plan.yaml", "--wave", "wave-1")[0] == 0
    assert small.command("migrate", "plan.yaml")[0] == 0
    assert {small.state(name).phase for name in NAMES} == {Phase.COMMITTED}
