"""What an assessment leaves on disk: what is current, and nothing that is not ours is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.assessing import LIST, write_assessments
from kubeferry.documents import Inventory, MachinePolicy, Policy
from kubeferry.model import Cpu, Disk, Machine, Memory
from kubeferry.outside import owned


def assessed(out: Path, *names: str, policy: Policy | None = None, disks: int = 1) -> None:
    machines = tuple(
        Machine(
            id=name,
            name=name,
            source="lab",
            cpu=Cpu(vcpus=1),
            memory=Memory(size_bytes=1 << 30),
            disks=tuple(Disk(id=f"vd{letter}", source_kind="file", capacity_bytes=1 << 30) for letter in "ab"[:disks]),
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
