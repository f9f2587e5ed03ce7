"""The directory target with real QEMU: guests that boot from their own disks, and every device that manifests know."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kubeferry.documents import AppProbe, KeptVariables, MoverJob, Observation, Probe, TargetConfig, load
from kubeferry.errors import KubeferryError, TargetRefused, TargetUnavailable
from kubeferry.images.variables import Variable, store_of
from kubeferry.inside.said import CLOCK_SECONDS
from kubeferry.model import DiskRef
from kubeferry.targets.directory import accelerator, qmp
from kubeferry.targets.directory import target as directory
from kubeferry.targets.guest import agent
from kubeferry.uris import inline_uri
from lab import guests
from tests.needs import needs, or_skip
from tests.tools.folder_target import MAC, MIB, SIZE, UEFI, Place, an_entry

pytestmark = needs("qemu-system-x86_64", "qemu-img")


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds a lab guest's disk, once for each kernel."""
    folder = tmp_path_factory.mktemp("guests")

    def build(kernel: guests.Kernel) -> Path:
        made = folder / f"{kernel}.img"
        try:
            spec = guests.Spec(kernel, kernel=kernel, size=SIZE, payload=4 * MIB)
            return made if made.exists() else guests.build_guest(spec, made)
        except KubeferryError as error:
            or_skip(error)

    return build


PROOF = (
    Probe(kind="agent", timeout_seconds=100),
    Probe(kind="http", port=80, path="/boots", expect="1", timeout_seconds=100),
    Probe(kind="tcp", port=80, timeout_seconds=100),
    Probe(kind="counter", path="/data/boots", timeout_seconds=100),
    Probe(kind="file", path="/etc/os-release", expect="NAME=", timeout_seconds=100),
    Probe(kind="serial", expect="READY name=", timeout_seconds=100),
)
LEGACY = {
    "disks": [{"name": "vda", "bootOrder": 1, "disk": {"bus": "sata"}}],
    "interfaces": [{"name": "default", "masquerade": {}, "model": "e1000", "macAddress": MAC}],
}


@pytest.mark.parametrize(
    ("name", "kernel", "devices", "domain"),
    [("bios", "cloud", {}, {}), ("uefi", "cloud", {}, UEFI), ("legacy", "generic", LEGACY, {})],
)
def test_a_guest_boots_from_its_migrated_disk_and_answers(
    place: Place, disk: Any, name: str, kernel: guests.Kernel, devices: dict[str, Any], domain: dict[str, Any]
) -> None:
    entry = an_entry(name, devices=devices, domain=domain, probes=PROOF)
    image = place.ready(entry, disk(kernel))
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    place.target.start(entry, place.written.append)
    seen = place.target.observe(entry, {"/data/boots": "0\n"})

    assert seen.passed, seen.probes
    assert seen.accelerator == accelerator.usable()
    assert seen.guest["kernel"]
    assert "10.0.2.15" in seen.guest["addresses"]
    assert seen.said is not None
    # QEMU's network gives one of IPv6, too, to a guest that is slow enough to hear of it.
    assert [(card.mac, card.addresses[0]) for card in seen.said.cards] == [(MAC, "10.0.2.15")]
    assert [(mount.where, mount.kind) for mount in seen.said.mounts] == [("/data", "ext4")]
    assert seen.said.clock_ahead_seconds is not None
    assert abs(seen.said.clock_ahead_seconds) <= CLOCK_SECONDS
    assert "READY name=" in seen.console_tail
    assert seen.first_answer_seconds is not None
    assert seen.first_answer_seconds == min(probe.seconds for probe in seen.probes)
    assert seen.screenshot is not None
    picture = base64.b64decode(seen.screenshot.removeprefix("data:image/png;base64,"))
    assert picture.startswith(b"\x89PNG")
    assert len(set(picture)) > 50, "the screen shows something"
    kept = place.root / "machines" / name / "evidence"
    assert load(kept / "observation.json", Observation) == seen
    assert "READY name=" in (kept / "serial.log").read_text()

    place.target.stop(entry)
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before, "the migrated disk stays equal to the source"
    assert guests.boot_count(image) == 0
    gone = [thing for thing in place.written if thing.kind in {"process", "folder"} and place.target.exists(thing)]
    assert gone == []


