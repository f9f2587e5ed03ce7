"""A target in this process's memory: a double for tests of what stands around targets.

It does not start programs, boot machines, attach what others carry or look at manifests; it reads raw files only, in
one thread, keeps no checkpoint, and knows no full disk. Of a round that names what changed it takes no more than that.
`observe` answers what the test put into `answers`, and passes what it was not told about. It does keep the promises of
the seam: idempotent, ours or refused, nothing made before the ledger has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container

from kubeferry.documents import (
    Entry,
    MoverError,
    MoverJob,
    MoverProgress,
    MoverResult,
    Observation,
    Offer,
    Probe,
    ProbeResult,
    TargetConfig,
)
from kubeferry.errors import (
    Fenced,
    IntegrityFailed,
    Interrupted,
    KubeferryError,
    SourceRefused,
    TargetRefused,
    TargetUnavailable,
)
from kubeferry.inside.agent import Ask
from kubeferry.inside.said import Said
from kubeferry.ledger import REHEARSAL
from kubeferry.marks import MoveMark
from kubeferry.model import Concern, DiskRef, Severity
from kubeferry.outside import clock
from kubeferry.ranges import ranges_of
from kubeferry.targets import (
    External,
    Ledger,
    Reach,
    Room,
    TargetCapabilities,
    rehearsed_now,
    runs_from_it,
    still_attached,
    superseded,
    users_of,
)
from kubeferry.targets.guest.rehearsals import asked, unshown
from kubeferry.targets.memory.blocks import BLOCK_BYTES, content_of, digests_of, root_of
from kubeferry.uris import local_path
from kubeferry.words import counted

# Run strategies by which a place starts a machine that nobody asked it to start.
STARTING = frozenset({"Always", "RerunOnFailure"})

_opened: dict[str, MemoryTarget] = {}


def connect(config: TargetConfig) -> MemoryTarget:
    """The one target of this process with the configuration's path: a later run finds what an earlier one left."""
    return _opened.setdefault(config.path, MemoryTarget())


