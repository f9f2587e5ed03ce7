"""libvirt/KVM as a source: facts in bulk, rounds of running and of stopped machines, a graceful stop.

Facts come from the persistent definition, which is what the machine would boot with next; the chain of a running disk
comes from the live one, which alone knows it. Nothing that a guest could see is ever written to a disk, and no domain
is ever undefined.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import libvirt

from kubeferry.documents import Inventory, SourceConfig, SshAccess, StopPolicy
from kubeferry.errors import KubeferryError, Problem, SourceRefused, SourceUnavailable
from kubeferry.ledger import CHECKPOINT, STOP_MARK, External, Ledger
from kubeferry.marks import StopMark
from kubeferry.model import Autostart, Concern, DiskRef, Machine, Marker, Power, Severity, SourceFact
from kubeferry.outside import clock
from kubeferry.sources import RUNS_ON, Hear, Inside, Round, SourceCapabilities, Stopped, WentOff
from kubeferry.sources.disks import drift, local_disks, writers
from kubeferry.sources.libvirt import (
    attached,
    autostart,
    chains,
    descriptions,
    filters,
    flash,
    headers,
    image_files,
    marks,
    off,
    pools,
    served_disks,
    sharing,
    shutdown,
    starts,
    stops,
    tpm,
)
from kubeferry.sources.libvirt.domain.machine import parse_domain
from kubeferry.sources.libvirt.guest import facts, inside, is_lost, power_of, translated
from kubeferry.sources.libvirt.hosts import host_of
from kubeferry.sources.libvirt.live import View, checkpoints, drop_checkpoint, end_view, open_view
from kubeferry.uris import local_path

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are told once, by us


def connect(name: str, config: SourceConfig) -> LibvirtSource:
    """The source at `config.uri`. Connects when first asked."""
    return LibvirtSource(name, config.uri, config.ssh)


class LibvirtSource:
    """See `kubeferry.sources.Source` for what each method promises."""

    capabilities = SourceCapabilities(
        warm=True, live_deltas=True, force_stop=True, last_words=True, tells_starts=True, autostarts=True
    )
    journal = ""

    def __init__(self, name: str, uri: str, ssh: SshAccess | None = None) -> None:
        self._name = name
        self._uri = uri
        self._ssh = ssh
        self._host = host_of(name, uri, ssh)
        self._connection: libvirt.virConnect | None = None

    # --- facts ---------------------------------------------------------------------------------------------------

    def discover(self) -> Inventory:
        machines, unreadable = [], []
        with self._talking() as connection:
            for domain in connection.listAllDomains():
                try:
                    machines.append(self._machine(domain))
                except KubeferryError as error:
                    unreadable.append(_unreadable(domain.name(), str(error)))
                except libvirt.libvirtError as error:
                    if is_lost(error):
                        raise
                    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # gone since it was listed
                        unreadable.append(_unreadable(domain.name(), error.get_error_message() or str(error)))
            version = connection.getLibVersion()
        return Inventory(
            source=self._name,
            source_kind="libvirt",
            source_version=f"libvirt {version // 1000000}.{version // 1000 % 1000}.{version % 1000}",
            observed_at=clock.now("seconds"),
            machines=tuple(sorted(machines, key=lambda machine: machine.name)),
            unreadable=tuple(unreadable),
        )

    def _read(self, domain: libvirt.virDomain, flags: int = 0, **known: Any) -> Machine:
        """What the domain's XML says, with volumes of pools as the files and devices that they are."""
        xml, where = domain.XMLDesc(flags), f"domain {domain.name()}"
        machine = tpm.placed(parse_domain(xml, source=self._name, where=where, **known), self._uri)
        return filters.resolved(domain.connect(), pools.resolved(domain.connect(), machine))

    def _machine(self, domain: libvirt.virDomain) -> Machine:
        power, here = power_of(domain), not any(self._away())
        persistent = libvirt.VIR_DOMAIN_XML_INACTIVE if domain.isPersistent() else 0
        machine = self._read(
            domain,
            persistent,
            power=power,
            autostart=bool(domain.autostart()) if domain.isPersistent() else None,
            snapshots=domain.snapshotNum(),
        )
        extra: list[SourceFact] = []
        if not domain.isPersistent():
            extra.append(SourceFact(path="domain", value="transient: it vanishes when it stops"))
        if domain.isPersistent() and domain.hasManagedSaveImage():
            extra.append(SourceFact(path="domain/managedSave", value="its memory is saved, to be resumed at start"))
        if domain.isActive():
            machine = attached.as_it_runs(machine, self._read(domain))
        elif here:
            machine = chains.followed(machine, self._host)
        sized = [attached.with_size(domain, disk) for disk in machine.disks]
        if here:
            sized = [served_disks.with_size(domain, disk, self._host) for disk in sized]
        return machine.model_copy(
            update={
                "disks": tuple(sized),
                "guest": facts(domain, machine.guest) if power is Power.RUNNING else machine.guest,
                "unmodelled": (*machine.unmodelled, *extra),
            }
        )

    # --- bytes ---------------------------------------------------------------------------------------------------

    def concerns(self, machine: Machine) -> list[Concern]:
        with self._talking(machine.name) as connection:
            domain = self._domain(connection, machine)
            current, away = self._machine(domain), list(self._away())
            problems = [*away, *local_disks.problems(machine, current, self._host.trouble, network=True)]
            if not problems:
                refs = self._refs(machine, current)
                problems += headers.problems(refs, self._host.read)
                problems += served_disks.problems(domain, refs, self._host)
            found = [*problems, *stops.unstoppable(domain)]
            shared = writers.as_concerns(machine, sharing.running(machine, current, domain, self._read))
        told = [] if away else flash.concerns(current.firmware, machine.name, self._host)
        told += [] if away else tpm.concerns(current.tpm, machine.name, self._host)
        return [*drift.as_concerns(machine, found), *told, *shared]

    def way(self, machine: Machine, *, remote: bool) -> contextlib.AbstractContextManager[DiskRef | None]:
        own = None
        if not remote:
            with self._talking(machine.name) as connection:
                domain = self._domain(connection, machine)
                refs = {} if domain.isActive() else self._refs(machine, self._machine(domain))
                own = next((ref for ref in refs.values() if local_path(ref.uri) is not None), None)
        return self._host.way(machine, own, remote=remote)

    def _away(self) -> Iterator[Problem]:
        if urlsplit(self._uri).hostname and self._ssh is None:
            fix = "Add ssh (host, user, hostKey) to the source; or run kubeferry on that host, with qemu:///system."
            yield Problem("disks", f"they are on another host, {urlsplit(self._uri).hostname}", fix)

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        for problem in self._away():
            what = f"its {problem.where} cannot be read"
            raise SourceRefused(what, why=problem.what, fix=problem.fix, machine=machine.name)
        with self._talking(machine.name) as connection:
            domain = self._domain(connection, machine)
            if domain.isActive():
                if final:
                    fix = "Stop it first; the last copy reads a machine that is off."
                    raise SourceRefused("the machine is not off", fix=fix, machine=machine.name)
                return self._live_round(domain, machine, since, remote, ledger)
            drift.refuse(machine, "the machine is not off for good", stops.saved(domain))
            current = self._machine(domain)
            shared = list(sharing.running(machine, current, domain, self._read))
            if final:
                writers.refuse(machine, shared)
            refs = off.told(domain, self._refs(machine, current), since, self._host)
            logins = served_disks.of_refs(domain, refs)
        opened = self._host.stopped(machine, refs, logins, ledger, remote=remote)
        return replace(opened, consistency="crash") if shared else opened

    def _live_round(
        self, domain: libvirt.virDomain, machine: Machine, since: Marker | None, remote: bool, ledger: Ledger
    ) -> Round:
        live = self._read(domain)
        drift.refuse(machine, "the running machine has other disks than it starts with", attached.others(machine, live))
        refs = self._refs(machine, self._machine(domain))
        others = tuple(disk.id for disk in live.disks if disk.id not in refs)
        view = View(machine, refs, image_files.states(refs, self._host), others, self._host.read)
        place = self._host.place(machine, remote=remote)
        return self._host.running(open_view(domain, self._uri, view, since, place, ledger), remote=remote)

    def close_round(self, opened: Round) -> None:
        if opened.served and opened.marker is None:
            self._host.end(opened.machine)
        if opened.marker is not None:
            with self._talking(opened.machine.name) as connection:
                domain = self._domain(connection, opened.machine)
                end_view(domain, self._host.place(opened.machine), opened.marker.token)

    def variables(self, machine: Machine) -> bytes | None:
        with self._talking(machine.name) as connection:
            firmware = self._machine(self._domain(connection, machine)).firmware
        return flash.variables(firmware, machine.name, self._host)

    def tpm_state(self, machine: Machine) -> bytes | None:
        with self._talking(machine.name) as connection:
            found = self._machine(self._domain(connection, machine)).tpm
        return tpm.state(found, machine.name, self._host)

    # --- power ---------------------------------------------------------------------------------------------------

    def power(self, machine: Machine) -> Power:
        with self._talking(machine.name) as connection:
            return power_of(self._domain(connection, machine))

    def inside(self, machine: Machine) -> Inside:
        with self._talking(machine.name) as connection:
            return inside(self._domain(connection, machine), self._uri, machine.name)

    def last_start(self, machine: Machine) -> str:
        """By the log on its hypervisor; empty for a session, whose log is its user's, and where we have no way there:
        a log of that name on this host would be another machine's."""
        name = self._named_in_log(machine)
        return starts.last_start(self._host, name) if name else ""

    def went_off(self, machine: Machine) -> WentOff:
        """When, by the same log. By whom libvirt does not tell."""
        name = self._named_in_log(machine)
        return WentOff(at=starts.went_off(self._host, name)) if name else WentOff()

    def _named_in_log(self, machine: Machine) -> str:
        """What the machine is called in the log of its hypervisor; empty where that is not to be read."""
        with self._talking(machine.name) as connection:
            name = self._domain(connection, machine).name()
        return "" if urlsplit(self._uri).path != "/system" or any(self._away()) else str(name)

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        with self._talking(machine.name) as connection:
            domain = self._domain(connection, machine)
            drift.refuse(machine, "the machine cannot be stopped safely", stops.unstoppable(domain))
            if not domain.isActive():
                return Stopped("already-off", clock.now())
            heard_at = shutdown.listen(domain, policy, hear)
            end_view(domain, self._host.place(machine))
            how = shutdown.stop(domain, policy)
            if how is None:
                raise SourceRefused(
                    "the machine does not stop",
                    why=f"agent ({policy.agent_seconds:.0f} s) and ACPI ({policy.acpi_seconds:.0f} s) were tried",
                    fix=RUNS_ON,
                    machine=machine.name,
                )
            return Stopped(how, clock.now(), heard_at)

    def start(self, machine: Machine) -> None:
        with self._talking(machine.name) as connection:
            domain = self._domain(connection, machine)
            if not domain.isActive():
                self._end_all(machine)  # a disk that is still served is locked
                domain.create()

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        with self._talking() as connection:
            known = {domain.UUIDString(): domain for domain in connection.listAllDomains()}
            found = {machine.id: known.get(machine.uuid or "") for machine in machines}
            return {name: power_of(domain) for name, domain in found.items() if domain is not None}

    def autostart(self, machine: Machine) -> Autostart | None:
        with self._talking(machine.name) as connection:
            return autostart.told(self._domain(connection, machine))

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        with self._talking(machine.name) as connection:
            autostart.put(self._domain(connection, machine), wanted)

    def notes(self, machine: Machine) -> str | None:
        with self._talking(machine.name) as connection:
            return descriptions.told(self._domain(connection, machine))

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        with self._talking(machine.name) as connection:
            domain = self._domain(connection, machine)
            if descriptions.told(domain) != was:
                fix = "Run the same again."
                raise SourceUnavailable("what is written about it changes", fix=fix, machine=machine.name)
            descriptions.put(domain, notes)

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        with self._talking(machine.name) as connection:
            domain = self._domain(connection, machine)
            ledger(External(STOP_MARK, machine.name, domain.UUIDString()))
            marks.leave(domain, mark)
            return ""

    def marked(self, machine: Machine) -> StopMark | None:
        with self._talking(machine.name) as connection:
            return marks.found(self._domain(connection, machine))

    def unmark(self, machine: Machine) -> None:
        with self._talking(machine.name) as connection:
            marks.take_away(self._domain(connection, machine))

    def forget(self, machine: Machine) -> list[str]:
        dropped = self._end_all(machine)
        with self._talking(machine.name) as connection:
            domain = self._known(connection, machine)
            if domain is None:  # undefined meanwhile: its images may be there all the same
                return [*dropped, *off.take_out(off.images_of(machine), machine, self._host)]
            dropped += ["mark"] if marks.take_away(domain) else []
            if not domain.isActive():
                return [*dropped, *off.forget(domain, machine, self._machine(domain), self._host)]
            for one in checkpoints(domain):
                dropped.append(f"checkpoint {one.getName()}")
                drop_checkpoint(one)
        return dropped

    def _end_all(self, machine: Machine) -> list[str]:
        """Nothing is served any more, whatever the machine does."""
        dropped = self._host.end(machine)
        with self._talking(machine.name) as connection:
            domain, place = self._known(connection, machine), self._host.place(machine)
            return [*dropped, *(place.clear() if domain is None else end_view(domain, place))]

    def exists(self, thing: External) -> bool:
        if thing.kind not in {CHECKPOINT, STOP_MARK}:
            return self._host.exists(thing)
        uuid, _, name = thing.where.partition("/")
        try:
            with self._talking() as connection:
                domain = connection.lookupByUUIDString(uuid)
                if thing.kind == STOP_MARK:
                    return marks.is_there(domain)
                return name in {one.getName() for one in checkpoints(domain)}
        except SourceRefused:  # there is no such machine any more, and nothing that anybody knows of it
            return False

    def close(self) -> None:
        self._host.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.close()
            self._connection = None

    # --- inside --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _talking(self, machine: str = "") -> Iterator[libvirt.virConnect]:
        """The connection, made anew after it was lost; libvirt's errors come out as ours."""
        try:
            if self._connection is None:
                self._connection = libvirt.open(self._uri)
            yield self._connection
        except libvirt.libvirtError as error:
            told = translated(error, self._uri, machine)
            if told.transient:
                self._let_go()
            raise told from error

    def _refs(self, machine: Machine, current: Machine) -> dict[str, DiskRef]:
        return local_disks.refs(machine, current, self._host.trouble, network=True)

    def _domain(self, connection: libvirt.virConnect, machine: Machine) -> libvirt.virDomain:
        """The domain by its UUID: a name may have been given to another machine meanwhile."""
        if machine.uuid:
            return connection.lookupByUUIDString(machine.uuid)
        return connection.lookupByName(machine.name)

    def _known(self, connection: libvirt.virConnect, machine: Machine) -> libvirt.virDomain | None:
        try:
            return self._domain(connection, machine)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise


# --- one thing each ----------------------------------------------------------------------------------------------


def _unreadable(name: str, why: str) -> Concern:
    fix = "Look at it with `virsh dumpxml`; it is left out of the inventory."
    return Concern(id="machine.unreadable", severity=Severity.WARNING, what=f"{name}: {why}", fix=fix)
