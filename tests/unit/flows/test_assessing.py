"""What an assessment leaves on disk: what is current, and nothing that is not ours is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.assessing import LIST, write_assessments
from kubeferry.documents import AppPolicy, DowntimePolicy, Inventory, MachinePolicy, Policy, Window
from kubeferry.model import Cpu, Disk, Machine, Memory
from kubeferry.outside import owned
from tests.pages import Page


def assessed(out: Path, *names: str, policy: Policy | None = None, disks: int = 1, sized: bool = True) -> None:
    machines = tuple(
        Machine(
            id=name,
            name=name,
            source="lab",
            cpu=Cpu(vcpus=1),
            memory=Memory(size_bytes=1 << 30),
            disks=tuple(
                Disk(id=f"vd{letter}", source_kind="file", capacity_bytes=1 << 30 if sized else None)
                for letter in "ab"[:disks]
            ),
        )
        for name in names
    )
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01T00:00:00Z", machines=machines)
    write_assessments(inventory, policy or Policy(), out)


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.name != LIST}


def test_pages_of_a_machine_that_is_gone_or_is_called_otherwise_are_gone(tmp_path: Path) -> None:
    assessed(tmp_path / "new", "web")
    assessed(tmp_path / "old", "web", "db", disks=2)
    assessed(tmp_path / "old", "web")
    assert files(tmp_path / "old") == files(tmp_path / "new")
    assert not (tmp_path / "old" / "db").exists()
    assessed(tmp_path / "old", "web", policy=Policy(machines={"web": MachinePolicy(name="shop")}))
    assert {name.partition("/")[0] for name in files(tmp_path / "old")} == {"README.md", "index.html", "shop"}


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    assessed(tmp_path, "web", "db")
    for name in ("notes.md", "db/notes.md", "db/manifests/mine.yaml"):
        (tmp_path / name).write_text("mine")
    assessed(tmp_path, "web")
    assert {name for name in files(tmp_path) if not name.startswith(("web/", "README", "index"))} == {
        *("notes.md", "db/notes.md", "db/manifests/mine.yaml"),
    }


DAMAGED = (
    "",
    "{}",
    "[]",
    '{"files": 7}',
    '{"files": ["../kept", "/etc/hosts", "out/kept", "", ".", "web", "a\\u0000b"]}',
)


@pytest.mark.parametrize("text", DAMAGED)
def test_a_list_that_is_damaged_or_leads_elsewhere_removes_nothing(tmp_path: Path, text: str) -> None:
    out = tmp_path / "pages"
    assessed(out, "web")
    (tmp_path / "kept").write_text("mine")
    (out / "out").symlink_to(tmp_path)
    (out / LIST).write_text(text)
    assessed(out, "web")
    assert (tmp_path / "kept").read_text() == "mine"
    assert (out / "web" / "README.md").exists()


def test_killed_between_a_page_and_the_end_the_next_assessment_knows_what_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(owned, "_list", lambda path, names, to=owned._list: (to(path, names), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            assessed(tmp_path, "db")
    monkeypatch.undo()
    assessed(tmp_path, "db", "web")
    with monkeypatch.context() as killed:
        killed.setattr(owned, "_remove", lambda *_told: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            assessed(tmp_path, "web")
    assessed(tmp_path, "web")
    assert not (tmp_path / "db").exists()


def test_manifests_that_a_version_without_a_list_has_left_are_gone(tmp_path: Path) -> None:
    assessed(tmp_path, "web", disks=2)
    (tmp_path / LIST).unlink()
    assessed(tmp_path, "web")
    assessed(tmp_path / "new", "web")
    assert {name for name in files(tmp_path) if not name.startswith("new/")} == files(tmp_path / "new")


def test_what_the_policy_says_stands_on_pages_of_machines_that_no_plan_takes(tmp_path: Path) -> None:
    """Sizes that nobody knows, or a machine that is left out, take nothing from apps, windows, waves and budgets."""
    said = Policy(
        windows={"nights": Window(start="21:00", end="23:00", time_zone="Europe/Vienna", days=("sat",))},
        downtime=DowntimePolicy(budget_seconds=600),
        apps={
            "shop": AppPolicy(owner="Ann", members=("db", "web"), order=(("db",), ("web",)), window="nights"),
            "wiki": AppPolicy(members=("wiki", "old"), wave="wave-2", downtime_seconds=300),
        },
        machines={"old": MachinePolicy(include=False)},
    )
    assessed(tmp_path, "db", "web", "wiki", "old", policy=said, sized=False)
    pages = {name: " ".join(Page((tmp_path / name).read_text()).text.split()) for name in files(tmp_path)}
    web, wiki, old = (pages[f"{name}/index.html"] for name in ("web", "wiki", "old"))
    assert "shop, owner Ann" in web
    assert "nights sat 21:00 to 23:00 (Europe/Vienna)" in web
    assert "of 10 min 00 s that it may be" in web
    assert "wave-2, as the policy says; it is in no plan yet" in wiki
    assert "of 5 min 00 s that it may be" in wiki
    assert "app wiki" in old  # it is left out, and whose it is all the same
    assert "started forwards, stopped backwards" in pages["app-shop.html"]
    assert "claims not known" in pages["app-shop.html"]
    assert "- Window: nights\n- May be down for: 10 min 00 s\n" in (tmp_path / "web" / "README.md").read_text()
