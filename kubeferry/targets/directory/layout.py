"""The folder of the directory target: what lies where, and what is ours.

kubeferry-target.yaml          the folder is ours
kustomization.yaml             names every machine whose manifests are applied
machines/NAME/
    kubeferry-machine.yaml     which machine of which source this folder belongs to
    kubeferry-fence            the number of the newest runner that started or stopped its copy
    kubeferry-moved            when it has moved, and by which plan
    kustomization.yaml, manifests/*.yaml
    disks/CLAIM.img            raw, sparse, exactly as long as the guest's disk
    firmware/variables.fd      UEFI variables of the source; a started machine writes to a copy
    tpm/tpm2-00.permall        what the source's TPM held, a secret; a started machine has a copy
    state/DISK/                the mover's fingerprints, checkpoints and results
    evidence/                  screenshot.png, serial.log, observation.json
    rehearsal/                 only while the machine is rehearsed: all of its run, and what is seen of it
    run/                       only while the machine is started: throw-away layers, firmware variables, logs
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from kubeferry.documents import API_VERSION, Entry, to_yaml
from kubeferry.errors import TargetRefused, TargetUnavailable
from kubeferry.images.tpm import FILE
from kubeferry.outside import atomic

FOLDER_MARKER = "kubeferry-target.yaml"
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
MACHINE_MARKER = "kubeferry-machine.yaml"


@dataclass(frozen=True, slots=True)
class MachineFolder:
    """The paths of one machine."""

    path: Path

    @property
    def marker(self) -> Path:
        return self.path / MACHINE_MARKER

    @property
    def fence(self) -> Path:
        return self.path / "kubeferry-fence"

    @property
    def moved(self) -> Path:
        return self.path / "kubeferry-moved"

    @property
    def kustomization(self) -> Path:
        return self.path / "kustomization.yaml"

    @property
    def manifests(self) -> Path:
        return self.path / "manifests"

    @property
    def disks(self) -> Path:
        return self.path / "disks"

    @property
    def firmware(self) -> Path:
        return self.path / "firmware"

    @property
    def variables(self) -> Path:
        return self.firmware / "variables.fd"

    @property
    def tpm(self) -> Path:
        return self.path / "tpm"

    @property
    def tpm_state(self) -> Path:
        return self.tpm / FILE

    @property
    def rehearsal(self) -> MachineFolder:
        """Where the machine is run when it is rehearsed: apart from what is its own."""
        return MachineFolder(self.path / "rehearsal")

    @property
    def states(self) -> Path:
        return self.path / "state"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence"

    @property
    def run(self) -> Path:
        return self.path / "run"

    def image(self, claim: str) -> Path:
        return self.disks / f"{claim}.img"

    def state(self, disk: str) -> Path:
        """The mover's state of one disk. A source's disk id may hold anything; a folder's name may not."""
        return self.states / quote(disk, safe="").replace(".", "%2E")


@dataclass(frozen=True, slots=True)
class TargetFolder:
    """The paths of a target, and whether it is ours."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / FOLDER_MARKER

    @property
    def kustomization(self) -> Path:
        return self.root / "kustomization.yaml"

    @property
    def machines(self) -> Path:
        return self.root / "machines"

    def machine(self, name: str) -> MachineFolder:
        return MachineFolder(self.machines / name)

    def objection(self) -> str | None:
        """Why this folder must not be written to, None where it may."""
        if not self.root.exists():
            return None
        if not self.root.is_dir():
            return f"{self.root} is a file"
        # Content before marker: another run may be making both just now, and it marks first.
        held = _holds_anything(self.root)
        if not self.marker.exists():
            return f"{self.root} is not empty and not ours" if held else None
        said = _read(self.marker)
        if said.get("kind") != "DirectoryTarget" or said.get("apiVersion") != API_VERSION:
            return f"{self.marker} is not the marker of a target that this version writes"
        return None

    def machine_objection(self, entry: Entry) -> str | None:
        """Why the machine's folder must not be written to, None where it may."""
        folder = self.machine(entry.target_name)
        if not folder.path.exists():
            return None
        held = _holds_anything(folder.path)
        if not folder.marker.exists():
            return f"{folder.path} is not empty and not ours" if held else None
        if (owner := _read(folder.marker).get("machine")) != owner_of(entry):
            name = owner.get("name") if isinstance(owner, dict) else owner
            return f"{folder.path} belongs to another machine, {name!r}"
        return None

    def owner(self, folder: MachineFolder) -> dict[str, Any] | None:
        """Whose a machine's folder is, as its marker says; None where it has none."""
        owner = _read(folder.marker).get("machine") if folder.marker.exists() else None
        return owner if isinstance(owner, dict) else None

    def claim(self, entry: Entry) -> MachineFolder:
        """Make the target's and the machine's folder and mark them as ours. Raises TargetRefused where they are not."""
        self.check(entry)
        folder = self.machine(entry.target_name)
        for made in (self.machines, folder.manifests, folder.disks, folder.states, folder.evidence):
            made.parent.mkdir(parents=True, exist_ok=True)
            self._mark(entry, folder)
            made.mkdir(exist_ok=True)
        for made in (folder.disks, folder.states, folder.evidence):  # what a guest holds is for its owner alone
            made.chmod(PRIVATE_FOLDER)
        return folder

    def keep_private(self) -> None:
        """What an earlier version left readable for everybody, disks and what was seen of guests, is for its owner
        alone from now on."""
        if not self.marker.exists():
            return
        for path in self.machines.glob("*"):
            folder = MachineFolder(path)
            for kept in (folder.disks, folder.states, folder.evidence):
                with contextlib.suppress(OSError):  # not there, or another one's
                    if folder.marker.exists() and kept.stat().st_mode & 0o077:
                        kept.chmod(PRIVATE_FOLDER)

    def _mark(self, entry: Entry, folder: MachineFolder) -> None:
        """Markers come first: a folder that holds anything of ours says so."""
        about = "machines moved by kubeferry: raw disks, manifests, and the proof of both"
        head = {"apiVersion": API_VERSION, "kind": "DirectoryTarget", "about": about}
        if self.root.exists() and not self.marker.exists():
            write_yaml(self.marker, head)
        if folder.path.exists() and not folder.marker.exists():
            write_yaml(folder.marker, {**head, "kind": "DirectoryMachine", "machine": owner_of(entry)})

    def check(self, entry: Entry) -> None:
        """Raise TargetRefused where the target's or the machine's folder is not ours."""
        why = self.objection() or self.machine_objection(entry)
        if why:
            raise TargetRefused(
                "the target folder is not ours to write",
                why=why,
                fix="Name an empty or new folder as the target's path, or move that one out of the way.",
                machine=entry.name,
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One writer of the files that machines share; others wait."""
        with self.marker.open("rb") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            yield


def owner_of(entry: Entry) -> dict[str, str]:
    """What identifies the plan's entry in a machine's marker."""
    return {"source": entry.machine.source, "id": entry.machine.id, "name": entry.name}


def write_yaml(path: Path, content: Any) -> None:
    write(path, to_yaml(content))


def write(path: Path, text: str) -> None:
    """Write a file so that a reader, or a run after a crash, finds the old one or the new one."""
    atomic.replace_text(path, text, durable=True)


def _holds_anything(folder: Path) -> bool:
    """Whether more is in the folder than a marker that is being written."""
    return any(not path.name.startswith(".kubeferry-") for path in folder.iterdir())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TargetUnavailable(f"{path} cannot be read", why=str(error)) from error
    return content if isinstance(content, dict) else {}
