"""The lab's node: a restricted Job writes into claims of both modes, names resolve, and what is released is gone."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeferry.outside.process import run
from lab.cluster import containers, control_plane, host, images, kubectl, place, services
from lab.ground import Ground, until

pytestmark = pytest.mark.cluster

LAB = place.own()
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
MOVER = {"runAsUser": 107, "runAsGroup": 107, "fsGroup": 107, "runAsNonRoot": True}
CLAIM_BYTES = 64 << 20


@pytest.fixture(scope="module", autouse=True)
def _running(own: Ground) -> None:
    """The lab's own node, and no other."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that enforces Pod Security's `restricted`; it goes with everything in it."""
    name = "lab-node-test"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    kubectl.kubectl(LAB, "delete", "namespace", name, "--wait=true", timeout=110)


def apply(*objects: dict[str, Any]) -> None:
    kubectl.apply(LAB, yaml.safe_dump_all(objects))


def test_containerd_that_serves_no_pods_is_not_ready(tmp_path: Path) -> None:
    """It answers `ctr` before its half for the kubelet has begun; here that half never begins."""
    where = place.Place(tmp_path / "state", tmp_path / "store")
    (where.state / "cni").mkdir(parents=True)
    settings = where.state / "containerd.toml"
    settings.write_text('disabled_plugins = ["io.containerd.grpc.v1.cri"]\n' + containers.config(where))
    answers = ["ctr", f"--address={where.containerd}", "version"]
    with subprocess.Popen(["containerd", "--config", str(settings)], stderr=subprocess.DEVNULL) as daemon:
        try:
            until(lambda: run(answers, check=False).code == 0, seconds=30, what="containerd answers")
            assert not containers.serves_pods(where)
        finally:
            daemon.terminate()
    assert containers.serves_pods(LAB)


def claim(namespace: str, name: str, mode: str, storage_class: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "storageClassName": storage_class,
            "volumeMode": mode,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": str(CLAIM_BYTES)}},
        },
    }


def job(namespace: str, name: str, script: str, *, block: str = "", files: str = "") -> dict[str, Any]:
    """A Job as the product's movers are: no right beyond its claims."""
    claims = {"block": block, "files": files}
    container = {
        "name": "main",
        "image": images.BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-euc", script],
        "securityContext": RESTRICTED,
        "volumeDevices": [{"name": "block", "devicePath": "/dev/target"}] if block else [],
        "volumeMounts": [{"name": "files", "mountPath": "/disk"}] if files else [],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": MOVER | {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": key, "persistentVolumeClaim": {"claimName": of}} for key, of in claims.items() if of],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def log_of(namespace: str, name: str) -> str:
    """Wait for the Job's end and return what it printed."""
    kubectl.wait(LAB, f"job/{name}", "condition=Complete", namespace=namespace, seconds=60)
    return kubectl.kubectl(LAB, "logs", f"job/{name}", f"--namespace={namespace}")


def devices() -> set[str]:
    return set(host.loop_devices(LAB.state))


def test_restricted_job_writes_into_a_block_and_a_filesystem_claim(namespace: str) -> None:
    apply(
        claim(namespace, "block", "Block", services.CLASS),
        claim(namespace, "files", "Filesystem", services.LATE_CLASS),
        job(
            namespace,
            "mover",
            "id -u; stat -c '%u:%g' /dev/target; echo kubeferry | dd of=/dev/target conv=fsync 2>/dev/null;"
            "busybox blockdev --getsize64 /dev/target; dd if=/dev/target bs=10 count=1 2>/dev/null;"
            "echo disk >/disk/disk.img; sync; stat -c '%u:%g' /disk/disk.img; busybox df -k /disk | busybox tail -1",
            block="block",
            files="files",
        ),
    )
    said = log_of(namespace, "mover").splitlines()
    assert said[:5] == ["107", "107:107", str(CLAIM_BYTES), "kubeferry", "107:107"]
    file_system_bytes = int(said[5].split()[1]) * 1024
    assert 0 < file_system_bytes < CLAIM_BYTES, "a Filesystem claim holds less than its size, as on a real cluster"


def test_claim_of_the_late_class_waits_for_a_pod(namespace: str) -> None:
    apply(claim(namespace, "waiting", "Block", services.LATE_CLASS))
    time.sleep(2)
    said = kubectl.kubectl(LAB, "get", "pvc", "waiting", f"--namespace={namespace}", "--output=json")
    assert json.loads(said)["status"]["phase"] == "Pending"


def test_deleted_claim_leaves_no_volume_and_no_device(namespace: str) -> None:
    before = devices()
    apply(claim(namespace, "short", "Block", services.CLASS))
    kubectl.wait(LAB, "pvc/short", "jsonpath={.status.phase}=Bound", namespace=namespace, seconds=20)
    assert len(devices() - before) == 1
    kubectl.kubectl(LAB, "delete", "pvc", "short", f"--namespace={namespace}")
    limit = time.monotonic() + 20
    while devices() - before and time.monotonic() < limit:
        time.sleep(0.2)
    assert devices() == before


def test_privileged_pod_is_refused(namespace: str) -> None:
    refused = job(namespace, "refused", "true")
    refused["kind"], refused["apiVersion"] = "Pod", "v1"
    refused["spec"] = refused["spec"]["template"]["spec"]
    refused["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(Exception, match='violates PodSecurity "restricted'):
        apply(refused)


def test_names_of_services_resolve_and_the_api_answers_on_its_service(namespace: str) -> None:
    script = "nslookup kubernetes.default.svc.cluster.local; busybox nc -w 5 10.96.0.1 443 </dev/null; echo open"
    apply(job(namespace, "names", script))
    said = log_of(namespace, "names")
    assert "Address: 10.96.0.1\n" in said
    assert said.rstrip().endswith("open")


def test_unknown_field_of_a_virtual_machine_is_refused(namespace: str) -> None:
    machine = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "odd", "namespace": namespace},
        "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}, "noSuchField": 1}}}},
    }
    with pytest.raises(Exception, match="noSuchField"):
        apply(machine)


def test_kubeconfig_is_private_and_names_the_address_outside() -> None:
    assert LAB.kubeconfig.stat().st_mode & 0o077 == 0
    assert control_plane.outside_server() in LAB.kubeconfig.read_text()
