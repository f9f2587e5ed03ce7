"""A new user's first steps towards a real cluster: the rights that `manifests` prints, the files that `init` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import run
from lab import ova
from lab.ground import Ground
from lab.tenant import Tenant

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(200), pytest.mark.usefixtures("kubevirt")]

NAMESPACE = "kubeferry-first"


@pytest.fixture(scope="module")
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    return make_tenant(NAMESPACE)


@pytest.fixture
def folder(tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and the cluster as the pipeline's account enters it by itself."""
    monkeypatch.setenv("KUBECONFIG", str(tenant.kubeconfig))
    for name in ("KUBEFERRY_CONFIG", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings(capsys: pytest.CaptureFixture[str], *plan: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["doctor", *plan, "--json"])
    return code, {one["id"]: one for one in json.loads(capsys.readouterr().out)}


def filled(path: Path, given: str, wanted: str) -> None:
    """What a user does in an editor."""
    text = path.read_text()
    assert given in text
    path.write_text(text.replace(given, wanted))


def test_what_is_printed_binds_the_account(ground: Ground, tenant: Tenant) -> None:
    may = ("auth", "can-i", f"--as=system:serviceaccount:{NAMESPACE}:kubeferry")
    for verb, what, *where in (
        ("create", "jobs.batch", f"--namespace={NAMESPACE}"),
        ("get", "pods", f"--namespace={NAMESPACE}", "--subresource=exec"),
        ("list", "storageclasses.storage.k8s.io", "--all-namespaces"),
    ):
        assert ground.kubectl(*may, verb, what, *where).strip() == "yes"


def test_doctor_is_content_with_the_files_of_init(
    own: Ground, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exported machines, which are sent; with a plan, when what only the user knows was filled in: the lab's CDI
    does not tell the address of its proxy."""
    (folder / "exports").mkdir()
    disk = ova.PackedDisk("vmdisk1", "web-disk1.vmdk", 2**20, bytes(2**20))
    ova.export(folder / "exports" / "web.ova", "web", [disk])
    assert run(["init", "--source", "ova", "--target", "kubevirt"]) == 0
    assert findings(capsys) == (0, {})
    filled(folder / "policy.yaml", "namespace: apps ", f"namespace: {NAMESPACE} ")
    assert run(["discover"]) == 0
    assert run(["plan", "inventory.yaml", "--policy", "policy.yaml", "--config", "kubeferry.yaml"]) == 0
    code, told = findings(capsys, "plan.yaml")
    assert (code, [name for name, one in told.items() if one["severity"] == "critical"]) == (2, ["upload.no-proxy"])
    filled(folder / "kubeferry.yaml", "# uploadUrl:", "uploadUrl:")
    code, told = findings(capsys, "plan.yaml")
    assert code == 0, told


def test_movers_without_a_way_to_a_hypervisor_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What only the user knows stands in the file as a comment, and doctor asks for it."""
    assert run(["init", "--source", "libvirt", "--target", "kubevirt", "--uri", "test:///default"]) == 0
    assert findings(capsys) == (0, {})
    assert run(["discover"]) == 0
    filled(folder / "policy.yaml", "namespace: apps ", f"namespace: {NAMESPACE} ")
    filled(folder / "policy.yaml", "{kind: agent}", "{kind: tcp, port: 22}")  # the machine has none
    assert run(["plan", "inventory.yaml", "--policy", "policy.yaml"]) == 2  # its machine is none of QEMU's
    code, told = findings(capsys, "plan.yaml")
    assert code == 2
    assert "Give a libvirt source `ssh`" in told["source.no-way"]["fix"]
