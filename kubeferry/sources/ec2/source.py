"""AWS EC2 as a source: facts in bulk, rounds by snapshots of all volumes at one instant, deltas between snapshots.

Instances are stopped and started, never ended; volumes are never written, detached or deleted. What is made is
snapshots, tagged as ours. The bytes are read from them by movers, through the EBS direct APIs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubeferry.documents import Inventory, SourceConfig, StopPolicy
from kubeferry.documents.settings import AwsAccess
from kubeferry.errors import (
    InputInvalid,
    Interrupted,
    KubeferryError,
    Problem,
    SourceGone,
    SourceRefused,
)
from kubeferry.ledger import STOP_MARK, External, Ledger
from kubeferry.marks import StopMark, read, written
from kubeferry.model import Autostart, Concern, Disk, DiskRef, Machine, Marker, Power
from kubeferry.outside import aws, clock
from kubeferry.outside.aws import Access
from kubeferry.sources import Hear, Inside, Round, SourceCapabilities, Stopped, WentOff
from kubeferry.sources.disks import drift, writers
from kubeferry.sources.ec2 import discovery, groups, markers, marks, power, sharing, snapshot_sets, stops, uefi
from kubeferry.sources.ec2.disks import differences, read_disks, volume_of, wanted_volumes
from kubeferry.sources.ec2.facts import Facts
from kubeferry.sources.ec2.instance import REGION, parse_instance, power_of
from kubeferry.sources.ec2.markers import token_of
from kubeferry.sources.ec2.nics import reached_at
from kubeferry.sources.ec2.power import NO_MACHINE, described, gone, instance_of
from kubeferry.sources.ec2.references import Way
from kubeferry.sources.ec2.snapshot_sets import Moment, Owner, SnapshotSet, ended
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.ec2.unanswered import Unanswered, unasked, unreadable
from kubeferry.sources.facts.single_names import named
from kubeferry.uris import ebs_snapshot


def connect(name: str, config: SourceConfig) -> Ec2Source:
    """The account that the configuration names. Connects when first asked."""
    return Ec2Source(name, config.aws)


class Ec2Source:
    """See `kubeferry.sources.Source` for what each method promises."""

    capabilities = SourceCapabilities(
        tells_starts=True, warm=True, live_deltas=True, force_stop=True, autostarts=True, replaces_stopped=True
    )
    journal = ""

    def __init__(self, name: str, access: AwsAccess) -> None:
        self._name = name
        self._access = access
        self._clients: dict[tuple[str, str, int], Any] = {}

    # --- facts ---------------------------------------------------------------------------------------------------

    def discover(self) -> Inventory:
        machines: list[Machine] = []
        unread: list[Concern] = []
        failed: dict[str, KubeferryError] = {}
        for region in self._regions():
            try:
                self._read_region(region, machines, unread)
            except Interrupted:
                raise
            except KubeferryError as error:
                failed[region] = error
        if failed and len(failed) == len(self._regions()):
            raise next(iter(failed.values()))
        return Inventory(
            source=self._name,
            source_kind="aws",
            source_version="EC2 API 2016-11-15",
            observed_at=clock.now("seconds"),
            machines=tuple(sorted(named(machines), key=lambda machine: machine.name)),
            unreadable=(*unread, *(unasked(region, error) for region, error in failed.items())),
        )

    def _read_region(self, region: str, machines: list[Machine], unread: list[Concern]) -> None:
        """Add a region's instances, and what could not be read of them."""
        untold = Unanswered(region)
        with self._talking(f"EC2 in {region} cannot be asked"):
            ec2 = self._client(region)
            found = list(discovery.instances(ec2, self._access))
            for told in discovery.told(ec2, region, found, self._access, untold):
                try:
                    machines.append(parse_instance(told, source=self._name))
                except InputInvalid as error:
                    name = str(told.instance.get("InstanceId"))
                    unread.append(unreadable(name, error.why.removeprefix(f"{name}: ")))
        unread.extend(untold.concerns())

    def _regions(self) -> tuple[str, ...]:
        """Each region once, as it is named first."""
        if self._access.regions:
            return tuple(dict.fromkeys(self._access.regions))
        region = aws.default_region(self._access.profile)
        if region is None:
            fix = "Name regions in the source's aws.regions, or set AWS_DEFAULT_REGION."
            raise InputInvalid("no region is named", [Problem(f"sources.{self._name}.aws.regions", "it is empty", fix)])
        return (region,)

    def concerns(self, machine: Machine) -> list[Concern]:
        with self._about(machine) as (ec2, region):
            instance, disks, volumes = self._now(ec2, region, machine)
            found = [*differences(machine, disks), *stops.unstoppable(instance), *stops.unseen(ec2, instance)]
            ways_back, grouped = [], list[Concern]()
            if power_of(instance) is Power.RUNNING:
                grouped += groups.concerns(lambda: self._scaling(region), instance, machine.name)
                found += stops.forbidden(ec2, instance)
                ways_back = [*stops.doubts(ec2, instance), *stops.keys(self._keys(region), volumes)]
            kept = uefi.concerns(ec2, machine)
            wanted = wanted_volumes(machine, disks)
            others = sharing.around(ec2, machine.id, wanted.values(), volumes)
            shared = writers.as_concerns(machine, sharing.problems(others, wanted, volumes))
        told = [*drift.as_concerns(machine, found), *grouped, *stops.as_concerns(machine, ways_back)]
        return [*told, *kept, *shared]

    # --- bytes ---------------------------------------------------------------------------------------------------

    def way(self, machine: Machine, *, remote: bool) -> contextlib.AbstractContextManager[DiskRef | None]:
        """A snapshot of the machine that is there already, whoever made it; none is made for a trial."""
        with self._about(machine) as (ec2, region):
            volumes = discovery.volumes_of(ec2, [machine.id]).get(machine.id, {})
            left = {volume_of(disk) for disk in machine.disks if disk.id in (machine.left_out or ())}
            found = snapshot_sets.standing(ec2, sorted(set(volumes) - left))
        if found is None:
            return contextlib.nullcontext(None)
        return contextlib.nullcontext(Way(self._access, region, remote).ref(found.id, found.gib))

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        with self._about(machine) as (ec2, region):
            if described(ec2, machine.id) is None:
                return self._last_copy(ec2, region, machine, since, final=final, remote=remote)
            instance, disks, volumes = self._now(ec2, region, machine)
            off = power_of(instance) is Power.OFF
            if final and not off:
                fix = "Stop it first; a final round reads a machine that is off."
                raise SourceRefused("the machine is not off", fix=fix, machine=machine.name)
            drift.refuse(
                machine,
                "its disks cannot be read as they were planned",
                [*differences(machine, disks), *stops.hibernated(instance)],
            )
            wanted = wanted_volumes(machine, disks)
            others = sharing.around(ec2, machine.id, wanted.values(), volumes)
            if final:
                writers.refuse(machine, sharing.problems(others, wanted, volumes))
            still = off and not sharing.up(others)
            sets = snapshot_sets.sets_of(ec2, machine.id, self._owner)
            copied = markers.copied_in(since, self._name)
            older = sets.pop(copied.view, None)
            stamp = snapshot_sets.stamp_of([instance, *others], volumes, off=still)
            usable = [
                one
                for one in sets.values()
                if one.stamp == stamp and one.covers(wanted.values(), volumes) and (still or not one.closed)
            ]
            current = max(usable, key=lambda one: one.taken_at, default=None)
            for other in sets.values():
                if other is not current:
                    snapshot_sets.drop(ec2, other)
            if current is None:
                left = snapshot_sets.without(instance, volumes, wanted.values())
                once = self._client(region, attempts=1)
                moment = Moment(stamp, still, wanted)
                current = snapshot_sets.make(once, machine, moment, left, owner=self._owner, ledger=ledger)
            current = snapshot_sets.completed(ec2, current, machine, self._access.snapshot_seconds)
            now = {disk.id: volume_of(disk) for disk in disks}
            refs = Way(self._access, region, remote).refs(machine, now, current, older, copied.volumes)
        marker = self._marker(machine, now, current)
        # Given back after a failure that may pass, it would be lost, and with it all that was copied from it.
        return Round(machine, refs, marker, served=True, consistency="off" if still else "crash")

    def _last_copy(
        self, ec2: Any, region: str, machine: Machine, since: Marker | None, *, final: bool, remote: bool
    ) -> Round:
        """The view of a machine that somebody has ended: a set of all its disks, each with the volume that it was then,
        and that no round was given back of; a final one, when it was off. Nothing is dropped. Raises SourceGone where
        there is none."""
        sets = snapshot_sets.sets_of(ec2, machine.id, self._owner)
        copied = markers.copied_in(since, self._name)
        older = sets.pop(copied.view, None)
        planned = wanted_volumes(machine, machine.disks)
        shown = {name: one.volumes if one.volumes.keys() == planned.keys() else planned for name, one in sets.items()}
        usable = [
            one
            for name, one in sets.items()
            if one.covers(shown[name].values(), shown[name].values()) and (one.off if final else not one.closed)
        ]
        current = max(usable, key=lambda one: one.taken_at, default=None)
        if current is None:
            raise gone(machine.name)
        now = shown[current.token]
        current = snapshot_sets.completed(ec2, current, machine, self._access.snapshot_seconds)
        refs = Way(self._access, region, remote).refs(machine, now, current, older, copied.volumes)
        consistency = "off" if current.off else "crash"
        return Round(machine, refs, self._marker(machine, now, current), True, consistency, only_copy=True)

    def _marker(self, machine: Machine, now: Mapping[str, str], current: SnapshotSet) -> Marker:
        shown = {disk.id: now[disk.id] for disk in machine.data_disks}
        return Marker(source=self._name, token=token_of(current.token, shown), taken_at=current.taken_at)

    def close_round(self, opened: Round) -> None:
        places = [place for ref in opened.refs.values() if (place := ebs_snapshot(ref.uri)) is not None]
        if places:
            names = sorted(place.snapshot for place in places)
            with self._talking("a round cannot be closed", opened.machine.name):
                snapshot_sets.close(self._client(places[0].region), names, needed=opened.consistency != "off")

    # --- power ---------------------------------------------------------------------------------------------------

    def variables(self, machine: Machine) -> bytes | None:
        with self._about(machine) as (ec2, _region):
            return uefi.variables(ec2, machine)

    def tpm_state(self, machine: Machine) -> bytes | None:
        """AWS hands over nothing of what its TPM holds."""
        del machine
        return None

    def power(self, machine: Machine) -> Power:
        with self._about(machine) as (ec2, _region):
            return power_of(instance_of(ec2, machine))

    def inside(self, machine: Machine) -> Inside:
        with self._about(machine) as (ec2, _region):
            return Inside(reached_at(instance_of(ec2, machine)), no_agent="EC2 has no way to a guest agent")

    def last_start(self, machine: Machine) -> str:
        with self._about(machine) as (ec2, _region):
            return str(instance_of(ec2, machine).get("LaunchTime", ""))

    def went_off(self, machine: Machine) -> WentOff:
        with self._about(machine) as (ec2, _region):
            return power.went_off(instance_of(ec2, machine))

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        with self._about(machine) as (ec2, _region):
            instance = instance_of(ec2, machine)
            grouped = groups.problems(instance) if power_of(instance) is Power.RUNNING else ()
            barred = [*stops.unstoppable(instance), *grouped]
            drift.refuse(machine, "the machine cannot be stopped safely", barred)
            return power.stop(ec2, machine, policy)

    def start(self, machine: Machine) -> None:
        with self._about(machine) as (ec2, _region):
            power.start(ec2, machine)

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        regions: dict[str, list[str]] = {}
        for machine in machines:
            regions.setdefault(machine.metadata.get(REGION, ""), []).append(machine.id)
        with self._talking("EC2 cannot be asked"):
            return {
                str(one["InstanceId"]): power_of(one)
                for region, names in regions.items()
                for one in discovery.named(self._client(region), names)
            }

    def autostart(self, machine: Machine) -> Autostart | None:
        with self._about(machine) as (ec2, region):
            return groups.told(lambda: self._scaling(region), instance_of(ec2, machine))

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        with self._about(machine) as (ec2, region):
            groups.put(lambda: self._scaling(region), lambda: instance_of(ec2, machine), wanted, machine.name)

    def notes(self, machine: Machine) -> str | None:
        with self._about(machine) as (ec2, _region):
            return marks.text_of(instance_of(ec2, machine), marks.MOVED_TAG)

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        with self._about(machine) as (ec2, _region):
            marks.write_notes(ec2, instance_of(ec2, machine), notes, was, machine.name)

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        with self._about(machine) as (ec2, region):
            instance_of(ec2, machine)
            ledger(External(STOP_MARK, machine.name, f"{region}/{machine.id}"))
            ec2.create_tags(Resources=[machine.id], Tags=[{"Key": marks.TAG, "Value": written(mark)}])
            return ""

    def marked(self, machine: Machine) -> StopMark | None:
        with self._about(machine) as (ec2, _region):
            return read(marks.text_of(instance_of(ec2, machine)))

    def unmark(self, machine: Machine) -> None:
        with self._about(machine) as (ec2, _region):
            marks.take_away(ec2, instance_of(ec2, machine))

    def forget(self, machine: Machine) -> list[str]:
        with self._about(machine) as (ec2, _region):
            dropped, failed = [], list[Exception]()
            for one in snapshot_sets.sets_of(ec2, machine.id, self._owner).values():
                try:
                    dropped += snapshot_sets.drop(ec2, one)
                except aws.failures() as error:  # what can go goes
                    failed.append(error)
            instance = described(ec2, machine.id)
            dropped += marks.take_away(ec2, instance) if instance is not None else []
            if failed:
                raise failed[0]
            return dropped

    def exists(self, thing: External) -> bool:
        region, _, machine = thing.where.partition("/")
        with self._talking("snapshots cannot be looked for"):
            if thing.kind == STOP_MARK:
                instance = described(self._client(region), machine)
                return instance is not None and marks.text_of(instance) is not None
            return snapshot_sets.is_there(self._client(region), machine, thing.name)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    @property
    def _owner(self) -> Owner:
        return Owner(self._name, self.journal)

    # --- inside --------------------------------------------------------------------------------------------------

    def _client(self, region: str, attempts: int = 6, service: str = "ec2") -> Any:
        if (service, region, attempts) not in self._clients:
            own = self._access
            access = Access(region, own.profile, own.role_arn, own.external_id, own.endpoint_url)
            self._clients[service, region, attempts] = aws.client(service, access, attempts=attempts)
        return self._clients[service, region, attempts]

    def _scaling(self, region: str) -> Any:
        return self._client(region, service="autoscaling")

    def _keys(self, region: str) -> Any:
        """The keys of the region, which encrypted volumes need."""
        return self._client(region, service="kms")

    @contextlib.contextmanager
    def _talking(self, what: str, machine: str = "") -> Iterator[None]:
        """AWS's errors come out as ours."""
        try:
            yield
        except aws.failures() as error:
            if aws.code_of(error) in NO_MACHINE:
                raise gone(machine) from error
            raise aws.told(error, what, machine=machine) from error

    @contextlib.contextmanager
    def _about(self, machine: Machine) -> Iterator[tuple[Any, str]]:
        """A client for the region of a machine, and its name."""
        region = machine.metadata.get(REGION)
        if region is None:
            fix = "Discover it with this source."
            raise SourceRefused("the machine's region is not known", fix=fix, machine=machine.name)
        try:
            with self._talking("EC2 cannot do what was asked", machine.name):
                yield self._client(region), region
        except SourceGone as error:
            raise self._ended(region, machine) from error.__cause__

    def _ended(self, region: str, machine: Machine) -> SourceRefused:
        """The error for a machine that is not there. That it is gone for good is known where snapshots of ours say that
        this is its account: other credentials see none of it, either."""
        with self._talking("snapshots cannot be looked for", machine.name):
            ec2 = self._client(region)
            own = snapshot_sets.sets_of(ec2, machine.id, self._owner)
            ours = max(own.values(), key=lambda one: one.taken_at, default=None)
            last = ours or snapshot_sets.newest(ec2, machine.id, self._name)
        if last is None:
            told = gone(machine.name)
            return SourceRefused(told.what, fix=told.fix, machine=machine.name)
        return ended(machine.name, last, ours=ours is not None)

    def _now(
        self, ec2: Any, region: str, machine: Machine
    ) -> tuple[dict[str, Any], tuple[Disk, ...], dict[str, dict[str, Any]]]:
        """The instance, its disks and its volumes as they are at this moment."""
        instance = instance_of(ec2, machine)
        volumes = discovery.volumes_of(ec2, [machine.id]).get(machine.id, {})
        told = Told(instance=instance, region=region, volumes=volumes)
        return instance, read_disks(Facts(instance), Facts(None), told), volumes
