"""Views of one machine's disks: what a round hands over, and how it is taken back.

running  ── snapshot ── lease ──> a stream of each disk (all of it)       marker: the change ids of the snapshot
off      ── flat files of the datastore ──> any byte of each disk         changed areas since a marker, or all
off, and a disk has no flat file (vSAN, vVols, a snapshot of somebody's) ──> as when it runs, all of it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pyVmomi import vim, vmodl

from kubeferry.documents import VmwareAccess
from kubeferry.errors import IntegrityFailed, SourceRefused
from kubeferry.ledger import LEASE, External, Ledger
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.sources import Round
from kubeferry.sources.vsphere import trust
from kubeferry.sources.vsphere.areas import Point, Untold, changed, marker_of, points_in, points_of, still_told
from kubeferry.sources.vsphere.client import Client
from kubeferry.sources.vsphere.datastore_files import described_path, file_size, flat_path, folder_url
from kubeferry.sources.vsphere.disks import place_of
from kubeferry.sources.vsphere.leases import Lease, Stream
from kubeferry.sources.vsphere.machine import datacenter_of
from kubeferry.sources.vsphere.nics import Around
from kubeferry.sources.vsphere.plain import Plain, name_of
from kubeferry.sources.vsphere.snapshots import Kept, Snapshots, disks_of
from kubeferry.uris import pinned

Leases = dict[str, Lease]
"""Open leases of this process by the machine's id."""


