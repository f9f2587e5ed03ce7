"""Chains served by a real qemu-nbd, and images made by a real qemu-img whose headers name what they must not name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from converters.endpoints import open_source
from converters.endpoints.nbd import qemu as qemu_nbd
from converters.engine.disks import copy_disk, parse_ref, prepare_target, with_chain
from kubeferry.errors import HostileImage, SourceRefused
from kubeferry.images import nodes
from kubeferry.model import DiskRef
from kubeferry.outside import process
from tests.needs import here

MIB = 1 << 20

here("qemu-img", "qemu-nbd")


def qemu_img(*arguments: object) -> None:
    process.run(["qemu-img", *map(str, arguments)])


def qcow2(path: Path, *options: object) -> DiskRef:
    qemu_img("create", "-q", "-f", "qcow2", *options, path, 8 * MIB)
    return DiskRef(uri=path.as_uri(), format="qcow2")


def write(path: Path, fmt: str, *commands: str) -> None:
    argv = ["qemu-io", "-f", fmt]
    for command in commands:
        argv += ["-c", command]
    process.run([*argv, str(path)])


def chain(folder: Path) -> tuple[DiskRef, Path]:
    """Raw base, qcow2 middle, qcow2 top; each writes something, the top zeroes a part of the base."""
    base, middle, top = folder / "base.img", folder / "middle.qcow2", folder / "top.qcow2"
    qemu_img("create", "-q", "-f", "raw", base, 8 * MIB)
    write(base, "raw", "write -P 1 0 3M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", middle)
    write(middle, "qcow2", "write -P 2 1M 64k")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", top)
    write(top, "qcow2", "write -P 3 5M 4k", "write -z 2M 1M")
    below = DiskRef(uri=middle.as_uri(), format="qcow2", backing=DiskRef(uri=base.as_uri()))
    return DiskRef(uri=top.as_uri(), format="qcow2", backing=below), top


def read(ref: DiskRef, work: Path | None = None) -> bytes:
    with open_source(ref, work=work) as disk:
        view = memoryview(bytearray(disk.size))
        disk.read_into(0, view)
        return bytes(view)


def test_a_chain_is_read_as_the_machine_sees_it(tmp_path: Path) -> None:
    ref, _ = chain(tmp_path)
    expected = bytearray(8 * MIB)
    expected[: 2 * MIB] = b"\1" * (2 * MIB)
    expected[MIB : MIB + (64 << 10)] = b"\2" * (64 << 10)
    expected[5 * MIB : 5 * MIB + 4096] = b"\3" * 4096
    assert read(ref) == expected


def test_a_chain_is_copied_equal_by_the_judgement_of_qemu_img(tmp_path: Path) -> None:
    ref, top = chain(tmp_path)
    target = parse_ref(str(tmp_path / "target.img"))
    prepare_target(target, 8 * MIB, tmp_path / "t.kff")
    done = copy_disk(ref, target, tmp_path / "t.kff", target_reads_zero=True)
    qemu_img("compare", "-f", "qcow2", "-F", "raw", top, tmp_path / "target.img")
    assert done.tally.read < 4 * MIB


def test_a_chain_that_a_person_names_is_copied_and_one_that_is_not_named_leads_nowhere(tmp_path: Path) -> None:
    """The fix must not be to make the header forget what lies below: that loses it."""
    _, top = chain(tmp_path)
    alone = parse_ref(str(top), format="qcow2")
    with pytest.raises(HostileImage) as told:
        read(alone)
    assert "--chain" in told.value.fix
    assert "rebase" not in told.value.fix
    named = with_chain(alone, [f"qcow2:{tmp_path}/middle.qcow2", f"raw:{tmp_path}/base.img"])
    assert read(named) == read(chain_of_files(tmp_path))


def chain_of_files(folder: Path) -> DiskRef:
    qemu_img("convert", "-f", "qcow2", "-O", "raw", folder / "top.qcow2", folder / "flat.img")
    return DiskRef(uri=(folder / "flat.img").as_uri())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    ref, _ = chain(tmp_path)
    work = tmp_path / "work"
    (work / ".kubeferry-nbd").mkdir(parents=True)
    (work / ".kubeferry-nbd" / "socket").touch()  # of a run that was killed
    with qemu_nbd.served(ref, work=work):
        running = servers(tmp_path)
        assert len(running) == 1
    assert not list(work.iterdir())
    assert not servers(tmp_path)


def test_the_server_has_no_network_and_no_rights_but_to_read(tmp_path: Path) -> None:
    with qemu_nbd.served(qcow2(tmp_path / "a.qcow2"), work=tmp_path):
        server = Path("/proc") / servers(tmp_path)[0]
        lines = dict(line.split(":\t", 1) for line in (server / "status").read_text().splitlines())
        assert lines["NoNewPrivs"] == "1"
        if os.geteuid() == 0:
            assert int(lines["CapEff"], 16) in {0, 1 << 2}  # CAP_DAC_READ_SEARCH
            assert int(lines["CapBnd"], 16) in {0, 1 << 2}
            assert (server / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def servers(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if line.startswith(b"qemu-nbd") and os.fsencode(folder) in line:
            found.append(path.parent.name)
    return found


def test_a_deep_folder_is_no_obstacle_for_the_socket(tmp_path: Path) -> None:
    work = tmp_path / ("d" * 120)
    work.mkdir()
    assert len(read(qcow2(tmp_path / "a.qcow2"), work)) == 8 * MIB


def test_names_that_qemu_could_misread_are_only_names(tmp_path: Path) -> None:
    folder = tmp_path / 'a,b "c" json: #%?'
    folder.mkdir()
    ref = qcow2(folder / "x:y,z=1.qcow2")
    assert read(ref) == bytes(8 * MIB)


def test_every_format_is_explicit_and_the_end_of_the_chain_too(tmp_path: Path) -> None:
    ref, _ = chain(tmp_path)
    options = json.loads(json.dumps(nodes.block_options(ref)))
    assert options["driver"] == options["backing"]["driver"] == "qcow2"
    assert options["backing"]["backing"]["driver"] == "raw"
    assert "backing" not in options["backing"]["backing"]
    alone = nodes.block_options(DiskRef(uri="file:///x", format="qcow2"))
    assert alone["backing"] is None


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that nobody may open: who does, waits for a writer until the test's time is over."""
    os.mkfifo(tmp_path / "trap")
    return tmp_path / "trap"


