"""A real guest behind the lab's vCenter, moved by the command line, cold and warm: bytes, boot, what is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.documents import Plan, load
from kubeferry.life.events import DiskCopied
from kubeferry.outside.process import run
from kubeferry.sources.vsphere.snapshots import NOTE
from lab import guests
from lab.vcenter.place import Place, vcenter
from tests.needs import here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420), pytest.mark.xdist_group("vcenter")]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here("vcenter", *guests.PROGRAMS, "qemu-system-x86_64", "openssl")
    return guests.build_guest(guests.Spec("vmware-web", kernel="generic"), tmp_path_factory.mktemp("guest") / "web.raw")


@pytest.fixture
def lab(guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    (tmp_path / "vcenter").mkdir()
    with vcenter(tmp_path / "vcenter") as place:
        for name, value in place.environment().items():
            monkeypatch.setenv(name, value)
        place.machine("web", [guest], on=True)
        place.tools("web", running=True)
        yield place


@pytest.fixture
def estate(lab: Place, small: Any) -> Any:
    """The small estate, with the vCenter as its source."""
    document = yaml.safe_load((small.folder / "kubeferry.yaml").read_text())
    document["sources"] = {"lab": {"kind": "vmware", "uri": lab.url}}
    (small.folder / "kubeferry.yaml").write_text(yaml.safe_dump(document))
    return small


WANTED = {
    "networks": [{"target": "pod"}],
    "storage": {"storageClass": "fast"},
    "stop": {"agentSeconds": 20, "acpiSeconds": 1},
    "rules": [{"match": {"name": "*"}, "accept": ["probe.agent-unsure"]}],  # we know our guest
    "probes": [{"kind": "agent", "timeoutSeconds": 240}, {"kind": "http", "port": 80, "path": "/boots"}],
}
DATA = guests.DATA_START + 32 * 2**20  # inside of its file system, behind everything that is in use


def run_of(estate: Any, *arguments: str) -> None:
    code, out, err = estate.command(*arguments)
    assert code == 0, f"{arguments}: {out}{err}"


def the_disk(estate: Any) -> Path:
    """The target's disk."""
    size = 2**20 * 64
    found = [path for path in estate.target.rglob("*") if path.is_file() and path.stat().st_size > size]
    assert len(found) == 1, found
    return Path(found[0])


def copies(estate: Any) -> list[DiskCopied]:
    plan = load(estate.folder / "plan.yaml", Plan)
    with estate.journal() as journal:
        told = [record.event for record in journal.events(plan.digest, "web")]
    return [event for event in told if isinstance(event, DiskCopied)]


@pytest.mark.parametrize("mode", ["cold", "warm"])
def test_a_real_guest_is_moved_and_nothing_of_it_stays_at_the_source(
    lab: Place, estate: Any, server: str, mode: str
) -> None:
    estate.policy(**WANTED, mode=mode)
    run_of(estate, "discover")
    run_of(estate, "assess", "inventory.yaml", "--policy", "policy.yaml", "--out", "assessment")
    run_of(estate, "plan", "inventory.yaml", "--policy", "policy.yaml")
    if mode == "warm":
        run_of(estate, "precopy", "plan.yaml")
        assert lab.snapshots("web") == []
        lab.write("web", 0, DATA, b"changed while it ran" * 50)
    run_of(estate, "migrate", "plan.yaml")
    assert estate.state("web").phase == "committed"
    assert lab.vm("web").runtime.powerState == "poweredOff"
    assert run(["cmp", str(lab.disks("web")[0].path), str(the_disk(estate))]).code == 0
    assert lab.snapshots("web") == []
    assert not any(told.key == NOTE for told in lab.vm("web").config.extraConfig)
    assert not lab.relay.leases
    made = copies(estate)
    if mode == "warm":
        assert [event.round for event in made] == [1, 2]
        assert made[1].read_bytes == 2**20  # the block that was changed
        assert made[1].same_bytes == made[1].size_bytes - 2**20
    else:
        assert len(made) == 1
        assert lab.relay.rules.count("CreateSnapshot_Task") == 0


def test_a_stream_that_the_server_did_not_send_is_no_copy(lab: Place, estate: Any, server: str) -> None:
    estate.policy(**WANTED, mode="warm")
    run_of(estate, "discover")
    run_of(estate, "plan", "inventory.yaml", "--policy", "policy.yaml")
    lab.relay.rules.miscounted = {":0"}
    code, out, err = estate.command("precopy", "plan.yaml")
    assert code != 0
    assert "is not what vSphere exported" in out + err
    assert copies(estate) == []
    assert lab.snapshots("web") == []
    lab.relay.rules.miscounted = set()
    run_of(estate, "precopy", "plan.yaml")
    assert [event.round for event in copies(estate)] == [2]
    assert run(["cmp", str(lab.disks("web")[0].path), str(the_disk(estate))]).code == 0


def test_a_machine_that_is_rolled_back_runs_at_its_source_again(lab: Place, estate: Any, server: str) -> None:
    probes = [{"kind": "serial", "expect": "no guest says this", "timeoutSeconds": 2}]
    estate.policy(**(WANTED | {"probes": probes}), mode="warm")
    run_of(estate, "discover")
    run_of(estate, "plan", "inventory.yaml", "--policy", "policy.yaml")
    run_of(estate, "precopy", "plan.yaml")
    assert estate.command("migrate", "plan.yaml")[0] != 0
    assert lab.vm("web").runtime.powerState == "poweredOn"
    assert lab.snapshots("web") == []
