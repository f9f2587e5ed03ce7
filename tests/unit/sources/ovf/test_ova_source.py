"""Exports in files: manifests, chunks, folders, and everything in them that is missing, wrong or hostile."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.endpoints import open_source as open_disk
from converters.engine.disks import copy_disk
from kubeferry.documents import SourceConfig, save
from kubeferry.errors import HostileImage, InputInvalid, IntegrityFailed, SourceRefused
from kubeferry.ledger import External
from kubeferry.model import DiskRef, Machine, Power
from kubeferry.outside import process
from kubeferry.sources import Source, open_source
from kubeferry.sources.exported import read_exported
from kubeferry.sources.ovf.files import read_machines
from kubeferry.uris import packed
from lab import ova
from tests.needs import here

MIB = 1 << 20
CONTENT = os.urandom(MIB) + bytes(MIB) + os.urandom(512)
DISK = ova.PackedDisk("vmdisk1", "web disk.vmdk", len(CONTENT), CONTENT)
STREAM = ova.packed(DISK)


def text(**hardware: object) -> str:
    return ova.descriptor("web", [DISK], {DISK.href: len(STREAM)}, **hardware)  # type: ignore[arg-type]


def files(descriptor: str | None = None, disk: bytes = STREAM, algorithm: str = "sha256") -> dict[str, bytes]:
    told = {"web.ovf": (descriptor or text()).encode(), DISK.href: disk}
    return {**told, "web.mf": ova.manifest(told, algorithm).encode()}


def beside(folder: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (folder / name).write_bytes(content)
    return folder / "web.ovf"


def archived(folder: Path, members: dict[str, bytes]) -> Path:
    return ova.archive(folder / "web.ova", members)


Put = Callable[[Path, dict[str, bytes]], Path]


@pytest.fixture(params=[beside, archived], ids=["ovf", "ova"])
def put(request: pytest.FixtureRequest) -> Put:
    made: Put = request.param
    return made


def source_at(path: Path) -> Source:
    return open_source("exports", SourceConfig(kind="ova", uri=path.as_uri()))


def unwritten(thing: External) -> None:
    raise AssertionError(thing)


def ref_of(path: Path) -> DiskRef:
    source = source_at(path)
    (machine,) = source.discover().machines
    opened = source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)
    return opened.refs["vmdisk1"]


def copied(path: Path, folder: Path) -> bytes:
    target = folder / "copy.raw"
    target.write_bytes(bytes(len(CONTENT)))
    copy_disk(ref_of(path), DiskRef(uri=target.as_uri()), folder / "copy.kff")
    return target.read_bytes()


def refusal(path: Path) -> InputInvalid:
    with pytest.raises(InputInvalid) as refused:
        read_machines(path, "exports")
    assert all(problem.fix for problem in refused.value.problems)
    return refused.value


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_disk_is_copied_and_held_against_its_digest(put: Put, algorithm: str, tmp_path: Path) -> None:
    path = put(tmp_path, files(algorithm=algorithm))
    place = packed(ref_of(path).uri)
    assert place is not None
    assert place.parts[0].digest == f"{algorithm}:{hashlib.new(algorithm, STREAM).hexdigest()}"
    assert copied(path, tmp_path) == CONTENT


def test_a_small_disk_that_is_not_what_the_manifest_says_is_refused_at_once(put: Put, tmp_path: Path) -> None:
    damaged = STREAM[:-5000] + bytes(5000)
    (problem,) = refusal(put(tmp_path, {**files(), DISK.href: damaged})).problems
    assert "'web disk.vmdk' is not what the manifest says" in problem.what
    assert "offset" in problem.where
    assert not source_at(tmp_path).discover().machines


def test_a_large_disk_is_compared_when_it_was_read(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeferry.sources.ovf.files.HASHED_BYTES", 10_000)
    members = files()
    told = members["web.mf"].replace(hashlib.sha256(STREAM).hexdigest().encode(), b"0" * 64)
    path = put(tmp_path, {**members, "web.mf": told})
    with pytest.raises(IntegrityFailed, match="manifest"):
        copied(path, tmp_path)


def test_without_a_manifest_there_is_no_digest(put: Put, tmp_path: Path) -> None:
    members = files()
    del members["web.mf"]
    assert ",," in ref_of(put(tmp_path, members)).uri


def test_a_certificate_is_noted(put: Put, tmp_path: Path) -> None:
    (machine,) = read_machines(put(tmp_path, {**files(), "web.cert": b"x"}), "exports")
    assert [fact.value for fact in machine.unmodelled if fact.path == "certificate"] == [
        "web.cert: the signature was not checked"
    ]


def test_a_disk_in_chunks_and_one_that_is_compressed(put: Put, tmp_path: Path) -> None:
    step = 400_000
    whole = text().replace("ovf:size=", f"ovf:chunkSize='{step}' ovf:size=")
    pieces = {f"{DISK.href}.{at:09}": STREAM[at * step :][:step] for at in range(-(-len(STREAM) // step))}
    assert len(pieces) > 2
    told = {"web.ovf": whole.encode(), **pieces}
    assert copied(put(tmp_path, {**told, "web.mf": ova.manifest(told).encode()}), tmp_path) == CONTENT
    for name in [*told, "web.mf", "web.ova", "copy.kff"]:
        (tmp_path / name).unlink(missing_ok=True)
    zipped = gzip.compress(STREAM, mtime=0)
    one = text().replace(f"ovf:size='{len(STREAM)}'", f"ovf:size='{len(zipped)}' ovf:compression='gzip'")
    assert copied(put(tmp_path, files(one, zipped)), tmp_path) == CONTENT


def test_a_reference_with_a_dot_in_front_has_its_digest(put: Put, tmp_path: Path) -> None:
    path = put(tmp_path, files(text().replace(f'"{DISK.href}"', f'"./{DISK.href}"')))
    assert hashlib.sha256(STREAM).hexdigest() in ref_of(path).uri


def test_references_may_be_spelled_with_percent_signs(put: Put, tmp_path: Path) -> None:
    descriptor = text().replace("web disk.vmdk", "web%20disk.vmdk")
    assert copied(put(tmp_path, files(descriptor)), tmp_path) == CONTENT


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1"])
def test_a_descriptor_may_have_another_encoding(encoding: str, tmp_path: Path) -> None:
    descriptor = text().replace("<Name>web", "<Name>Büro")
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    content = descriptor.replace('encoding="UTF-8"', f'encoding="{named}"').encode(encoding)
    members = {"web.ovf": content, DISK.href: STREAM}
    assert [one.name for one in read_machines(beside(tmp_path, members), "exports")] == ["Büro"]


def test_a_folder_holds_many_and_tells_those_that_cannot_be_read(tmp_path: Path) -> None:
    ova.export(tmp_path / "a#1.OVA", "a", [DISK])
    ova.export(tmp_path / "b.ova", "b", [DISK])
    (tmp_path / "broken.ova").write_bytes(b"no")
    (tmp_path / "read.me").write_bytes(b"no")
    beside(tmp_path, files())
    source = source_at(tmp_path)
    found = source.discover()
    assert [one.name for one in found.machines] == ["a", "b", "web"]
    assert {one.what.partition(":")[0] for one in found.unreadable if one.id == "machine.unreadable"} == {
        str(tmp_path / "broken.ova")
    }
    assert [one.what for one in found.unreadable if one.id == "file.passed-over"] == [
        f"{tmp_path}: 1 file of no kind that holds machines: read.me"
    ]
    assert all(source.power(one) is Power.OFF for one in found.machines)


def test_two_exports_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    ova.export(tmp_path / "b.ova", "b", [DISK])
    ova.export(tmp_path / "c.ova", "b", [DISK])
    source = source_at(tmp_path)
    found = source.discover()
    assert [one.name for one in found.machines] == ["b-b.ova#b", "b-c.ova#b"]
    assert not found.unreadable
    assert all(source.power(one) is Power.OFF for one in found.machines)


def test_folders_below_a_folder_are_read_and_known_by_their_path(tmp_path: Path) -> None:
    """ovftool makes a folder for each machine."""
    for name in ("app1", "app2"):
        (tmp_path / "exports" / name).mkdir(parents=True)
        beside(tmp_path / "exports" / name, {**files(text().replace(">web<", f">{name}<")), "web.mf": b""})
    (tmp_path / "exports" / "app1" / "circle").symlink_to(tmp_path / "exports")
    ova.export(tmp_path / "exports" / "top.ova", "top", [DISK])
    source = source_at(tmp_path / "exports")
    found = source.discover()
    assert [(one.name, one.id) for one in found.machines] == [
        ("app1", "app1/web.ovf#web"),
        ("app2", "app2/web.ovf#web"),
        ("top", "top.ova#top"),
    ]
    for machine in found.machines:
        opened = source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)
        assert f"/{machine.name}" in opened.refs["vmdisk1"].uri


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("app.vmx.zst", "packed with zstd"),
        ("app.ova.gz", "packed with gzip"),
        ("app.OVA.XZ", "packed with xz"),
        ("a/b.ovf.zip", "zip"),
        ("app.tar.gz", "packed with gzip"),
        ("app.zip", "packed with zip"),
        ("exports.tar", "packed with tar"),
    ],
)
def test_what_holds_a_machine_and_is_not_read_is_told(name: str, what: str, tmp_path: Path) -> None:
    ova.export(tmp_path / "b.ova", "b", [DISK])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    found = source_at(tmp_path).discover()
    assert [one.name for one in found.machines] == ["b"]
    (told,) = found.unreadable
    assert what in told.what
    assert str(tmp_path / name) in told.what
    with pytest.raises(InputInvalid, match=what):
        source_at(tmp_path / name)


def test_what_macos_adds_to_a_folder_is_no_export(tmp_path: Path) -> None:
    ova.export(tmp_path / "b.ova", "b", [DISK])
    (tmp_path / "._b.ova").write_bytes(b"\0\5\x16\7")
    found = source_at(tmp_path).discover()
    assert ([one.name for one in found.machines], found.unreadable) == (["b"], ())


def test_an_export_whose_name_no_document_can_hold_does_not_keep_the_others_from_being_written(tmp_path: Path) -> None:
    for name in (b"Gr\xf6\xdfe.ova", b"web.ova"):
        archived(tmp_path, files()).rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    found = source_at(tmp_path).discover()
    save(found, tmp_path / "inventory.yaml")
    assert len(found.machines) == 1
    assert [r"Gr\xf6\xdfe.ova: its name is not UTF-8" in one.what for one in found.unreadable] == [True]


IMAGES = {
    "http://www.gnome.org/~markmc/qcow-image-format.html": ("qcow2", "qcow2"),
    "http://go.microsoft.com/fwlink/?LinkId=137171": ("vpc", "vhd"),
}


@pytest.mark.parametrize("told", IMAGES)
@pytest.mark.parametrize("options", [[], ["-c"]], ids=["plain", "compressed"])
def test_an_image_in_an_export_is_read_where_it_lies(told: str, options: list[str], put: Put, tmp_path: Path) -> None:
    here("qemu-nbd")
    driver, shape = IMAGES[told]
    raw, made = tmp_path / "disk.raw", tmp_path / "disk.image"
    raw.write_bytes(CONTENT)
    more = ["-o", "force_size=on"] if driver == "vpc" else options
    process.run(["qemu-img", "convert", "-f", "raw", "-O", driver, *more, str(raw), str(made)])
    content = made.read_bytes()
    descriptor = text().replace(ova.STREAM, told).replace(f"ovf:size='{len(STREAM)}'", "")
    path = put(tmp_path, files(descriptor, content))
    assert ref_of(path).format == shape
    assert source_at(path).concerns(machine_of(source_at(path))) == []
    assert copied(path, tmp_path) == CONTENT
    put(tmp_path, files(descriptor, content[: len(content) // 2]))
    with pytest.raises((SourceRefused, HostileImage)):
        copied(path, tmp_path)


def test_a_large_image_is_compared_when_it_was_read(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here("qemu-img")
    monkeypatch.setattr("kubeferry.sources.ovf.files.HASHED_BYTES", 10_000)
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(tmp_path / "disk.raw"), str(tmp_path / "made")])
    content = (tmp_path / "made").read_bytes()
    descriptor = text().replace(ova.STREAM, "http://www.gnome.org/~markmc/qcow-image-format.html")
    members = files(descriptor.replace(f"ovf:size='{len(STREAM)}'", ""), content)
    wrong = members["web.mf"].replace(hashlib.sha256(content).hexdigest().encode(), b"0" * 64)
    with pytest.raises(IntegrityFailed, match="manifest"):
        copied(put(tmp_path, {**members, "web.mf": wrong}), tmp_path)


def test_a_qcow2_image_beside_an_ovf_is_left_to_its_own_reader(tmp_path: Path) -> None:
    descriptor = text().replace(ova.STREAM, "http://www.gnome.org/~markmc/qcow-image-format.html")
    path = beside(tmp_path, {"web.ovf": descriptor.replace(f"ovf:size='{len(STREAM)}'", "").encode()})
    here("qemu-img")
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / DISK.href), str(len(CONTENT))])
    assert ref_of(path) == DiskRef(uri=(tmp_path / DISK.href).as_uri(), format="qcow2", size_bytes=len(CONTENT))


# --- what changed since, and what cannot be --------------------------------------------------------------------------


def machine_of(source: Source) -> Machine:
    (machine,) = source.discover().machines
    return machine


def test_another_disk_than_that_of_the_inventory_is_refused(put: Put, tmp_path: Path) -> None:
    source = source_at(put(tmp_path, files()))
    machine = machine_of(source)
    put(tmp_path, files(disk=STREAM[:-1] + b"\0", descriptor=text() + "\n\n"))
    assert source.concerns(machine) == []  # the same digest: the last byte was a zero
    other = ova.packed(ova.PackedDisk("vmdisk1", DISK.href, len(CONTENT), CONTENT[::-1]))
    put(tmp_path, files(disk=other, descriptor=text().replace(str(len(STREAM)), str(len(other)))))
    assert [one.id for one in source.concerns(machine)] == ["source.refused"]
    with pytest.raises(SourceRefused, match="as they were planned"):
        source.open_round(machine, since=None, final=True, remote=False, ledger=unwritten)


def test_an_export_that_became_unreadable_is_refused_with_the_reason(put: Put, tmp_path: Path) -> None:
    path = put(tmp_path, files())
    source = source_at(path)
    machine = machine_of(source)
    path.write_bytes(b"<no")
    with pytest.raises(SourceRefused, match="cannot be read any more") as refused:
        source.power(machine)
    assert (refused.value.machine, bool(refused.value.why)) == ("web", True)


@pytest.mark.parametrize("uri", ["qemu:///system", "file:relative", "file:///nowhere", "file:///etc/passwd"])
def test_what_is_no_export_is_no_source(uri: str) -> None:
    with pytest.raises(InputInvalid, match=r"sources\.exports\.uri|no path|no exported"):
        open_source("exports", SourceConfig(kind="ova", uri=uri))


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_larger_or_smaller_is_told_with_its_line(put: Put, tmp_path: Path) -> None:
    members = {"web.ovf": text().encode(), DISK.href: STREAM}
    short = refusal(put(tmp_path, {**members, DISK.href: STREAM[:-512]}))
    assert f"has {len(STREAM) - 512} bytes, not {len(STREAM)}" in short.problems[0].what
    assert short.problems[0].where.rpartition(":")[2].isdecimal()
    (tmp_path / DISK.href).unlink(missing_ok=True)
    assert "is not there" in refusal(put(tmp_path, {"web.ovf": members["web.ovf"]})).problems[0].what


def test_a_manifest_that_names_what_is_not_there_is_told_and_one_that_contradicts_itself_refused(
    put: Put, tmp_path: Path
) -> None:
    members = files()
    gone = members["web.mf"] + b"SHA256(gone.iso)= " + b"0" * 64
    assert "'gone.iso' is not there" in manifest_of(put(tmp_path, {**members, "web.mf": gone}))
    twice = b"SHA1(web.ovf)= " + b"0" * 40 + b"\nSHA1(web.ovf)= " + b"1" * 40
    assert "two digests" in refusal(put(tmp_path, {**members, "web.mf": twice})).problems[0].what


def manifest_of(path: Path) -> list[str]:
    """What is noted of a manifest."""
    (machine,) = read_machines(path, "exports")
    return [fact.value for fact in machine.unmodelled if fact.path.startswith("manifest[")]


def test_lines_that_say_nothing_are_told_and_cost_nothing_else(put: Put, tmp_path: Path) -> None:
    members = files()
    junk = b"MD5(web.ovf)= 00\nSHA1(web.ovf)= 12\nhello\n"
    told = manifest_of(put(tmp_path, {**members, "web.mf": junk}))
    assert told[0] == "'web.ovf' has no digest"
    assert [line.partition(":")[0] for line in told[1:]] == ["line 1", "line 2", "line 3"]
    none = b"SHA1(web disk.vmdk)= " + hashlib.sha1(STREAM).hexdigest().encode()  # noqa: S324
    assert manifest_of(put(tmp_path, {**members, "web.mf": none})) == ["'web.ovf' has no digest"]
    many = members["web.mf"] + b"x\n" * 3000
    assert manifest_of(put(tmp_path, {**members, "web.mf": many}))[20:] == ["2980 more"]


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "comments": lambda told: b"# by hand\n" + told,
    "a byte order mark": lambda told: b"\xef\xbb\xbf" + told,
    "utf-16": lambda told: told.decode().encode("utf-16"),
    "blanks": lambda told: told.replace(b"= ", b" =   ").replace(b"(", b" ( ") + b"   \n\n",
    "a folder of its own": lambda told: told.replace(b"SHA256(", b"SHA256(./"),
    "line ends of Windows": lambda told: told.replace(b"\n", b"\r\n"),
    "small letters": lambda told: told.replace(b"SHA256", b"sha-256"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_manifest_may_be_written_in_many_ways(how: str, put: Put, tmp_path: Path) -> None:
    members = files()
    path = put(tmp_path, {**members, "web.mf": WRITTEN[how](members["web.mf"])})
    assert manifest_of(path) == []
    assert f"sha256:{hashlib.sha256(STREAM).hexdigest()}" in ref_of(path).uri
    wrong = members["web.mf"].replace(hashlib.sha256(STREAM).hexdigest().encode(), b"0" * 64)
    assert (
        "is not what the manifest says"
        in refusal(put(tmp_path, {**members, "web.mf": WRITTEN[how](wrong)})).problems[0].what
    )


def test_sums_as_sha256sum_writes_them_are_a_manifest_too(put: Put, tmp_path: Path) -> None:
    members = files()
    told = "".join(f"{hashlib.sha512(members[name]).hexdigest()}  {name}\n" for name in ("web.ovf", DISK.href))
    path = put(tmp_path, {**members, "web.mf": told.encode()})
    assert (manifest_of(path), "sha512:" in ref_of(path).uri) == ([], True)


def test_of_two_digests_of_one_file_both_have_to_be_right(put: Put, tmp_path: Path) -> None:
    members = files()
    both = members["web.mf"] + ova.manifest({DISK.href: STREAM}, "md5").encode()
    assert "sha256:" in ref_of(put(tmp_path, {**members, "web.mf": both})).uri
    wrong = both.replace(hashlib.md5(STREAM).hexdigest().encode(), b"0" * 32)  # noqa: S324
    assert "md5:" in refusal(put(tmp_path, {**members, "web.mf": wrong})).problems[0].what


# --- archives as people have them ------------------------------------------------------------------------------------


def test_an_archive_may_have_everything_in_one_folder(tmp_path: Path) -> None:
    path = archived(tmp_path, {f"app/{name}": content for name, content in files().items()})
    assert copied(path, tmp_path) == CONTENT
    assert manifest_of(path) == []


def test_what_macos_adds_to_an_archive_is_passed_over(tmp_path: Path) -> None:
    foreign = {f"._{name}": b"\0\5\x16\7" for name in files()} | {"__MACOSX/x/web.ovf": b"no"}
    assert copied(archived(tmp_path, {**foreign, **files()}), tmp_path) == CONTENT


PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}


@pytest.mark.parametrize("packing", PACKED)
def test_an_archive_or_descriptor_that_is_packed_is_told_by_the_name_of_its_packing(
    packing: str, put: Put, tmp_path: Path
) -> None:
    path = put(tmp_path, files())
    path.write_bytes(PACKED[packing](path.read_bytes()))
    (problem,) = refusal(path).problems
    assert f"packed with {packing}" in problem.what
    assert "Unpack it" in problem.fix


def test_a_zip_that_is_called_an_ova_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "web.ova", "w") as file:
        for name, content in files().items():
            file.writestr(name, content)
    assert "packed with zip" in refusal(tmp_path / "web.ova").problems[0].what


def test_a_disk_that_is_packed_with_gzip_is_read_though_the_ovf_does_not_say_so(put: Put, tmp_path: Path) -> None:
    zipped = gzip.compress(STREAM, mtime=0)
    assert copied(put(tmp_path, files(text().replace(f"ovf:size='{len(STREAM)}'", ""), zipped)), tmp_path) == CONTENT


def test_a_disk_in_another_packing_is_told(put: Put, tmp_path: Path) -> None:
    packed_disk = lzma.compress(STREAM)
    (problem,) = refusal(put(tmp_path, files(text().replace(f"ovf:size='{len(STREAM)}'", ""), packed_disk))).problems
    assert "packed with xz" in problem.what
    assert "Unpack it" in problem.fix


def test_a_descriptor_that_was_changed_is_refused(put: Put, tmp_path: Path) -> None:
    members = files()
    changed = members["web.ovf"].replace(b">256<", b">512<")
    (problem,) = refusal(put(tmp_path, {**members, "web.ovf": changed})).problems
    assert "'web.ovf' is not what the manifest says" in problem.what


HOSTILE: dict[str, tuple[str, str]] = {
    "another folder": ("../secret.vmdk", "leaves the folder"),
    "another folder in percent signs": ("%2e%2e/secret.vmdk", "leaves the folder"),
    "another folder in backslashes": ("..\\secret.vmdk", "leaves the folder"),
    "a full path": ("/etc/passwd", "leaves the folder"),
    "another host": ("http://example.com/a.vmdk", "another host"),
    "another host without a scheme": ("//example.com/a.vmdk", "another host"),
    "a file URI": ("file:///etc/passwd", "another host"),
    "nothing": ("", "no name of a file"),
    "a place that is none": ("http://[a", "no name of a file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_references_that_leave_are_refused_with_their_line(case: str, put: Put, tmp_path: Path) -> None:
    href, what = HOSTILE[case]
    (tmp_path.parent / "secret.vmdk").write_bytes(STREAM)
    found = refusal(put(tmp_path, files(text().replace(DISK.href, href))))
    assert any(what in problem.what for problem in found.problems)
    assert all(problem.where.rpartition(":")[2].isdecimal() for problem in found.problems)


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "secret.vmdk").write_bytes(STREAM)
    (folder / DISK.href).symlink_to(tmp_path / "secret.vmdk")
    assert "is not there" in refusal(beside(folder, {"web.ovf": text().encode()})).problems[0].what


def test_two_descriptors_or_none_are_refused(tmp_path: Path) -> None:
    assert "2 files" in refusal(archived(tmp_path, {**files(), "b.ovf": b""})).problems[0].what
    assert "0 files" in refusal(archived(tmp_path, {"a": b""})).problems[0].what


def test_a_descriptor_or_manifest_that_is_too_large_is_refused(put: Put, tmp_path: Path) -> None:
    assert "at most" in refusal(put(tmp_path, {"web.ovf": b" " * (5 << 20)})).problems[0].what
    assert "at most" in refusal(put(tmp_path, {**files(), "web.mf": b" " * (2 << 20)})).problems[0].what


@pytest.mark.parametrize("encoding", ["utf-7", "rot13", "idna", "utf-8"])
def test_an_encoding_that_is_not_usual_or_not_so_is_refused(encoding: str, put: Put, tmp_path: Path) -> None:
    content = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + b"\xff"
    assert refusal(put(tmp_path, {"web.ovf": content}))


# --- without access --------------------------------------------------------------------------------------------------


def test_ovfs_without_their_disks_are_assessed(tmp_path: Path) -> None:
    (tmp_path / "web.ovf").write_text(text())
    (tmp_path / "web.mf").write_bytes(files()["web.mf"])
    ova.export(tmp_path / "db.ova", "db", [DISK])
    found = read_exported(tmp_path, "old")
    assert found.source_kind == "ovf-export"
    machines = {one.name: one for one in found.machines}
    assert machines["web"].disks[0].uri == "file:web%20disk.vmdk"
    assert machines["web"].disks[0].capacity_bytes == machines["db"].disks[0].capacity_bytes == len(CONTENT)
    (tmp_path / "x.xml").write_text(
        "<domain type='kvm'><name>x</name><memory>1024</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64'>hvm</type></os><devices/></domain>"
    )
    assert read_exported(tmp_path, "old").source_kind == "export"
    (tmp_path / "bad.ovf").write_text("<")
    found = read_exported(tmp_path, "old")
    assert len(found.machines) == 3
    assert any("bad.ovf:1" in one.what for one in found.unreadable)


def test_a_disk_is_what_its_reader_gives(put: Put, tmp_path: Path) -> None:
    with open_disk(ref_of(put(tmp_path, files()))) as disk:
        assert (disk.size, disk.parallel, disk.knows_holes) == (len(CONTENT), False, True)
