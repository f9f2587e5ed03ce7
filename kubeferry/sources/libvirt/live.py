"""Views of running machines: a backup job of QEMU that serves what the disks held when it began.

The guest writes on; what it overwrites is kept for the job in a scratch file. A checkpoint that begins with the job has
QEMU note in the image, from then on, what is written: the next view tells it as what changed. Disks that cannot keep
such notes (raw ones, old qcow2) are served without, and read whole each time.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from urllib.parse import quote

import libvirt

from kubeferry.errors import KubeferryError, SourceRefused, SourceUnavailable
from kubeferry.images import qcow2
from kubeferry.images.bitmaps import CONTEXT
from kubeferry.ledger import CHECKPOINT, SCRATCH, VIEW, External, Ledger
from kubeferry.model import DiskRef, Machine, Marker
from kubeferry.outside import clock, stopping
from kubeferry.sources import Round
from kubeferry.sources.libvirt.backup import (
    NAME,
    Asked,
    DiskState,
    Job,
    backup_xml,
    checkpoint_xml,
    job_of,
    new_name,
    owner_of_qemu,
    states_of,
    taken_at,
)
from kubeferry.sources.libvirt.freeze import frozen
from kubeferry.sources.libvirt.place import Place
from kubeferry.uris import local_path

END_SECONDS = 30.0
POLL_SECONDS = 0.05
# What libvirt says of a checkpoint that it cannot tell changes from.
BROKEN = frozenset({libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT, libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT})


@dataclass(frozen=True, slots=True)
class View:
    """What is asked for: the disks as they are now, what else the machine has, and how its images' headers are read.
    `states` are the disks' own."""

    machine: Machine
    refs: dict[str, DiskRef]
    states: dict[str, DiskState]
    others: tuple[str, ...]
    read: qcow2.Read = qcow2.read_piece


def open_view(
    domain: libvirt.virDomain, uri: str, view: View, since: Marker | None, place: Place, ledger: Ledger
) -> Round:
    """The machine's open view, made now if there is none that fits. Raises SourceRefused where the machine is being
    backed up by somebody else, SourceUnavailable where libvirt or the guest does not answer."""
    job = job_now(domain)
    if job is not None and job.name is None:
        raise SourceRefused(
            "another backup of the machine is running, and libvirt runs one at a time",
            why=f"it is served on {job.socket}" if job.socket.name else "it writes its copies itself",
            fix="Wait for its end (`virsh domjobinfo`), or end it with `virsh domjobabort`; then run this again.",
            machine=view.machine.name,
        )
    asked = _asked(domain, view, since, place)
    if job is None or not _fits(job, asked, since, place):
        _drop_others(domain, since.token if since else None)
        job = _begin_anew(domain, uri, view, asked, place, ledger)
    else:
        _drop_others(domain, since.token if since else None, job.name)
    place.admit(job.socket)
    return _round(job, view)


def end_view(domain: libvirt.virDomain, place: Place, name: str | None = None) -> list[str]:
    """Our job has ended (only the one called `name`, if given), and nothing of it is left but its checkpoint; returns
    what was ended. Another's job is left alone."""
    job = job_now(domain) if domain.isActive() else None
    ended = []
    if job is not None and job.name is not None:
        if name not in {None, job.name}:
            return []
        _end_job(domain)
        ended = [f"backup job {job.name}"]
    return [*ended, *place.clear()]


def job_now(domain: libvirt.virDomain) -> Job | None:
    """The backup job of a domain, whoever began it."""
    try:
        return job_of(domain.backupGetXMLDesc())
    except libvirt.libvirtError as error:
        if error.get_error_code() in {libvirt.VIR_ERR_NO_DOMAIN_BACKUP, libvirt.VIR_ERR_OPERATION_INVALID}:
            return None
        raise


def checkpoints(domain: libvirt.virDomain) -> list[libvirt.virDomainCheckpoint]:
    """Our checkpoints of a domain, running or not."""
    return [one for one in domain.listAllCheckpoints() if NAME.fullmatch(one.getName())]


def states_since(domain: libvirt.virDomain, since: Marker | None) -> dict[str, DiskState]:
    """What the disks were at a marker; nothing for one whose checkpoint is gone or is not ours."""
    if since is None or not NAME.fullmatch(since.token):
        return {}
    for one in checkpoints(domain):
        if one.getName() == since.token:
            return states_of(one.getXMLDesc(libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN))
    return {}


def drop_checkpoint(checkpoint: libvirt.virDomainCheckpoint) -> None:
    """Drop a checkpoint of a running machine with its bitmaps; where those are gone or broken, what libvirt knows."""
    try:
        checkpoint.delete()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):  # gone meanwhile
            checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)


# --- inside ----------------------------------------------------------------------------------------------------------