def test_a_guest_finds_the_variables_of_its_source_and_writes_to_a_copy_of_them(place: Place, disk: Any) -> None:
    mark = Variable("LabMark", UUID("0b5f4a3e-6d2c-4f8e-9a71-c0ffee000001"), 7, b"set at the source")
    store = store_of((mark,), "4m")
    asked = (Probe(kind="file", path="/www/mark", expect="set at the source", timeout_seconds=150),)
    kept = KeptVariables(claim="persistent-state-for-marked", file="nvram/marked_VARS.fd")
    entry = an_entry("marked", domain=UEFI, probes=asked).model_copy(update={"variables": kept})
    place.ready(entry, disk("cloud"))
    room = place.target.variables_room(entry, len(store), 7, place.written.append)
    for action in ("copy", "verify"):
        source = DiskRef(uri=inline_uri(store)) if action == "copy" else None
        job = MoverJob(
            name=action, action=action, source=source, target=room.ref, state_dir=room.state_dir, copy_id="variables"
        )
        place.target.submit(job, place.written.append)
        assert place.target.watch(job, lambda _: None).ok
    path = Path(room.ref.uri.removeprefix("file://"))
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (store, 0o600)
    place.target.start(entry, place.written.append)
    with pytest.raises(TargetRefused, match="runs"):
        place.target.variables_room(entry, len(store), 8, place.written.append)
    seen = place.target.observe(entry, {})
    assert seen.passed, seen.probes
    place.target.stop(entry)
    assert path.read_bytes() == store
    place.target.remove(entry)
    assert not path.exists()
    assert not path.parent.parent.exists()


def test_the_copy_reaches_neither_this_host_nor_the_world(place: Place, disk: Any) -> None:
    """I2: its twin may still be out there."""
    closed = Probe(kind="tcp", port=81, timeout_seconds=4)
    entry = an_entry("isolated", probes=(*PROOF[:1], closed))
    place.ready(entry, disk("cloud"))
    place.target.start(entry, place.written.append)
    for _ in ("it boots", "it refuses"):  # a port that QEMU forwards and nobody in the guest listens at
        assert [one.ok for one in place.target.observe(entry, {}).probes] == [True, False]
    with listening() as (port, hits), agent.connect(place.machine(entry).agent) as guest:
        inside = guest_wget(guest, "http://127.0.0.1/boots")
        # 10.0.2.2 is this host, as QEMU shows it to guests that it lets out.
        outside = guest_wget(guest, f"http://10.0.2.2:{port}/")
    assert inside == 0, "the guest can ask its own page, so the question works"
    assert outside != 0
    assert hits == []


