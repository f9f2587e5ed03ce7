"""kubeferry's own container image, built for real from its Containerfile, and the command line run in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubeferry import __version__
from kubeferry.outside.process import Completed, run
from kubeferry.sources.memory.source import MemorySource
from lab import product_images
from tests.needs import needs
from tests.unit.flows.conftest import CONFIG, a_machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("image"),
    needs("mmdebstrap", "buildah", "root"),
]


@dataclass(frozen=True)
class Inside:
    """A container of the image."""

    buildah: list[str]
    container: str

    def __call__(self, *argv: str) -> Completed:
        """Run a program as the image's own user."""
        where = [*self.buildah, "run", "--isolation=chroot", self.container, "--"]
        done = run([*where, *argv], check=False, timeout=300)
        assert "Traceback" not in done.out + done.err
        return done

    def put(self, folder: Path, place: str) -> None:
        """Copy a folder into it, for its user."""
        run([*self.buildah, "copy", "--quiet", "--chown=1000:1000", self.container, str(folder), place])


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    with product_images.built("control-plane", product_images.NAME) as buildah:
        yield Inside(buildah, run([*buildah, "from", "--pull-never", product_images.NAME]).out.strip())


def test_it_says_which_version_it_is(inside: Inside) -> None:
    assert inside("kubeferry", "--version").out == f"kubeferry, version {__version__}\n"


def test_it_is_nobody_special_and_has_what_sources_and_movers_need(inside: Inside) -> None:
    assert inside("id", "--user").out == "1000\n"
    for module in ("libvirt", "pyVmomi", "boto3", "kubernetes", "prefect", "psycopg"):
        assert inside("python3", "-c", f"import {module}").code == 0
    for program in ("prefect", "qemu-img", "qemu-nbd", "setpriv", "ssh"):
        assert inside("sh", "-c", f"command -v {program}").code == 0


def test_doctor_of_a_libvirt_source(inside: Inside) -> None:
    """libvirt's own driver for tests needs no daemon; Debian's binding is used."""
    written = inside("kubeferry", "init", "--folder", "kvm", "--target", "kubevirt", "--uri", "test:///default")
    assert written.code == 0, written.err
    found = inside("kubeferry", "discover", "--config", "kvm/kubeferry.yaml", "--out", "kvm/inventory.yaml")
    assert "1 machine written" in found.out, found.err
    looked = inside("kubeferry", "doctor", "--config", "kvm/kubeferry.yaml")
    assert looked.code == 2
    assert "there is no way into the cluster" in looked.out
    assert "source." not in looked.out
    assert "tool." not in looked.out


def test_doctor_of_a_vcenter_names_what_is_missing(inside: Inside) -> None:
    inside("kubeferry", "init", "--folder", "vc", "--source", "vmware", "--target", "kubevirt")
    looked = inside("kubeferry", "doctor", "--config", "vc/kubeferry.yaml")
    assert looked.code == 2
    assert "GOVC_USERNAME" in looked.out


def test_a_machine_is_moved_in_it(inside: Inside, tmp_path: Path) -> None:
    """Prefect's server and the movers start in it. Source and target are doubles that move real bytes."""
    disk = tmp_path / "source" / "web.img"
    disk.parent.mkdir()
    disk.write_bytes(os.urandom(2**20))
    machine = a_machine("web", disk)
    there = machine.disks[0].model_copy(update={"uri": "file:///work/estate/source/web.img"})
    MemorySource("lab", disk.parent).write_machines(machine.model_copy(update={"disks": (there,)}))
    (tmp_path / "kubeferry.yaml").write_text(CONFIG.format(folder="/work/estate"))
    inside.put(tmp_path, "/work/estate")
    for verb in ("discover", "plan inventory.yaml", "migrate plan.yaml"):
        done = inside("sh", "-c", f"cd estate && kubeferry {verb}")
        assert done.code == 0, done.out + done.err
    status = json.loads(inside("sh", "-c", "cd estate && kubeferry status plan.yaml --json").out)
    assert [(one["machine"], one["phase"]) for one in status["machines"]] == [("web", "committed")]
