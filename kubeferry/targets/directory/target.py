"""The directory target: a folder with raw disks, manifests for GitOps, and the proof of each machine in local QEMU.

Disks land as sparse raw images and stay equal to their source: a machine is started over a throw-away layer, on
networks that let nothing out, from what its manifest asks for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from kubeferry.documents import (
    Entry,
    MoverJob,
    MoverProgress,
    MoverResult,
    Observation,
    Offer,
    PlannedDisk,
    StateOffer,
    TargetConfig,
)
from kubeferry.errors import InputInvalid, Problem, TargetRefused, ToolMissing
from kubeferry.inside.agent import Ask
from kubeferry.marks import MoveMark, read_move, written_move
from kubeferry.model import Concern, DiskRef, Severity
from kubeferry.outside import atomic, process
from kubeferry.targets import External, Ledger, Reach, Room, TargetCapabilities
from kubeferry.targets.directory import (
    capacity,
    evidence,
    fences,
    firmware,
    gitops,
    handing,
    qemu,
    rehearsing,
    sets,
    trial,
)
from kubeferry.targets.directory.answering import answering, answering_job
from kubeferry.targets.directory.hypervisor import Asked, LocalMachine
from kubeferry.targets.directory.layout import PRIVATE_FILE, PRIVATE_FOLDER, MachineFolder, TargetFolder, write
from kubeferry.targets.guest.agent import asking
from kubeferry.targets.local_movers import LocalMovers, is_locked


def connect(config: TargetConfig) -> DirectoryTarget:
    """The target at `config.path`. Touches nothing but rights that an earlier version left to everybody.

    Raises InputInvalid where no folder is named.
    """
    if not config.path:
        raise InputInvalid(
            "the target names no folder",
            [Problem("target.path", "is missing", "Name the folder that the machines are to land in.")],
        )
    root = Path(config.path).absolute()
    TargetFolder(root).keep_private()
    return DirectoryTarget(root)


class DirectoryTarget:
    """See `kubeferry.targets.Target` for what each method promises."""

    capabilities = TargetCapabilities(keeps_running=False, isolated=True, rehearses_together=True)

    def __init__(self, root: Path) -> None:
        self._target = TargetFolder(root)
        self._movers = LocalMovers()

    # --- before anything is written ----------------------------------------------------------------------------

    def offer(self) -> Offer:
        return Offer(state=StateOffer(), packets=True, together=True)

    def concerns(self, entries: tuple[Entry, ...]) -> list[Concern]:
        found = [*_tool_concerns(entries), *capacity.name_concerns(entries)]
        if why := self._target.objection():
            found.append(_critical("target-not-ours", why, "Name an empty or new folder as the target's path."))
            return found
        taken = [(entry.name, self._target.machine_objection(entry)) for entry in entries]
        fix = "Give the machine another name in the policy."
        found += [_critical("target-name-taken", f"{name}: {why}", fix) for name, why in taken if why]
        return [*found, *capacity.space_concerns(self._target, entries), *capacity.memory_concerns(entries)]

    def trial(self, entries: tuple[Entry, ...], reach: Reach) -> dict[str, list[Concern]]:
        return trial.trial(self._target, entries, reach)

    # --- bytes ---------------------------------------------------------------------------------------------------

    def prepare(self, entry: Entry, ledger: Ledger) -> dict[str, Room]:
        self._target.check(entry)
        with answering(entry):
            folder = self._target.machine(entry.target_name)
            sets.refuse_in_use(self._target, entry)
            rehearsing.refuse(self._target, entry)
            capacity.check_space(self._target, entry)
            if not folder.path.exists():
                ledger(External("machine-folder", entry.target_name, str(folder.path)))
            self._target.claim(entry)
            return {planned.disk: self._room(entry, folder, planned, ledger) for planned in entry.disks}

    def _room(self, entry: Entry, folder: MachineFolder, planned: PlannedDisk, ledger: Ledger) -> Room:
        image, state = folder.image(planned.claim), folder.state(planned.disk)
        created = not image.exists()
        if created:
            # What a mover remembers of an image that is gone is true of nothing any more.
            shutil.rmtree(state, ignore_errors=True)
            ledger(External("disk", planned.claim, str(image)))
            _make_image(image, planned.size_bytes)
        if image.stat().st_size != planned.size_bytes:
            raise TargetRefused(
                f"the image is there with {image.stat().st_size} bytes, and the disk has {planned.size_bytes}",
                why="it was made for another disk, or the source's disk has changed its size since",
                fix=f"Discover and plan again, and remove {image} if nothing in it is wanted.",
                machine=entry.name,
                disk=planned.disk,
            )
        image.chmod(PRIVATE_FILE)
        state.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        ref = DiskRef(uri=image.as_uri(), format="raw", size_bytes=planned.size_bytes)
        return Room(ref, str(state), reads_zero=_has_no_data(image), created=created)

    def submit(self, job: MoverJob, ledger: Ledger, held: bytes | None = None) -> None:
        with answering_job(job):
            ledger(External("mover", job.name, job.state_dir))
            self._movers.submit(job, env={} if held is None else handing.put(Path(job.state_dir), held))

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        with answering_job(job):
            try:
                return self._movers.watch(job, on_progress)
            finally:
                handing.take_away(Path(job.state_dir))

    # --- the machine ---------------------------------------------------------------------------------------------

    def variables_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        path = self._target.machine(entry.target_name).variables
        return self._small_room(entry, "variables", path, size, fence, ledger)

    def tpm_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        path = self._target.machine(entry.target_name).tpm_state
        handing.sweep(self._target.machine(entry.target_name).states, "tpm")
        return self._small_room(entry, "tpm", path, size, fence, ledger)

    def _small_room(self, entry: Entry, what: str, path: Path, size: int, fence: int, ledger: Ledger) -> Room:
        """Room for what a machine keeps beside its disks, for its owner alone."""
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        if self.runs(entry):
            fix = "Stop it first."
            raise TargetRefused("the machine runs, and keeps its state there", fix=fix, machine=entry.name)
        with answering(entry):
            created = not path.exists()
            if created:
                ledger(External("disk", f"{entry.target_name}-{what}", str(path)))
            self._target.claim(entry)
            path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            if created or path.stat().st_size != size:
                _make_image(path, size)
            state = folder.state(f"{what}/{fence}")
            state.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        ref = DiskRef(uri=path.as_uri(), format="raw", size_bytes=size)
        return Room(ref, str(state), reads_zero=False, created=created)

    def drop_tpm(self, entry: Entry) -> list[str]:
        folder = self._target.machine(entry.target_name)
        if not folder.path.exists():
            return []
        self._target.check(entry)
        with answering(entry):
            found = [path for path in (folder.tpm_state, *atomic.leftovers(folder.tpm)) if path.exists()]
            for path in found:
                path.unlink()
            for state in folder.states.glob(f"{quote('tpm/', safe='')}*"):
                shutil.rmtree(state, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.tpm.rmdir()
        return [str(path) for path in found]

    def apply(self, entry: Entry, ledger: Ledger, *, dry_run: bool) -> list[str]:
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        with answering(entry):
            found = gitops.changes(entry, folder)
            if not dry_run:
                self._target.claim(entry)
                gitops.put(folder, found)
                gitops.list_machines(self._target)
        return [f"{change} {path.relative_to(folder.path)}" for change, path, _text in found]

    def start(self, entry: Entry, ledger: Ledger, fence: int = 0) -> None:
        process.require(qemu.PROGRAM, "qemu-img")
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        bases = sets.images(self._target, entry)
        with answering(entry):
            _check_applied(entry, folder)
            fences.raise_fence(folder, entry, fence)
        machine = LocalMachine(entry.target_name, folder)
        with answering(entry):
            if not machine.running():
                evidence.drop(folder)
            machine.start(entry.sized(qemu.virtual_machine(entry.manifests)), bases, _asked(entry), ledger)
            fences.check(folder, entry, fence)

    def runs(self, entry: Entry) -> bool:
        with answering(entry):
            if self._target.objection() or self._target.machine_objection(entry):
                return False
            return LocalMachine(entry.target_name, self._target.machine(entry.target_name)).alive()

    def observe(self, entry: Entry, last_words: dict[str, str]) -> Observation:
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        machine = LocalMachine(entry.target_name, folder)
        with answering(entry):
            return evidence.observe(entry, machine, last_words)

    def agent(self, entry: Entry) -> Ask:
        self._target.check(entry)
        machine = LocalMachine(entry.target_name, self._target.machine(entry.target_name))
        if not machine.alive():
            raise TargetRefused("the machine is not started", fix="Start it first.", machine=entry.name)
        return asking(machine.agent)

    def rehearse(self, entry: Entry, ledger: Ledger, fence: int = 0, beside: tuple[Entry, ...] = ()) -> None:
        process.require(qemu.PROGRAM, "qemu-img")
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        with answering(entry):
            fences.raise_fence(folder, entry, fence)
            rehearsing.start(self._target, entry, _asked(entry), ledger, beside)
            fences.check(folder, entry, fence)

    def observe_rehearsal(self, entry: Entry) -> Observation:
        self._target.check(entry)
        with answering(entry):
            return rehearsing.observe(entry, self._target.machine(entry.target_name))

    def end_rehearsal(self, entry: Entry, fence: int = 0) -> list[str]:
        folder = self._target.machine(entry.target_name)
        if not folder.path.exists():
            return []
        self._target.check(entry)
        with answering(entry):
            fences.raise_fence(folder, entry, fence)
            return rehearsing.end(entry, folder)

    def stop(self, entry: Entry, fence: int = 0) -> None:
        folder = self._target.machine(entry.target_name)
        if not folder.path.exists():
            return
        self._target.check(entry)
        machine = LocalMachine(entry.target_name, folder)
        with answering(entry):
            fences.raise_fence(folder, entry, fence)
            evidence.keep_console(machine)
            machine.stop()

    def hand_over(self, entry: Entry, fence: int = 0) -> str:
        """A folder runs machines for their proof only; what they are to be run as stands in their manifests."""
        folder = self._target.machine(entry.target_name)
        self._target.check(entry)
        with answering(entry):
            fences.raise_fence(folder, entry, fence)
        return ""

    def mark(self, entry: Entry, mark: MoveMark, fence: int = 0) -> None:
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        with answering(entry):
            fences.raise_fence(folder, entry, fence)
            write(folder.moved, f"{written_move(mark)}\n")

    def marked(self, entry: Entry) -> MoveMark | None:
        with answering(entry):
            if self._target.objection() or self._target.machine_objection(entry):
                return None
            moved = self._target.machine(entry.target_name).moved
            return read_move(moved.read_text(encoding="utf-8", errors="replace")) if moved.exists() else None

    def unmark(self, entry: Entry, fence: int = 0) -> None:
        self._target.check(entry)
        folder = self._target.machine(entry.target_name)
        with answering(entry):
            fences.raise_fence(folder, entry, fence)
            folder.moved.unlink(missing_ok=True)

    def tidy(self, entry: Entry) -> list[str]:
        """A mover here ends with its run, and its fingerprints belong to the images beside them."""
        return []

    def remove(self, entry: Entry, fence: int = 0) -> list[str]:
        folder = self._target.machine(entry.target_name)
        if not folder.path.exists():
            return []
        self._target.check(entry)
        with answering(entry):
            sets.refuse_attached(self._target, entry)
            fences.raise_fence(folder, entry, fence)
            LocalMachine(entry.target_name, folder).stop()
            removed = [*rehearsing.end(entry, folder), *_remove_files(entry, folder)]
            gitops.list_machines(self._target)
        return removed

    def exists(self, thing: External) -> bool:
        where = Path(thing.where)
        if thing.kind == "process":
            return LocalMachine(thing.name, MachineFolder(where.parent.parent)).alive()
        if thing.kind == "mover":
            return is_locked(where)
        return where.exists()

    def close(self) -> None:
        self._movers.close()


# --- edge: one thing each --------------------------------------------------------------------------------------------


def _critical(identity: str, what: str, fix: str) -> Concern:
    return Concern(id=identity, severity=Severity.CRITICAL, what=what, fix=fix)


def _tool_concerns(entries: tuple[Entry, ...]) -> Iterator[Concern]:
    """Programs and firmware that the proof of these machines needs and that are not installed; each once."""
    needs = {qemu.firmware_need(qemu.virtual_machine(entry.manifests)) for entry in entries}
    checks: list[Callable[[], object]] = [lambda: process.require(qemu.PROGRAM, "qemu-img", "setpriv")]
    checks += [lambda need=need: firmware.files(need) for need in sorted(needs)]  # type: ignore[misc]
    for check in checks:
        try:
            check()
        except ToolMissing as error:
            yield _critical("target-tool-missing", error.what, error.fix)


def _asked(entry: Entry) -> Asked:
    ports = {probe.port for probe in entry.all_probes if probe.kind in {"http", "tcp"} and probe.port}
    return Asked(tuple(sorted(ports)), any(probe.kind == "packets" for probe in entry.all_probes))


def _make_image(image: Path, size: int) -> None:
    """A file of this size that holds nothing, for its owner alone. It gets its name last: a name stands for a whole
    image."""
    temporary = atomic.temporary_name(image)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE), "wb") as stream:
        os.truncate(stream.fileno(), size)
        os.fsync(stream.fileno())
    temporary.replace(image)


def _has_no_data(image: Path) -> bool:
    """Whether nothing was ever written to the file, as its file system tells: then all of it reads as zeros."""
    with image.open("rb") as stream:
        try:
            os.lseek(stream.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return True
            raise
    return False


def _check_applied(entry: Entry, folder: MachineFolder) -> None:
    """What is started is what was reviewed and applied. Raises TargetRefused where the files say something else."""
    differing = [path.name for change, path, _ in gitops.changes(entry, folder) if change != "unchanged"]
    if differing:
        raise TargetRefused(
            "the manifests in the target folder are not those of the plan",
            why=", ".join(differing),
            fix="Apply them again; a change belongs into the policy.",
            machine=entry.name,
        )


def _remove_files(entry: Entry, folder: MachineFolder) -> list[str]:
    """Remove what we wrote; the marker goes last, and a folder only when nothing of anybody else's is in it."""
    ours = [
        folder.fence,
        folder.moved,
        folder.kustomization,
        *(folder.manifests / name for name in gitops.files(entry)),
    ]
    ours += [folder.variables, folder.tpm_state, *(folder.image(planned.claim) for planned in entry.disks)]
    removed = [path for path in ours if path.exists()]
    places = (folder.path, folder.manifests, folder.firmware, folder.tpm, folder.disks)
    unfinished = [path for place in places for path in atomic.leftovers(place)]
    for path in [*removed, *unfinished]:
        path.unlink()
    for tree in (folder.states, folder.evidence):
        shutil.rmtree(tree, ignore_errors=True)
    for path in (folder.manifests, folder.firmware, folder.tpm, folder.disks):
        with contextlib.suppress(OSError):
            path.rmdir()
    left = sorted(path.name for path in folder.path.iterdir() if path != folder.marker)
    if left:
        return [*map(str, removed), f"left, not ours: {', '.join(left)} in {folder.path}"]
    folder.marker.unlink(missing_ok=True)
    folder.path.rmdir()
    return [*map(str, removed), str(folder.path)]
