"""The functions for people: references from text, targets that are ours or not, whole copies by path."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from converters.endpoints import file, open_source
from converters.engine.disks import (
    check_format,
    copy_disk,
    disk_size,
    parse_ref,
    prepare_target,
    repair_disk,
    verify_disk,
    with_chain,
)
from converters.engine.held import held
from converters.engine.transfer import Options
from kubeferry.errors import (
    HostileImage,
    InputInvalid,
    IntegrityFailed,
    SourceRefused,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.model import DiskRef
from kubeferry.uris import Packed, Part, packed
from lab.vmdk import write_stream

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "given", "uri", "fmt"),
    [
        ("/a/b c.img", None, "file:///a/b%20c.img", "raw"),
        ("/a/b?.qcow2", "qcow2", "file:///a/b%3F.qcow2", "qcow2"),
        ("file:///a/x.qcow2?format=qcow2", None, "file:///a/x.qcow2", "qcow2"),
        ("file:///a/x.qcow2?format=qcow2", "qcow2", "file:///a/x.qcow2", "qcow2"),
        ("block:///dev/vg/lv", None, "block:///dev/vg/lv", "raw"),
        ("nbd+unix:///x?socket=/run/s", None, "nbd+unix:///x?socket=/run/s", "raw"),
    ],
)
def test_references_from_text(text: str, given: str | None, uri: str, fmt: str) -> None:
    assert parse_ref(text, format=given) == DiskRef(uri=uri, format=fmt)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x/y",
        "file://host/x",
        "file:relative",
        "file:///x?format=raw&other=1#f",
        "nbd://h/x",
        "file:///x%00y",
        "file://[x",
    ],
)
def test_references_that_cannot_be_opened_are_refused_with_a_fix(text: str) -> None:
    with pytest.raises(InputInvalid) as caught, open_source(parse_ref(text)):
        pass
    assert caught.value.fix


def test_two_formats_are_refused() -> None:
    with pytest.raises(InputInvalid, match="cannot be opened"):
        parse_ref("file:///x?format=raw", format="qcow2")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.img"
    path.write_bytes(os.urandom(MIB) + bytes(2 * MIB) + os.urandom(MIB + 1000))
    return path


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
def test_copy_verify_damage_repair(tmp_path: Path, source: Path, algorithm: str) -> None:
    read, write, kff = parse_ref(str(source)), parse_ref(str(tmp_path / "target.img")), tmp_path / "t.kff"
    assert prepare_target(write, disk_size(read), kff)
    done = copy_disk(read, write, kff, target_reads_zero=True, options=Options(algorithm=algorithm))
    assert (tmp_path / "target.img").read_bytes() == source.read_bytes()
    assert verify_disk(write, kff).root == done.root
    with (tmp_path / "target.img").open("r+b") as target:
        target.seek(3 * MIB + 17)
        target.write(b"!")
    assert list(verify_disk(write, kff).differing) == [3 * MIB]
    assert list(repair_disk(read, write, kff).differing) == [3 * MIB]
    assert not list(verify_disk(write, kff).differing)
    assert (tmp_path / "target.img").read_bytes() == source.read_bytes()


def test_the_source_keeps_its_bytes_and_times(tmp_path: Path, source: Path) -> None:
    before = (source.read_bytes(), source.stat().st_mtime_ns, source.stat().st_ino)
    write = parse_ref(str(tmp_path / "target.img"))
    prepare_target(write, source.stat().st_size, tmp_path / "t.kff")
    copy_disk(parse_ref(str(source)), write, tmp_path / "t.kff")
    assert (source.read_bytes(), source.stat().st_mtime_ns, source.stat().st_ino) == before


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.img").write_bytes(b"precious")
    with pytest.raises(TargetRefused, match="not ours"):
        prepare_target(parse_ref(str(tmp_path / "mine.img")), 100, tmp_path / "t.kff")
    assert (tmp_path / "mine.img").read_bytes() == b"precious"


def test_an_empty_file_and_one_of_ours_are_taken(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "target.img"
    target.touch()
    write, read = parse_ref(str(target)), parse_ref(str(source))
    assert prepare_target(write, source.stat().st_size, tmp_path / "t.kff")
    copy_disk(read, write, tmp_path / "t.kff", target_reads_zero=True)
    assert not prepare_target(write, source.stat().st_size, tmp_path / "t.kff")


def test_a_disk_is_not_copied_onto_itself(tmp_path: Path, source: Path) -> None:
    (tmp_path / "link.img").symlink_to(source)
    with pytest.raises(InputInvalid, match="the same disk"):
        copy_disk(parse_ref(str(source)), parse_ref(str(tmp_path / "link.img")), tmp_path / "t.kff")


def test_what_a_source_is_read_from_is_never_a_target(tmp_path: Path, source: Path) -> None:
    """Also where others read it for us: as parts, as an image, below one."""
    before, size = source.read_bytes(), source.stat().st_size
    raw = DiskRef(uri=source.as_uri())
    (tmp_path / "top.qcow2").touch()
    for read in (
        DiskRef(uri=Packed("raw+file", (Part(source, 0, size),)).uri()),
        DiskRef(uri=source.as_uri(), format="qcow2"),
        DiskRef(uri=(tmp_path / "top.qcow2").as_uri(), format="qcow2", backing=raw),
    ):
        with pytest.raises(InputInvalid, match="the same disk"):
            copy_disk(read, raw, tmp_path / "t.kff")
        with pytest.raises(InputInvalid, match="the same disk"):
            repair_disk(read, raw, tmp_path / "t.kff")
    assert source.read_bytes() == before


def test_a_disk_of_another_size_than_described_is_refused(tmp_path: Path, source: Path) -> None:
    described = DiskRef(uri=source.as_uri(), size_bytes=5)
    with pytest.raises(SourceRefused, match="described with 5 bytes"), open_source(described):
        pass


@pytest.mark.parametrize(
    ("uri", "asked", "told"),
    [
        ("https://server/disk.img", "converters.endpoints.web.https.Https._measure", (9 * 10**18, "")),
        ("ebs://eu-1/snap-0123abcd", "converters.endpoints.ebs.api.SnapshotApi.volume_bytes", 1 << 60),
        ("ebs://eu-1/snap-0123abcd", "converters.endpoints.ebs.api.SnapshotApi.volume_bytes", -1 << 30),
    ],
)
def test_a_server_that_claims_a_disk_of_any_size_is_refused(
    uri: str, asked: str, told: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, lambda _self: told)
    with pytest.raises(HostileImage, match="claims"):
        disk_size(parse_ref(uri))


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        (DiskRef(uri="file:///x", format="vmdk"), SourceRefused),
        (DiskRef(uri="file:///x", format="raw", backing=DiskRef(uri="file:///y")), SourceRefused),
        (DiskRef(uri="nbd+unix:///?socket=/x", format="qcow2"), InputInvalid),
        (DiskRef(uri="nbd+unix:///x"), InputInvalid),
    ],
)
def test_formats_and_chains_that_are_not_read(ref: DiskRef, error: type[Exception]) -> None:
    with pytest.raises(error) as caught, open_source(ref):
        pass
    assert caught.value.fix  # type: ignore[attr-defined]


def test_a_target_in_another_format_is_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(TargetRefused, match="not raw"):
        copy_disk(parse_ref(str(source)), DiskRef(uri="file:///x.qcow2", format="qcow2"), tmp_path / "t.kff")


def test_verify_without_a_complete_fingerprint_is_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(InputInvalid):
        verify_disk(parse_ref(str(source)), tmp_path / "none.kff")
    (tmp_path / "checkpoint-none.kff").touch()
    with pytest.raises(TargetRefused, match="has not ended"):
        verify_disk(parse_ref(str(source)), tmp_path / "none.kff")


def test_repair_says_that_the_source_has_moved_on(tmp_path: Path, source: Path) -> None:
    write, read, kff = parse_ref(str(tmp_path / "target.img")), parse_ref(str(source)), tmp_path / "t.kff"
    prepare_target(write, source.stat().st_size, kff)
    copy_disk(read, write, kff, target_reads_zero=True)
    for path in (source, tmp_path / "target.img"):
        with path.open("r+b") as disk:
            disk.write(b"changed" + path.name.encode())
    with pytest.raises(IntegrityFailed, match="1 block cannot be repaired, the first at offset 0"):
        repair_disk(read, write, kff)


def test_what_a_repair_finds_is_not_held_for_read_back_any_more(tmp_path: Path, source: Path) -> None:
    write, read, kff = parse_ref(str(tmp_path / "target.img")), parse_ref(str(source)), tmp_path / "t.kff"
    prepare_target(write, source.stat().st_size, kff)
    copy_disk(read, write, kff, target_reads_zero=True)
    assert not verify_disk(write, kff).differing
    for path in (source, tmp_path / "target.img"):
        with path.open("r+b") as disk:
            disk.write(b"changed" + path.name.encode())
    with pytest.raises(IntegrityFailed, match="cannot be repaired"):
        repair_disk(read, write, kff)
    assert list(verify_disk(write, kff, options=Options(all_blocks=False)).differing) == [0]


def test_a_vmdk_is_named_by_its_own_reader(tmp_path: Path) -> None:
    made = tmp_path / "a b.vmdk"
    with made.open("wb") as out:
        write_stream(io.BytesIO(b"x" * 1024), out, 1024)
    for text in (str(made), made.as_uri()):
        ref = parse_ref(text, format="vmdk")
        assert (ref.uri.partition(":")[0], ref.format, disk_size(ref)) == ("vmdk+file", "raw", 1024)
    with pytest.raises(SourceRefused, match="cannot be opened"):
        parse_ref(str(tmp_path / "gone.vmdk"), format="vmdk")


def test_two_copies_at_once_do_not_share_a_fingerprint(tmp_path: Path, source: Path) -> None:
    kff, one = tmp_path / "t.kff", parse_ref(str(tmp_path / "one.img"))
    prepare_target(one, source.stat().st_size, kff)
    (tmp_path / ".t.kff.lock").touch()  # of a run that was killed
    with held(kff), pytest.raises(TargetUnavailable, match="another copy"):
        copy_disk(parse_ref(str(source)), one, kff)
    with held(kff), pytest.raises(TargetUnavailable, match="another copy"):
        repair_disk(parse_ref(str(source)), one, kff)
    copy_disk(parse_ref(str(source)), one, kff)
    assert not (tmp_path / ".t.kff.lock").exists()


def test_the_lock_of_a_fingerprint_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / ".t.kff.lock").symlink_to("victim")
    with pytest.raises(TargetRefused), held(tmp_path / "t.kff"):
        pass
    assert not (tmp_path / "victim").exists()


def test_names_that_are_no_text_stay_as_they_are(tmp_path: Path, source: Path) -> None:
    for name in (b"n\xfe.img", b"n\xfd.img"):
        text = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        target, kff = parse_ref(text), tmp_path / f"{name[1]}.kff"
        prepare_target(target, source.stat().st_size, kff)
        copy_disk(parse_ref(str(source)), target, kff)
    found = sorted(os.fsencode(path.name) for path in tmp_path.glob("n*.img"))
    assert found == [b"n\xfd.img", b"n\xfe.img"]
    part = Part(Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xfe.img")), 0, 10)
    other = Part(part.path.with_name(os.fsdecode(b"n\xfd.img")), 0, 10)
    assert packed(Packed("raw+file", (part, other)).uri()) == Packed("raw+file", (part, other))


@pytest.mark.parametrize("believed", [True, False])
def test_holes_that_are_none_are_read_where_they_are_not_believed(
    believed: bool, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system says that there is no data at all."""
    real = file.File._seek

    def lying(disk: file.File, offset: int, whence: int) -> int:
        return disk.size if disk.path == source and whence == os.SEEK_DATA else real(disk, offset, whence)

    monkeypatch.setattr(file.File, "_seek", lying)
    write, kff = parse_ref(str(tmp_path / "target.img")), tmp_path / "t.kff"
    zero = prepare_target(write, source.stat().st_size, kff)
    options = Options(read_holes=not believed)
    copy_disk(parse_ref(str(source)), write, kff, target_reads_zero=zero, options=options)
    assert ((tmp_path / "target.img").read_bytes() == source.read_bytes()) is not believed


