"""KubeVirt and CDI on the lab's node: a guest's disk goes through the upload proxy and boots from the claim.

In a namespace that enforces `restricted`, by BIOS and by UEFI, from a Filesystem and from a Block claim.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.outside.process import run
from lab import guests
from lab.cluster import kubectl, place, services
from lab.ground import Ground

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

LAB = place.own()
NAMESPACE = "lab-kubevirt-test"
GUEST = guests.Spec("cluster")
UPLOAD_SECONDS = 120
BOOT_SECONDS = 180


@dataclass(frozen=True)
class Case:
    """A way to boot, and the kind of claim to boot from."""

    name: str
    bootloader: dict[str, Any]
    mode: str


CASES = (Case("bios", {"bios": {}}, "Filesystem"), Case("uefi", {"efi": {"secureBoot": False}}, "Block"))


@pytest.fixture(scope="module", autouse=True)
def _running(own: Ground, kubevirt: Ground) -> None:
    """The lab's own node with KubeVirt on it: the upload proxy is called by its address there."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    yield NAMESPACE
    kubectl.kubectl(LAB, "delete", "namespace", NAMESPACE, "--wait=true", timeout=110)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's disk as qcow2: small on its way through the proxy."""
    folder = tmp_path_factory.mktemp("guest")
    raw, packed = folder / "disk.raw", folder / "disk.qcow2"
    guests.build_guest(GUEST, raw)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed)])
    return packed


def apply(*objects: dict[str, Any]) -> None:
    kubectl.apply(LAB, yaml.safe_dump_all(objects))


def read(*arguments: str) -> Any:
    return json.loads(kubectl.kubectl(LAB, *arguments, "--output=json"))


def data_volume(name: str, mode: str) -> dict[str, Any]:
    claim = {"volumeMode": mode, "resources": {"requests": {"storage": str(GUEST.size)}}}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"upload": {}}, "storage": claim | {"storageClassName": services.CLASS}},
    }


def machine(case: Case) -> dict[str, Any]:
    domain = {
        "machine": {"type": "q35"},
        "firmware": {"bootloader": case.bootloader},
        "memory": {"guest": "256Mi"},
        "devices": {
            "interfaces": [{"name": "default", "masquerade": {}}],
            "disks": [{"name": "root", "bootOrder": 1, "disk": {"bus": "virtio"}}],
        },
    }
    spec = {
        "terminationGracePeriodSeconds": 20,
        "domain": domain,
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [{"name": "root", "persistentVolumeClaim": {"claimName": case.name}}],
    }
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": case.name, "namespace": NAMESPACE},
        "spec": {"runStrategy": "Always", "template": {"spec": spec}},
    }


def upload(file: Path, claim: str, folder: Path) -> str:
    """Send a disk through CDI's upload proxy, as a client outside the cluster does; its answer's status and text."""
    request = {"apiVersion": "upload.cdi.kubevirt.io/v1beta1", "kind": "UploadTokenRequest"}
    request |= {"metadata": {"name": claim, "namespace": NAMESPACE}, "spec": {"pvcName": claim}}
    asked = kubectl.kubectl(LAB, "create", "--filename=-", "--output=json", stdin=json.dumps(request))
    token = json.loads(asked)["status"]["token"]
    authority = folder / "proxy-ca.crt"
    authority.write_text(read("get", "configmap", "cdi-uploadproxy-signer-bundle", "-n=cdi")["data"]["ca-bundle.crt"])
    tls = ssl.create_default_context(cafile=str(authority))
    tls.check_hostname = False  # it is called by its address here, and its certificate knows only its name
    address = read("get", "service", "cdi-uploadproxy", "-n=cdi")["spec"]["clusterIP"]
    connection = http.client.HTTPSConnection(address, context=tls, timeout=UPLOAD_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(file.stat().st_size)}
    with file.open("rb") as body:
        connection.request("POST", "/v1beta1/upload", body=body, headers=headers)
        answered = connection.getresponse()
        said = answered.read().decode(errors="replace")
    connection.close()
    return f"{answered.status} {said}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.mode}")
def test_guest_boots_from_an_uploaded_disk(case: Case, namespace: str, disk: Path, tmp_path: Path) -> None:
    apply(data_volume(case.name, case.mode))
    phase = "jsonpath={.status.phase}="
    kubectl.wait(LAB, f"datavolume/{case.name}", f"{phase}UploadReady", namespace=namespace, seconds=UPLOAD_SECONDS)
    assert upload(disk, case.name, tmp_path).startswith("200 ")
    kubectl.wait(LAB, f"datavolume/{case.name}", f"{phase}Succeeded", namespace=namespace, seconds=UPLOAD_SECONDS)
    apply(machine(case))
    kubectl.wait(LAB, f"vmi/{case.name}", "create", namespace=namespace, seconds=30)
    connected = "condition=AgentConnected"
    kubectl.wait(LAB, f"vmi/{case.name}", connected, namespace=namespace, seconds=BOOT_SECONDS)
    found = read("get", "vmi", case.name, f"--namespace={namespace}")
    assert found["status"]["phase"] == "Running"
    assert found["status"]["interfaces"][0]["ipAddress"].startswith("10.245.0.")
