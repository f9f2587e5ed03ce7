"""What a real TPM of swtpm holds, through real steps, real movers and a real boot, to a swtpm that opens it again."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converters.endpoints.nbd import ssh
from kubeferry.documents import (
    Inventory,
    JournalConfig,
    Limits,
    MachinePolicy,
    Observation,
    Plan,
    Policy,
    Probe,
    SshAccess,
    TargetConfig,
    load,
)
from kubeferry.errors import SourceRefused, TargetRefused
from kubeferry.images.tpm import FILE
from kubeferry.journal import Journal
from kubeferry.life.action_kinds import Goal
from kubeferry.life.events import TpmCarried
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.model import Cpu, Disk, DiskBus, Firmware, FirmwareKind, Machine, Memory, Power, Tpm
from kubeferry.outside import process
from kubeferry.outside.process import ProgramFailed
from kubeferry.sources.libvirt import hosts, tpm
from kubeferry.sources.memory.source import MemorySource
from kubeferry.steps.drive import drive
from kubeferry.steps.work import Work
from kubeferry.targets.directory import target as directory
from kubeferry.targets.directory import tpm as local_tpm
from kubeferry.targets.directory.hypervisor import LocalMachine
from kubeferry.targets.directory.layout import MachineFolder, TargetFolder
from lab import tpm as lab_tpm
from mappings.plan import make_plan
from tests.needs import needs
from tests.tools.sshd import Hypervisor

MIB = 1024 * 1024
SECRET = b"only this TPM knows it"
UUID = "5f0c3a1e-7a51-4a53-9a5d-0e5b6a3f8e01"

# A boot sector that says a word on the first serial line, and halts.
SAYS_READY = bytes.fromhex("31c08ed8fcbe167cbaf803ac84c07403eeebf8f4ebfd") + b"READY\r\n\0"
DISK = SAYS_READY.ljust(510, b"\0") + b"\x55\xaa"

PROBES = (Probe(kind="serial", expect="READY", timeout_seconds=60),)

pytestmark = needs(*lab_tpm.PROGRAMS, "qemu-system-x86_64", "qemu-img")


class Moving:
    """One machine with a TPM, between the memory source and a folder. `state` is what its TPM holds at the source."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.folder, self.root, self.sealed = folder, folder / "target", folder / "sealed"
        for made in (folder / "source", self.sealed):
            made.mkdir()
        self.state = lab_tpm.made(folder / "swtpm", SECRET, self.sealed)
        (folder / "source" / "web.tpm").write_bytes(self.state)
        (folder / "source" / "vda.img").write_bytes(DISK + os.urandom(MIB - len(DISK)))
        self.source = MemorySource("lab", folder / "source")
        self.source.write_machines(a_machine(folder / "source"))
        self.target = directory.connect(TargetConfig(kind="directory", path=str(self.root)))
        self.journal = Journal.open(JournalConfig(url=f"sqlite:///{folder / 'journal.db'}"))
        self.plan = self.planned(policy)

    def planned(self, policy: Policy) -> Plan:
        found = self.source.discover().machines
        facts = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=found)
        plan = make_plan(facts, policy, name="test", created_at="2026-01-01T00:00:00Z", offer=self.target.offer())
        self.journal.register_plan(plan.digest, plan.name, "")
        return plan

    @property
    def place(self) -> MachineFolder:
        return TargetFolder(self.root).machine("web")

    def drive(self, goal: Goal = Goal.MIGRATE) -> MachineState:
        assert not self.plan.excluded, self.plan.excluded
        (entry,) = self.plan.entries
        with self.journal.lease(self.plan.digest, entry.name) as lease:
            parts = (self.plan, entry, self.source, self.target, self.journal, lease, Limits())
            return drive(Work(*parts, progress=lambda *_told: None), goal, lambda _action, step: step())

    def told(self) -> list[TpmCarried]:
        events = [record.event for record in self.journal.events(self.plan.digest, "web")]
        return [event for event in events if isinstance(event, TpmCarried)]

    def close(self) -> None:
        LocalMachine("web", self.place).stop()
        self.target.close()
        self.journal.close()


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Callable[..., Moving]]:
    made: list[Moving] = []

    def build(**own: Any) -> Moving:
        made.append(Moving(tmp_path, Policy(machines={"web": MachinePolicy(probes=PROBES, **own)})))
        return made[-1]

    yield build
    for one in made:
        one.close()


def a_machine(folder: Path) -> Machine:
    uri = (folder / "vda.img").as_uri()
    return Machine(
        id="id-web",
        name="web",
        source="lab",
        power=Power.OFF,
        arch="x86_64",
        uuid=UUID,
        firmware=Firmware(kind=FirmwareKind.BIOS),
        cpu=Cpu(vcpus=1),
        memory=Memory(size_bytes=64 * MIB),
        disks=(Disk(id="vda", bus=DiskBus.VIRTIO, uri=uri, format="raw", capacity_bytes=MIB, chain=()),),
        tpm=Tpm(model="tpm-crb", version="2.0", backend="emulator", state="/web.tpm"),
    )


