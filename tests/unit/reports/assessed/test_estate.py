"""What machines have in common: apps, waves and the room that there is; and the page of an app."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import AppProbe, Inventory, MachinePolicy, PlannedApp, Policy, Window
from kubeferry.documents.assessment import Assessment
from kubeferry.documents.offer import ClusterRoom, QuotaRoom
from kubeferry.model import Cpu, Disk, Firmware, Guest, Machine, Memory, Power
from mappings.assessment import assess, page_folders
from mappings.plan import make_plan
from reports.assessed.estate import Estate, Said, build_estate
from reports.assessed.pages import app_file, html_pages
from reports.assessed.telling import rough, span
from tests.pages import Page

GIB = 1 << 30
WINDOW = Window(start="21:00", end="23:00", time_zone="Europe/Vienna", days=("sat",))


def a_machine(name: str, **changes: Any) -> Machine:
    disk = Disk(id="vda", bus="virtio", uri=f"file:///{name}.img", format="raw", chain=(), capacity_bytes=10 * GIB)
    facts: dict[str, Any] = {
        "id": name,
        "name": name,
        "source": "lab",
        "power": Power.RUNNING,
        "arch": "x86_64",
        "firmware": Firmware(kind="bios"),
        "cpu": Cpu(vcpus=2),
        "memory": Memory(size_bytes=2 * GIB),
        "disks": (disk,),
        "guest": Guest(agent_channel=True),
    }
    return Machine(**(facts | changes))


@pytest.fixture
def shop() -> Estate:
    """An app of two tiers in a window, and a machine that is of none; as a plan that knows apps has them."""
    machines = (a_machine("db"), a_machine("web"), a_machine("old", arch="s390x"))
    return estate(*machines, apps={"db": "shop", "web": "shop"})


def estate(*machines: Machine, apps: dict[str, str], room: ClusterRoom | None = None) -> Estate:
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-11-24T02:00:00Z", machines=machines)
    policy = Policy(machines={"web": MachinePolicy(after=("db",))})
    found = [owned(one, apps.get(one.name)) for one in assess(inventory, policy)]
    made = make_plan(inventory, policy, name="lab", created_at=inventory.observed_at)
    shop = PlannedApp(
        name="shop",
        owner="Ann",
        members=("db", "web"),
        tiers=(("db",), ("web",)),
        after=("wiki",),
        together=True,
        window="nights",
        downtime_seconds=600.0,
        probes=(AppProbe(kind="tcp", port=443, machine="web"),),
    )
    said = Said((shop,), {"nights": WINDOW})
    return build_estate(inventory, found, page_folders(found), plan=made, room=room, said=said)


def owned(one: Assessment, app: str | None) -> Assessment:
    return one.model_copy(update={"app": app, "owner": "Ann" if app else None, "window": "nights"})


def page(found: Estate, name: str) -> Page:
    texts = dict(html_pages(found, lambda _member: ()))
    return Page(texts[name]())


def test_an_app_has_its_machines_in_the_order_of_their_start(shop: Estate) -> None:
    app = shop.app("shop")
    assert app is not None
    assert [member.name for member in app.members] == ["db", "web"]
    assert (app.owner, app.together, app.budget_seconds) == ("Ann", True, 600)
    assert app.size_bytes == 20 * GIB


def test_the_page_of_an_app_says_what_its_owner_asks(shop: Estate) -> None:
    text = " ".join(page(shop, app_file("shop")).text.split())
    for said in (
        "shop: ready, with warnings",
        "started forwards, stopped backwards",
        "nights sat 21:00 to 23:00 (Europe/Vienna)",
        "may be down for 10 min",
        "as one: all of it stops, starts and goes back together",
        "the app as a whole, asked of web: port 443 takes a connection",
        "The app goes back as one",
        "app wiki",
    ):
        assert said in text, said


def test_an_app_that_cannot_move_whole_names_what_holds_it() -> None:
    found = estate(a_machine("db"), a_machine("web", arch="s390x"), apps={"db": "shop", "web": "shop"})
    text = page(found, app_file("shop")).text
    assert "shop: blocked" in text
    assert "It does not move as a whole until web can." in text


def test_the_index_lists_apps_and_filters_by_them(shop: Estate) -> None:
    index = page(shop, "index.html")
    assert "app-shop.html" in index.links
    rows = [attributes for _, attributes in index.tags if "data-row" in attributes]
    assert [(row["data-app"], row["data-owner"]) for row in rows] == [("", ""), ("shop", "Ann"), ("shop", "Ann")]


def test_a_wave_is_held_against_memory_and_quotas_of_its_own_namespaces() -> None:
    quotas = tuple(
        QuotaRoom(namespace=namespace, quota="team", resource=resource, hard=hard, used=0)
        for namespace, resource, hard in (
            ("default", "requests.memory", 3 * GIB),
            ("default", "persistentvolumeclaims", 2),
            ("other", "requests.memory", 1),
        )
    )
    room = ClusterRoom(nodes=1, cpus=4, memory_bytes=64 * GIB, quotas=quotas)
    found = estate(a_machine("db"), a_machine("web"), apps={}, room=room)
    needs = {one.what: one for wave in found.waves for one in wave.needs if wave.name == found.waves[0].name}
    assert needs["memory"].fits is True
    assert needs["processors"].fits is None
    assert set(needs) == {"memory", "processors", "claims", "requests.memory", "persistentvolumeclaims"}
    total = sum(wave.memory_bytes for wave in found.waves)
    assert total == 4 * GIB


def test_nobody_knows_the_room_of_what_was_not_asked(shop: Estate) -> None:
    assert all(need.fits is None for wave in shop.waves for need in wave.needs)


@given(st.floats(0.001, 1e7), st.floats(1, 1e3))
def test_a_range_never_reads_backwards(low: float, wider: float) -> None:
    words = span(low, low * wider)
    assert " to " in words or words == rough(low) == rough(low * wider)
    assert "0 s" not in words.split(" to ")[0].split() or rough(low) == "0 s"
