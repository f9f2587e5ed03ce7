"""Snapshots as references that a mover opens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubeferry.documents.settings import AwsAccess
from kubeferry.errors import SourceUnavailable
from kubeferry.model import DiskRef, Machine
from kubeferry.sources.ec2.disks import GIB
from kubeferry.sources.ec2.snapshot_sets import SnapshotSet
from kubeferry.uris import EbsSnapshot


@dataclass(frozen=True, slots=True)
class Way:
    """How movers enter a region: as this process does, or from elsewhere (`remote`)."""

    access: AwsAccess
    region: str
    remote: bool

    def ref(self, snapshot: str, gib: int, older: str | None = None) -> DiskRef:
        """A snapshot as a mover is to read it; `older` is the one whose content it has already."""
        place = EbsSnapshot(
            region=self.region,
            snapshot=snapshot,
            profile=None if self.remote else self.access.profile,
            role_arn=self.access.role_arn,
            external_id=self.access.external_id,
            endpoint_url=self.access.endpoint_url,
        )
        secret = self.access.secret if self.remote else None
        return DiskRef(uri=place.uri(), size_bytes=gib * GIB, credential=secret, changed=older)

    def refs(
        self,
        machine: Machine,
        now: Mapping[str, str],
        current: SnapshotSet,
        older: SnapshotSet | None,
        copied: Mapping[str, str],
    ) -> dict[str, DiskRef]:
        """`now` and `copied`: the volumes by disk id, as they are and as the older set was copied. Where they are not
        the same, what the target has of the disk is of another volume, and all is read."""
        refs = {}
        for disk in machine.data_disks:
            snapshot = current.of(now[disk.id])
            if snapshot is None:
                fix = "Run the same command again: new snapshots are made."
                raise SourceUnavailable("a volume was attached meanwhile", fix=fix, machine=machine.name, disk=disk.id)
            stayed = older is not None and copied.get(disk.id) == snapshot.volume
            before = older.of(snapshot.volume) if older is not None and stayed else None
            same = before is not None and before.state == "completed" and before.gib == snapshot.gib
            refs[disk.id] = self.ref(snapshot.id, snapshot.gib, before.id if before and same else None)
        return refs
