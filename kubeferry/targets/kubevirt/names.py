"""What our things are called in a cluster, how they are known as ours, and where a mover's pod finds them. Pure.

A mover sees the disks and the state of its machine below one folder:

    /kubeferry/NAMESPACE/MACHINE/disks/CLAIM             a Block claim, as a device
    /kubeferry/NAMESPACE/MACHINE/disks/CLAIM/disk.img    the file on a Filesystem claim that KubeVirt boots
    /kubeferry/NAMESPACE/MACHINE/disks/CLAIM/nvram/…     UEFI variables on the claim that KubeVirt keeps them on
    /kubeferry/NAMESPACE/MACHINE/disks/CLAIM/swtpm/…     and what its TPM holds
    /kubeferry/NAMESPACE/MACHINE/state/DISK              what the mover remembers of the disk

so that a job's references alone say which claims its pod must mount.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from kubeferry.documents import Entry, KeptTpm, KeptVariables, MoverJob, PlannedDisk
from kubeferry.model import DiskRef
from kubeferry.uris import local_path

ROOT = PurePosixPath("/kubeferry")
DISK_FILE = "disk.img"
NAME_LIMIT = 63

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "kubeferry"
MACHINE_LABEL = "kubeferry.io/machine"
SOURCE_LABEL = "kubeferry.io/source"
DISK_LABEL = "kubeferry.io/disk"
PLAN_LABEL = "kubeferry.io/plan"
PART_LABEL = "kubeferry.io/part"
REHEARSAL_LABEL = "kubeferry.io/rehearsal"
MOVER = "mover"
STATE = "state"
MACHINE_ID = "kubeferry.io/machine-id"
MACHINE_NAME = "kubeferry.io/machine-name"

# Kinds of things in the ledger, beside `disk` and `process`, which every target has.
VIRTUAL_MACHINE = "virtual-machine"
DATA_VOLUME = "data-volume"
STATE_CLAIM = "state-claim"
JOB = "mover"
NETWORK_POLICY = "network-policy"


@dataclass(frozen=True, slots=True)
class Site:
    """The claims that one job works on, as its references say."""

    namespace: str
    machine: str
    claim: str
    block: bool
    state_dir: PurePosixPath

    @property
    def disk_path(self) -> PurePosixPath:
        """Where the pod finds the disk's claim: a device, or the folder of a file system."""
        return machine_root(self.namespace, self.machine) / "disks" / self.claim

    @property
    def state_root(self) -> PurePosixPath:
        """Where the pod finds the machine's state claim."""
        return machine_root(self.namespace, self.machine) / "state"


def machine_root(namespace: str, machine: str) -> PurePosixPath:
    return ROOT / namespace / machine


def disk_ref(entry: Entry, planned: PlannedDisk) -> DiskRef:
    """The reference that a mover opens to write one disk."""
    place = machine_root(entry.namespace, entry.target_name) / "disks" / planned.claim
    uri = f"block://{place}" if planned.volume_mode == "Block" else f"file://{place / DISK_FILE}"
    return DiskRef(uri=uri, format="raw", size_bytes=planned.size_bytes)


def kept_ref(entry: Entry, kept: KeptVariables | KeptTpm, size: int) -> DiskRef:
    """The reference that a mover opens to write UEFI variables, or what a TPM holds."""
    place = machine_root(entry.namespace, entry.target_name) / "disks" / kept.claim / kept.file
    return DiskRef(uri=f"file://{place}", format="raw", size_bytes=size)


def state_dir(entry: Entry, disk: str) -> str:
    """The mover's state folder of one disk. A source's disk id may hold anything; a folder's name may not."""
    return str(machine_root(entry.namespace, entry.target_name) / "state" / quote(disk, safe="").replace(".", "%2E"))


def site_of(job: MoverJob) -> Site:
    """Which claims a job works on. Raises ValueError for references that are not `disk_ref`'s and `state_dir`'s."""
    path = PurePosixPath(local_path(job.target.uri) or Path())
    block = job.target.uri.startswith("block:")
    parts = path.parts[:6]
    inside = path.parts[6:]  # a file system has the file in it
    if len(parts) != 6 or PurePosixPath(*parts[:2]) != ROOT or parts[4] != "disks" or block == bool(inside):
        raise ValueError(f"{job.target.uri} is no disk of this target")
    return Site(parts[2], parts[3], parts[5], block, PurePosixPath(job.state_dir))


def labels(entry: Entry) -> dict[str, str]:
    """What all things of one machine are selected by."""
    return {MANAGED_BY: MANAGER, MACHINE_LABEL: entry.target_name}


def origin(entry: Entry) -> dict[str, str]:
    """The annotations by which a thing is known to belong to this machine of this source, as the plan's manifests
    carry them."""
    return {MACHINE_ID: entry.machine.id, MACHINE_NAME: entry.machine.name}


def objection(entry: Entry, found: dict[str, Any]) -> str | None:
    """Why a thing of that name that is there must not be touched; None where it is this machine's."""
    metadata = found.get("metadata", {})
    what = f"{found.get('kind', 'object')} {metadata.get('namespace', '')}/{metadata.get('name', '')}"
    if (metadata.get("labels") or {}).get(MANAGED_BY) != MANAGER:
        return f"{what} is there and not ours"
    owner = (metadata.get("annotations") or {}).get(MACHINE_ID)
    source = (metadata.get("labels") or {}).get(SOURCE_LABEL, entry.machine.source)
    if owner != entry.machine.id or source != entry.machine.source:
        named = (metadata.get("annotations") or {}).get(MACHINE_NAME, owner)
        return f"{what} belongs to another machine, {named}"
    return None


def state_claim(machine: str) -> str:
    """The small claim that the movers of a machine keep their state on."""
    return _short(f"{machine}-kubeferry-state", machine)


def rehearsal(machine: str) -> str:
    """The VirtualMachine by which a machine is rehearsed, and the NetworkPolicy of its pod."""
    return _short(f"{machine}-rehearsal", machine)


def job_name(job: MoverJob) -> str:
    """The Job of a mover: the same work has the same name, in every run."""
    return _short(f"kf-{_slug(job.name)}", job.name, always=True)


def network_policy(plan: str) -> str:
    """The NetworkPolicy of a plan's movers, by the plan's digest."""
    return f"kubeferry-{label_value(plan)}"


def label_value(text: str) -> str:
    """A label for a digest or a disk's id, which may hold anything and be of any length."""
    slug = _slug(text)
    return slug if slug == text and len(text) <= 24 else f"{slug[:15].strip('-')}-{_hash(text)}".lstrip("-")


def _short(name: str, key: str, *, always: bool = False) -> str:
    """The name, cut and made unique by a digest of `key` where it is too long."""
    if not always and len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 9].rstrip('-')}-{_hash(key)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
