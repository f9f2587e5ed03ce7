"""copy, verify, repair of single disks."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converters.engine import transfer
from converters.engine.disks import copy_disk, parse_ref, prepare_target
from converters.engine.transfer import Options, Watch
from kubeferry.errors import SourceUnavailable
from kubeferry.outside import stopping

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


def test_a_copy_says_what_of_it_was_read_back(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    source, target = str(estate / "source" / "web.img"), str(estate / "copy.img")
    assert printed_json("copy", source, target, "--json")["readBackBytes"] == 0
    again = printed_json("copy", source, target, "--json")
    assert (again["readBackBytes"], again["writtenBytes"]) == (again["readBytes"], 0)
    assert printed_json("verify", target, "--json")["readBackBytes"] > 0
    assert "kubeferry verify" in kubeferry("copy", source, target)[1]


class Stopping(Watch):
    """Ends a copy in its middle."""

    def progress(self, phase: str, done: int, total: int | None) -> None:
        if phase == "copying" and done >= 40 << 20:
            raise SourceUnavailable("stopped")


def test_a_copy_goes_on_in_a_target_that_was_changed_meanwhile_and_ends_equal(
    kubeferry: Command, printed_json: Callable[..., Any], estate: Path
) -> None:
    """Damaged in one block, emptied in another: what is not read again from the source was read back in this run."""
    source, target = estate / "random.img", estate / "copy.img"
    source.write_bytes(os.urandom(64 << 20))
    read, write, kff = parse_ref(str(source)), parse_ref(str(target)), estate / "copy.img.kff"
    prepare_target(write, 64 << 20, kff)
    options = Options(workers=1, checkpoint_seconds=0, bandwidth=100 << 20)
    with pytest.raises(SourceUnavailable):
        copy_disk(read, write, kff, target_reads_zero=True, options=options, watch=Stopping())
    with target.open("r+b") as disk:
        for block in (9, 14):
            disk.seek((block << 20) + 17)
            disk.write(bytes(1 << 20))
    done = printed_json("copy", str(source), str(target), "--json")
    assert done["resumedBytes"] > 0
    assert done["readBackBytes"] > 0
    assert target.read_bytes() == source.read_bytes()
    assert kubeferry("verify", str(target))[0] == 0


def test_an_image_that_is_said_to_be_raw_is_copied_only_if_somebody_insists(kubeferry: Command, estate: Path) -> None:
    image, target = estate / "image", estate / "copy.img"
    image.write_bytes(b"QFI\xfb" + bytes(4092))
    code, _, err = kubeferry("copy", str(image), str(target))
    assert (code, target.exists()) == (2, False)
    assert "--insist" in err
    assert kubeferry("copy", str(image), str(target), "--insist")[0] == 0
    assert target.read_bytes() == image.read_bytes()


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


@pytest.mark.parametrize("verb", ["copy", "verify", "repair"])
def test_a_stop_that_was_asked_for_ends_each_with_the_code_of_its_signal(
    kubeferry: Command, estate: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(transfer, "HEARTBEAT_SECONDS", 0.001)
    disk, target = estate / "source" / "web.img", estate / "copied.img"
    disk.write_bytes(os.urandom(32 * 2**20))
    if verb != "copy":
        assert kubeferry("copy", str(disk), str(target), "--format", "raw")[0] == 0
        target.write_bytes(bytes(32 * 2**20))
    stopping.request(signal.SIGTERM)
    words = [str(target)] if verb == "verify" else [str(disk), str(target), "--format", "raw"]
    code, _, err = kubeferry(verb, *words)
    assert (code, err.splitlines()[0]) == (143, "stopped on request")
