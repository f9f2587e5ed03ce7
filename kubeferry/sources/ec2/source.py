"""AWS EC2 as a source: facts in bulk, rounds by snapshots of all volumes at one instant, deltas between snapshots.

Instances are stopped and started, never ended; volumes are never written, detached or deleted. What is made is
snapshots, tagged as ours. The bytes are read from them by movers, through the EBS direct APIs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kubeferry.documents import Inventory, SourceConfig, StopPolicy
from kubeferry.documents.settings import AwsAccess
from kubeferry.errors import InputInvalid, Problem, SourceRefused, SourceUnavailable
from kubeferry.ledger import STOP_MARK, External, Ledger
from kubeferry.marks import StopMark, read, written
from kubeferry.model import Concern, Disk, DiskRef, Machine, Marker, Power, Severity
from kubeferry.outside import aws, clock, stopping
from kubeferry.outside.aws import Access
from kubeferry.sources import Hear, Round, SourceCapabilities, Stopped
from kubeferry.sources.disks import drift
from kubeferry.sources.ec2 import discovery, markers, marks, snapshot_sets, stops
from kubeferry.sources.ec2.disks import GIB, read_disks, volume_of
from kubeferry.sources.ec2.facts import Facts
from kubeferry.sources.ec2.instance import GONE, REGION, parse_instance, power_of
from kubeferry.sources.ec2.markers import token_of
from kubeferry.sources.ec2.snapshot_sets import SnapshotSet
from kubeferry.sources.ec2.told import Told
from kubeferry.sources.facts.single_names import named
from kubeferry.uris import EbsSnapshot, ebs_snapshot

FORCED_STOP_SECONDS = 600.0
START_SECONDS = 600.0
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
NO_MACHINE = frozenset({"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"})


def connect(name: str, config: SourceConfig) -> Ec2Source:
    """The account that the configuration names. Connects when first asked."""
    return Ec2Source(name, config.aws)


class Ec2Source:
    """See `kubeferry.sources.Source` for what each method promises."""

    capabilities = SourceCapabilities(tells_starts=True, warm=True, live_deltas=True, force_stop=True, last_words=False)

    def __init__(self, name: str, access: AwsAccess) -> None:
        self._name = name
        self._access = access
        self._clients: dict[tuple[str, str, int], Any] = {}

    # --- facts ---------------------------------------------------------------------------------------------------

    def discover(self) -> Inventory:
        machines, unreadable = [], []
        for region in self._regions():
            with self._talking(f"EC2 in {region} cannot be asked"):
                ec2 = self._client(region)
                found = list(discovery.instances(ec2, self._access))
                for told in discovery.told(ec2, region, found, self._access):
                    try:
                        machines.append(parse_instance(told, source=self._name))
                    except InputInvalid as error:
                        unreadable.append(_unreadable(str(told.instance.get("InstanceId")), error.why))
        return Inventory(
            source=self._name,
            source_kind="aws",
            source_version="EC2 API 2016-11-15",
            observed_at=clock.now("seconds"),
            machines=tuple(sorted(named(machines), key=lambda machine: machine.name)),
            unreadable=tuple(unreadable),
        )

    def _regions(self) -> tuple[str, ...]:
        if self._access.regions:
            return self._access.regions
        region = aws.default_region(self._access.profile)
        if region is None:
            fix = "Name regions in the source's aws.regions, or set AWS_DEFAULT_REGION."
            raise InputInvalid("no region is named", [Problem(f"sources.{self._name}.aws.regions", "it is empty", fix)])
        return (region,)

    def concerns(self, machine: Machine) -> list[Concern]:
        with self._about(machine) as (ec2, region):
            instance, disks, volumes = self._now(ec2, region, machine)
            found = [*_differences(machine, disks), *stops.unstoppable(instance)]
            ways_back = []
            if power_of(instance) is Power.RUNNING:
                found += stops.forbidden(ec2, instance)
                ways_back = [*stops.doubts(ec2, instance), *stops.keys(self._keys(region), volumes)]
        return [*drift.as_concerns(machine, found), *stops.as_concerns(machine, ways_back)]

    # --- bytes ---------------------------------------------------------------------------------------------------

    def way(self, machine: Machine, *, remote: bool) -> contextlib.AbstractContextManager[DiskRef | None]:
        """A snapshot of the machine that is there already, whoever made it; none is made for a trial."""
        with self._about(machine) as (ec2, region):
            volumes = discovery.volumes_of(ec2, [machine.id]).get(machine.id, {})
            left = {volume_of(disk) for disk in machine.disks if disk.id in (machine.left_out or ())}
            found = snapshot_sets.standing(ec2, sorted(set(volumes) - left))
        if found is None:
            return contextlib.nullcontext(None)
        return contextlib.nullcontext(self._ref(region, found.id, found.gib, None, remote=remote))

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        with self._about(machine) as (ec2, region):
            instance, disks, volumes = self._now(ec2, region, machine)
            off = power_of(instance) is Power.OFF
            if final and not off:
                fix = "Stop it first; a final round reads a machine that is off."
                raise SourceRefused("the machine is not off", fix=fix, machine=machine.name)
            _refuse(
                machine,
                "its disks cannot be read as they were planned",
                [*_differences(machine, disks), *stops.hibernated(instance)],
            )
            sets = snapshot_sets.sets_of(ec2, machine.id)
            copied = markers.copied_in(since, self._name)
            older = sets.pop(copied.view, None)
            stamp = snapshot_sets.stamp_of(instance, volumes, off=off)
            wanted = [volume_of(disk) for disk in drift.wanted(machine, disks).values()]
            usable = [
                one
                for one in sets.values()
                if one.stamp == stamp and one.covers(wanted, volumes) and (off or not one.closed)
            ]
            current = max(usable, key=lambda one: one.taken_at, default=None)
            for other in sets.values():
                if other is not current:
                    snapshot_sets.drop(ec2, other)
            if current is None:
                left = snapshot_sets.without(instance, volumes, wanted)
                current = self._make(region, machine, stamp, left, ledger)
            current = snapshot_sets.completed(ec2, current, machine, self._access.snapshot_seconds)
            now = {disk.id: volume_of(disk) for disk in disks}
            refs = self._refs(machine, now, current, older, copied.volumes, region=region, remote=remote)
        shown = {disk.id: now[disk.id] for disk in machine.data_disks}
        marker = Marker(source=self._name, token=token_of(current.token, shown), taken_at=current.taken_at)
        # Given back after a failure that may pass, it would be lost, and with it all that was copied from it.
        return Round(machine, refs, marker, served=True, consistency="off" if off else "crash")

    def _make(self, region: str, machine: Machine, stamp: str, left: dict[str, Any], ledger: Ledger) -> SnapshotSet:
        once = self._client(region, attempts=1)
        return snapshot_sets.make(once, machine, stamp, left, region=region, ledger=ledger)

    def _refs(
        self,
        machine: Machine,
        now: Mapping[str, str],
        current: SnapshotSet,
        older: SnapshotSet | None,
        copied: Mapping[str, str],
        *,
        region: str,
        remote: bool,
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
            refs[disk.id] = self._ref(
                region, snapshot.id, snapshot.gib, before.id if before and same else None, remote=remote
            )
        return refs

    def _ref(self, region: str, snapshot: str, gib: int, older: str | None, *, remote: bool) -> DiskRef:
        """A snapshot as a mover is to read it."""
        place = EbsSnapshot(
            region=region,
            snapshot=snapshot,
            profile=None if remote else self._access.profile,
            role_arn=self._access.role_arn,
            external_id=self._access.external_id,
            endpoint_url=self._access.endpoint_url,
        )
        secret = self._access.secret if remote else None
        return DiskRef(uri=place.uri(), size_bytes=gib * GIB, credential=secret, changed=older)

    def close_round(self, opened: Round) -> None:
        places = [place for ref in opened.refs.values() if (place := ebs_snapshot(ref.uri)) is not None]
        if places:
            with self._talking("a round cannot be closed", opened.machine.name):
                snapshot_sets.close(self._client(places[0].region), sorted(place.snapshot for place in places))

    # --- power ---------------------------------------------------------------------------------------------------

    def variables(self, machine: Machine) -> bytes | None:
        """AWS has a form of its own for them, which is not read."""
        del machine
        return None

    def power(self, machine: Machine) -> Power:
        with self._about(machine) as (ec2, _region):
            return power_of(_instance(ec2, machine))

    def last_start(self, machine: Machine) -> str:
        with self._about(machine) as (ec2, _region):
            return str(_instance(ec2, machine).get("LaunchTime", ""))

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        with self._about(machine) as (ec2, _region):
            instance = _instance(ec2, machine)
            _refuse(machine, "the machine cannot be stopped safely", stops.unstoppable(instance))
            if power_of(instance) is Power.OFF:
                return Stopped("already-off", clock.now())
            ec2.stop_instances(InstanceIds=[machine.id])
            seconds = policy.agent_seconds + policy.acpi_seconds
            if _becomes(ec2, machine, "stopped", seconds):
                return Stopped("acpi", clock.now())
            if policy.force:
                ec2.stop_instances(InstanceIds=[machine.id], Force=True)
                if _becomes(ec2, machine, "stopped", FORCED_STOP_SECONDS):
                    return Stopped("forced", clock.now())
            raise SourceRefused(
                "the machine does not stop",
                why=f"EC2 was asked to stop it, and it was not off after {seconds:.0f} s",
                fix="EC2 may still stop it: look at it, then run this again; or raise stop.acpiSeconds, or set "
                "stop.force in the policy, and plan again.",
                machine=machine.name,
            )

    def start(self, machine: Machine) -> None:
        with self._about(machine) as (ec2, _region):
            state = _state(_instance(ec2, machine))
            if state == "stopping" and not _becomes(ec2, machine, "stopped", START_SECONDS):
                fix = "Run the same command again."
                raise SourceUnavailable("the machine is still stopping", fix=fix, machine=machine.name)
            if state not in {"running", "pending"}:
                ec2.start_instances(InstanceIds=[machine.id])
            if not _becomes(ec2, machine, "running", START_SECONDS):
                fix = "Look at it in the console; then run the same command again."
                raise SourceUnavailable("the machine does not start", fix=fix, machine=machine.name)

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> None:
        with self._about(machine) as (ec2, region):
            _instance(ec2, machine)
            ledger(External(STOP_MARK, machine.name, f"{region}/{machine.id}"))
            ec2.create_tags(Resources=[machine.id], Tags=[{"Key": marks.TAG, "Value": written(mark)}])

    def marked(self, machine: Machine) -> StopMark | None:
        with self._about(machine) as (ec2, _region):
            return read(marks.text_of(_instance(ec2, machine)))

    def unmark(self, machine: Machine) -> None:
        with self._about(machine) as (ec2, _region):
            marks.take_away(ec2, _instance(ec2, machine))

    def forget(self, machine: Machine) -> list[str]:
        with self._about(machine) as (ec2, _region):
            sets = snapshot_sets.sets_of(ec2, machine.id).values()
            dropped = [line for one in sets for line in snapshot_sets.drop(ec2, one)]
            instance = _described(ec2, machine.id)
            return dropped if instance is None else [*dropped, *marks.take_away(ec2, instance)]

    def exists(self, thing: External) -> bool:
        region, _, machine = thing.where.partition("/")
        with self._talking("snapshots cannot be looked for"):
            if thing.kind == STOP_MARK:
                instance = _described(self._client(region), machine)
                return instance is not None and marks.text_of(instance) is not None
            return bool(snapshot_sets.sets_of(self._client(region), machine, thing.name))

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    # --- inside --------------------------------------------------------------------------------------------------

    def _client(self, region: str, attempts: int = 6, service: str = "ec2") -> Any:
        if (service, region, attempts) not in self._clients:
            own = self._access
            access = Access(region, own.profile, own.role_arn, own.external_id, own.endpoint_url)
            self._clients[service, region, attempts] = aws.client(service, access, attempts=attempts)
        return self._clients[service, region, attempts]

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
                raise _gone(machine) from error
            raise aws.told(error, what, machine=machine) from error

    @contextlib.contextmanager
    def _about(self, machine: Machine) -> Iterator[tuple[Any, str]]:
        """A client for the region of a machine, and its name."""
        region = machine.metadata.get(REGION)
        if region is None:
            fix = "Discover it with this source."
            raise SourceRefused("the machine's region is not known", fix=fix, machine=machine.name)
        with self._talking("EC2 cannot do what was asked", machine.name):
            yield self._client(region), region

    def _now(
        self, ec2: Any, region: str, machine: Machine
    ) -> tuple[dict[str, Any], tuple[Disk, ...], dict[str, dict[str, Any]]]:
        """The instance, its disks and its volumes as they are at this moment."""
        instance = _instance(ec2, machine)
        volumes = discovery.volumes_of(ec2, [machine.id]).get(machine.id, {})
        told = Told(instance=instance, region=region, volumes=volumes)
        return instance, read_disks(Facts(instance), Facts(None), told), volumes


# --- one thing each ----------------------------------------------------------------------------------------------


def _unreadable(name: str, why: str) -> Concern:
    fix = "Look at it with `aws ec2 describe-instances`; it is left out of the inventory."
    return Concern(id="machine.unreadable", severity=Severity.WARNING, what=f"{name}: {why}", fix=fix)


def _gone(machine: str) -> SourceRefused:
    fix = "Discover and plan again."
    return SourceRefused("the source has no such machine any more", fix=fix, machine=machine)


def _instance(ec2: Any, machine: Machine) -> dict[str, Any]:
    """The instance as EC2 describes it now. One that was ended is listed for a while; it is gone all the same."""
    found = _described(ec2, machine.id)
    if found is None:
        raise _gone(machine.name)
    return found


def _described(ec2: Any, name: str) -> dict[str, Any] | None:
    """None for an instance that is gone."""
    try:
        answer = ec2.describe_instances(InstanceIds=[name])
    except aws.failures() as error:
        if aws.code_of(error) in NO_MACHINE:
            return None
        raise
    listed: list[dict[str, Any]] = [one for held in answer.get("Reservations", []) for one in held.get("Instances", [])]
    return next((one for one in listed if _state(one) not in GONE), None)


def _state(instance: dict[str, Any]) -> str:
    return str(instance.get("State", {}).get("Name", "unknown"))


def _becomes(ec2: Any, machine: Machine, wanted: str, seconds: float) -> bool:
    limit, pause = time.monotonic() + seconds, FIRST_POLL
    while _state(_instance(ec2, machine)) != wanted:
        if time.monotonic() > limit:
            return False
        stopping.pause(pause)
        pause = min(LONGEST_POLL, pause * 1.5)
    return True


def _differences(machine: Machine, disks: tuple[Disk, ...]) -> Iterator[Problem]:
    """Where the volumes are not those of the plan. Another volume of the same size is read whole, and is no problem."""
    now, was = drift.wanted(machine, disks), {disk.id: disk for disk in machine.data_disks}
    yield from drift.attachments(was, now)
    for name in sorted(was.keys() & now.keys()):
        planned, size = was[name].capacity_bytes, now[name].capacity_bytes
        if planned is not None and planned != size:
            yield Problem(name, f"its size is now {size} bytes, and was {planned}", drift.DISCOVER)
        if was[name].format != "raw":
            yield Problem(name, f"its format is now raw, and was {was[name].format}", drift.DISCOVER)


def _refuse(machine: Machine, what: str, found: list[Problem] | Iterator[Problem]) -> None:
    problems = list(found)
    if problems:
        raise SourceRefused(
            what,
            why="; ".join(f"{problem.where}: {problem.what}" for problem in problems),
            fix=" ".join(dict.fromkeys(problem.fix for problem in problems)),
            machine=machine.name,
        )
