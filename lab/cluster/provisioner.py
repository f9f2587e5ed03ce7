"""Volumes on demand: a loop device for each claim of the lab's storage classes.

A Block claim gets the device as it is; a Filesystem claim gets an ext4 on it, which the kubelet mounts. So a claim has
the size that it asked for and not a byte more, and a file system takes its part of it, as on a real cluster. It goes by
two names: by the second, it refuses a file system for several nodes, as block storage does.

What it does not do: snapshots, clones, expansion, more than one node. A claim that another program fills
(`dataSourceRef` of a kind of CDI) is left to that program, as the rule for provisioners says.

`python -m lab.cluster.provisioner KUBECONFIG FOLDER`, inside the node.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from kubeferry.errors import KubeferryError
from kubeferry.outside.process import run
from lab.cluster import network
from lab.cluster.api import Api
from mappings.quantities import parse_quantity

NAME = "lab.kubeferry/loop"
# As most block storage behind CSI: devices for many nodes, file systems for one at a time.
BLOCK_NAME = "lab.kubeferry/block"
REFUSAL = "rpc error: code = InvalidArgument desc = multi node access modes are only supported on raw block volumes"
POLL_SECONDS = 0.5
# The controller manager writes this on a claim when its class names a provisioner and, for classes that wait for the
# first consumer, a node has been chosen.
ASKED = "volume.kubernetes.io/storage-provisioner"
MADE_BY = "pv.kubernetes.io/provisioned-by"
BACKING_FILE = "lab.kubeferry/file"
VOLUMES = "/api/v1/persistentvolumes"
SECTOR_BYTES = 512
# A common ext4 takes 7 % of half a GiB, more than the 6 % that CDI reckons with. Without a journal, room to grow and
# inodes for small files it takes 1 %: volumes of a lab are small, and none outlives a crash. Of one inode a MiB, the
# 10 MiB that KubeVirt keeps a machine's state on would have five for use: too few for the folders of a TPM.
INODES = 256
MAKE_FILE_SYSTEM = ("mkfs.ext4", "-q", "-F", "-m", "0", "-T", "largefile", "-O", "^has_journal,^resize_inode")


def wanted(claim: dict[str, Any]) -> bool:
    """Whether the claim waits for a volume of ours."""
    metadata, spec = claim["metadata"], claim["spec"]
    return bool(
        metadata.get("annotations", {}).get(ASKED) in (NAME, BLOCK_NAME)
        and claim.get("status", {}).get("phase") == "Pending"
        and "deletionTimestamp" not in metadata
        and not spec.get("volumeName")
        and spec.get("dataSourceRef") is None
        and spec.get("dataSource") is None
    )


def refused(claim: dict[str, Any]) -> bool:
    """Whether the claim asks its class for what it does not make: a file system for several nodes."""
    return bool(
        claim["metadata"]["annotations"][ASKED] == BLOCK_NAME
        and claim["spec"].get("volumeMode") != "Block"
        and "ReadWriteMany" in claim["spec"]["accessModes"]
    )


def refusal(claim: dict[str, Any]) -> dict[str, Any]:
    """The event in which a provisioner says why there is no volume."""
    metadata = claim["metadata"]
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name(claim)}.refused", "namespace": metadata["namespace"]},
        "involvedObject": reference | {key: metadata[key] for key in ("namespace", "name", "uid")},
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": f'failed to provision volume with StorageClass "{claim["spec"]["storageClassName"]}": {REFUSAL}',
        "source": {"component": BLOCK_NAME},
    }


def volume(claim: dict[str, Any], device: str, file: Path) -> dict[str, Any]:
    """The PersistentVolume for a claim: a device of the one node, bound to that claim and deleted with it."""
    metadata, spec = claim["metadata"], claim["spec"]
    block = spec.get("volumeMode") == "Block"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [network.NODE_NAME]}
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    reference |= {key: metadata[key] for key in ("namespace", "name", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name(claim), "annotations": {MADE_BY: NAME, BACKING_FILE: str(file)}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Block" if block else "Filesystem",
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "local": {"path": device} | ({} if block else {"fsType": "ext4"}),
            "claimRef": reference,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def name(claim: dict[str, Any]) -> str:
    """The volume's name: one for each claim, whatever happens in between."""
    return f"pvc-{claim['metadata']['uid']}"


def size(claim: dict[str, Any]) -> int:
    """The bytes that the claim asks for, in whole sectors."""
    asked = parse_quantity(claim["spec"]["resources"]["requests"]["storage"])
    return -(-int(-(-asked // 1)) // SECTOR_BYTES) * SECTOR_BYTES


def inodes(size_bytes: int) -> int:
    """How many files and folders a file system of this size can have."""
    return max(INODES, size_bytes >> 20)


def spent(volume: dict[str, Any]) -> bool:
    """Whether the volume is one of ours whose claim has gone. CDI keeps one that changes hands by `Retain`."""
    return bool(
        volume["metadata"].get("annotations", {}).get(MADE_BY) == NAME
        and volume.get("status", {}).get("phase") == "Released"
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    )


def look(api: Api, folder: Path) -> None:
    """Make what is wanted and remove what is spent. Raises KubeferryError where a call or a program fails."""
    for claim in filter(wanted, api.items("/api/v1/persistentvolumeclaims")):
        if refused(claim):
            api.create(f"/api/v1/namespaces/{claim['metadata']['namespace']}/events", refusal(claim))
        elif api.get(f"{VOLUMES}/{name(claim)}") is None:
            _make(api, claim, folder)
    for one in filter(spent, api.items(VOLUMES)):
        _remove(api, one)


def _make(api: Api, claim: dict[str, Any], folder: Path) -> None:
    file = folder / name(claim)
    if not file.exists():
        _format(claim, file)
    # A device that a killed provisioner attached is found again.
    attached = run(["losetup", "--noheadings", "--output=NAME", f"--associated={file}"]).out.split()
    device = attached[0] if attached else run(["losetup", "--find", "--show", str(file)]).out.strip()
    api.create(VOLUMES, volume(claim, device, file))
    _log(f"{name(claim)} is {device}, {size(claim)} bytes")


def _format(claim: dict[str, Any], file: Path) -> None:
    """The backing file, under its name only when it is ready."""
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as stream:
        stream.truncate(size(claim))
    if claim["spec"].get("volumeMode") != "Block":
        run([*MAKE_FILE_SYSTEM, "-N", str(inodes(size(claim))), str(fresh)])
    fresh.rename(file)


def _remove(api: Api, spent_volume: dict[str, Any]) -> None:
    metadata = spent_volume["metadata"]
    if "deletionTimestamp" not in metadata:
        api.delete(f"{VOLUMES}/{metadata['name']}")
    device, file = spent_volume["spec"]["local"]["path"], Path(metadata["annotations"][BACKING_FILE])
    run(["losetup", "--detach", device], check=False)
    file.unlink(missing_ok=True)
    _log(f"{metadata['name']} and {device} are gone")


def _log(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Look for ever. A failed look is told and tried again."""
    kubeconfig, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(exist_ok=True)
    api = Api(kubeconfig)
    while True:
        try:
            look(api, folder)
        except KubeferryError as error:
            _log(str(error))
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
