"""copy, verify, repair of single disks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., tuple[int, str, str]]


def test_copy_verify_repair_a_disk(kubeferry: Command, printed_json: Callable[..., Any], estate: Path) -> None:
    source, target = estate / "source" / "web.img", estate / "copy.img"
    copied = printed_json("copy", str(source), str(target), "--json")
    assert target.read_bytes() == source.read_bytes()
    assert printed_json("verify", str(target), "--json")["root"] == copied["root"]
    with target.open("r+b") as damaged:
        damaged.write(b"\x00")
    code, _, err = kubeferry("verify", str(target))
    assert code == 2
    assert "kubeferry repair" in err
    assert kubeferry("repair", str(source), str(target))[0] == 0
    assert target.read_bytes() == source.read_bytes()


def test_targets_that_differ_in_their_ending_have_digests_of_their_own(kubeferry: Command, estate: Path) -> None:
    """Of the digests of another disk nobody concludes that a file of somebody else is ours."""
    source, folder = estate / "source" / "web.img", estate / "a b"
    folder.mkdir()
    foreign = folder / "disk.sdb"
    foreign.write_bytes(b"precious" * (source.stat().st_size // 8 + 1))
    assert kubeferry("copy", str(source), (folder / "disk.sda").as_uri())[0] == 0
    code, _, err = kubeferry("copy", str(source), str(foreign))
    assert (code, "not ours" in err) == (2, True)
    assert foreign.read_bytes().startswith(b"precious")
    assert sorted(path.name for path in folder.iterdir()) == ["disk.sda", "disk.sda.kff", "disk.sdb"]
