"""Machines that are files: an OVA, an OVF or a VMX with its disks, or a folder of them. `file:///path` names it.

    source (this) ─> folder ─> files: tar_members, manifest ─> machines
                            ─> vmx.files                    ─> where each disk lies: vmdk-stream+file:, vmdk+file:, …

An exported machine is off, and stays off: there is nothing to stop, and nothing that a rollback could start.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from kubeferry.documents import Inventory, SourceConfig, StopPolicy
from kubeferry.errors import InputInvalid, Problem, SourceRefused
from kubeferry.ledger import External, Ledger
from kubeferry.marks import StopMark
from kubeferry.model import Autostart, Concern, Disk, DiskRef, Machine, Marker, Power
from kubeferry.outside import clock
from kubeferry.sources import Hear, Inside, Round, SourceCapabilities, Stopped, WentOff
from kubeferry.sources.disks import drift
from kubeferry.sources.facts.clashes import same_macs
from kubeferry.sources.facts.readings import Reading, unreadable
from kubeferry.sources.facts.single_names import named
from kubeferry.sources.ovf import folder
from kubeferry.sources.ovf.vmx.leftovers import IN_USE
from kubeferry.sources.ovf.vmx.machine import SUSPENDED
from kubeferry.sources.strangers import is_part, tell_strangers
from kubeferry.uris import local_path, packed, zero_size

PACKED_FORMATS = ("vmdk", "raw")
IMAGE_FORMATS = ("qcow2", "vhd")
WHOLE = (
    "Write the whole disk into one file, which only reads the chain: `qemu-img convert -f vmdk -O vmdk TOP.vmdk "
    "WHOLE.vmdk`, or `vmkfstools -i` on ESXi; then name that file in the VMX."
)


def connect(name: str, config: SourceConfig) -> OvfSource:
    """The source at `config.uri`. Raises InputInvalid where that is no OVA, no OVF and no folder."""
    path = local_path(config.uri)
    fix = "Write `file:///` and the absolute path of an .ova, of an .ovf, of a .vmx, or of a folder of them."
    if path is None or not config.uri.startswith("file:"):
        raise InputInvalid(f"{config.uri} is no path", [Problem(f"sources.{name}.uri", config.uri, fix)])
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in folder.SUFFIXES):
        what = "it is neither an OVA, an OVF, a VMX nor a folder" if path.exists() else "it is not there"
        problem = (folder.unread(path) if path.exists() else None) or Problem(f"sources.{name}.uri", what, fix)
        raise InputInvalid(f"{path} holds no exported machines", [problem])
    return OvfSource(name, path)


class OvfSource:
    """See `kubeferry.sources.Source` for what each method promises."""

    capabilities = SourceCapabilities(runs=False)
    journal = ""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    def discover(self) -> Inventory:
        read: list[tuple[str, Machine]] = []
        left: list[Concern] = []
        there = folder.exports_in(self._path)
        for called, path in there.files.items():
            try:
                for machine in folder.read(path, self._name, called):
                    problems = list(same_macs([*read, (str(path), machine)]))
                    left += map(unreadable, problems)
                    read += [] if problems else [(str(path), machine)]
            except InputInvalid as error:
                left += map(unreadable, error.problems)
        left += map(unreadable, there.left)
        strange = Reading()
        tell_strangers([one for one in there.others if not is_part(one)], strange, known=lambda _: None)
        machines = named(machine for _, machine in read)
        return Inventory(
            source=self._name,
            source_kind="ova",
            observed_at=clock.now("seconds"),
            machines=tuple(sorted(machines, key=lambda one: one.name)),
            unreadable=(*left, *strange.told),
        )

    def concerns(self, machine: Machine) -> list[Concern]:
        return drift.as_concerns(machine, list(_problems(machine, self._current(machine))))

    def way(self, machine: Machine, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        current = self._current(machine)
        usable = not remote and not list(_problems(machine, current))
        disks = drift.wanted(machine, current.data_disks).values()
        return nullcontext(next((_ref(disk) for disk in disks), None) if usable else None)

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        if since is not None:
            fix = "Open a round without a marker."
            raise SourceRefused("an exported machine has one round: it does not change", fix=fix, machine=machine.name)
        if remote:
            raise SourceRefused(
                "the files of an export are on this host",
                why="movers in a cluster cannot read them",
                fix="Set the target's `transfer` to `upload`, or move the machine to the directory target.",
                machine=machine.name,
            )
        current = self._current(machine)
        found = list(_problems(machine, current))
        if found:
            raise SourceRefused(
                "its disks cannot be read as they were planned",
                why="; ".join(f"{problem.where}: {problem.what}" for problem in found),
                fix=" ".join(dict.fromkeys(problem.fix for problem in found)),
                machine=machine.name,
            )
        wanted = drift.wanted(machine, current.data_disks)
        return Round(machine, {name: _ref(disk) for name, disk in wanted.items()})

    def close_round(self, opened: Round) -> None:
        """Nothing was made for it."""

    def variables(self, machine: Machine) -> bytes | None:
        """An export has them in the form of its hypervisor, which is not read."""
        del machine
        return None

    def tpm_state(self, machine: Machine) -> bytes | None:
        """An export holds nothing of what a TPM keeps."""
        del machine
        return None

    def power(self, machine: Machine) -> Power:
        return self._current(machine).power

    def inside(self, machine: Machine) -> Inside:
        self._current(machine)
        fix = "Ask its copy, once that is started: `kubeferry probe --at target`."
        raise SourceRefused("an exported machine does not run, and cannot be asked", fix=fix, machine=machine.name)

    def last_start(self, machine: Machine) -> str:
        self._current(machine)
        return ""

    def went_off(self, machine: Machine) -> WentOff:
        self._current(machine)
        return WentOff()

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        self._current(machine)
        return Stopped("already-off", clock.now())

    def start(self, machine: Machine) -> None:
        self._current(machine)
        raise SourceRefused(
            "an exported machine cannot be started",
            why="it is a set of files; it was off when the move began, and still is",
            fix="Start the machine that it was exported from, where that one is.",
            machine=machine.name,
        )

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        """They are off, whether their files are there or not: they are files."""
        return {machine.id: Power.OFF for machine in machines}

    def autostart(self, machine: Machine) -> Autostart | None:
        return None

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        """Nothing starts it."""

    def notes(self, machine: Machine) -> str | None:
        return None

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        raise _not_marked(machine)

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        raise _not_marked(machine)

    def marked(self, machine: Machine) -> StopMark | None:
        return None

    def unmark(self, machine: Machine) -> None:
        """There is none."""

    def forget(self, machine: Machine) -> list[str]:
        return []

    def exists(self, thing: External) -> bool:
        return False

    def close(self) -> None:
        """Nothing is held open."""

    # --- inside ----------------------------------------------------------------------------------------------------

    def _current(self, machine: Machine) -> Machine:
        """The machine as its file has it now. Raises SourceRefused where that is gone or cannot be read any more."""
        files = folder.exports_in(self._path).files
        called = next((called for called in files if machine.id.startswith(f"{called}#")), None)
        path = files.get(called or "")
        try:
            known = folder.read(path, self._name, called or "") if path is not None else []
        except InputInvalid as error:
            raise SourceRefused(
                f"{path} cannot be read any more",
                why="; ".join(f"{problem.where}: {problem.what}" for problem in error.problems),
                fix=" ".join(dict.fromkeys(problem.fix for problem in error.problems)),
                machine=machine.name,
            ) from error
        found = next((one for one in known if one.id == machine.id), None)
        if found is None:
            fix = "Discover and plan again, or bring the export back."
            raise SourceRefused("the source has no such machine any more", fix=fix, machine=machine.name)
        return found


def _not_marked(machine: Machine) -> SourceRefused:
    return SourceRefused(
        "an exported machine is not marked",
        why="it is a set of files, which are only read; it was off when the move began",
        fix="Nothing: there is nothing to start again.",
        machine=machine.name,
    )


def _problems(planned: Machine, current: Machine) -> Iterator[Problem]:
    """All that speaks against reading these disks."""
    yield from drift.differences(planned, current)
    if any(fact.path == SUSPENDED for fact in current.unmodelled):
        fix = "Resume it where it ran, shut it down, and copy its folder again."
        yield Problem("memory", "it is suspended: what its memory holds is not on its disks", fix)
    if (now := _signs(current)) and not _signs(planned):
        what = f"files that were not there at the inventory say that it runs: {', '.join(now)}"
        yield Problem("folder", what, "Shut the machine down where it runs, and discover and plan again.")
    wanted = drift.wanted(planned, current.data_disks)
    for fact in current.unmodelled:
        name = fact.path[len("header[") : -1]
        if fact.path.startswith("header[") and name in wanted:
            yield Problem(name, fact.value, "Get its file again from where it was exported.")
    for disk in wanted.values():
        yield from _unread(disk)


def _signs(machine: Machine) -> list[str]:
    """Files of a running machine that lay beside it; those of its inventory were for the policy to accept."""
    return [fact.value for fact in machine.unmodelled if fact.path.startswith(f"{IN_USE}[")]


def _unread(disk: Disk) -> Iterator[Problem]:
    if zero_size(disk.uri or "") is not None:
        return
    if disk.chain:
        below = ", ".join(PurePosixPath(unquote(link.uri)).name.removeprefix("file:") for link in disk.chain)
        yield Problem(disk.id, f"it holds only what differs from other images ({below})", WHOLE)
    elif disk.chain is None:
        fix = "Export the machine without snapshots, so that each disk is one whole file."
        yield Problem(disk.id, "it holds only what differs from another image", fix)
    elif disk.uri is None:
        yield Problem(disk.id, "no file is given for it", "Remove the disk from the OVF, or give it a file.")
    elif packed(disk.uri) is None and disk.format == "qcow2":
        path = local_path(disk.uri)
        if path is None or not stat.S_ISREG(path.stat().st_mode):
            yield Problem(disk.id, f"{disk.uri} is no file of this host", drift.DISCOVER)
    elif disk.format not in (*PACKED_FORMATS, *IMAGE_FORMATS):
        said = f"its format {disk.format or 'is not told, and'} is not read where it lies"
        yield Problem(disk.id, said, "Convert it with `qemu-img convert`, or export the machine with VMDK disks.")


def _ref(disk: Disk) -> DiskRef:
    """What is packed or empty is given raw; an image lies there as it is."""
    unpacked = packed(disk.uri or "") is not None and disk.format not in IMAGE_FORMATS
    shape = "raw" if unpacked else disk.format or ""
    return DiskRef(uri=disk.uri or "", format=shape, size_bytes=disk.capacity_bytes)
