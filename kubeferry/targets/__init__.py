"""The seam to the places that machines go to, and a folder for each of them.

A target makes room, runs movers where the bytes are to land, applies manifests as the plan holds them, and says what it
sees. It never maps: what was reviewed is what is applied. No target knows another:
directory (proven in local QEMU), kubevirt, memory (a double). What they share stands beside them:

    guest          questions to the system inside a started machine: its agent, and a plan's probes
    local_movers   movers as programs of this host
    alike          machines of which one is tried for all
    gone           in place of one that is gone for good: nobody is asked

A new target is a folder here, a line in `kubeferry.kinds.TARGETS`, and an entry in the contract suite.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from kubeferry import errors
from kubeferry.documents import Companion, Entry, MoverJob, MoverProgress, MoverResult, Observation, Offer, TargetConfig
from kubeferry.errors import Fenced, KubeferryError, TargetRefused, TargetUnavailable
from kubeferry.inside.agent import Ask
from kubeferry.kinds import TARGETS
from kubeferry.ledger import External, Ledger
from kubeferry.marks import MoveMark
from kubeferry.model import Concern, DiskRef

__all__ = [
    "External",
    "Ledger",
    "Reach",
    "Room",
    "Target",
    "TargetCapabilities",
    "error_of",
    "open_target",
    "rehearsed_now",
    "runs_from_it",
    "still_attached",
    "superseded",
    "users_of",
]


logger = logging.getLogger(__name__)


def still_attached(entry: Entry, users: Iterable[str]) -> TargetRefused:
    """The error where a machine is to be removed whose disks others attach that are still there."""
    return TargetRefused(
        "a disk of it is attached to other machines, and goes when they are gone",
        why=f"{', '.join(users)} still there",
        fix="Remove those first, or all of them with `kubeferry release --everything`.",
        machine=entry.name,
    )


def runs_from_it(entry: Entry, user: str) -> TargetRefused:
    """The error where disks are to be written that another machine of the set runs from."""
    return TargetRefused(
        f"{user} runs at the target, and nothing is written to the disks of a running machine",
        why="it attaches a disk of this one",
        fix="Stop it there, or roll the set back with the plan that started it.",
        machine=entry.name,
    )


def rehearsed_now(entry: Entry, where: str) -> TargetRefused:
    """The error where disks are to be written that a rehearsal runs from, of which this journal knows nothing."""
    return TargetRefused(
        "a rehearsal of it runs over these disks, and nothing is written below it",
        why=f"{where} is there, and another plan or journal has begun it",
        fix="Run `kubeferry release` of that plan, which ends it; where nobody knows of it any more, "
        "`kubeferry rehearse` of this one takes its place, and ends it.",
        machine=entry.name,
    )


def users_of(entry: Entry) -> list[Companion]:
    """The machines that attach a disk of this one."""
    users = {name for disk in entry.disks for name in disk.shared_with or ()}
    return [other for other in entry.moves_with or () if other.name in users]


def superseded(entry: Entry, holder: str, newest: int, fence: int) -> Fenced:
    """The error for a runner that comes with an older fence than `holder`, the machine's object at a target, has."""
    return Fenced(
        "a newer runner has this machine at the target",
        why=f"{holder} carries fence {newest}, and this runner has {fence}",
        fix="Leave it to the other runner. If that is this one's own journal, restored from a backup, run the same "
        "command again in some minutes.",
        machine=entry.name,
    )


Reach = Callable[[Entry], AbstractContextManager[DiskRef | None]]
"""Gives something of a machine's source that a mover may open now, whatever the machine does; None where only a round
has anything. Raises KubeferryError."""


