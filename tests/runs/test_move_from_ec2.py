"""A machine moves from the lab's cloud to the directory target, warm: its volume changes between the rounds, it is
stopped, the rest is copied, and the copy boots."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from flows.cli import run
from kubeferry.documents import Config, Plan, load
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal
from kubeferry.life.machine_state import MachineState
from kubeferry.outside import stopping
from lab import guests
from lab.ec2 import Cloud
from lab.guests import DATA_START
from tests.needs import needs, or_skip

ROOT = Path(__file__).resolve().parents[2]
MIB, GIB = 1 << 20, 1 << 30
pytestmark = [
    pytest.mark.xdist_group("aws"),
    needs("qemu-system-x86_64", "qemu-img"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stopping.reset()
    with Cloud() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
    stopping.reset()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("guest") / "web.img"
    try:
        return guests.build_guest(guests.Spec("web", size=192 * MIB, payload=8 * MIB), made)
    except KubeferryError as error:
        or_skip(error)


class Move:
    """A folder with a configuration, and the commands that a user types there."""

    def __init__(self, folder: Path, cloud: Cloud, disk: Path, mode: str) -> None:
        self.folder, self.cloud = folder, cloud
        self.instance = cloud.launch("web", {"/dev/xvda": 1})
        self.volume = cloud.volumes(self.instance)["/dev/xvda"]
        cloud.load(self.volume, disk)
        self.write("kubeferry.yaml", kind="Config", **self.config())
        self.write(
            "policy.yaml",
            kind="Policy",
            mode=mode,
            verify="written" if mode == "warm" else "always",
            stop={"agentSeconds": 5, "acpiSeconds": 5},
            probes=[{"kind": "agent", "timeoutSeconds": 240}],
            machines={"web": {"diskBus": "virtio", "accept": ["probe.agent-unsure"]}},  # we know our guest
        )

    def config(self) -> dict[str, object]:
        return {
            "sources": {"cloud": {"kind": "aws", "aws": {"endpointUrl": self.cloud.url, "regions": ["eu-west-1"]}}},
            "target": {"kind": "directory", "path": "target"},
            "journal": {"url": "sqlite:///journal.db"},
        }

    def write(self, name: str, **document: object) -> None:
        (self.folder / name).write_text(yaml.safe_dump({"apiVersion": "kubeferry.io/v1alpha1", **document}))

    def __call__(self, *arguments: str) -> int:
        with contextlib.chdir(self.folder):
            return run(list(arguments))

    def state(self) -> MachineState:
        plan = load(self.folder / "plan.yaml", Plan)
        config = load(self.folder / "kubeferry.yaml", Config).journal
        url = config.url.replace("sqlite:///", f"sqlite:///{self.folder}/")
        with Journal.open(config.model_copy(update={"url": url})) as journal:
            return journal.state(plan.digest, "web")

    def is_equal(self) -> bool:
        """Whether the migrated disk has what the volume has, every byte of it."""
        image = next((self.folder / "target").rglob("*.img"))
        with image.open("rb") as file:
            return all(
                file.read(16 * MIB) == self.cloud.store.read(self.volume, offset, 16 * MIB)
                for offset in range(0, GIB, 16 * MIB)
            )

    def boots(self) -> int:
        console = next((self.folder / "target").rglob("serial.log")).read_text(errors="replace")
        return int(re.findall(r"READY name=\S+ boots=([0-9]+)", console)[-1])

    def power(self) -> str:
        found = self.cloud.client().describe_instances(InstanceIds=[self.instance])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


@pytest.fixture
def move(server: str, tmp_path: Path, cloud: Cloud, disk: Path) -> Callable[[str], Move]:
    return lambda mode: Move(tmp_path, cloud, disk, mode)


def test_a_warm_move_copies_what_changed_and_the_copy_boots(move: Callable[[str], Move]) -> None:
    moved = move("warm")
    assert moved("discover") == 0
    assert moved("assess", "inventory.yaml", "--policy", "policy.yaml", "--out", "assessment") == 0
    assert "ec2.cost" in (moved.folder / "assessment" / "web" / "README.md").read_text()
    assert moved("plan", "inventory.yaml", "--policy", "policy.yaml", "--out", "plan.yaml") == 0
    assert moved("precopy", "plan.yaml") == 0
    assert moved.power() == "running"
    full = moved.cloud.calls["GetSnapshotBlock"]
    unused = GIB - 8 * MIB  # behind the guest's own file systems
    moved.cloud.write(moved.volume, unused, b"written after the first round" * 100)
    moved.cloud.write(moved.volume, DATA_START - 4096, b"between two partitions")
    assert moved("migrate", "plan.yaml") == 0
    assert moved.state().phase == "committed"
    assert moved.power() == "stopped"
    assert moved.is_equal()
    assert moved.boots() == 1
    assert moved.cloud.calls["GetSnapshotBlock"] - full <= 8, "the delta is what changed, in blocks of 1 MiB"
    assert moved.cloud.snapshots() == []
    assert moved("report", "plan.yaml", "--out", "report") == 0
    report = json.loads((moved.folder / "report" / "report.json").read_text())
    assert report["machines"][0]["verdict"] == "proven"


def test_a_cold_move_stops_copies_and_leaves_nothing_behind(move: Callable[[str], Move]) -> None:
    moved = move("cold")
    for arguments in (
        ("discover",),
        ("plan", "inventory.yaml", "--policy", "policy.yaml", "--out", "plan.yaml"),
        ("migrate", "plan.yaml"),
    ):
        assert moved(*arguments) == 0
    assert moved.state().phase == "committed"
    assert moved.power() == "stopped"
    assert moved.is_equal()
    assert moved.boots() == 1
    assert moved.cloud.snapshots() == []
    assert moved("rollback", "plan.yaml", "--machine", "web") == 0
    assert moved.power() == "running"
