"""copy, verify, repair of single disks."""

from __future__ import annotations

import json
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


def test_whoever_forgets_the_format_of_an_image_is_told(kubeferry: Command, estate: Path) -> None:
    image, disk = estate / "image.qcow2", estate / "source" / "web.img"
    image.write_bytes(b"QFI\xfb" + bytes(2**20 - 4))
    code, _, err = kubeferry("copy", str(image), str(estate / "copy.img"))
    assert code == 0
    assert f"note: {image} begins like qcow2 and is copied as it lies there" in err
    assert "--format qcow2" in err
    assert (estate / "copy.img").read_bytes() == image.read_bytes()
    assert kubeferry("copy", str(image), str(estate / "meant.img"), "--format", "raw")[2] == ""
    assert kubeferry("copy", str(image), str(estate / "asked.img"), "--json")[2] == ""
    assert kubeferry("copy", str(disk), str(estate / "raw.img"))[2] == ""


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


def test_a_program_is_told_how_a_copy_goes_on(kubeferry: Command, estate: Path) -> None:
    source = estate / "source" / "large.img"
    source.write_bytes(b"\x55" * 3 * 2**20)
    code, out, err = kubeferry("copy", str(source), str(estate / "copy.img"), "--bandwidth", "1", "--json")
    *events, result = (json.loads(line) for line in out.splitlines())
    assert (code, err) == (0, "")
    assert events
    assert {event["event"] for event in events} == {"progress"}
    assert all({"at", "phase", "doneBytes", "totalBytes", "bytesPerSecond"} <= event.keys() for event in events)
    assert ("event" in result, result["sizeBytes"]) == (False, 3 * 2**20)


def test_verbose_says_what_is_copied_where(kubeferry: Command, estate: Path) -> None:
    source, target = estate / "source" / "web.img", estate / "copy.img"
    err = kubeferry("copy", str(source), str(target), "-v")[2]
    assert f"copies {source.as_uri()} to {target.as_uri()}, their digests to {target}.kff" in err


def test_one_block_that_differs_is_one(kubeferry: Command, estate: Path) -> None:
    source, target = estate / "source" / "web.img", estate / "copy.img"
    kubeferry("copy", str(source), str(target))
    with target.open("r+b") as damaged:
        damaged.write(b"\x00")
    assert "failed: 1 block differs, the first at offset 0" in kubeferry("verify", str(target))[2]
    code, out, err = kubeferry("verify", str(target), "--json")
    assert (code, json.loads(out)["differing"]) == (2, [0])
    assert json.loads(err)["error"]["kind"] == "IntegrityFailed"
    assert "1 block was fetched again" in kubeferry("repair", str(source), str(target))[1]
