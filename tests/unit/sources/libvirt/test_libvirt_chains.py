"""What lies below a stopped machine's images, followed from header to header, on files of this host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.model import ChainLink, Cpu, Disk, Machine, Memory, SourceFact
from kubeferry.outside.process import Completed
from kubeferry.sources.disks.local_disks import CHAIN_FIX, problems
from kubeferry.sources.libvirt.chains import below, followed
from kubeferry.sources.libvirt.hosts import Here
from tests.unit.test_qcow2_header import extension, header

FORMAT, DATA_FILE = 0xE2792ACA, 0x44415441
HERE = Here("lab", None)


def over(name: str | bytes, form: bytes | None = b"qcow2", **changes: object) -> bytes:
    """The header of an image above another one."""
    told = os.fsencode(name)
    named = {"backing_at": 512, "backing_length": len(told)}
    return header(extension(FORMAT, form) if form else b"", told, **(named | changes))


def disk(path: Path, **facts: Any) -> Disk:
    known = {"id": "vda", "uri": path.as_uri(), "source_kind": "file", "format": "qcow2"}
    return Disk.model_validate(known | facts)


def machine(*disks: Disk, facts: tuple[SourceFact, ...] = ()) -> Machine:
    return Machine(
        id="1", name="web", source="lab", cpu=Cpu(vcpus=1), memory=Memory(size_bytes=1), disks=disks, unmodelled=facts
    )


def chain(top: Path) -> tuple[ChainLink, ...] | None:
    found = followed(machine(disk(top)), HERE)
    assert found.unmodelled == ()
    return found.disks[0].chain


def why(top: Path) -> str:
    found = followed(machine(disk(top)), HERE)
    assert found.disks[0].chain is None
    (fact,) = found.unmodelled
    assert fact.path == "chain[vda]"
    return fact.value


def test_a_chain_is_followed_to_its_end(tmp_path: Path) -> None:
    """Names as libvirt puts them together, dots and all: it must tell the same chain while the machine runs."""
    (tmp_path / "sub").mkdir()
    top, middle, base = tmp_path / "sub" / "top", tmp_path / "mid #1", tmp_path / "base"
    top.write_bytes(over("../mid #1"))
    middle.write_bytes(over(str(base), b"raw"))
    base.write_bytes(header())  # a raw disk that holds an image is not looked into
    assert chain(top) == (
        ChainLink(uri=f"file://{tmp_path}/sub/../mid%20%231", format="qcow2"),
        ChainLink(uri=base.as_uri(), format="raw"),
    )
    base.write_bytes(over("/etc/passwd", b"raw"))
    assert chain(middle) == (ChainLink(uri=base.as_uri(), format="raw"),)


def test_an_image_that_lies_on_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "top").write_bytes(header())
    assert chain(tmp_path / "top") == ()


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    base = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff"))
    base.write_bytes(b"")
    (tmp_path / "top").write_bytes(over(b"b\xff", b"raw"))
    assert chain(tmp_path / "top") == (ChainLink(uri=f"file://{tmp_path}/b%FF", format="raw"),)
    base.unlink()
    assert why(tmp_path / "top").encode()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (over("base", None), "does not say which format 'base' has"),
        (over("nbd://host/x"), "'nbd://host/x', which is not named as a file"),
        (over('json:{"driver":"raw"}'), "which is not named as a file"),
        (over("gone", b"raw"), "gone, which it lies on, is not there"),
        (over("gone", b"qcow2"), "gone, which it lies on, is not there"),
        (over("text", b"qcow2"), "text is not an acceptable qcow2 image: it does not start like"),
        (over("top", b"qcow2"), "goes round in a circle"),
        (header(extension(DATA_FILE, b"data"), features=4), "keeps its data in another file"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_chain_that_ends_where_nothing_says_so_is_a_fact(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / "base").write_bytes(header())
    (tmp_path / "text").write_bytes(b"some text")
    (tmp_path / "top").write_bytes(head)
    assert said in why(tmp_path / "top")
    found = followed(machine(disk(tmp_path / "top")), HERE)
    (problem,) = problems(found, found)
    assert said in problem.what
    assert problem.fix == CHAIN_FIX
    assert "rebase" not in problem.fix


def test_a_chain_that_is_begun_and_not_ended_is_not_followed_past_its_definition(tmp_path: Path) -> None:
    """libvirt takes what the definition names before what the images say: which it is then, nobody guesses."""
    (tmp_path / "top").write_bytes(header())
    told = SourceFact(path="devices/disk[vda]/backingStore/source", value="file=/b")
    found = followed(machine(disk(tmp_path / "top"), disk(tmp_path / "top", id="vdb"), facts=(told,)), HERE)
    assert [one.chain for one in found.disks] == [None, ()]
    assert "does not say where the chain ends" in found.unmodelled[-1].value


def test_what_the_definition_names_or_needs_no_chain_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "top").write_bytes(over("/other", b"raw"))
    told = machine(
        disk(tmp_path / "top", chain=()),
        disk(tmp_path / "top", id="vdb", format="raw"),
        disk(tmp_path / "top", id="sda", device="cdrom"),
        disk(tmp_path / "top", id="vdc", uri="iscsi://h/iqn.a%3Ab"),
    )
    assert followed(told, HERE) == told


class Closed(Here):
    """A host on which everything is there, and nothing may be read."""

    error: Exception = SourceRefused("it cannot be read", why="Permission denied", fix="")

    def read(self, path: Path, offset: int, length: int) -> bytes:
        raise self.error

    def run(self, argv: object) -> Completed:
        return Completed((), 0, "", "")


def test_an_image_that_may_not_be_read_is_unknown_and_no_broken_chain(tmp_path: Path) -> None:
    """Whoever discovers may have other rights than whoever copies; the copy refuses it."""
    found = followed(machine(disk(tmp_path / "top")), Closed("lab", None))
    assert found.disks[0].chain is None
    assert [fact.path for fact in found.unmodelled] == ["unseen-chain[vda]"]
    (tmp_path / "top").write_bytes(header())
    assert "Permission denied" in problems(found, found)[0].what


def test_a_host_without_a_way_to_it_leaves_chains_unknown_and_one_that_is_lost_is_told(tmp_path: Path) -> None:
    host = Closed("lab", None)
    host.error = SourceUnavailable("gone", fix="")
    with pytest.raises(SourceUnavailable):
        followed(machine(disk(tmp_path / "top")), host)
    host.is_reached = lambda: False  # type: ignore[method-assign]
    told = machine(disk(tmp_path / "top"))
    assert followed(told, host) == told


def test_a_device_below_is_called_one(tmp_path: Path) -> None:
    class Devices(Here):
        def run(self, argv: object) -> Completed:
            assert argv == ["test", "-b", "/dev/vg/base"]
            return Completed((), 0, "", "")

    (tmp_path / "top").write_bytes(over("/dev/vg/base", b"raw"))
    found = followed(machine(disk(tmp_path / "top")), Devices("lab", None))
    assert found.disks[0].chain == (ChainLink(uri="block:///dev/vg/base", format="raw"),)


def test_the_root_folder_is_not_doubled() -> None:
    assert below("/top", over("base", b"raw")) == ("/base", "raw")