@contextlib.contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A web server on this host, and what it was asked."""
    hits: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port, hits
        finally:
            server.shutdown()
            thread.join()


def guest_wget(guest: agent.Agent, url: str) -> int:
    """The exit code of wget inside the guest."""
    # Not wget's own -T: Debian's static busybox ends with a fault there.
    arguments = ["timeout", "3", "/bin/busybox", "wget", "-q", "-O", "/dev/null", url]
    pid = guest.command("guest-exec", path="/bin/busybox", arg=arguments)["pid"]
    for _ in range(200):
        done = guest.command("guest-exec-status", pid=pid)
        if done["exited"]:
            return int(done.get("exitcode", -1))  # none for one that a signal has ended
        time.sleep(0.1)
    raise AssertionError("wget did not end")


def test_a_guest_that_cannot_boot_fails_its_probes_with_what_was_seen(place: Place) -> None:
    entry = an_entry("empty", probes=(Probe(kind="agent", timeout_seconds=2),))
    place.ready(entry)
    place.target.start(entry, place.written.append)
    seen = place.target.observe(entry, {})
    assert not seen.passed
    assert seen.probes[0].evidence.startswith("not within 2 s")
    assert seen.first_answer_at is None
    assert seen.guest == {}
    assert seen.screenshot is not None, "the BIOS says on the screen that it found nothing to boot"


def test_a_qemu_that_dies_ends_the_waiting_at_once(place: Place) -> None:
    entry = an_entry("dies", probes=(Probe(kind="agent", timeout_seconds=3600),))
    place.ready(entry)
    place.target.start(entry, place.written.append)
    with qmp.connect(place.machine(entry).monitor) as monitor:
        monitor.command("quit")
    seen = place.target.observe(entry, {})
    assert seen.probes[0].evidence.startswith("the machine ended: QEMU is gone")
    assert seen.screenshot is None
    place.target.start(entry, place.written.append)
    assert place.machine(entry).running(), "what a dead machine left is cleared away by the next start"


def test_a_second_start_finds_the_machine_and_a_killed_runs_half_start_is_ended(place: Place) -> None:
    entry = an_entry("again")
    place.ready(entry)
    machine = place.machine(entry)
    place.target.start(entry, place.written.append)
    first = machine.pidfile.read_text()
    directory.connect(TargetConfig(kind="directory", path=str(place.root))).start(entry, place.written.append)
    assert machine.pidfile.read_text() == first

    # As after a kill between the start of the program and the writing of its pid.
    machine.pidfile.unlink()
    (machine.folder.run / "start.json").unlink()
    place.target.start(entry, place.written.append)
    assert machine.pidfile.read_text() != first
    assert not running(int(first))

    # As after the loss of its monitor: the pid is enough.
    second = int(machine.pidfile.read_text())
    machine.monitor.unlink()
    place.target.stop(entry)
    assert not running(second)
    assert not machine.folder.run.exists()
    assert not machine.sockets.exists()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("name", "devices", "domain"),
    [
        ("scsi", {"disks": [{"name": "vda", "serial": "s-1", "disk": {"bus": "scsi"}}]}, {}),
        ("usb", {"disks": [{"name": "vda", "disk": {"bus": "usb"}}, {"name": "cd", "cdrom": {"bus": "sata"}}]}, {}),
        ("blocks", {"disks": [{"name": "vda", "disk": {"bus": "virtio", "readonly": True},
                               "blockSize": {"custom": {"logical": 512, "physical": 4096}}}]}, {}),
        ("cards", {"interfaces": [{"name": model, "model": model, "masquerade": {}}
                                  for model in ("e1000e", "rtl8139", "pcnet", "ne2k_pci")]}, {}),
        ("boot-card", {"interfaces": [{"name": "a", "masquerade": {}, "bootOrder": 2}]}, {}),
        ("inputs", {"inputs": [{"name": "a", "type": "tablet", "bus": "usb"},
                               {"name": "b", "type": "keyboard", "bus": "usb"},
                               {"name": "c", "type": "tablet", "bus": "virtio"}]}, {}),
        ("watchdog", {"watchdog": {"name": "w", "i6300esb": {"action": "poweroff"}}, "video": {"type": "virtio"}}, {}),
        ("bochs", {"video": {"type": "bochs"}, "useVirtioTransitional": True}, {}),
        ("cirrus", {"video": {"type": "cirrus"}, "autoattachMemBalloon": False}, {}),
        ("ramfb", {"video": {"type": "ramfb"}}, {}),
        ("headless", {"autoattachGraphicsDevice": False, "autoattachSerialConsole": False}, {}),
        ("clock", {}, {"clock": {"timezone": "Europe/Berlin", "timer": {"hpet": {"present": False},
                                                                     "rtc": {"tickPolicy": "catchup"}}}}),
        ("processor", {}, {"cpu": {"model": "Nehalem", "sockets": 1, "cores": 2, "threads": 2,
                                   "features": [{"name": "aes", "policy": "require"},
                                                {"name": "vmx", "policy": "disable"}]}}),
        ("identity", {}, {"firmware": {"uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223", "serial": "a,b"},
                          "chassis": {"manufacturer": "M, Inc.", "sku": "1", "asset": "2"}}),
        ("no-acpi", {}, {"features": {"acpi": {"enabled": False}, "smm": {"enabled": True}}}),
        ("secure", {}, {"firmware": {"bootloader": {"efi": {"secureBoot": True}}}}),
    ],
)  # fmt: skip
def test_qemu_takes_every_device_that_a_manifest_may_name(
    place: Place, name: str, devices: dict[str, Any], domain: dict[str, Any]
) -> None:
    entry = an_entry(name, devices=devices, domain=domain)
    place.ready(entry)
    place.target.start(entry, place.written.append)
    with qmp.connect(place.machine(entry).monitor) as monitor:
        assert monitor.status() == "running"
        identity = monitor.command("query-uuid")["UUID"]
    if name == "identity":
        assert identity == "5d307ca9-b3ef-428c-8861-06e72d69f223"


def test_what_qemu_cannot_do_is_told_in_its_words_and_leaves_nothing(place: Place) -> None:
    entry = an_entry("odd", domain={"cpu": {"model": "no-such-processor"}})
    place.ready(entry)
    with pytest.raises(TargetUnavailable) as caught:
        place.target.start(entry, place.written.append)
    assert "no-such-processor" in caught.value.why
    assert not place.machine(entry).folder.run.exists()
    assert not place.machine(entry).sockets.exists()


def test_every_card_gets_its_own_forward(place: Place) -> None:
    cards = [{"name": "a", "masquerade": {}}, {"name": "b", "model": "e1000", "bridge": {}}]
    entry = an_entry(
        "two", devices={"interfaces": cards}, probes=(Probe(kind="http", port=80), Probe(kind="http", port=443))
    )
    place.ready(entry)
    place.target.start(entry, place.written.append)
    forwards = place.machine(entry).forwards()
    assert sorted(forwards) == [80, 443]
    ports = [port for found in forwards.values() for port in found]
    assert len(set(ports)) == 4


def test_what_is_asked_of_an_app_by_this_machine_is_forwarded_too(place: Place) -> None:
    asked = (AppProbe(kind="http", port=8080, machine="front"),)
    entry = an_entry("front", probes=(Probe(kind="tcp", port=22),)).model_copy(update={"app_probes": asked})
    place.ready(entry)
    place.target.start(entry, place.written.append)
    assert sorted(place.machine(entry).forwards()) == [22, 8080]


def test_an_agent_channel_without_a_guest_is_silent_and_not_in_the_way(place: Place) -> None:
    entry = an_entry("silent")
    place.ready(entry)
    place.target.start(entry, place.written.append)
    for _ in range(2):
        with pytest.raises(TargetUnavailable, match="no talk"), agent.connect(place.machine(entry).agent, 0.3):
            pass


def test_the_accelerator_is_judged_by_a_machine_that_runs(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    assert accelerator.runs(tmp_path / "good", "tcg", "max")
    assert not accelerator.runs(tmp_path / "bad", "tcg", "no-such-processor")