def _asked(domain: libvirt.virDomain, view: View, since: Marker | None, place: Place) -> dict[str, Asked]:
    known = states_since(domain, since)
    return {
        disk: Asked(place.scratch(disk), since.token if since and state.is_still(known.get(disk)) else None)
        for disk, state in view.states.items()
    }


def _fits(job: Job, asked: dict[str, Asked], since: Marker | None, place: Place) -> bool:
    wanted = {disk: one.since for disk, one in asked.items()}
    return job.since == wanted and (since is None or since.token != job.name) and place.serves(job.socket)


def _drop_others(domain: libvirt.virDomain, *names: str | None) -> None:
    for one in checkpoints(domain):
        if one.getName() not in names:
            drop_checkpoint(one)


def _begin_anew(
    domain: libvirt.virDomain, uri: str, view: View, asked: dict[str, Asked], place: Place, ledger: Ledger
) -> Job:
    """Begin a job; without what changed, if the notes of that turn out to be broken."""
    try:
        return _begin(domain, uri, view, asked, place, ledger)
    except libvirt.libvirtError as error:
        since = {one.since for one in asked.values() if one.since}
        if not since or error.get_error_code() not in BROKEN:
            raise
        for one in checkpoints(domain):
            if one.getName() in since:
                drop_checkpoint(one)
        return _begin(domain, uri, view, {disk: Asked(one.scratch) for disk, one in asked.items()}, place, ledger)


def _begin(
    domain: libvirt.virDomain,
    uri: str,
    view: View,
    asked: dict[str, Asked],
    place: Place,
    ledger: Ledger,
    *,
    hold: bool = True,
) -> Job:
    end_view(domain, place)
    name = new_name(clock.now("seconds"))
    noted = {disk: view.states[disk] for disk, ref in view.refs.items() if _takes_notes(ref, view.read)}
    _tell(ledger, domain, name, asked, place, checkpoint=bool(noted))
    place.make(owner_of_qemu(domain.XMLDesc(0)))
    rest = [disk for disk in (*view.refs, *view.others) if disk not in noted]
    checkpoint = checkpoint_xml(name, noted, rest) if noted else None
    with contextlib.ExitStack() as still:
        freeze = still.enter_context(frozen(domain, uri, place.guard)) if hold else None
        consistency = "frozen" if freeze and freeze.asked else "crash"
        socket = place.socket(name, consistency)
        try:
            domain.backupBegin(backup_xml(name, socket, asked, view.others), checkpoint)
        except BaseException:
            still.close()
            place.clear()
            raise
    if freeze is not None and freeze.asked and not freeze.held:  # it took too long: the guest wrote again before
        _end_job(domain)
        _drop_others(domain, *(one.since for one in asked.values()))
        return _begin(domain, uri, view, asked, place, ledger, hold=False)
    return Job(name, socket, consistency, {disk: one.since for disk, one in asked.items()})


def _tell(
    ledger: Ledger, domain: libvirt.virDomain, name: str, asked: dict[str, Asked], place: Place, *, checkpoint: bool
) -> None:
    where = f"{domain.UUIDString()}/{name}"
    ledger(External(VIEW, f"{domain.name()}/{name}", str(place.folder)))
    for disk, one in asked.items():
        ledger(External(SCRATCH, f"{domain.name()}/{disk}", str(one.scratch)))
    if checkpoint:
        ledger(External(CHECKPOINT, f"{domain.name()}/{name}", where))


def _takes_notes(ref: DiskRef, read: qcow2.Read) -> bool:
    """Whether an image can keep bitmaps: qcow2 from version 3 on."""
    path = local_path(ref.uri)
    if ref.format != "qcow2" or path is None:
        return False
    try:
        return qcow2.parse(read(path, 0, qcow2.READ_BYTES)).version > 2
    except (ValueError, KubeferryError):
        return False


def _end_job(domain: libvirt.virDomain) -> None:
    with contextlib.suppress(libvirt.libvirtError):  # it has ended meanwhile
        domain.abortJob()
    limit = time.monotonic() + END_SECONDS
    while domain.isActive() and job_now(domain) is not None:
        if time.monotonic() > limit:
            fix = "Look at it with `virsh domjobinfo`, and run the same command again."
            raise SourceUnavailable("the backup job does not end", fix=fix, machine=domain.name())
        stopping.pause(POLL_SECONDS)


def _round(job: Job, view: View) -> Round:
    name = job.name or ""
    refs = {
        disk: DiskRef(
            uri=f"nbd+unix:///{quote(disk, safe='')}?socket={quote(str(job.socket))}",
            size_bytes=ref.size_bytes,
            changed=f"{CONTEXT}{name}" if job.since[disk] else None,
        )
        for disk, ref in view.refs.items()
    }
    marker = Marker(source=view.machine.source, token=name, taken_at=taken_at(name))
    return Round(view.machine, refs, marker, served=True, consistency=job.consistency)
