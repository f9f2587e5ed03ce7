"""The seam to the places that machines leave, and a folder for each of them.

A source hands over facts (`discover`) and references to bytes (`open_round`); it never opens an image and never writes
to one. No source knows another: libvirt, vsphere, ec2, ovf (files: OVA, OVF, VMX), memory (a double). proxmox reads
configurations, for an assessment alone. estate asks several of them as one. What they share stands beside them:

    facts      reading what others wrote: XML that remembers what was read, names, what is left over
    disks      whether disks are those of the inventory, and serving those of this host to readers elsewhere
    exported   an estate from a folder of exported files, by the readers of all sources;  strangers: what none takes

A new source is a folder here, a line in `kubeferry.kinds.SOURCES`, an entry in the contract suite, and golden inputs.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from kubeferry.documents import Config, Inventory, SourceConfig, StopPolicy
from kubeferry.errors import InputInvalid, Problem
from kubeferry.inside.agent import Ask
from kubeferry.inside.said import Said
from kubeferry.kinds import SOURCES
from kubeferry.ledger import External, Ledger
from kubeferry.marks import StopMark
from kubeferry.model import Autostart, Concern, DiskRef, Machine, Marker, Power
from kubeferry.outside import libraries

logger = logging.getLogger(__name__)

ESTATE = "kubeferry.sources.estate.source"

SHARED_WRITER = "source.shared-writer"
"""The concern of a disk that another machine has, too, and may write to now."""
SCALING_GROUP = "source.scaling-group"
"""The concern of a machine that its group ends, or replaces, when it is stopped: lifted where the policy says that it
is taken out of the group before (`stop.scalingGroup: detach`)."""
DETACH = "source.detach"
"""What keeps a machine in such a group: it counts where the policy says that it is taken out."""
RUNS_ON = (
    "It runs on, and what was copied of it is kept. Shut it down by hand, and run `kubeferry migrate --again`; or give "
    "it more time (stop.agentSeconds, stop.acpiSeconds) or allow stop.force in the policy, and plan again; or leave it "
    "where it is (include: false)."
)
"""What to do about a machine that does not stop though it was asked to."""


@dataclass(frozen=True, slots=True)
class SourceCapabilities:
    """What a source can do beyond the cold copy of a stopped machine.

    `warm`: a round of a running machine, and after its stop a final one of what changed since. `live_deltas`: rounds of
    what changed while it runs on, too; without it there is one warm round, and then the final one. `runs`: its machines
    can run there; without it they are always off, there is nothing to stop, and `start` is refused. `tells_starts`:
    `last_start` says something. `autostarts`: something there may start machines by itself, and `autostart` tells it.
    `replaces_stopped`: it would end what is stopped, or start another one in its place, so it is off before the stop.
    """

    runs: bool = True
    warm: bool = False
    live_deltas: bool = False
    force_stop: bool = False
    last_words: bool = False
    tells_starts: bool = False
    autostarts: bool = False
    replaces_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a machine came to be off. `how`: already-off, agent, acpi, forced. `last_answer_at` is the last moment the
    guest was heard, for the downtime; None if it was never heard."""

    how: str
    at: str
    last_answer_at: str | None = None


@dataclass(frozen=True, slots=True)
class WentOff:
    """What a source tells of how a machine that is off came to be so; empty where it tells nothing.

    `by`: who or what it was, in words, where it is certain that it was nobody with the login that is used here. `at`:
    when (UTC, ISO 8601), by the source's clock: when its stop was `asked` for, else when it was off.
    """

    by: str = ""
    at: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """The ways to a system that runs at its source, to be asked without changing anything, until the source is closed.

    `ask` puts one command to its guest agent (`kubeferry.inside.agent`); None where the source has no way to one that
    takes commands, and `no_agent` says why. `addresses` are those that the source tells of it: whether they are reached
    from here is another matter.
    """

    addresses: tuple[str, ...] = ()
    ask: Ask | None = None
    no_agent: str = ""


