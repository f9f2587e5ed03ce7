"""VMware vSphere as a source: facts in pages, cold copies, and warm ones in two passes, without proprietary code.

Pass one exports a snapshot of the running machine, streamed by the host; pass two, after it is off, reads only what its
change tracking names, from the datastore. No disk is written, nothing of VMware's is needed but its public interfaces.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyVmomi import vim, vmodl

from kubeferry.documents import Inventory, SourceConfig, StopPolicy, VmwareAccess
from kubeferry.errors import InputInvalid, KubeferryError, Problem, SourceRefused
from kubeferry.ledger import CHANGE_TRACKING, SNAPSHOT, STOP_MARK, External, Ledger
from kubeferry.marks import StopMark, read, written
from kubeferry.model import Autostart, Concern, DiskDevice, DiskRef, Machine, Marker, Power, Severity
from kubeferry.outside import clock, stopping
from kubeferry.sources import RUNS_ON, Hear, Inside, Round, SourceCapabilities, Stopped, WentOff
from kubeferry.sources.disks import drift
from kubeferry.sources.vsphere import autostart, marks, starts, stops
from kubeferry.sources.vsphere.access import Access, known_files, read_access
from kubeferry.sources.vsphere.client import Client
from kubeferry.sources.vsphere.inventory import Collector, as_unreadable, told_apart
from kubeferry.sources.vsphere.machine import parse_machine
from kubeferry.sources.vsphere.marking import Marks
from kubeferry.sources.vsphere.nics import Around
from kubeferry.sources.vsphere.notes import Notes
from kubeferry.sources.vsphere.plain import Plain
from kubeferry.sources.vsphere.said import PROPERTIES, said
from kubeferry.sources.vsphere.snapshots import is_noted
from kubeferry.sources.vsphere.tags import Tags, read_tags
from kubeferry.sources.vsphere.views import Leases, Views

FORCED_STOP_SECONDS = 60.0
POLL_SECONDS = 0.2
TOOLS = "guestToolsRunning"


def connect(name: str, config: SourceConfig) -> VsphereSource:
    """The source at `config.uri`, or GOVC_URL. Connects when first asked. Raises InputInvalid with all that is bad."""
    files = {}
    for path in known_files(config, os.environ):
        try:
            files[path] = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            fix = "Correct GOVC_TLS_KNOWN_HOSTS."
            raise InputInvalid(f"the source {name} cannot be reached", [Problem(path, str(error), fix)]) from error
    return VsphereSource(name, read_access(name, config, os.environ, files), config.vmware)


class VsphereSource:
    """See `kubeferry.sources.Source` for what each method promises."""

    capabilities = SourceCapabilities(
        warm=True, live_deltas=False, force_stop=True, last_words=False, tells_starts=True, autostarts=True
    )
    journal = ""

    def __init__(self, name: str, access: Access, settings: VmwareAccess) -> None:
        self._name = name
        self._settings = settings
        self._client = Client(access)
        self._collector = Collector(self._client)
        self._leases: Leases = {}

    # --- facts -----------------------------------------------------------------------------------------------------

    def discover(self) -> Inventory:
        machines: list[Machine] = []
        with self._client.talking() as content:
            ids = self._collector.wanted(content)
            tags, unreadable = self._tags(ids)
            around = self._collector.around(content)
            for page in self._collector.pages(ids, content):
                for props in page:
                    try:
                        machines.append(self._machine(props, around, tags))
                    except InputInvalid as error:
                        unreadable.append(as_unreadable(error))
            machines, doubled = told_apart(machines)
            unreadable += doubled
            about = content.about
            version = f"{about.name} {about.version} build {about.build}"
        return Inventory(
            source=self._name,
            source_kind="vmware",
            source_version=version,
            observed_at=clock.now("seconds"),
            machines=tuple(sorted(machines, key=lambda machine: machine.name)),
            unreadable=tuple(unreadable),
        )

    def _machine(self, props: Plain, around: Around, tags: Tags) -> Machine:
        own = tags.get(props["_ref"].partition(":")[2], ())
        return parse_machine(props, around, source=self._name, tags=own)

    def _tags(self, ids: list[str]) -> tuple[Tags, list[Concern]]:
        try:
            return read_tags(self._client.access, self._client.certificate, ids), []
        except KubeferryError as error:
            fix = "Nothing, if tags do not matter; else check vCenter's REST interface."
            what = f"{error.what}: {error.why}"
            return {}, [Concern(id="tags.unreadable", severity=Severity.WARNING, what=what, fix=fix)]

    def concerns(self, machine: Machine) -> list[Concern]:
        with self._client.talking(machine.name) as content:
            views = self._views(machine, content)
            state = self._client.properties(views.vm, stops.STATES, content=content)
            found = [*self._problems(views), *stops.unstoppable(state)]
            if stops.power(state) is Power.RUNNING:
                found += stops.forbidden(self._client, views.vm, content)
            found += autostart.forbidden(self._client, views.vm, content)
        return drift.as_concerns(machine, found)

    def _problems(self, views: Views) -> Iterator[Problem]:
        """All that speaks against reading the disks that were planned."""
        current = self._machine(views.props, views.around, {})
        yield from _differences(views.machine, current)
        if self._settings.reader:
            return
        for disk in drift.wanted(views.machine, current.data_disks).values():
            if disk.device is DiskDevice.LUN:
                fix = "Make it a virtual disk in vSphere, leave the disk out, or name a reader (vmware.reader)."
                yield Problem(disk.id, "it is a mapped LUN, which vSphere does not hand out", fix)
            elif disk.encrypted:
                fix = "Decrypt it in vSphere, or name a reader (vmware.reader)."
                yield Problem(disk.id, "it is encrypted by vSphere, which does not hand it out", fix)

    # --- bytes -----------------------------------------------------------------------------------------------------

    def way(self, machine: Machine, *, remote: bool) -> contextlib.AbstractContextManager[DiskRef | None]:
        """The small file that describes the machine's first disk, of which none is open: the server and the login are
        those of all other files. None through a reader of the user's own."""
        with self._client.talking(machine.name) as content:
            return contextlib.nullcontext(self._views(machine, content).described(remote=remote))

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        with self._client.talking(machine.name) as content:
            views = self._views(machine, content)
            off = stops.power(views.props) is Power.OFF
            if final and not off:
                fix = "Stop it first; the last copy reads a machine that is off."
                raise SourceRefused("the machine is not off", fix=fix, machine=machine.name)
            drift.refuse(machine, "its disks cannot be read as they were planned", self._problems(views))
            if not off:
                return self._live(views, since, ledger, remote=remote)
            if views.snapshots.ours():  # of a round that was never closed: what lies above it is what counts now
                list(views.closed())
                views = self._views(machine, content)
            return views.off(since, ledger, remote=remote)

    def _live(self, views: Views, since: Marker | None, ledger: Ledger, *, remote: bool) -> Round:
        quiesce = views.props.get("guest.toolsRunningStatus") == TOOLS
        opened = views.live(ledger, remote=remote, quiesce=quiesce)
        if since is None or opened.marker != since:
            return opened
        list(views.closed())  # of a round that was never closed: what is asked for now is a later view
        return self._views(views.machine, views.content).live(ledger, remote=remote, quiesce=quiesce)

    def close_round(self, opened: Round) -> None:
        if not opened.served:
            return
        with self._client.talking(opened.machine.name) as content:
            list(self._views(opened.machine, content).closed(opened.seen))

    # --- power -----------------------------------------------------------------------------------------------------

    def variables(self, machine: Machine) -> bytes | None:
        """They lie in VMware's own form, which nothing here reads."""
        del machine
        return None

    def tpm_state(self, machine: Machine) -> bytes | None:
        """VMware keeps it encrypted, and hands over nothing of it."""
        del machine
        return None

    def power(self, machine: Machine) -> Power:
        with self._client.talking(machine.name) as content:
            return self._power_of(self._vm(machine, content), content)

    def inside(self, machine: Machine) -> Inside:
        """VMware Tools tell addresses; what runs commands in a guest asks for a login to it, which nobody gives us."""
        with self._client.talking(machine.name) as content:
            told = said(self._client.properties(self._vm(machine, content), PROPERTIES, content=content))
        addresses = (address for card in told.cards for address in card.addresses)
        return Inside(tuple(dict.fromkeys(addresses)), no_agent="vSphere has no way to QEMU's guest agent")

    def _power_of(self, vm: Any, content: Any) -> Power:
        return stops.power(self._client.properties(vm, stops.STATES, content=content))

    def last_start(self, machine: Machine) -> str:
        """The number of its newest start among the events that vSphere keeps: the machine itself forgets when it was
        started as soon as it is off. Empty where none is kept any more."""
        with self._client.talking(machine.name) as content:
            return starts.last_start(self._vm(machine, content), content)

    def went_off(self, machine: Machine) -> WentOff:
        """By the events that vSphere keeps since it was started last, and who has caused them."""
        with self._client.talking(machine.name) as content:
            user = self._client.raw(content.sessionManager, "currentSession", content=content).userName
            return starts.went_off(self._vm(machine, content), content, user)

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        """Tools shut the guest down; nothing else can. What they tell of it is heard. Files of the guest are not read:
        that needs a login inside."""
        with self._client.talking(machine.name) as content:
            vm = self._vm(machine, content)
            props = self._client.properties(vm, stops.STATES, content=content)
            drift.refuse(machine, "the machine cannot be stopped safely", stops.unstoppable(props))
            if stops.power(props) is Power.OFF:
                return Stopped("already-off", clock.now())
            heard_at = self._listen(vm, content, hear) if props.get("guest.toolsRunningStatus") == TOOLS else None
            if self._shut_down(vm, policy.agent_seconds + policy.acpi_seconds, content):
                return Stopped("agent", clock.now(), heard_at)
            if policy.force:
                self._power_off(vm, machine, content)
                return Stopped("forced", clock.now(), heard_at)
            raise SourceRefused(
                "the machine does not stop",
                why="VMware Tools do not run in it" if heard_at is None else "Tools were asked, and it runs on",
                fix=RUNS_ON,
                machine=machine.name,
            )

    def _listen(self, vm: Any, content: Any, hear: Hear) -> str:
        told = said(self._client.properties(vm, PROPERTIES, content=content))
        at = clock.now()
        hear({}, at, told)
        return at

    def _shut_down(self, vm: Any, seconds: float, content: Any) -> bool:
        try:
            vm.ShutdownGuest()
        except (vim.fault.ToolsUnavailable, vim.fault.InvalidPowerState):
            return self._power_of(vm, content) is Power.OFF
        return self._is_off_within(vm, seconds, content)

    def _power_off(self, vm: Any, machine: Machine, content: Any) -> None:
        with contextlib.suppress(vim.fault.InvalidPowerState):
            task = vm.PowerOffVM_Task()
            self._client.finished(task, FORCED_STOP_SECONDS, "switching off", content=content, machine=machine.name)
        if not self._is_off_within(vm, FORCED_STOP_SECONDS, content):
            fix = "Look at its tasks in vSphere, and switch it off by hand."
            raise SourceRefused("the machine does not stop", why="it was switched off", fix=fix, machine=machine.name)

    def _is_off_within(self, vm: Any, seconds: float, content: Any) -> bool:
        limit = time.monotonic() + seconds
        while self._power_of(vm, content) is not Power.OFF:
            if time.monotonic() > limit:
                return False
            stopping.pause(POLL_SECONDS)
        return True

    def start(self, machine: Machine) -> None:
        with self._client.talking(machine.name) as content:
            views = self._views(machine, content)
            if stops.power(views.props) is Power.RUNNING:
                return
            list(views.closed())  # an open export forbids it
            with contextlib.suppress(vim.fault.InvalidPowerState):
                task = views.vm.PowerOnVM_Task()
                seconds = self._settings.task_seconds
                self._client.finished(task, seconds, "switching on", content=content, machine=machine.name)

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        """In pages of all machines of the server: vSphere finds one after the other only."""
        paths = ("config.instanceUuid", "runtime.powerState")
        with self._client.talking() as content:
            pages = self._client.listed(vim.VirtualMachine, paths, content=content)
            known = {one: stops.power(told) for ref, told in pages for one in (ref, told.get(paths[0], ref))}
        return {machine.id: known[machine.id] for machine in machines if machine.id in known}

    def autostart(self, machine: Machine) -> Autostart | None:
        with self._client.talking(machine.name) as content:
            return autostart.told(self._client, self._vm(machine, content), content)

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        with self._client.talking(machine.name) as content:
            autostart.put(self._client, self._vm(machine, content), wanted, content)

    # --- what is left ----------------------------------------------------------------------------------------------

    def notes(self, machine: Machine) -> str | None:
        with self._client.talking(machine.name) as content:
            return self._notes(machine, content).told()

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        with self._client.talking(machine.name) as content:
            self._notes(machine, content).put(notes, was)

    def _notes(self, machine: Machine, content: Any) -> Notes:
        vm, seconds = self._vm(machine, content), self._settings.task_seconds
        return Notes(self._client, vm, content, machine.name, seconds)

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        with self._client.talking(machine.name) as content:
            vm = self._vm(machine, content)
            ledger(External(STOP_MARK, machine.name, machine.id))
            return self._marks(machine, vm, content).leave(written(mark))

    def marked(self, machine: Machine) -> StopMark | None:
        with self._client.talking(machine.name) as content:
            return read(self._marks(machine, self._vm(machine, content), content).found())

    def unmark(self, machine: Machine) -> None:
        with self._client.talking(machine.name) as content:
            self._marks(machine, self._vm(machine, content), content).take_away()

    def _marks(self, machine: Machine, vm: Any, content: Any) -> Marks:
        return Marks(self._client, vm, content, machine.name, self._settings.task_seconds)

    def forget(self, machine: Machine) -> list[str]:
        with self._client.talking(machine.name) as content:
            try:
                views = self._views(machine, content)
            except SourceRefused:
                return []  # with the machine, all that was on it is gone
            return [
                *views.closed(),
                *views.snapshots.untracked(views.props),
                *self._marks(machine, views.vm, content).take_away(),
            ]

    def exists(self, thing: External) -> bool:
        """A lease ends with the session that asked for it: one of another process is not seen, and times out."""
        if thing.kind not in {SNAPSHOT, CHANGE_TRACKING, STOP_MARK}:
            lease = self._leases.get(thing.where)
            return lease is not None and lease.alive()
        with self._client.talking() as content:
            vm = self._found(thing.where, content)
            if vm is None:
                return False
            props = self._collector.one(vm, content)
            if thing.kind == STOP_MARK:
                return marks.text_of(props) is not None
            if thing.kind == CHANGE_TRACKING:
                return is_noted(props)
            waiting = list(props.get("snapshot", {}).get("rootSnapshotList", []))
            while waiting:
                one = waiting.pop()
                if one.get("name") == thing.name:
                    return True
                waiting += one.get("childSnapshotList", [])
            return False

    def close(self) -> None:
        for lease in self._leases.values():
            lease.ended(keep=False)
        self._leases.clear()
        self._client.close()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _found(self, identity: str, content: Any) -> Any:
        """The machine by its instance UUID, which stays when it moves between hosts; None when it is gone."""
        if identity.startswith("VirtualMachine:"):
            return vim.VirtualMachine(identity.partition(":")[2], content.rootFolder._stub)
        try:
            return content.searchIndex.FindByUuid(uuid=identity, vmSearch=True, instanceUuid=True)
        except vmodl.fault.InvalidArgument:
            return None

    def _vm(self, machine: Machine, content: Any) -> Any:
        found = self._found(machine.id, content)
        if found is None:
            fix = "Discover and plan again, or register it again."
            raise SourceRefused("the source has no such machine any more", fix=fix, machine=machine.name)
        return found

    def _views(self, machine: Machine, content: Any) -> Views:
        vm = self._vm(machine, content)
        props, around = self._collector.one(vm, content), self._collector.around(content)
        return Views(self._client, content, vm, props, around, machine, self._settings, self._leases)


# --- one thing each ------------------------------------------------------------------------------------------------


def _differences(planned: Machine, current: Machine) -> Iterator[Problem]:
    """Disks that are not those of the plan. Where a file lies does not matter: it moves with storage vMotion."""
    now = drift.wanted(planned, current.data_disks)
    was = {disk.id: disk for disk in planned.data_disks}
    yield from drift.attachments(was, now)
    for name in sorted(was.keys() & now.keys()):
        had, has = was[name].capacity_bytes, now[name].capacity_bytes
        if had != has:
            yield Problem(name, f"it has {has} bytes now, and had {had}", drift.DISCOVER)
