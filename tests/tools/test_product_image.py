"""kubeferry's own container image, built for real from its Containerfile, and the command line run in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kubeferry import __version__
from kubeferry.outside.process import Completed, run
from lab import product_images
from tests.needs import needs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs("mmdebstrap", "buildah", "root")]
Inside = Callable[..., Completed]


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    """Run a program in a container of the image, as the image's own user."""
    with product_images.built("control-plane", product_images.NAME) as buildah:
        container = run([*buildah, "from", "--pull-never", product_images.NAME]).out.strip()

        def command(*argv: str) -> Completed:
            where = [*buildah, "run", "--isolation=chroot", container, "--"]
            done = run([*where, *argv], check=False, timeout=300)
            assert "Traceback" not in done.out + done.err
            return done

        yield command


def test_it_says_which_version_it_is(inside: Inside) -> None:
    assert inside("kubeferry", "--version").out == f"kubeferry, version {__version__}\n"


def test_it_is_nobody_special_and_has_what_sources_and_movers_need(inside: Inside) -> None:
    assert inside("id", "--user").out == "1000\n"
    for module in ("libvirt", "pyVmomi", "boto3", "kubernetes", "prefect", "psycopg"):
        assert inside("python3", "-c", f"import {module}").code == 0
    for program in ("qemu-img", "qemu-nbd", "setpriv", "ssh"):
        assert inside("sh", "-c", f"command -v {program}").code == 0


def test_doctor_of_a_libvirt_source(inside: Inside) -> None:
    """libvirt's own driver for tests needs no daemon; Debian's binding is used."""
    written = inside("kubeferry", "init", "--folder", "kvm", "--target", "kubevirt", "--uri", "test:///default")
    assert written.code == 0, written.err
    found = inside("kubeferry", "discover", "--config", "kvm/kubeferry.yaml", "--out", "kvm/inventory.yaml")
    assert "1 machines written" in found.out, found.err
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