def test_what_a_tpm_holds_opens_at_the_target(moving: Any, tmp_path: Path) -> None:
    moved = moving()
    (entry,) = moved.plan.entries
    assert entry.tpm is not None
    assert entry.tpm.file == f"swtpm/{UUID}/tpm2/{FILE}"
    assert moved.drive().phase is Phase.COMMITTED
    arrived = moved.place.tpm_state
    assert arrived.read_bytes() == moved.state, "the boot that proved the machine has changed a copy"
    assert (arrived.stat().st_mode & 0o777, arrived.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    digest = hashlib.sha256(moved.state).hexdigest()
    assert moved.told() == [TpmCarried(digest=digest, size_bytes=len(moved.state), where=entry.tpm.claim)]
    seen = load(moved.place.evidence / "observation.json", Observation)
    assert [one for one in seen.not_shown if "tpm" in one.lower()] == [], "the machine was proven with a TPM"
    again = tmp_path / "again"
    again.mkdir()
    (again / FILE).write_bytes(arrived.read_bytes())
    with lab_tpm.running(again) as tpm:
        assert tpm.read() == SECRET
        assert tpm.unseal(moved.sealed) == SECRET
    assert (moved.folder / "source" / "web.tpm").read_bytes() == moved.state


def test_another_tpm_opens_nothing_of_it(moving: Any, tmp_path: Path) -> None:
    """So the other test shows something."""
    moved = moving()
    other = tmp_path / "other"
    other.mkdir()
    with lab_tpm.running(other) as tpm:
        with pytest.raises(ProgramFailed):
            tpm.read()
        with pytest.raises(ProgramFailed):
            tpm.unseal(moved.sealed)


def test_it_stands_nowhere_but_in_its_own_file(moving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = moving()
    started: list[str] = []
    for name in ("child", "detached", "run"):
        whole = getattr(process, name)

        def seen(argv: Any, *rest: Any, _whole: Any = whole, **more: Any) -> Any:
            started.append(" ".join(map(str, argv)) + str(more.get("env")))
            return _whole(argv, *rest, **more)

        monkeypatch.setattr(process, name, seen)
    moved.drive()
    forms = [moved.state, SECRET, base64.b64encode(moved.state[:300]), base64.b64encode(SECRET)[:-4]]
    own = {moved.place.tpm_state, moved.folder / "source" / "web.tpm"}
    texts = {str(path): path.read_bytes() for path in moved.folder.rglob("*") if path.is_file() and path not in own}
    texts = {path: text for path, text in texts.items() if "/swtpm/" not in path}
    texts |= {"plan": moved.plan.model_dump_json().encode(), "started": "\n".join(started).encode()}
    events = moved.journal.events(moved.plan.digest, "web")
    texts |= {"journal": repr(events).encode()}
    assert started
    assert [path for path, text in texts.items() if any(form in text for form in forms)] == []
    assert list(moved.root.rglob("held")) == []


def test_a_rollback_takes_it_back_and_leaves_the_source_as_it_was(moving: Any) -> None:
    moved = moving()
    moved.drive()
    assert moved.place.tpm_state.exists()
    assert moved.drive(Goal.ROLLBACK).phase is Phase.ROLLED_BACK
    assert not moved.place.tpm.exists()
    assert (moved.folder / "source" / "web.tpm").read_bytes() == moved.state


@pytest.mark.parametrize("there", [True, False], ids=["has the program", "has no such program"])
def test_a_host_without_the_program_says_what_was_not_shown(
    moving: Any, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    moved = moving()
    if not there:
        monkeypatch.setattr(local_tpm, "PROGRAM", "no-such-swtpm")
    moved.drive()
    seen = load(moved.place.evidence / "observation.json", Observation)
    told = [one for one in seen.not_shown if "tpm" in one.lower()]
    assert bool(told) is not there
    assert there or any("what the TPM of the source held" in one for one in told)


def test_a_state_that_no_tpm_here_reads_takes_the_move_back(moving: Any) -> None:
    """As that of a newer swtpm is to an older one."""
    moved = moving()
    broken = bytearray(moved.state)
    broken[40:80] = bytes(40)
    (moved.folder / "source" / "web.tpm").write_bytes(broken)
    with pytest.raises(TargetRefused, match="does not start from the state"):
        moved.drive()
    (state,) = [moved.journal.state(moved.plan.digest, "web")]
    assert state.phase is Phase.ROLLED_BACK
    assert not moved.place.tpm.exists()


@needs("ssh", "sshd", "root")
def test_of_a_hypervisor_elsewhere_it_is_read_through_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, swtpm = tmp_path / "sealed", tmp_path / "swtpm"
    sealed.mkdir()
    state = lab_tpm.made(swtpm, SECRET, sealed)
    hypervisor = Hypervisor(tmp_path)
    (tmp_path / "authorized_keys").write_text((tmp_path / "key.pub").read_text())
    monkeypatch.setenv(ssh.KEY, str(hypervisor.key))
    place = {"host": "127.0.0.1", "port": hypervisor.port, "user": "root", "host_key": hypervisor.pin()}
    access = SshAccess.model_validate(place | {"folder": str(tmp_path / "run")})
    host = hosts.host_of("lab", f"qemu+ssh://root@127.0.0.1:{hypervisor.port}/system", access)
    with hypervisor.up():
        found = tpm.state(Tpm(state=str(swtpm / FILE)), "web", host)
        assert found == state
        assert tpm.state(Tpm(state=str(swtpm / "gone")), "web", host) is None
        (swtpm / FILE).write_bytes(state[:-1])
        with pytest.raises(SourceRefused, match="cut off"):
            tpm.state(Tpm(state=str(swtpm / FILE)), "web", host)
        host.close()
