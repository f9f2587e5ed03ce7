"""What is served for a trial: a disk of zeros beside the machine's own, over real SSH and in the folder of a target."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from converters.endpoints import open_source
from kubeferry.documents import Entry, Inventory, Policy, SshAccess, TargetConfig
from kubeferry.errors import SourceRefused
from kubeferry.model import DiskRef, Machine
from kubeferry.outside import process
from kubeferry.sources.disks import exports
from kubeferry.targets import open_target
from lab.machines import a_disk, a_machine
from mappings.plan import make_plan
from tests.needs import here, needs

MIB = 1 << 20

pytestmark = needs("qemu-nbd", "setpriv", "unshare", "root")


def machine(folder: Path) -> Machine:
    image = folder / "web.img"
    image.write_bytes(b"\x55" * MIB)
    return a_machine("web", a_disk(image))


def entry(folder: Path) -> Entry:
    inventory = Inventory(source="lab", source_kind="memory", observed_at="2026-01-01", machines=(machine(folder),))
    return make_plan(inventory, Policy(), name="one", created_at="2026-01-01").entries[0]


@pytest.fixture
def access(tmp_path: Path) -> SshAccess:
    return SshAccess(
        host="hypervisor.example", host_key="ssh-ed25519 AAAA", folder=str(tmp_path / "run"), socket_group="root"
    )


def test_zeros_are_served_and_go_again(access: SshAccess, tmp_path: Path) -> None:
    web = machine(tmp_path)
    with exports.trial(access, web) as way:
        export = exports.trial_of(access, web)
        assert way.credential == access.secret
        assert export.alive()
        local = DiskRef(uri=f"nbd+unix:///?socket={export.socket}", size_bytes=way.size_bytes)
        with open_source(local, work=tmp_path) as disk:
            view = memoryview(bytearray(b"\xff" * MIB))
            disk.read_into(0, view)
            assert not any(view)
    assert not export.alive()
    assert not export.folder.exists()


def test_what_is_served_of_the_machine_itself_stays(access: SshAccess, tmp_path: Path) -> None:
    web = machine(tmp_path)
    ref = DiskRef(uri=(tmp_path / "web.img").as_uri(), size_bytes=MIB)
    exports.open_all(access, web, {"vda": ref}, lambda _thing: None)
    try:
        with exports.trial(access, web):
            assert exports.export_of(access, web, "vda").alive()
        assert exports.export_of(access, web, "vda").alive()
    finally:
        exports.close_all(access, web)


def test_one_that_was_left_is_taken_up(access: SshAccess, tmp_path: Path) -> None:
    web = machine(tmp_path)
    first = exports.trial(access, web)
    first.__enter__()  # its process was killed
    with exports.trial(access, web):
        assert exports.trial_of(access, web).alive()
    assert not exports.trial_of(access, web).folder.exists()


def test_a_group_that_is_not_there_is_refused(access: SshAccess, tmp_path: Path) -> None:
    nobody = access.model_copy(update={"socket_group": "no-such-group"})
    with pytest.raises(SourceRefused, match="no-such-group"), exports.trial(nobody, machine(tmp_path)):
        pass


# --- a folder as the target -------------------------------------------------------------------------------------------


def test_a_folder_tries_its_own_mover_and_keeps_nothing(tmp_path: Path) -> None:
    here("qemu-img")
    root = tmp_path / "target"
    target = open_target(TargetConfig(kind="directory", path=str(root)))
    one = entry(tmp_path)
    ref = DiskRef(uri=(tmp_path / "web.img").as_uri(), size_bytes=MIB)
    assert target.trial((one,), lambda _entry: nullcontext(ref)) == {}
    assert target.trial((one,), lambda _entry: nullcontext(None)) == {}
    assert not root.exists()
    root.mkdir()
    left = root / ".kubeferry-trial-killed"
    left.mkdir()
    os.utime(left, (1, 1))
    assert target.trial((one,), lambda _entry: nullcontext(ref)) == {}
    assert list(root.iterdir()) == [], "and of a killed one neither"


def test_a_folder_tells_what_its_mover_met(tmp_path: Path) -> None:
    here("qemu-img")
    target = open_target(TargetConfig(kind="directory", path=str(tmp_path / "target")))
    one = entry(tmp_path)
    gone = DiskRef(uri=(tmp_path / "gone.img").as_uri(), size_bytes=MIB)
    (told,) = target.trial((one,), lambda _entry: nullcontext(gone))["web"]
    assert (told.id, told.severity) == ("trial.refused", "critical")
    assert "gone.img" in told.what
    assert told.fix


def test_a_folder_that_nobody_may_write_is_told(tmp_path: Path) -> None:
    target = open_target(TargetConfig(kind="directory", path="/proc/kubeferry-target"))
    one = entry(tmp_path)
    (told,) = target.trial((one,), lambda _entry: nullcontext(None))["web"]
    assert told.id == "trial.refused"
    assert "no mover can be tried" in told.what


def test_an_image_that_is_cut_off_is_served_to_nobody(access: SshAccess, tmp_path: Path) -> None:
    """Not a plain one either: who reads it elsewhere sees no end of a file, but QEMU's zeros."""
    image = tmp_path / "disk.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "8M"])
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 8M", str(image)])
    os.truncate(image, 4 * MIB)
    web, ref = machine(tmp_path), DiskRef(uri=image.as_uri(), format="qcow2", size_bytes=8 * MIB)
    with pytest.raises(SourceRefused, match="is cut off"):
        exports.open_all(access, web, {"vda": ref}, lambda _thing: None)
    assert not exports.export_of(access, web, "vda").alive()