class Hear(Protocol):
    """Called with a running guest's last words (file in the guest -> content), the time, and what it said of itself,
    before it is stopped: nobody can ask afterwards. Returns only when all is written down durably."""

    def __call__(self, words: dict[str, str], at: str, said: Said | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Round:
    """A frozen view of a machine's disks, by disk id, readable until `close_round`. `marker` names this very view, for
    the next round to start from; None where the source cannot tell later what changed since. `served`: something was
    started for it that `close_round` ends. `consistency` says how the disks stand to each other and to the guest's
    caches: off, frozen (its file systems were, by the agent), or crash (as after a loss of power). `only_copy`: the
    machine is gone at its source, and what this view shows exists nowhere else. `seen`, by disk id, is filled by who
    reads: the digest of a disk's whole stream as it came, for `close_round` to compare."""

    machine: Machine
    refs: dict[str, DiskRef]
    marker: Marker | None = None
    served: bool = False
    consistency: str = "off"
    only_copy: bool = False
    seen: dict[str, str] = field(default_factory=dict)


class Source(Protocol):
    """What every source does. All methods raise KubeferryError only, and are safe to call again."""

    capabilities: SourceCapabilities
    journal: str
    """The identity of the journal that this source's work is recorded in, empty where it is in none. What is made where
    other journals make such things, too, carries it: theirs is neither used nor dropped."""

    def discover(self) -> Inventory:
        """All machines of the source, in bulk; one that cannot be read is told in `unreadable`."""

    def concerns(self, machine: Machine) -> list[Concern]:
        """What speaks against moving this machine now: disks that are gone, cannot be read or are not those of the
        inventory, and what keeps it from being stopped. Works on a running machine, and changes nothing."""

    def way(self, machine: Machine, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        """Something that a mover may open now in order to try the way and its login, whatever the machine does: a disk
        of the machine where it is off and read here, a disk of zeros that is served as its own will be where it is read
        elsewhere. None where only a round has anything. What is served for it ends with it, after a kill with the next
        call. `remote` as in `open_round`. Raises KubeferryError where it is entered."""

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        """Freeze a view of the machine's data disks.

        Without `warm` the machine must be off; with it, only for a `final` round. `since` is the marker of an earlier
        round that was copied whole: the references then name what `changed`. Where that cannot be known any more (the
        marker is unknown, damaged, or a disk was resized, replaced or reverted), a reference names nothing, and all of
        that disk is read. Markers of other rounds than `since` are dropped: nobody will ask for them again.
        Called again before `close_round`, by another process too, it gives the same view with the same marker where
        that is still there; where it is lost, a new view with another marker.

        `remote`: the references are opened on another machine than this one; what has to be served for that is in the
        ledger before it is made, outlives this process, and is found again by the next call.
        Raises SourceRefused with all that `concerns` has against its disks, and when it is not off; SourceGone where
        the machine is not there any more, and no view of its either that would do.
        """

    def close_round(self, opened: Round) -> None:
        """Give the view back. Nothing of it stays at the source but what its marker needs, until `forget` or a later
        round from another marker.

        Raises IntegrityFailed, when it is given back, where what was `seen` of a disk is not what the source sent."""

    def variables(self, machine: Machine) -> bytes | None:
        """The UEFI variables of the machine, as its firmware has left them in flash; None where it never made any, or
        the source does not give them. Works on a running machine; of one that is off they are the last word.

        Raises SourceRefused where they are there and cannot be read."""

    def tpm_state(self, machine: Machine) -> bytes | None:
        """What the machine's TPM keeps over a stop, as swtpm has it (`kubeferry.images.tpm`): a secret, for a mover's
        eyes only. None where there is none yet, or the source does not give it. Works on a running machine; of one that
        is off it is the last word.

        Raises SourceRefused where it is there and cannot be read, or is encrypted."""

    def power(self, machine: Machine) -> Power:
        """The power state at this moment. Raises SourceGone where it is known that it will never be there again."""

    def inside(self, machine: Machine) -> Inside:
        """The ways to the system in a running machine. Raises SourceRefused where its machines do not run there."""

    def last_start(self, machine: Machine) -> str:
        """What changes with each start of the machine, whether it is on or off; empty where the source cannot tell. So
        one that was started and is off again is seen."""

    def went_off(self, machine: Machine) -> WentOff:
        """How the machine, which is off, came to be so the last time."""

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        """Stop the machine and return only when it is confirmed off. Raises SourceRefused if it will not stop.

        Where the guest answers, `hear` is called before anything is touched: with the files of `policy.last_words`, and
        with what the guest says of itself.
        """

    def start(self, machine: Machine) -> None:
        """Start the machine again (rollback)."""

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        """The power states of these machines at this moment, by id, in as few questions as the source allows. One that
        is not there any more is not told of."""

    def autostart(self, machine: Machine) -> Autostart | None:
        """What starts the machine by itself now, whether it is on or off; None where nothing does."""

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        """Let nothing start the machine by itself (None), or put back what `autostart` has told once. Nothing is done
        where it is so already. Raises SourceRefused where that is not allowed."""

    def notes(self, machine: Machine) -> str | None:
        """What is written about the machine at its source, where people look; None for nothing. Byte for byte."""

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        """Let `notes` stand there instead of what it `was`; None for nothing. Its guest does not see them. Raises
        SourceUnavailable where something else stands there now, SourceRefused where that is not allowed, or its
        machines are never stopped. A line of `kubeferry.marks.moved_line` there is told by `discover` in the machine's
        metadata, under `kubeferry.marks.MOVED`, and is no difference between a machine and its plan."""

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        """Leave this mark at the machine, in the place of an older one, whether it is on or off; in the ledger first.
        Its guest does not see it. Returns where it is and why, in words, where that is not the usual place: empty where
        it is. Raises SourceRefused where that is not allowed, or its machines are never stopped."""

    def marked(self, machine: Machine) -> StopMark | None:
        """The mark that is at the machine now, whoever left it. `discover` tells it in the machine's metadata, under
        `kubeferry.marks.KEY`; it is no difference between a machine and its plan."""

    def unmark(self, machine: Machine) -> None:
        """Take the mark away, whoever left it; nothing where there is none."""

    def forget(self, machine: Machine) -> list[str]:
        """Drop everything of ours at the source, the mark as well; returns what was dropped, in words."""

    def exists(self, thing: External) -> bool:
        """Whether a thing of the ledger, of a kind in `kubeferry.ledger.AT_SOURCE`, is still there."""

    def close(self) -> None:
        """End the connection."""


def open_source(name: str, config: SourceConfig, *, journal: str = "") -> Source:
    """The source that a configuration names, connected. Imports its library only now; raises ToolMissing without it.
    `journal` is the identity of the journal that records what is done there."""
    logger.debug("opens source %s, %s", name, config.kind)
    with libraries.needed():
        module = importlib.import_module(SOURCES[config.kind])
    source: Source = module.connect(name, config)
    source.journal = journal
    return source


def open_named(
    config: Config,
    name: str,
    *,
    journal: str = "",
    of: Machine | None = None,
    places: Mapping[str, str] | None = None,
    found: Callable[[Machine, str], None] = lambda _machine, _place: None,
) -> Source:
    """The source, or the estate, that a configuration has by this name; `of`, `places` and `found` are for an estate
    (`kubeferry.sources.estate`). Raises InputInvalid where there is none."""
    members = config.members(name)
    if not members:
        fix = "Add it, or use the configuration that the plan was made with."
        raise InputInvalid("a source is not configured", [Problem("sources", f"none is called {name!r}", fix)])
    if not config.is_estate(name):
        return open_source(name, members[name], journal=journal)
    module = importlib.import_module(ESTATE)
    opened = {
        one: module.Member(settings.kind, partial(open_source, one, settings, journal=journal))
        for one, settings in members.items()
    }
    estate: Source = module.Estate(name, opened, of=of, places=places, found=found)
    estate.journal = journal
    return estate
