"""A bootable guest, packed into an OVA or beside a VMX, moved by the command line as a user does it: proven, equal,
nothing left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from kubeferry.documents import Plan, load
from kubeferry.errors import KubeferryError
from kubeferry.outside.process import run
from lab import guests, ova, vmx

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
SIZE = 192 * MIB
CONFIG = """\
apiVersion: kubeferry.io/v1alpha1
kind: Config
sources:
  exports: {{kind: ova, uri: "{uri}"}}
target: {{kind: directory, path: target}}
journal: {{url: "sqlite:///journal.db"}}
"""
POLICY = """\
apiVersion: kubeferry.io/v1alpha1
kind: Policy
namespace: moved
probes:
  - {kind: agent, timeoutSeconds: 240}
  - {kind: http, port: 80, path: /boots, timeoutSeconds: 120}
rules:
  - {match: {name: "*"}, accept: [probe.agent-unsure]}  # we know our guest
"""


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The disk of a guest with drivers for the hardware that both tell of: SATA and E1000."""
    if os.environ.get("CI") != "true" and shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed (apt-get install qemu-system-x86 qemu-utils)")
    try:
        spec = guests.Spec("ova", kernel="generic", size=SIZE, payload=4 * MIB)
        return guests.build_guest(spec, tmp_path / "guest.img")
    except KubeferryError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no lab guest: {error.what}")


