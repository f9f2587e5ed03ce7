"""An estate from a folder of exported domains: all of it, or all problems of all files at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kubeferry.errors import InputInvalid
from kubeferry.model import Power
from kubeferry.sources.exported import read_exported

GOLDEN = Path(__file__).parents[2] / "golden" / "libvirt"


def domain(name: str, mac: str = "") -> str:
    nic = f"<interface type='user'><mac address='{mac}'/></interface>" if mac else ""
    return (
        f"<domain type='kvm'><name>{name}</name><memory>1024</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64'>hvm</type></os><devices>{nic}</devices></domain>"
    )


def refusal(folder: Path) -> InputInvalid:
    with pytest.raises(InputInvalid) as refused:
        read_exported(folder, "lab")
    return refused.value


def test_a_folder_of_domains_is_an_inventory() -> None:
    inventory = read_exported(GOLDEN, "old-cluster")
    assert inventory.source_kind == "libvirt-export"
    assert len(inventory.machines) == len(list(GOLDEN.glob("*.xml")))
    assert {one.source for one in inventory.machines} == {"old-cluster"}
    runs = {path.stem for path in GOLDEN.glob("*.xml") if re.search(r"<domain[^>]* id=", path.read_text())}
    running = [one for one in inventory.machines if one.power is Power.RUNNING]
    assert len(running) == len(runs) > 0, "an XML with the number of a run is that of a machine that runs"
    assert {one.power for one in inventory.machines if one not in running} == {Power.UNKNOWN}
    assert all(disk.capacity_bytes is None for one in inventory.machines for disk in one.disks)
    assert all((one.autostart, one.snapshots) == (None, None) for one in inventory.machines)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_text(domain("web"))
    (tmp_path / "README.txt").write_text("not a domain")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "broken.xml").write_text("<")
    assert [one.name for one in read_exported(tmp_path, "lab").machines] == ["web"]


def test_a_folder_that_is_missing_is_a_file_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("missing", "empty", "file"):
        (problem,) = refusal(tmp_path / name).problems
        assert problem.where == str(tmp_path / name)
        assert "virsh dumpxml" in problem.fix


def test_the_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(domain("web", "52:54:00:00:00:01"))
    (tmp_path / "b.xml").write_text(domain("web", "52:54:00:00:00:01"))
    (tmp_path / "broken.xml").write_text("<domain>\n<name>x</nome>\n</domain>")
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "network.xml").write_text("<network><name>default</name></network>")
    (tmp_path / "latin.xml").write_bytes(b"<domain><name>B\xfcro</name></domain>")
    (tmp_path / "huge.xml").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    (tmp_path / "entity.xml").write_text('<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><domain>&e;</domain>')
    error = refusal(tmp_path)
    places = {Path(problem.where.partition(":")[0]).name for problem in error.problems}
    assert places == {
        "b.xml",
        "broken.xml",
        "entity.xml",
        "folder.xml",
        "huge.xml",
        "latin.xml",
        "network.xml",
    }
    assert sum(problem.where == str(tmp_path / "b.xml") for problem in error.problems) == 2  # its name, and its MAC
    assert f"{tmp_path}/broken.xml:2" in [problem.where for problem in error.problems]
    assert all(problem.fix for problem in error.problems)
    assert "root:" not in str(error)
    assert error.exit_code == 2


def test_a_name_that_no_document_can_hold_is_a_problem(tmp_path: Path) -> None:
    for name in (b"Gr\xf6\xdfe.xml", b"Gr\xf6\xdfe.ovf"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(domain("a"))
    refused = refusal(tmp_path)
    assert [problem.where.rpartition("/")[2] for problem in refused.problems] == [
        r"Gr\xf6\xdfe.ovf",
        r"Gr\xf6\xdfe.xml",
    ]
    assert {problem.what for problem in refused.problems} == {"its name is not UTF-8"}
    str(refused).encode()
