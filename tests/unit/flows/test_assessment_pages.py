"""The HTML of an assessment: what an owner reads, links that lead somewhere, names that stay names, and nothing that
was touched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flows import assessing
from flows.assessing import write_assessments
from kubeferry.documents import (
    Config,
    Inventory,
    MachinePolicy,
    NetworkMap,
    Offer,
    Policy,
    SourceConfig,
    StoragePolicy,
    TargetConfig,
    save,
)
from kubeferry.documents.offer import ClusterRoom, QuotaRoom
from kubeferry.model import Cpu, Disk, Firmware, Guest, Machine, Memory, Nic, Power, SourceFact
from kubeferry.sources.memory.source import MemorySource
from kubeferry.targets.memory.target import MemoryTarget
from tests.pages import Page, asks_elsewhere, dead_links, pages_in

GIB = 1 << 30
QUIET = Policy(
    storage=StoragePolicy(storage_class="fast", volume_mode="Block"),
    networks=(NetworkMap(target="multus", multus_name="lab/lan"),),
)
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "../../../etc/passwd",
    "a\u202egpj.exe",
    "index",
    "apps",
    "app-shop.html",
    "#machines",
    "x" * 250,
    "-rf $(reboot); `id`",
)


def a_disk(name: str, uri: str, **changes: Any) -> Disk:
    return Disk(id=name, bus="virtio", uri=uri, source_kind="file", format="raw", chain=(), **changes)


def a_machine(name: str, number: int = 0, **changes: Any) -> Machine:
    facts: dict[str, Any] = {
        "id": f"id-{number}",
        "name": name,
        "source": "lab",
        "power": Power.RUNNING,
        "arch": "x86_64",
        "machine_type": "q35",
        "uuid": f"{number:08x}-1111-4222-8333-444455556666",
        "firmware": Firmware(kind="bios"),
        "cpu": Cpu(vcpus=2),
        "memory": Memory(size_bytes=2 * GIB),
        "disks": (
            Disk(id="vda", bus="virtio", uri=f"file:///{number}.img", source_kind="file", format="raw", chain=()),
        ),
        "nics": (
            Nic(id="net0", network="default", model="virtio", mac=f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"),
        ),
        "guest": Guest(os_name="Debian GNU/Linux 12", agent_channel=True),
        "metadata": {"folder": name, "owner": HOSTILE[0]},
        "snapshots": 0,
    }
    machine = Machine(**(facts | changes))
    sized = (disk.model_copy(update={"capacity_bytes": 10 * GIB, "allocated_bytes": 3 * GIB}) for disk in machine.disks)
    return machine if "disks" in changes else machine.model_copy(update={"disks": tuple(sized)})


def inventory(*machines: Machine) -> Inventory:
    return Inventory(source="lab", source_kind="memory", observed_at="2026-11-24T02:00:00Z", machines=machines)


def assessed(out: Path, *machines: Machine, policy: Policy = QUIET, **more: Any) -> dict[str, Page]:
    write_assessments(inventory(*machines), policy, out, **more)
    return pages_in(out)


def test_every_link_of_every_page_leads_somewhere(tmp_path: Path) -> None:
    machines = [a_machine(name, number) for number, name in enumerate((*HOSTILE, "db", "web"))]
    after = Policy(machines={"web": MachinePolicy(after=("db",)), "db": MachinePolicy(wave="late")})
    made = assessed(tmp_path, *machines, policy=after)
    assert len(made) == 1 + len(machines)
    assert list(dead_links(tmp_path, made)) == []
    assert "../db/index.html" in made["web/index.html"].links
    assert "../web/index.html" in made["db/index.html"].links


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    machines = [
        a_machine(name, number, title=name, guest=Guest(os_name=name), nics=(Nic(id="net0", network=name, mac=name),))
        for number, name in enumerate(HOSTILE)
    ]
    made = assessed(tmp_path, *machines, policy=Policy())
    for name, page in made.items():
        text = (tmp_path / name).read_text()
        assert list(asks_elsewhere(text, page)) == []
        assert sum(tag == "script" for tag, _ in page.tags) == (name == "index.html")
        assert not set(page.text) & set("\u202e\x1b\x00")
        assert "49" not in page.text.partition("7*7")[2][:5]
    assert HOSTILE[0] in made["index.html"].text


def test_an_index_of_five_hundred_is_small_enough_to_open(tmp_path: Path) -> None:
    """By what each machine adds to it; browsers lay out a megabyte in well under a second."""
    sizes = []
    for count in (10, 40):
        assessed(tmp_path / str(count), *(a_machine(f"machine-{n:04}", n) for n in range(count)))
        sizes.append((tmp_path / str(count) / "index.html").stat().st_size)
    assert sizes[0] + (sizes[1] - sizes[0]) / 30 * 490 < 800_000
    assert max(path.stat().st_size for path in tmp_path.rglob("*/index.html")) < 60_000


def test_a_cold_move_says_that_the_machine_is_down_for_its_whole_copy(tmp_path: Path) -> None:
    cold = assessed(tmp_path / "cold", a_machine("web"))["web/index.html"].text
    assert "A cold move: it is stopped first and down for its whole copy and read-back" in cold
    assert "at least 10 s to 2 min" in cold
    warm = assessed(tmp_path / "warm", a_machine("web"), policy=QUIET.model_copy(update={"mode": "warm"}))
    assert "A warm move:" in warm["web/index.html"].text
    assert "down for its whole copy" not in warm["web/index.html"].text
    off = assessed(tmp_path / "off", a_machine("web", power=Power.OFF))["web/index.html"].text
    assert "No downtime: it is off already." in off


def test_sizes_that_nobody_knows_are_not_zero(tmp_path: Path) -> None:
    unsized = a_disk("vda", "file:///a.img")
    some = (unsized, a_disk("vdb", "file:///b.img", capacity_bytes=4 * GIB))
    made = assessed(tmp_path, a_machine("none", 1, disks=(unsized,)), a_machine("some", 2, disks=some))
    none, one, index = (made[name].text for name in ("none/index.html", "some/index.html", "index.html"))
    for text in (none, one, index):
        assert " 0\xa0B" not in text
        assert "0 bytes" not in text
    assert "1 of unknown size" in none
    assert "4\xa0GiB, 1 of unknown size" in one
    assert "more than " in one
    assert re.search(r"Down\s*not known", none)


def test_what_harms_nobody_is_not_lost(tmp_path: Path) -> None:
    text = assessed(tmp_path, a_machine("web"))["web/index.html"].text
    assert "no fields lost" in text
    assert "2 not needed" in text
    assert text.index("Not needed there") < text.index("metadata.folder")


def test_each_open_decision_has_its_lines_and_a_machine_without_any_has_none(tmp_path: Path) -> None:
    text = assessed(tmp_path / "a", a_machine("web"), policy=Policy())["web/index.html"].text
    assert "nic.address-changed" in text
    assert "multusName: some-namespace/some-network" in text
    ids = {concern.id for concern in write_assessments(inventory(a_machine("web")), QUIET, tmp_path / "b")[0].concerns}
    accepting = QUIET.model_copy(update={"machines": {"web": MachinePolicy(accept=tuple(sorted(ids)))}})
    assert "Decisions open" not in assessed(tmp_path / "c", a_machine("web"), policy=accepting)["web/index.html"].text


def test_where_a_machine_fits_stands_on_its_page_with_the_fact_and_the_index_is_filtered_by_it(tmp_path: Path) -> None:
    router = a_machine("router", 2, unmodelled=(SourceFact(path="ec2/SourceDestCheck", value="no"),))
    made = assessed(tmp_path, a_machine("web", 1), router)
    page, index = made["router/index.html"].text, made["index.html"]
    assert "stays, until somebody decides otherwise; a recommendation, which changes no plan" in page
    assert re.search(r"for staying\s*It passes on traffic that is not meant for it.*ec2/SourceDestCheck: no", page)
    assert "Not known: " in page
    assert "Pod Security baseline" in page
    assert [said["data-place"] for tag, said in index.tags if "data-place" in said] == ["stay", "vm"]
    assert ("select", {"name": "place"}) in index.tags
    told = json.loads((tmp_path / "router" / "assessment.json").read_text())["triage"]
    assert (told["place"], told["reasons"][0]["fact"]) == ("stay", "ec2/SourceDestCheck: no")


def test_cards_go_one_by_one(tmp_path: Path) -> None:
    cards = (
        Nic(id="net0", network="default", model="virtio", mac="52:54:00:00:00:01"),
        Nic(id="net1", network="dmz", switch="vs0", vlans=(7,), model="e1000", mac="52:54:00:00:00:02"),
        Nic(id="net2", network="old", model="virtio", mac="52:54:00:00:00:03"),
    )
    networks = (
        NetworkMap(source_name="default"),
        NetworkMap(source_name="dmz", target="multus", multus_name="net/dmz", mac="new"),
        NetworkMap(target="drop"),
    )
    made = assessed(tmp_path, a_machine("web", nics=cards), policy=QUIET.model_copy(update={"networks": networks}))
    text = made["web/index.html"].text
    assert "the pod network (masquerade), as virtio; keeps its MAC address" in text
    assert "dmz, switch vs0, VLAN 7" in text
    assert "net/dmz (bridge), as e1000; gets a new MAC address" in text
    assert "nowhere: the policy drops it" in text


def test_the_room_of_a_cluster_stands_beside_what_a_wave_takes(tmp_path: Path) -> None:
    quota = QuotaRoom(namespace="default", quota="team", resource="requests.memory", hard=3 * GIB, used=GIB)
    room = ClusterRoom(nodes=2, cpus=15, memory_bytes=32 * GIB, quotas=(quota,))
    made = assessed(tmp_path, a_machine("web", 1), a_machine("db", 2), offer=Offer(room=room))
    text = made["index.html"].text
    assert "too little requests.memory" in text
    assert "2 nodes with 32\xa0GiB of memory" in text
    assert "No cluster was asked" in assessed(tmp_path, a_machine("web"))["index.html"].text


def test_a_policy_that_makes_no_plan_is_told_with_why(tmp_path: Path) -> None:
    circle = {"web": MachinePolicy(after=("db",)), "db": MachinePolicy(after=("web",))}
    made = assessed(
        tmp_path, a_machine("web", 1), a_machine("db", 2), policy=QUIET.model_copy(update={"machines": circle})
    )
    assert "The policy makes no plan yet" in made["index.html"].text
    assert list(dead_links(tmp_path, made)) == []


def test_one_that_another_holds_back_says_so(tmp_path: Path) -> None:
    policy = QUIET.model_copy(update={"machines": {"web": MachinePolicy(after=("db",))}})
    made = assessed(tmp_path, a_machine("web", 1), a_machine("db", 2, arch="s390x"), policy=policy)
    assert "It comes after db, which is excluded." in made["web/index.html"].text
    assert "0 of 2 machines can move" in made["index.html"].text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call of a method of either end, by its name."""
    calls: list[str] = []
    for end in (MemorySource, MemoryTarget):
        for name in [one for one in vars(end) if not one.startswith("_") and callable(getattr(end, one))]:
            whole = getattr(end, name)

            def counted(self: Any, *given: Any, name: str = name, whole: Any = whole, **more: Any) -> Any:
                calls.append(name)
                return whole(self, *given, **more)

            monkeypatch.setattr(end, name, counted)
    return calls


def test_nothing_is_asked_of_the_source_and_the_target_is_asked_what_it_offers(
    tmp_path: Path, asked: list[str]
) -> None:
    config = Config(sources={"lab": SourceConfig(kind="memory")}, target=TargetConfig(kind="memory", path="pages"))
    save(config, tmp_path / "kubeferry.yaml")
    offer = assessing.offer_of(tmp_path / "kubeferry.yaml")
    assessed(tmp_path / "out", a_machine("web"), offer=offer)
    assert asked == ["offer", "close"]