def kubeferry(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "flows", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBEFERRY_CONFIG": "kubeferry.yaml"}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def move(folder: Path, exports: Path, name: str) -> None:
    """Everything that a user does to move the machine of a folder of exports; it is proven, and nothing is left."""
    (folder / "kubeferry.yaml").write_text(CONFIG.format(uri=exports.as_uri()))
    (folder / "policy.yaml").write_text(POLICY)
    assert name in kubeferry(folder, "discover")
    kubeferry(folder, "assess", "inventory.yaml", "--policy", "policy.yaml")
    kubeferry(folder, "plan", "inventory.yaml", "--policy", "policy.yaml")
    kubeferry(folder, "migrate", "plan.yaml")
    assert kubeferry(folder, "status", "plan.yaml").endswith("is left besides what moved (3 things)\n")
    kubeferry(folder, "report", "plan.yaml", "--out", "report")
    assert json.loads((folder / "report" / "report.json").read_text())["verdict"] == "proven"


def assert_moved(folder: Path, disks: Iterable[Path]) -> None:
    """The disks at the target are these, in the order of the plan."""
    (entry,) = load(folder / "plan.yaml", Plan).entries
    for raw, planned in zip(disks, entry.disks, strict=True):
        (image,) = (folder / "target").rglob(f"*{planned.claim}*.img")
        run(["qemu-img", "compare", "-f", "raw", "-F", "raw", str(raw), str(image)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A second disk, with a hole, data, and an odd end."""
    path = tmp_path / "data.img"
    path.write_bytes(bytes(2 * MIB) + os.urandom(MIB + 512))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_bootable_guest_in_an_ova_is_moved_and_proven(guest: Path, data: Path, server: str, tmp_path: Path) -> None:
    folder, exports = tmp_path / "move", tmp_path / "exports"
    folder.mkdir()
    exports.mkdir()
    disks = [
        ova.PackedDisk("vmdisk1", "my guest-disk1.vmdk", SIZE, guest),
        ova.PackedDisk("vmdisk2", "my guest-disk2.vmdk", data.stat().st_size, data),
    ]
    packed = ova.export(exports / "my guest.ova", "My Guest 7", disks, manifest_last=True)
    digest = run(["sha256sum", str(packed)]).out.split()[0]

    move(folder, exports, "My Guest 7")

    assert_moved(folder, [guest, data])
    assert run(["sha256sum", str(packed)]).out.split()[0] == digest
    assert list(exports.iterdir()) == [packed]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_bootable_guest_of_a_vmx_is_moved_and_proven(guest: Path, data: Path, server: str, tmp_path: Path) -> None:
    """As it is copied out of a datastore: a flat disk as ESXi keeps it, a split one of Workstation's."""
    folder, exports = tmp_path / "move", tmp_path / "datastore" / "Gäste 7"
    folder.mkdir()
    path = vmx.machine(exports, "Gast 7", {"Gast 7": guest, "data": b""}, bios__hddOrder="sata0:0")
    (exports / "data-flat.vmdk").unlink()
    split = ["-o", "subformat=twoGbMaxExtentSparse"]
    run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", *split, str(data), str(exports / "data.vmdk")])
    (exports / "Gast 7.nvram").write_bytes(b"MRVN")
    (exports / "vmware.log").write_text("")
    before = run(["sha256sum", *map(str, sorted(exports.iterdir()))]).out

    move(folder, exports.parent, "Gast 7")

    assert_moved(folder, [guest, data])
    assert run(["sha256sum", *map(str, sorted(exports.iterdir()))]).out == before
    assert path.exists()


# A boot sector that prints READY on the first serial port for ever.
BOOT = bytes.fromhex("31C08ED8BE197CAC08C07406BAF803EEEBF5B9FFFFE2FEEBE7") + b"READY\r\n\0"
FORMS = {
    "qcow2": "http://www.gnome.org/~markmc/qcow-image-format.html",
    "vpc": "http://go.microsoft.com/fwlink/?LinkId=137171",
}


@pytest.mark.timeout(300)
def test_images_and_an_empty_disk_of_an_ova_are_moved_and_proven(server: str, tmp_path: Path) -> None:
    folder, exports = tmp_path / "move", tmp_path / "exports" / "below"
    folder.mkdir()
    exports.mkdir(parents=True)
    boot = BOOT.ljust(510, b"\0") + b"\x55\xaa" + bytes(4 * MIB - 512)
    data = bytes(2 * MIB) + os.urandom(MIB + 512)
    contents = {"qcow2": boot, "vpc": data}
    files: dict[str, bytes] = {}
    for driver, content in contents.items():
        (tmp_path / f"{driver}.img").write_bytes(content)
        options = ["-c"] if driver == "qcow2" else ["-o", "force_size=on"]
        made = tmp_path / f"disk.{driver}"
        run(["qemu-img", "convert", "-f", "raw", "-O", driver, *options, str(tmp_path / f"{driver}.img"), str(made)])
        files[made.name] = made.read_bytes()
    disks = [ova.PackedDisk(driver, f"disk.{driver}", len(content), b"") for driver, content in contents.items()]
    disks.append(ova.PackedDisk("empty", "none", 3 * MIB, b""))
    text = ova.descriptor("images", disks, {**{name: len(one) for name, one in files.items()}, "none": 0})
    for driver, form in FORMS.items():
        head, _, tail = text.partition(f'ovf:diskId="{driver}"')
        text = f'{head}ovf:diskId="{driver}"{tail.replace(ova.STREAM, form, 1)}'
    text = text.replace(' ovf:fileRef="file-empty"', "").replace(
        '<File ovf:href="none" ovf:id="file-empty" ovf:size=\'0\'/>', ""
    )
    named = {"images.ovf": text.encode(), **files}
    ova.archive(exports / "images.ova", {**named, "images.mf": ova.manifest(named).encode()})
    (folder / "kubeferry.yaml").write_text(CONFIG.format(uri=exports.parent.as_uri()))
    (folder / "policy.yaml").write_text(
        POLICY.partition("probes:")[0] + "probes: [{kind: serial, expect: READY, timeoutSeconds: 120}]\n"
    )

    assert "images" in kubeferry(folder, "discover")
    kubeferry(folder, "plan", "inventory.yaml", "--policy", "policy.yaml")
    kubeferry(folder, "migrate", "plan.yaml")
    kubeferry(folder, "report", "plan.yaml", "--out", "report")

    assert json.loads((folder / "report" / "report.json").read_text())["verdict"] == "proven"
    (entry,) = load(folder / "plan.yaml", Plan).entries
    (tmp_path / "empty.img").write_bytes(bytes(3 * MIB))
    for planned, name in zip(entry.disks, ("qcow2", "vpc", "empty"), strict=True):
        (image,) = (folder / "target").rglob(f"*{planned.claim}*.img")
        run(["qemu-img", "compare", "-f", "raw", "-F", "raw", str(tmp_path / f"{name}.img"), str(image)])