class MemoryTarget:
    """See `kubeferry.targets.Target`. Tests reach into `disks` (by `NAME/DISK`), `running`, `strategies` (what machines
    were handed over with), `answers` (probe kind to whether it passes), `said` (name to what the system says of
    itself), `agents` (name to what answers as its guest agent), `refusals` (what a trial of a machine finds),
    `faults` (method to errors, raised one a call), and `moves` (the marks of machines that have moved),
    `rehearsals` (since when isolated copies run), `beside` (whom each was started with last), `rehearsals_write` (one
    changes the disks that it must only read), `heeds_fences`: without it, a runner has slept in the one moment that no
    fence covers."""

    capabilities = TargetCapabilities(keeps_running=False, isolated=True, rehearses_together=True)

    def __init__(self) -> None:
        self.disks: dict[str, bytearray] = {}
        self.applied: dict[str, tuple[dict[str, object], ...]] = {}
        self.running: dict[str, str] = {}
        self.strategies: dict[str, str] = {}
        self.moves: dict[str, MoveMark] = {}
        self.rehearsals: dict[str, str] = {}
        self.beside: dict[str, tuple[str, ...]] = {}
        self.rehearsals_write = False
        self.answers: dict[str, bool] = {}
        self.agents: dict[str, Ask] = {}
        self.said: dict[str, Said] = {}
        self.faults: defaultdict[str, list[KubeferryError]] = defaultdict(list)
        self.refusals: dict[str, list[Concern]] = {}
        self._owners: dict[str, tuple[str, str]] = {}
        self._fingerprints: dict[str, list[str]] = {}
        self._results: dict[str, MoverResult] = {}
        self._fences: dict[str, int] = {}
        self.heeds_fences = True
        self._newest: dict[str, int] = {}

    def offer(self) -> Offer:
        self._fail("offer")
        return Offer()

    def concerns(self, entries: tuple[Entry, ...]) -> list[Concern]:
        self._fail("concerns")
        fix = "Give the machine another name in the policy."
        taken = [entry for entry in entries if self._owners.get(entry.target_name, _owner(entry)) != _owner(entry)]
        return [
            Concern(id="target-name-taken", severity=Severity.CRITICAL, what=f"{entry.name} is taken", fix=fix)
            for entry in taken
        ]

    def trial(self, entries: tuple[Entry, ...], reach: Reach) -> dict[str, list[Concern]]:
        """What `refusals` holds of these machines, and what cannot be read of their sources; nothing is made."""
        self._fail("trial")
        found = {entry.name: self.refusals[entry.name] for entry in entries if entry.name in self.refusals}
        for entry in entries:
            try:
                with reach(entry) as way:
                    if way is not None and (path := local_path(way.uri)) is not None:
                        path.open("rb").close()
            except Interrupted:
                raise
            except (KubeferryError, OSError) as error:
                told = error if isinstance(error, KubeferryError) else SourceRefused(str(error), fix="Bring it back.")
                what = f"{entry.name}: {told.what}"
                found[entry.name] = [Concern(id="trial.refused", severity=Severity.CRITICAL, what=what, fix=told.fix)]
        return found

    def prepare(self, entry: Entry, ledger: Ledger) -> dict[str, Room]:
        self._fail("prepare")
        self._check(entry)
        for user in users_of(entry):
            if user.target_name in self.running:
                raise runs_from_it(entry, user.name)
        if entry.target_name in self.rehearsals:
            raise rehearsed_now(entry, f"a rehearsal of {entry.target_name}")
        rooms = {}
        for planned in entry.disks:
            place = f"{entry.target_name}/{planned.disk}"
            created = place not in self.disks
            if created:
                ledger(External("disk", place, "memory"))
                self.disks[place] = bytearray(planned.size_bytes)
                self._fingerprints.pop(place, None)
                self._results.pop(place, None)
            if len(self.disks[place]) != planned.size_bytes:
                raise TargetRefused("the disk is there with another size", machine=entry.name, disk=planned.disk)
            ref = DiskRef(uri=f"memory:{place}", size_bytes=planned.size_bytes)
            rooms[planned.disk] = Room(ref, place, reads_zero=not any(self.disks[place]), created=created)
        self._owners[entry.target_name] = _owner(entry)
        return rooms

    def submit(self, job: MoverJob, ledger: Ledger, held: bytes | None = None) -> None:
        self._fail("submit")
        newest = self._results.get(job.state_dir)
        if newest is not None and newest.ok and newest.name == job.name:
            return
        ledger(External("mover", job.name, "memory"))
        try:
            self._results[job.state_dir] = self._moved(job, held)
        except (KubeferryError, OSError) as error:
            told = error if isinstance(error, KubeferryError) else TargetUnavailable(str(error), fix="Try it again.")
            failure = MoverError(type=type(told).__name__, what=told.what, why=told.why, fix=told.fix)
            self._results[job.state_dir] = MoverResult(name=job.name, action=job.action, ok=False, error=failure)

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        self._fail("watch")
        result = self._results.get(job.state_dir)
        if result is None or result.name != job.name:
            what, fix = "no mover of this name was submitted here", "Submit the job first."
            failure = MoverError(type="TargetUnavailable", what=what, fix=fix)
            return MoverResult(name=job.name, action=job.action, ok=False, error=failure)
        on_progress(MoverProgress(done_bytes=result.data_bytes, total_bytes=result.data_bytes, phase="done"))
        return result

    def variables_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        self._fail("variables_room")
        return self._small_room(entry, f"{entry.target_name}/variables", size, ledger)

    def tpm_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        self._fail("tpm_room")
        return self._small_room(entry, f"{entry.target_name}/tpm", size, ledger)

    def drop_tpm(self, entry: Entry) -> list[str]:
        self._fail("drop_tpm")
        self._check(entry)
        place = f"{entry.target_name}/tpm"
        return [place] if self.disks.pop(place, None) is not None else []

    def _small_room(self, entry: Entry, place: str, size: int, ledger: Ledger) -> Room:
        self._check(entry)
        created = place not in self.disks
        if created:
            ledger(External("disk", place, "memory"))
        self.disks[place] = bytearray(size)
        return Room(DiskRef(uri=f"memory:{place}", size_bytes=size), place, reads_zero=False, created=created)

    def apply(self, entry: Entry, ledger: Ledger, *, dry_run: bool) -> list[str]:
        self._fail("apply")
        self._check(entry)
        before = self.applied.get(entry.target_name)
        change = "created" if before is None else "unchanged" if before == entry.manifests else "changed"
        if not dry_run:
            self._owners[entry.target_name] = _owner(entry)
            self.applied[entry.target_name] = entry.manifests
        return [f"{change} {manifest.get('kind')}" for manifest in entry.manifests]

    def start(self, entry: Entry, ledger: Ledger, fence: int = 0) -> None:
        self._fail("start")
        self._check(entry)
        self._raise_fence(entry, fence)
        if self.applied.get(entry.target_name) != entry.manifests:
            raise TargetRefused("the plan's manifests are not applied", fix="Apply them first.", machine=entry.name)
        if entry.target_name not in self.running:
            ledger(External("process", entry.target_name, "memory"))
            self.running[entry.target_name] = clock.now()

    def runs(self, entry: Entry) -> bool:
        self._fail("runs")
        return entry.target_name in self.running and self._owners.get(entry.target_name, _owner(entry)) == _owner(entry)

    def observe(self, entry: Entry, last_words: dict[str, str]) -> Observation:
        self._fail("observe")
        if entry.target_name not in self.running:
            raise TargetRefused("the machine is not started", fix="Start it first.", machine=entry.name)
        seen = self._seen(entry, self.running[entry.target_name], entry.probes)
        guest = {path: words.strip() for path, words in last_words.items()}
        return seen.model_copy(update={"guest": guest, "said": self.said.get(entry.target_name)})

    def agent(self, entry: Entry) -> Ask:
        self._fail("agent")
        if entry.target_name not in self.running:
            raise TargetRefused("the machine is not started", fix="Start it first.", machine=entry.name)
        return self.agents.get(entry.target_name, _silent)

    def rehearse(self, entry: Entry, ledger: Ledger, fence: int = 0, beside: tuple[Entry, ...] = ()) -> None:
        self._fail("rehearse")
        self._check(entry)
        self._raise_fence(entry, fence)
        if entry.target_name in self.running:
            raise runs_from_it(entry, entry.name)
        if missing := [one.disk for one in entry.disks if f"{entry.target_name}/{one.disk}" not in self.disks]:
            raise TargetRefused(f"no disk {missing[0]} is here", fix="Copy it first.", machine=entry.name)
        if entry.target_name not in self.rehearsals:
            ledger(External(REHEARSAL, entry.target_name, "memory"))
            self.rehearsals[entry.target_name] = clock.now()
            if self.rehearsals_write:
                self.disks[f"{entry.target_name}/{entry.disks[0].disk}"][0] ^= 0xFF
        self.beside[entry.target_name] = tuple(one.target_name for one in beside)

    def observe_rehearsal(self, entry: Entry) -> Observation:
        self._fail("observe_rehearsal")
        if entry.target_name not in self.rehearsals:
            raise TargetRefused("no rehearsal of it is started", fix="Start it first.", machine=entry.name)
        probes, not_asked = asked(entry, networked=False)
        seen = self._seen(entry, self.rehearsals[entry.target_name], probes)
        return seen.model_copy(update={"not_asked": not_asked, "not_shown": unshown(entry)})

    def end_rehearsal(self, entry: Entry, fence: int = 0) -> list[str]:
        self._fail("end_rehearsal")
        self._check(entry)
        self._raise_fence(entry, fence)
        gone = self.rehearsals.pop(entry.target_name, None)
        return [f"rehearsal of {entry.target_name}"] if gone else []

    def stop(self, entry: Entry, fence: int = 0) -> None:
        self._fail("stop")
        self._raise_fence(entry, fence)
        self.strategies.pop(entry.target_name, None)
        self.running.pop(entry.target_name, None)

    def hand_over(self, entry: Entry, fence: int = 0) -> str:
        self._fail("hand_over")
        self._check(entry)
        self._raise_fence(entry, fence)
        if self.applied.get(entry.target_name) != entry.manifests:
            raise TargetRefused("the plan's manifests are not applied", fix="Apply them first.", machine=entry.name)
        if not self.capabilities.keeps_running:
            return ""
        self.strategies[entry.target_name] = entry.run_strategy
        if entry.run_strategy in STARTING:
            self.running.setdefault(entry.target_name, clock.now())
        return entry.run_strategy

    def mark(self, entry: Entry, mark: MoveMark, fence: int = 0) -> None:
        self._fail("mark")
        self._check(entry)
        self._raise_fence(entry, fence)
        self.moves[entry.target_name] = mark

    def marked(self, entry: Entry) -> MoveMark | None:
        self._fail("marked")
        ours = self._owners.get(entry.target_name, _owner(entry)) == _owner(entry)
        return self.moves.get(entry.target_name) if ours else None

    def unmark(self, entry: Entry, fence: int = 0) -> None:
        self._fail("unmark")
        self._check(entry)
        self._raise_fence(entry, fence)
        self.moves.pop(entry.target_name, None)

    def tidy(self, entry: Entry) -> list[str]:
        self._fail("tidy")
        return []

    def remove(self, entry: Entry, fence: int = 0) -> list[str]:
        self._fail("remove")
        self._check(entry)
        if users := [user.name for user in users_of(entry) if user.target_name in self.applied]:
            raise still_attached(entry, users)
        self._raise_fence(entry, fence)
        self.moves.pop(entry.target_name, None)
        self.strategies.pop(entry.target_name, None)
        self.running.pop(entry.target_name, None)
        self.rehearsals.pop(entry.target_name, None)
        gone = [place for place in self.disks if place.startswith(f"{entry.target_name}/")]
        for place in gone:
            for kept in (self.disks, self._fingerprints, self._results, self._fences):
                kept.pop(place, None)
        removed = self.applied.pop(entry.target_name, None)
        self._owners.pop(entry.target_name, None)
        self._newest.pop(entry.target_name, None)
        return [*gone, *([f"manifests of {entry.target_name}"] if removed else [])]

    def exists(self, thing: External) -> bool:
        known: dict[str, Container[str]] = {"process": self.running, "disk": self.disks, REHEARSAL: self.rehearsals}
        return thing.name in known.get(thing.kind, ())

    def close(self) -> None:
        self._fail("close")

    def _fail(self, method: str) -> None:
        if self.faults[method]:
            raise self.faults[method].pop(0)

    def _seen(self, entry: Entry, started_at: str, probes: tuple[Probe, ...]) -> Observation:
        """Each probe as `answers` says."""
        told = {probe.kind: self.answers.get(probe.kind, True) for probe in probes}
        results = tuple(
            ProbeResult(kind=probe.kind, what=probe.kind, ok=told[probe.kind], evidence="told by the test")
            for probe in probes
        )
        where = "memory: nothing was booted"
        return Observation(machine=entry.name, started_at=started_at, where=where, probes=results)

    def _check(self, entry: Entry) -> None:
        if self._owners.get(entry.target_name, _owner(entry)) != _owner(entry):
            raise TargetRefused(f"{entry.target_name} belongs to another machine", machine=entry.name)

    def _raise_fence(self, entry: Entry, fence: int) -> None:
        newest = self._newest.get(entry.target_name, 0)
        if fence and self.heeds_fences and fence < newest:
            raise superseded(entry, entry.target_name, newest, fence)
        self._newest[entry.target_name] = max(newest, fence)

    def _copy(self, job: MoverJob, disk: bytearray, held: bytes | None) -> None:
        """All of the source; or only what it calls changed, where the disk is the copy that it says that of."""
        content = content_of(job.source, held)
        known = self._fingerprints.get(job.state_dir)
        changed = job.source.changed if job.source else None
        if changed is None or known is None or job.since_root != root_of(known):
            disk[:] = content
            return
        for start, stop in ranges_of(changed):
            disk[start:stop] = content[start:stop]

    def _moved(self, job: MoverJob, held: bytes | None) -> MoverResult:
        """Do the job's work; raises what goes wrong."""
        if job.fence < self._fences.get(job.state_dir, 0):
            raise Fenced("a newer runner has worked on this disk", fix="Leave the disk to it.")
        self._fences[job.state_dir] = job.fence
        disk = self.disks[job.state_dir]
        before = digests_of(disk)
        if job.action != "verify":
            self._copy(job, disk, held)
            self._fingerprints[job.state_dir] = digests_of(disk)
        wanted = self._fingerprints.get(job.state_dir)
        if wanted is None:
            raise IntegrityFailed("there is no fingerprint to compare with")
        differing = [number for number, pair in enumerate(zip(before, wanted, strict=True)) if pair[0] != pair[1]]
        wrong = bool(differing) and job.action == "verify"
        differ = counted(len(differing), "block of the target differs", "blocks of the target differ")
        what = f"{differ} from its fingerprint"
        return MoverResult(
            name=job.name,
            action=job.action,
            ok=not wrong,
            root=root_of(wanted),
            algorithm="sha256",
            size_bytes=len(disk),
            data_bytes=len(disk),
            read_bytes=len(disk),
            written_bytes=0 if job.action == "verify" else len(differing) * BLOCK_BYTES,
            differing=len(differing) if wrong else 0,
            first_differing_offset=differing[0] * BLOCK_BYTES if wrong else None,
            error=MoverError(type=IntegrityFailed.__name__, what=what) if wrong else None,
        )


def _silent(command: str, **arguments: object) -> None:
    """No agent answers."""


def _owner(entry: Entry) -> tuple[str, str]:
    return entry.machine.source, entry.machine.id