def refuses(ref: DiskRef, folder: Path, error: type[HostileImage | SourceRefused]) -> str:
    with pytest.raises(error) as caught:
        read(ref, folder)
    assert caught.value.fix
    assert not servers(folder)
    return str(caught.value)


def test_a_backing_file_that_the_source_does_not_know_is_never_opened(tmp_path: Path, trap: Path) -> None:
    ref = qcow2(tmp_path / "a.qcow2", "-u", "-b", trap, "-F", "raw")
    assert str(trap) in refuses(ref, tmp_path, HostileImage)


def test_a_secret_of_the_host_is_not_a_backing_file(tmp_path: Path) -> None:
    ref = qcow2(tmp_path / "a.qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
    assert "/etc/shadow" in refuses(ref, tmp_path, HostileImage)


def test_a_backing_file_other_than_the_declared_one_is_never_opened(tmp_path: Path, trap: Path) -> None:
    (tmp_path / "base.img").write_bytes(bytes(8 * MIB))
    ref = qcow2(tmp_path / "a.qcow2", "-u", "-b", trap, "-F", "raw")
    declared = ref.model_copy(update={"backing": DiskRef(uri=(tmp_path / "base.img").as_uri())})
    assert str(trap) in refuses(declared, tmp_path, HostileImage)


@pytest.mark.parametrize("name", ['json:{"driver":"file","filename":"%s"}', "nbd+unix:///?socket=%s"])
def test_a_backing_file_in_another_form_is_never_opened(tmp_path: Path, trap: Path, name: str) -> None:
    ref = qcow2(tmp_path / "a.qcow2")
    process.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", name % trap, "-F", "raw", str(tmp_path / "a.qcow2")])
    refuses(ref, tmp_path, HostileImage)
    declared = ref.model_copy(update={"backing": DiskRef(uri=trap.as_uri())})
    refuses(declared, tmp_path, HostileImage)


def test_a_middle_image_is_checked_like_the_top_one(tmp_path: Path, trap: Path) -> None:
    middle = qcow2(tmp_path / "middle.qcow2", "-u", "-b", trap, "-F", "raw")
    top = qcow2(tmp_path / "top.qcow2", "-u", "-b", "middle.qcow2", "-F", "qcow2")
    assert "middle" in refuses(top.model_copy(update={"backing": middle}), tmp_path, HostileImage)


def test_an_external_data_file_is_never_opened(tmp_path: Path) -> None:
    qcow2(tmp_path / "a.qcow2", "-o", f"data_file={tmp_path}/data.raw,data_file_raw=on")
    (tmp_path / "data.raw").unlink()
    os.mkfifo(tmp_path / "data.raw")
    ref = DiskRef(uri=(tmp_path / "a.qcow2").as_uri(), format="qcow2")
    assert "data.raw" in refuses(ref, tmp_path, HostileImage)


def test_a_raw_disk_that_looks_like_qcow2_is_raw(tmp_path: Path) -> None:
    """A guest can write a qcow2 header to its raw disk; who probes then opens what it names."""
    qcow2(tmp_path / "a.qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
    content = (tmp_path / "a.qcow2").read_bytes()
    assert read(DiskRef(uri=(tmp_path / "a.qcow2").as_uri())) == content
    overlay = qcow2(tmp_path / "top.qcow2", "-u", "-b", "a.qcow2", "-F", "raw")
    seen = read(overlay.model_copy(update={"backing": DiskRef(uri=(tmp_path / "a.qcow2").as_uri())}), tmp_path)
    assert seen[: len(content)] == content


def test_what_is_no_qcow2_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.qcow2").write_bytes(b"not an image" * 1000)
    refuses(DiskRef(uri=(tmp_path / "a.qcow2").as_uri(), format="qcow2"), tmp_path, HostileImage)


def test_a_missing_backing_file_is_named(tmp_path: Path) -> None:
    ref, _ = chain(tmp_path)
    (tmp_path / "base.img").unlink()
    assert "base.img" in refuses(ref, tmp_path, SourceRefused)


def test_a_disk_in_use_is_refused_in_qemus_words(tmp_path: Path) -> None:
    ref = qcow2(tmp_path / "a.qcow2")
    argv = ["qemu-nbd", "--persistent", f"--socket={tmp_path}/other", "--format=qcow2", str(tmp_path / "a.qcow2")]
    with process.child(argv, log=tmp_path / "log") as writer:
        while not (tmp_path / "other").exists() or not writer_has_lock(tmp_path / "a.qcow2"):
            assert writer.wait(0.02) is None, writer.tail()
        with pytest.raises(SourceRefused) as caught:
            read(ref)
    assert "lock" in caught.value.why
    assert "stop that machine" in caught.value.fix


def writer_has_lock(path: Path) -> bool:
    return bool(process.run(["qemu-img", "info", "-f", "qcow2", str(path)], check=False).code)


def test_a_chain_without_end_is_refused(tmp_path: Path) -> None:
    ref = DiskRef(uri=(tmp_path / "base").as_uri())
    for number in range(300):
        ref = DiskRef(uri=(tmp_path / str(number)).as_uri(), format="qcow2", backing=ref)
    refuses(ref, tmp_path, SourceRefused)