def error_of(job: MoverJob, result: MoverResult) -> KubeferryError:
    """The mover's error as the class that it had there. A mover that ended without a word is worth another try."""
    said = result.error
    if said is None:
        return TargetUnavailable("the mover failed without a reason", machine=job.machine, disk=job.disk)
    known = getattr(errors, said.type, None)
    if not (isinstance(known, type) and issubclass(known, KubeferryError)):
        known = TargetUnavailable
    if known is errors.InputInvalid:  # its problems do not cross the process boundary one by one
        known = errors.PermanentError
    return known(said.what, why=said.why, fix=said.fix, machine=job.machine, disk=job.disk)


@dataclass(frozen=True, slots=True)
class TargetCapabilities:
    """`keeps_running`: what it starts stays up after the commit; otherwise it is started for the proof only.
    `isolated`: what it starts is not reachable from outside. `movers_here`: its movers run on this machine and read
    this machine's files; otherwise they run elsewhere, and the source must hand over references that lead there.
    `rehearses_together`: machines that it rehearses can reach each other, and nothing else."""

    keeps_running: bool = True
    isolated: bool = False
    movers_here: bool = True
    rehearses_together: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """Where one disk is to land: the reference to write, the mover's state folder as the mover sees it, and whether
    unwritten ranges are known to read as zeros. `created` is False when the room was there already and is ours.
    `makes_target`: there is room, and the mover makes the file in it."""

    ref: DiskRef
    state_dir: str
    reads_zero: bool
    created: bool
    makes_target: bool = False


