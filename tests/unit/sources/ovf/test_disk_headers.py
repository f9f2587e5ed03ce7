"""What disks of an export say of themselves, where they are there: known at discovery, before anything is planned."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.engine.disks import copy_disk
from kubeferry.documents import SourceConfig
from kubeferry.model import Disk, DiskRef, Machine
from kubeferry.outside import process
from kubeferry.sources import open_source
from kubeferry.sources.exported import read_exported
from kubeferry.sources.ovf.files import read_machines
from kubeferry.sources.ovf.headers import Look, look
from kubeferry.uris import Packed, Part
from lab import ova
from tests.needs import here
from tests.unit.sources.ovf.assessing import concerns_of

MIB = 1 << 20
CONTENT = bytes(range(256)) * 4096 + bytes(2 * MIB) + b"end".ljust(512, b"!")
DISK = ova.PackedDisk("vmdisk1", "web.vmdk", len(CONTENT), CONTENT)
STREAM = ova.packed(DISK)


def export(folder: Path, disk: bytes, **replaced: str) -> Path:
    """An OVF with one disk beside it."""
    text = ova.descriptor("web", [DISK], {DISK.href: len(disk)})
    for old, new in replaced.items():
        text = text.replace({"capacity": f"ovf:capacity='{len(CONTENT)}'", "form": ova.STREAM}[old], new)
    (folder / "web.ovf").write_text(text)
    (folder / DISK.href).write_bytes(disk)
    return folder / "web.ovf"


def image(folder: Path, shape: str, *options: str) -> bytes:
    here("qemu-img")
    (folder / "in.raw").write_bytes(CONTENT)
    process.run(
        ["qemu-img", "convert", "-f", "raw", "-O", shape, *options, str(folder / "in.raw"), str(folder / "out")]
    )
    content = (folder / "out").read_bytes()
    (folder / "in.raw").unlink()
    return content


def machine_of(path: Path) -> Machine:
    (machine,) = read_machines(path, "exports")
    return machine


def refused(path: Path) -> str:
    """What assessment, its reading without a source, and the source itself say of the disk: the same."""
    machine = machine_of(path)
    told = concerns_of(machine)["ova.header"]
    assert told.severity == "critical"
    (exported,) = read_exported(path.parent, "lab").machines
    assert concerns_of(exported)["ova.header"] == told
    source = open_source("exports", SourceConfig(kind="ova", uri=path.as_uri()))
    (concern,) = source.concerns(source.discover().machines[0])
    assert (concern.id, concern.severity) == ("source.refused", "critical")
    assert concern.what.partition("vmdisk1: ")[2] in told.what
    return told.what


def copied(path: Path, folder: Path) -> bytes:
    source = open_source("exports", SourceConfig(kind="ova", uri=path.as_uri()))
    (machine,) = source.discover().machines
    assert source.concerns(machine) == []
    opened = source.open_round(machine, since=None, final=True, remote=False, ledger=lambda _thing: None)
    target = folder / "target.raw"
    target.write_bytes(bytes(len(CONTENT)))
    copy_disk(opened.refs["vmdisk1"], DiskRef(uri=target.as_uri()), folder / "copy.kff")
    return target.read_bytes()


def test_what_is_sound_is_no_concern(tmp_path: Path) -> None:
    path = export(tmp_path, STREAM)
    assert not {"ova.header", "ova.capacity"} & concerns_of(machine_of(path)).keys()
    assert copied(path, tmp_path) == CONTENT


@pytest.mark.parametrize("behind", [1, 512, 3 * MIB])
def test_zeros_behind_a_stream_are_nothing(behind: int, tmp_path: Path) -> None:
    assert copied(export(tmp_path, STREAM + bytes(behind)), tmp_path) == CONTENT


def test_a_stream_whose_end_is_nowhere_near_its_file_s_is_not_looked_for(tmp_path: Path) -> None:
    """A sparse file costs its sender nothing, however long it is."""
    path = export(tmp_path, STREAM[:512])
    begun = time.process_time()
    with (tmp_path / DISK.href).open("r+b") as file:
        file.truncate(1 << 40)
    path.write_text(path.read_text().replace("ovf:size='512'", ""))
    assert "is cut off" in refused(path)
    assert time.process_time() - begun < 5


def test_a_stream_without_its_last_marker_is_cut_off(tmp_path: Path) -> None:
    assert "is cut off" in refused(export(tmp_path, STREAM[:-512]))
    assert "is cut off" in refused(export(tmp_path, STREAM[:-1024]))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_stream_that_is_cut_off_is_known_before_it_is_copied(part: float, tmp_path: Path) -> None:
    cut = STREAM[: int(len(STREAM) * part) // 512 * 512]
    assert "is cut off" in refused(export(tmp_path, cut))


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_what_qemu_wrote_is_looked_at_by_its_tables(subformat: str, tmp_path: Path) -> None:
    whole = image(tmp_path, "vmdk", "-o", f"subformat={subformat}")
    assert copied(export(tmp_path, whole), tmp_path) == CONTENT
    assert "is cut off" in refused(export(tmp_path, whole[: len(whole) // 2 // 512 * 512]))


def test_a_sparse_vmdk_that_is_called_a_stream_is_read_as_what_it_is(tmp_path: Path) -> None:
    path = export(tmp_path, image(tmp_path, "vmdk", "-o", "subformat=monolithicSparse"))
    assert (machine_of(path).disks[0].uri or "").startswith("vmdk+file:")
    assert copied(path, tmp_path) == CONTENT


def test_a_descriptor_is_read_with_what_it_names_and_only_where_that_is(tmp_path: Path) -> None:
    flat = image(tmp_path, "vmdk", "-o", "subformat=monolithicFlat")
    text = flat.replace(b"out-flat", b"web-flat.vmdk")
    assert "'web-flat.vmdk', which is not beside it" in refused(export(tmp_path, text))
    (tmp_path / "out-flat").rename(tmp_path / "web-flat.vmdk")
    assert copied(export(tmp_path, text), tmp_path) == CONTENT
    parent = text.replace(b"parentCID=ffffffff", b"parentCID=12345678")
    assert "differs from another disk" in refused(export(tmp_path, parent))
    sesparse = text.replace(b" FLAT ", b" SESPARSE ")
    assert "one of its extents is SESPARSE" in refused(export(tmp_path, sesparse))
    export(tmp_path, text)
    members = {name: (tmp_path / name).read_bytes() for name in ("web.ovf", "web.vmdk", "web-flat.vmdk")}
    (archived := tmp_path / "in").mkdir()
    assert copied(ova.archive(archived / "web.ova", members), tmp_path) == CONTENT
    signed = {**members, "web.mf": ova.manifest(members).encode()}
    assert "sha256:" in (machine_of(ova.archive(archived / "web.ova", signed)).disks[0].uri or "")
    for named in (b"..", b"", b".", b"/etc/passwd", b"../x"):
        odd = {**members, "web.vmdk": members["web.vmdk"].replace(b"web-flat.vmdk", named)}
        told = ova.descriptor("web", [DISK], {DISK.href: len(odd["web.vmdk"])}).encode()
        assert "not in an archive" in refused(ova.archive(archived / "web.ova", {**odd, "web.ovf": told}))
    del members["web-flat.vmdk"]
    assert "not in an archive" in refused(ova.archive(archived / "web.ova", members))


def test_an_encrypted_disk_is_known_by_its_descriptor(tmp_path: Path) -> None:
    key = b'createType="streamOptimized"'
    sealed = STREAM.replace(key + b"\n", b'encryptionKeys="x"'.ljust(len(key)) + b"\n", 1)
    assert sealed != STREAM
    assert "is encrypted" in refused(export(tmp_path, sealed))


@pytest.mark.parametrize(
    ("shape", "form"),
    [("qcow2", ova.STREAM), ("vmdk", "raw"), ("qcow2", "raw"), ("vdi", ova.STREAM), ("vmdk", "http://x/qcow-image")],
)
def test_a_disk_that_begins_like_another_format_is_not_read_as_the_one_it_is_said_to_be(
    shape: str, form: str, tmp_path: Path
) -> None:
    said = refused(export(tmp_path, image(tmp_path, shape), form=form))
    assert f"it begins like {shape}, and is said to be" in said


@pytest.mark.parametrize("options", [(), ("-c",)])
def test_a_qcow2_image_that_is_cut_off_or_has_another_below_it_is_known(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    form = "http://www.gnome.org/~markmc/qcow-image-format.html"
    whole = image(tmp_path, "qcow2", *options)
    assert copied(export(tmp_path, whole, form=form), tmp_path) == CONTENT
    assert "cut off" in refused(export(tmp_path, whole[: len(whole) // 2], form=form))
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", str(tmp_path / "out")])
    assert "names the backing file" in refused(export(tmp_path, (tmp_path / "out").read_bytes(), form=form))


def test_a_disk_has_the_size_that_it_has_and_the_descriptors_is_told(tmp_path: Path) -> None:
    """Some products round capacities up."""
    path = export(tmp_path, STREAM, capacity="ovf:capacity='1073741824'")
    machine = machine_of(path)
    assert machine.disks[0].capacity_bytes == len(CONTENT)
    assert f"1073741824 bytes, and the disk itself {len(CONTENT)}" in concerns_of(machine)["ova.capacity"].what
    assert copied(path, tmp_path) == CONTENT


def test_a_disk_that_is_left_out_may_be_as_wrong_as_it_is(tmp_path: Path) -> None:
    machine = machine_of(export(tmp_path, STREAM[:2048])).model_copy(update={"left_out": ("vmdisk1",)})
    assert "ova.header" not in concerns_of(machine)
    source = open_source("exports", SourceConfig(kind="ova", uri=(tmp_path / "web.ovf").as_uri()))
    assert source.concerns(machine) == []


def test_a_packed_disk_is_looked_at_through_its_packing(tmp_path: Path) -> None:
    sparse = image(tmp_path, "vmdk", "-o", "subformat=monolithicSparse")
    assert "no stream" in refused(export(tmp_path, gzip.compress(sparse)))
    assert "gzip stream is damaged" in refused(export(tmp_path, gzip.compress(STREAM)[:10] + bytes(5000)))
    assert copied(export(tmp_path, gzip.compress(STREAM)), tmp_path) == CONTENT


def test_of_a_disk_that_is_not_there_nothing_is_known(tmp_path: Path) -> None:
    place = Packed("vmdk+file", (Part(tmp_path / "gone", 0, 512),))
    for uri in (place.uri(), (tmp_path / "gone").as_uri(), "file:gone", "zero:512", None):
        assert look(Disk(id="d", uri=uri, format="vmdk")) == Look()


def test_a_disk_is_looked_at_once_as_long_as_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(tmp_path, STREAM)
    machine = machine_of(path)
    with monkeypatch.context() as patched:
        patched.setattr("kubeferry.sources.ovf.headers.check_whole", lambda *_: pytest.fail("looked at again"))
        assert machine_of(path) == machine
    assert "is cut off" in refused(export(tmp_path, STREAM[:2048]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_the_bytes_they_are_looked_at_and_told(tmp_path: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(STREAM)))
    noise = data.draw(st.binary(max_size=64))
    content = STREAM[: data.draw(st.integers(0, len(STREAM)))]
    shape = data.draw(st.sampled_from(["vmdk", "qcow2", "vhd", "raw", "vhdx"]))
    path = tmp_path / "disk"
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    size = path.stat().st_size
    for scheme in ("raw+file", "vmdk+file"):
        seen = look(Disk(id="d", uri=Packed(scheme, (Part(path, 0, size),)).uri(), format=shape))
        assert seen.wrong is None or seen.wrong