@dataclass(frozen=True, slots=True)
class Views:
    """One machine at one moment: `vm` is the library's handle, `props` its properties, `around` what is around it."""

    client: Client
    content: Any
    vm: Any
    props: Plain
    around: Around
    machine: Machine
    settings: VmwareAccess
    leases: Leases

    @property
    def snapshots(self) -> Snapshots:
        return Snapshots(self.client, self.content, self.vm, self.machine, self.settings.task_seconds)

    @property
    def devices(self) -> list[Plain]:
        found: list[Plain] = self.props.get("config.hardware.device", [])
        return found

    # --- a machine that runs ---------------------------------------------------------------------------------------

    def live(self, ledger: Ledger, *, remote: bool, quiesce: bool) -> Round:
        """A view by a snapshot, with a marker where changes are tracked."""
        tracked = self.snapshots.tracked(self.props, ledger)
        kept = self.snapshots.made(ledger, quiesce=quiesce)
        devices = self.snapshots.devices(kept)
        marker = marker_of(self.machine.source, self.machine.id, self._wanted(points_of(devices)), kept.taken_at)
        refs = self._exported(kept, devices, ledger, remote=remote)
        consistency = "frozen" if kept.quiesced else "crash"
        return Round(self.machine, refs, marker if tracked else None, served=True, consistency=consistency)

    def _wanted(self, points: dict[str, Point]) -> dict[str, Point]:
        return {key: point for key, point in points.items() if key in {disk.id for disk in self.machine.data_disks}}

    def _exported(self, kept: Kept, devices: list[Plain], ledger: Ledger, *, remote: bool) -> dict[str, DiskRef]:
        """References to the disks of a snapshot: streams of a lease, or the user's own reader."""
        if self.settings.reader:
            return {disk.id: self._read_by(disk.id, kept.managed._moId) for disk in self.machine.data_disks}
        lease = self.leases.get(self.machine.id)
        if lease is None or not lease.alive():
            ledger(External(LEASE, f"export of {kept.name}", self.machine.id))
            lease = Lease(self.client, kept.managed.ExportSnapshot(), devices, self.machine.name)
            self.leases[self.machine.id] = lease
            lease.opened(self.settings.task_seconds, content=self.content)
        refs = {}
        for disk in self.machine.data_disks:
            if disk.id not in lease.streams:
                fix = "Independent disks and mapped LUNs are in no snapshot: move the machine cold."
                raise SourceRefused(
                    "vSphere does not export this disk", fix=fix, machine=self.machine.name, disk=disk.id
                )
            view = f"{self.client.access.where}/{kept.managed._moId}/{disk.id}"
            uri = f"vmdk-stream+{self._stream_url(lease.streams[disk.id], view)}"
            refs[disk.id] = self._ref(uri, disk.capacity_bytes, remote=remote)
        return refs

    def _stream_url(self, stream: Stream, view: str) -> str:
        access, certificate = self.client.access, self.client.certificate
        if (stream.host, stream.port) != (access.host, access.port):
            told = stream.thumbprint and stream.thumbprint.replace(":", "").lower()
            certificate = trust.certificate(access, stream.host, stream.port, thumbprint=told or None)
        host = f"[{stream.host}]" if ":" in stream.host else stream.host
        return pinned(f"https://{host}:{stream.port}{stream.path}", trust.sha256(certificate), view=view)

    def _read_by(self, disk: str, snapshot: str) -> DiskRef:
        device = next((one for one in disks_of(self.devices) if str(one["key"]) == disk), {})
        names = {
            "machine": self.machine.name,
            "moref": self.vm._moId,
            "uuid": self.machine.uuid or "",
            "disk": disk,
            "file": device.get("backing", {}).get("fileName", ""),
            "snapshot": snapshot,
        }
        size = next(one.capacity_bytes for one in self.machine.data_disks if one.id == disk)
        uri = filled(self.settings.reader or "", names)
        return DiskRef(uri=uri, size_bytes=size, credential=self.settings.reader_secret)

    # --- a machine that is off -------------------------------------------------------------------------------------

    def off(self, since: Marker | None, ledger: Ledger, *, remote: bool) -> Round:
        """The disks of a machine that is off. Where a disk can tell what changed since the marker, that is named."""
        if self.settings.reader:
            return Round(self.machine, {disk.id: self._read_by(disk.id, "") for disk in self.machine.data_disks})
        files = {disk.id: self._file(disk.id) for disk in self.machine.data_disks}
        if any(url is None for url in files.values()):
            kept = self.snapshots.made(ledger, quiesce=False)
            return Round(
                self.machine, self._exported(kept, self.snapshots.devices(kept), ledger, remote=remote), served=True
            )
        points = points_of(self.devices)
        earlier = points_in(since, self.machine.source, self.machine.id) if since is not None else {}
        refs = {}
        for disk in self.machine.data_disks:
            ref = self._ref(files[disk.id] or "", disk.capacity_bytes, remote=remote)
            told = self._changed(disk.id, earlier.get(disk.id), points.get(disk.id)) if since is not None else None
            refs[disk.id] = ref.model_copy(update={"changed": told})
        return Round(self.machine, refs)  # what is off does not change: nobody has to ask later

    def described(self, *, remote: bool) -> DiskRef | None:
        """The descriptor of the machine's first disk, as a mover may read it now; None where the server gives none."""
        devices = {str(one["key"]): one for one in disks_of(self.devices)}
        found = next((devices[disk.id] for disk in self.machine.data_disks if disk.id in devices), None)
        if found is None or self.settings.reader:
            return None
        place = described_path(found, self._kind_of(self._store(found)))
        if place is None:
            return None
        access, certificate = self.client.access, self.client.certificate
        url = folder_url(access, datacenter_of(self._store(found), self.around), *place)
        if not file_size(access, certificate, url):
            return None
        return self._ref(pinned(url, trust.sha256(certificate), login=self.settings.prefix), None, remote=remote)

    def _store(self, device: Plain) -> str:
        """The datastore that a disk's file is on."""
        name = place_of(str(device.get("backing", {}).get("fileName", "")))[0]
        stores = {name_of(self.around.get(one, {})): one for one in self.props.get("datastore", [])}
        return str(stores.get(name, ""))

    def _kind_of(self, store: str) -> str:
        return str(self.around.get(store, {}).get("summary.type", ""))

    def _file(self, disk: str) -> str | None:
        """Where the bytes of a disk are, with the certificate of who gives them; None where it has no flat file."""
        device = next(one for one in disks_of(self.devices) if str(one["key"]) == disk)
        store = self._store(device)
        place = flat_path(device, self._kind_of(store))
        if place is None:
            return None
        access, certificate = self.client.access, self.client.certificate
        url = folder_url(access, datacenter_of(store, self.around), *place)
        size = file_size(access, certificate, url)
        return (
            pinned(url, trust.sha256(certificate), login=self.settings.prefix)
            if size == device.get("capacityInBytes")
            else None
        )

    def _changed(self, disk: str, earlier: Point | None, now: Point | None) -> str | None:
        if earlier is None or still_told(earlier, now) is not None:
            return None
        try:
            return changed(earlier.size, self._asking(int(disk), earlier.change))
        except (Untold, vmodl.fault.InvalidArgument, vmodl.fault.SystemError, vim.fault.FileFault, vim.fault.NotFound):
            return None  # the id is too old, or its file is gone: all of it is read

    def _asking(self, key: int, change: str) -> Callable[[int], tuple[int, int, list[tuple[int, int]]]]:
        def ask(start: int) -> tuple[int, int, list[tuple[int, int]]]:
            told = self.vm.QueryChangedDiskAreas(deviceKey=key, startOffset=start, changeId=change)
            return (
                int(told.startOffset),
                int(told.length),
                [(int(one.start), int(one.length)) for one in told.changedArea],
            )

        return ask

    def _ref(self, uri: str, size: int | None, *, remote: bool) -> DiskRef:
        return DiskRef(uri=uri, size_bytes=size, credential=self.settings.secret if remote else None)

    # --- back ------------------------------------------------------------------------------------------------------

    def closed(self, seen: Mapping[str, str] | None = None) -> Iterator[str]:
        """End the lease and remove the snapshot; yields what was there, in words. In the end raises IntegrityFailed
        where the server's manifest contradicts what was `seen` of a disk's stream, or the disk itself. Without `seen`
        nothing that was read counts, and nothing is compared."""
        lease = self.leases.pop(self.machine.id, None)
        problem = None
        if lease is not None:
            problem = lease.manifest_problem(seen) if seen is not None else None
            lease.ended(keep=problem is None)
            yield "export lease"
        try:
            yield from self.snapshots.removed()
        finally:  # also where the snapshot cannot be removed now: a wrong stream must not become an error worth a retry
            if problem is not None:
                raise IntegrityFailed(
                    "what came of a disk is not what vSphere exported",
                    why=problem.what,
                    fix="Copy the machine again; if it stays so, look at its disks in vSphere and what lies between.",
                    machine=self.machine.name,
                    disk=problem.where,
                )


def filled(template: str, names: dict[str, str]) -> str:
    """A reader's URI with its names filled in, as parts of a URI."""
    for name, value in names.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template