class Target(Protocol):
    """What every target does. All methods raise KubeferryError only, and are safe to call again."""

    capabilities: TargetCapabilities

    def offer(self) -> Offer:
        """What the place has for a planner to choose from: storage classes and their rules. Writes nothing."""

    def concerns(self, entries: tuple[Entry, ...]) -> list[Concern]:
        """What speaks against moving these machines here now: no room, names taken, not ours. Writes nothing."""

    def trial(self, entries: tuple[Entry, ...], reach: Reach) -> dict[str, list[Concern]]:
        """What turns out to speak against these machines when it is tried, by machine: their manifests and movers where
        somebody takes them on trial, and a mover that opens room as theirs, and what `reach` gives of their source, and
        writes nothing. Machines for which that is the same share one. What was made for it goes with the call, and
        after a kill with the next one. Raises Interrupted; whatever else goes wrong is a concern."""

    def prepare(self, entry: Entry, ledger: Ledger) -> dict[str, Room]:
        """Make room for the machine's disks, by disk id. Raises TargetRefused if there is none, it is not ours, or the
        machine, or another one that attaches a disk of it, runs from it."""

    def submit(self, job: MoverJob, ledger: Ledger, held: bytes | None = None) -> None:
        """Start a mover. The same name is the same job: one that runs is attached to, one that ended well is left.
        `held` is what a job reads whose source is `held:`: nobody but its mover may, and it goes with the mover."""

    def watch(self, job: MoverJob, on_progress: Callable[[MoverProgress], None]) -> MoverResult:
        """Wait for a submitted mover to end. Its failure is in the result, not an exception."""

    def variables_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        """Make room for UEFI variables of this size where the plan says that the machine keeps them
        (`entry.variables`), for a mover to fill; what is there is overwritten. A runner with another `fence` is given
        another state folder: the firmware may have changed what an older one has written. Raises TargetRefused where
        the place is not ours, or the machine runs."""

    def tpm_room(self, entry: Entry, size: int, fence: int, ledger: Ledger) -> Room:
        """The same for what the machine's TPM keeps (`entry.tpm`): a file for nobody but who runs the machine."""

    def drop_tpm(self, entry: Entry) -> list[str]:
        """Remove what `tpm_room` made room for, with all that lies on the same claim; nothing where there is nothing.
        The machine does not run. Returns what was removed, in words."""

    def apply(self, entry: Entry, ledger: Ledger, *, dry_run: bool) -> list[str]:
        """Put the plan's manifests in place; returns what was created, changed or found as it should be."""

    def start(self, entry: Entry, ledger: Ledger, fence: int = 0) -> None:
        """Start the machine from the applied manifests. `fence` is the runner's: raises Fenced where one with a newer
        number has started or stopped it here, whatever that runner's journal; 0 asks for no such thing."""

    def runs(self, entry: Entry) -> bool:
        """Whether the machine runs there at this moment, or is about to, whoever started it. Another machine that has
        its name is not it."""

    def observe(self, entry: Entry, last_words: dict[str, str]) -> Observation:
        """Run the entry's probes against the started machine, each until it passes or its time is over."""

    def agent(self, entry: Entry) -> Ask:
        """The guest agent of the started machine, to put one command at a time to it. It answers None while none is
        there, and where it refuses. Raises TargetRefused, at once or when it is asked, for a machine that is not
        started, and where the account may not ask."""

    def rehearse(self, entry: Entry, ledger: Ledger, fence: int = 0, beside: tuple[Entry, ...] = ()) -> None:
        """Start an isolated copy of the machine from the plan's manifests, over a throw-away layer of its disks, which
        are only read; or leave one that runs. Its source runs on: no network leads out of the copy, and none into it
        but what its probes need. Nothing has to be applied for it, and nothing that was is touched. Raises
        TargetRefused where its disks are not there, or the machine itself runs; Fenced as `start` does.

        `beside` are the machines that are rehearsed together, itself among them, in one order for all of them: cards
        that are on one network at the source reach each other with the addresses that they have, and nothing else does.
        That holds for as long as this process lives. TargetRefused where the place has no such thing, or no room."""

    def observe_rehearsal(self, entry: Entry) -> Observation:
        """Ask that copy those of the entry's probes that can be asked there; the others are told in `not_asked`. Raises
        TargetRefused where it is not started, or has a network that it must not have."""

    def end_rehearsal(self, entry: Entry, fence: int = 0) -> list[str]:
        """Take the copy away with all that was made for it, the layer included; nothing to do is no error. Returns what
        was removed, in words. From then on who has an older number than `fence` starts nothing here; raises Fenced."""

    def stop(self, entry: Entry, fence: int = 0) -> None:
        """Stop what `start` started, and drop what only the running machine needed. Nothing to do is no error. From
        then on who has an older number than `fence` starts nothing here; raises Fenced as `start` does."""

    def hand_over(self, entry: Entry, fence: int = 0) -> str:
        """The move is about to be committed: from now on the place runs the machine as its plan says, and starts it
        again on its own if that is what the plan says. What runs goes on as it is. Returns the run strategy, empty
        where the place runs no machines of its own. `stop` takes it back. Raises Fenced as `start` does."""

    def mark(self, entry: Entry, mark: MoveMark, fence: int = 0) -> None:
        """Leave this mark at what is there of the machine, its disks included, in the place of an older one: it has
        moved. Stays over `stop` and `tidy`, goes with `remove`. Raises Fenced as `start` does."""

    def marked(self, entry: Entry) -> MoveMark | None:
        """The mark that is there, whoever left it; None where there is none, or the place is another machine's."""

    def unmark(self, entry: Entry, fence: int = 0) -> None:
        """Take the mark away, whoever left it; nothing where there is none. Raises Fenced as `start` does."""

    def tidy(self, entry: Entry) -> list[str]:
        """Remove what only the move needed, the movers and their state; the machine and its disks stay as they are.
        Returns what was removed, in words."""

    def remove(self, entry: Entry, fence: int = 0) -> list[str]:
        """Remove everything of ours for this machine, the disks included; returns what was removed, in words. Raises,
        before anything is removed, Fenced as `start` does, and TargetRefused where another machine is still there that
        attaches one of them."""

    def exists(self, thing: External) -> bool:
        """Whether a thing of the ledger is still there."""

    def close(self) -> None:
        """End connections. What was started keeps running."""


def open_target(config: TargetConfig) -> Target:
    """The target that a configuration names. Imports its library only now."""
    logger.debug("opens the target, %s", config.kind)
    module = importlib.import_module(TARGETS[config.kind])
    target: Target = module.connect(config)
    return target