def test_a_file_system_that_is_known_to_lie_about_holes_is_not_asked(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with source.open("rb") as opened:
        monkeypatch.setattr(file, "LIARS", {file._file_system(opened.fileno())})
    with open_source(parse_ref(str(source))) as disk:
        assert not disk.knows_holes
        assert [(one.offset, one.length, one.zero) for one in disk.extents()] == [(0, disk.size, False)]


@pytest.mark.parametrize(
    ("at", "magic", "name"),
    [
        (0, b"QFI\xfb", "qcow2"),
        (0, b"KDMV", "vmdk"),
        (0, b"# Disk DescriptorFile", "vmdk descriptor"),
        (64, b"\x7f\x10\xda\xbe", "vdi"),
    ],
)
def test_a_raw_disk_that_begins_like_an_image_is_told(at: int, magic: bytes, name: str, source: Path) -> None:
    check_format(parse_ref(str(source)))
    with source.open("r+b") as disk:
        disk.write(bytes(at) + magic)
    with pytest.raises(SourceRefused, match=name):
        check_format(parse_ref(str(source)))
    top = DiskRef(uri=(source.parent / "top").as_uri(), format="qcow2", backing=parse_ref(str(source)))
    with pytest.raises(SourceRefused, match="said to be raw"):
        check_format(top)


def test_a_chain_is_told_from_the_top_down() -> None:
    chain = with_chain(parse_ref("/a/top.qcow2", format="qcow2"), ["qcow2:/a/mid dle", "raw:/a/base"])
    assert chain.backing is not None
    assert (chain.backing.uri, chain.backing.format) == ("file:///a/mid%20dle", "qcow2")
    assert chain.backing.backing == parse_ref("/a/base")
    for wrong in ("/a/base", "raw:", "vmdk:/a/b"):
        with pytest.raises(InputInvalid, match="chain"):
            with_chain(parse_ref("/a/top", format="qcow2"), [wrong])
