"""Several sources as one. Each question about a machine goes to the member that has it now.

That is the member of the inventory, or the one that the journal has seen it at last, as long as the machine runs there;
else all members of its kind are asked, by lists of what they have: that one is refused is no evidence that it is not
there. Who does not answer is not asked again for a while, and costs its own machines alone. Before a machine is
stopped, started or judged, every member that may have it is asked, so that one that runs twice is seen.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields

from kubeferry.documents import Inventory, StopPolicy
from kubeferry.errors import Interrupted, KubeferryError, SourceRefused, SourceUnavailable, as_told
from kubeferry.ledger import External, Ledger
from kubeferry.marks import StopMark
from kubeferry.model import UP, Autostart, Concern, DiskRef, Machine, Marker, Power, Severity
from kubeferry.sources import Hear, Inside, Round, Source, SourceCapabilities, Stopped, WentOff
from kubeferry.sources.estate.joined import joined
from kubeferry.sources.estate.places import UNDEFINE, Looked, chosen, may_be_one, roams, unsure

AT_ONCE = 16
AGAIN_SECONDS = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """One source: its kind, and how it is opened."""

    kind: str
    connect: Callable[[], Source]


class Estate:
    """See `kubeferry.sources.Source` for what each method promises.

    `places` are where machines were seen last, by their ids, where that is not the source of their inventory. `found`
    is called with a machine and the member that has it, before anything is done there, where that is another one, or
    where others have a definition of it too. `of`: the estate is opened for this machine, and can what its source can;
    without it, what any of its members can.
    """

    def __init__(
        self,
        name: str,
        members: Mapping[str, Member],
        *,
        of: Machine | None = None,
        places: Mapping[str, str] | None = None,
        found: Callable[[Machine, str], None] = lambda _machine, _place: None,
    ) -> None:
        self.journal = ""
        self._name, self._members, self._found = name, members, found
        self._places = dict(places or {})
        self._opened: dict[str, Source] = {}
        self._silent: dict[str, tuple[float, KubeferryError]] = {}
        self._alone: dict[str, float] = {}
        self._others: dict[tuple[str, str], bool] = {}
        self.capabilities = self._can(of)

    def discover(self) -> Inventory:
        """All members are asked at once. Raises what the first one said where none of them answers."""
        inventories: dict[str, Inventory] = {}
        away: dict[str, tuple[str, KubeferryError]] = {}

        def asked(name: str) -> None:
            try:
                inventories[name] = self._source(name).discover()
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 (a defect of ours in one does not cost the others)
                away[name] = (self._members[name].kind, as_told(error))

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="member") as threads:
            list(threads.map(asked, self._members))
        if not inventories:
            raise away[next(iter(self._members))][1]
        order = [inventories[name] for name in self._members if name in inventories]
        return joined(self._name, order, {name: away[name] for name in self._members if name in away})

    # --- what speaks against a machine, and its bytes --------------------------------------------------------------

    def concerns(self, machine: Machine) -> list[Concern]:
        place, seen = self._surely(machine)
        here = [*self._source(place).concerns(_as_at(machine, place))]
        if place != machine.source:
            here.append(_wandered(machine, place))
        return [*here, *self._leftovers(machine, place, seen)]

    def way(self, machine: Machine, *, remote: bool) -> AbstractContextManager[DiskRef | None]:
        source, there = self._at(machine)
        return source.way(there, remote=remote)

    def open_round(self, machine: Machine, *, since: Marker | None, final: bool, remote: bool, ledger: Ledger) -> Round:
        source, there = self._at(machine)
        known = since if since is not None and since.source == there.source else None
        noted = self._ledger(there, ledger)
        return source.open_round(there, since=known, final=final, remote=remote, ledger=noted)

    def close_round(self, opened: Round) -> None:
        self._source(opened.machine.source).close_round(opened)

    def variables(self, machine: Machine) -> bytes | None:
        source, there = self._at(machine)
        return source.variables(there)

    def tpm_state(self, machine: Machine) -> bytes | None:
        source, there = self._at(machine)
        return source.tpm_state(there)

    # --- power -----------------------------------------------------------------------------------------------------

    def power(self, machine: Machine) -> Power:
        source, there = self._at(machine)
        return source.power(there)

    def powers(self, machines: Sequence[Machine]) -> dict[str, Power]:
        """One that runs at any member is up. One of which nobody told, while a member that may have it is silent, is
        unknown."""
        asked: defaultdict[str, list[Machine]] = defaultdict(list)
        for machine in machines:
            for name in self._peers(machine):
                asked[name].append(machine)
        told: defaultdict[str, list[Power]] = defaultdict(list)
        for name, theirs in asked.items():
            try:
                if self._source(name).capabilities.runs:
                    found = self._source(name).powers([_as_at(machine, name) for machine in theirs])
                    for machine in theirs:
                        power = found.get(machine.id)
                        if power is not None and not (power in UP and self._is_another(machine, name)):
                            told[machine.id].append(power)
            except Interrupted:
                raise
            except KubeferryError as error:
                logger.warning("source %s does not tell which of its machines run: %s", name, error.reason)
                for machine in theirs:
                    told[machine.id].append(Power.UNKNOWN)
        return {identity: _most(powers) for identity, powers in told.items()}

    def inside(self, machine: Machine) -> Inside:
        source, there = self._at(machine)
        return source.inside(there)

    def last_start(self, machine: Machine) -> str:
        source, there = self._at(machine)
        return source.last_start(there)

    def went_off(self, machine: Machine) -> WentOff:
        source, there = self._at(machine)
        return source.went_off(there)

    def stop(self, machine: Machine, policy: StopPolicy, hear: Hear) -> Stopped:
        place, _ = self._surely(machine)
        return self._source(place).stop(_as_at(machine, place), policy, hear)

    def start(self, machine: Machine) -> None:
        place, _ = self._located(machine)
        self._source(place).start(_as_at(machine, place))

    def autostart(self, machine: Machine) -> Autostart | None:
        source, there = self._at(machine)
        return source.autostart(there)

    def set_autostart(self, machine: Machine, wanted: Autostart | None) -> None:
        source, there = self._at(machine)
        source.set_autostart(there, wanted)

    # --- what is left there ----------------------------------------------------------------------------------------

    def notes(self, machine: Machine) -> str | None:
        source, there = self._at(machine)
        return source.notes(there)

    def write_notes(self, machine: Machine, notes: str | None, was: str | None) -> None:
        source, there = self._at(machine)
        source.write_notes(there, notes, was)

    def mark(self, machine: Machine, mark: StopMark, ledger: Ledger) -> str:
        source, there = self._at(machine)
        return source.mark(there, mark, self._ledger(there, ledger))

    def marked(self, machine: Machine) -> StopMark | None:
        source, there = self._at(machine)
        return source.marked(there)

    def unmark(self, machine: Machine) -> None:
        source, there = self._at(machine)
        source.unmark(there)

    def forget(self, machine: Machine) -> list[str]:
        """Where it is; and where it was, once nobody runs it any more: what is left of ours in its images is in use
        until then."""
        been = {machine.source, self._places.get(machine.id, machine.source)}
        place, seen = self._located(machine)
        dropped = [*self._source(place).forget(_as_at(machine, place))]
        if not seen.up:
            for name in sorted(been - seen.powers.keys() - {place}):
                with contextlib.suppress(SourceRefused, SourceUnavailable):  # what is left stands in the ledger
                    dropped += self._source(name).forget(_as_at(machine, name))
        return dropped

    def exists(self, thing: External) -> bool:
        """By the member whose name stands before its place in the ledger."""
        name, _, where = thing.where.partition(":")
        if name not in self._members:
            fix = f"Add it to the estate {self._name} again, for as long as something of ours may be left there."
            raise SourceRefused(f"the {thing.kind} {thing.name} is at no source of the estate", why=name, fix=fix)
        return self._source(name).exists(External(thing.kind, thing.name, where))

    def close(self) -> None:
        for source in self._opened.values():
            with contextlib.suppress(KubeferryError):
                source.close()
        self._opened.clear()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _can(self, of: Machine | None) -> SourceCapabilities:
        if of is not None:
            return self._source(self._home(of)).capabilities
        known = []
        for name in self._members:
            with contextlib.suppress(KubeferryError):  # it says so itself, when it is asked
                known.append(self._source(name).capabilities)
        found = {one.name: any(getattr(can, one.name) for can in known) for one in fields(SourceCapabilities)}
        return SourceCapabilities(**found)

    def _source(self, name: str) -> Source:
        if name not in self._members:
            fix = f"Add it to the estate's sources, or discover and plan again: `kubeferry discover --source {name}`."
            raise SourceRefused(f"{name} is none of the sources of {self._name}", fix=fix)
        if name not in self._opened:
            self._opened[name] = self._members[name].connect()
        return self._opened[name]

    def _ledger(self, machine: Machine, ledger: Ledger) -> Ledger:
        return lambda thing: ledger(External(thing.kind, thing.name, f"{machine.source}:{thing.where}"))

    def _home(self, machine: Machine) -> str:
        """The member that the machine was discovered at; where that is none any more, the one that had it last."""
        return machine.source if machine.source in self._members else self._places.get(machine.id, machine.source)

    def _peers(self, machine: Machine) -> list[str]:
        """The members that may have the machine, the one that had it last first."""
        last = self._places.get(machine.id, machine.source)
        home = self._members.get(self._home(machine))
        if home is None or not roams(home.kind, machine):
            return [machine.source]
        others = [name for name, one in self._members.items() if one.kind == home.kind and name != last]
        return [last, *others]

    def _at(self, machine: Machine) -> tuple[Source, Machine]:
        """The member that has the machine, and the machine as that one knows it."""
        last, *others = self._peers(machine)
        if others and not self._is_lately(machine) and not self._runs(machine, last):
            last, _ = self._located(machine)
        return self._source(last), _as_at(machine, last)

    def _is_lately(self, machine: Machine) -> bool:
        """Whether it was off a moment ago, and no other member had as much as a definition of it."""
        return time.monotonic() - self._alone.get(machine.id, float("-inf")) < AGAIN_SECONDS

    def _runs(self, machine: Machine, name: str) -> bool:
        with contextlib.suppress(SourceRefused, SourceUnavailable):
            return self._source(name).power(_as_at(machine, name)) in UP
        return False

    def _located(self, machine: Machine) -> tuple[str, Looked]:
        """Where the machine is, by what everybody says who may have it."""
        last, *others = self._peers(machine)
        if not others:
            return last, Looked()
        seen, recorded = self._look(machine, [last, *others]), machine.id in self._places
        several = len(seen.powers) > 1 and not seen.up
        marked = [name for name in seen.powers if self._is_marked(machine, name)] if several else []
        place = chosen(machine, last, seen, marked, recorded)
        if place != last or (len(seen.powers) > 1 and not recorded):
            self._found(machine, place)  # where nobody could be told, it is found anew at the next try
            self._places[machine.id] = place
        self._alone.pop(machine.id, None)
        if seen.powers == {place: Power.OFF} and not seen.silent:
            self._alone[machine.id] = time.monotonic()
        return place, seen

    def _surely(self, machine: Machine) -> tuple[str, Looked]:
        """The same, where it is certain: one that is off, and not by us, may run at a member that does not answer."""
        place, seen = self._located(machine)
        if seen.silent and seen.powers.get(place) is Power.OFF and not self._is_marked(machine, place):
            raise unsure(machine, place, seen.silent)
        return place, seen

    def _look(self, machine: Machine, names: Sequence[str]) -> Looked:
        seen = Looked()
        for name in names:
            since, error = self._silent.get(name, (0.0, None))
            if error is not None and time.monotonic() - since < AGAIN_SECONDS:
                seen.silent[name] = error
                continue
            try:
                for power in self._source(name).powers([_as_at(machine, name)]).values():
                    if not self._is_another(machine, name):
                        seen.powers[name] = power
                self._silent.pop(name, None)
            except Interrupted:
                raise
            except KubeferryError as failed:
                seen.silent[name] = failed
                self._silent[name] = (time.monotonic(), failed)
        return seen

    def _is_another(self, machine: Machine, name: str) -> bool:
        """Whether what a member has under the machine's identity is a clone of it, with disks of its own."""
        if name in {machine.source, self._places.get(machine.id)}:
            return False
        if (machine.id, name) not in self._others:
            theirs = (one for one in self._source(name).discover().machines if one.id == machine.id)
            same = any(may_be_one(machine, one, self._members[name].kind) for one in theirs)
            self._others[machine.id, name] = not same
        return self._others[machine.id, name]

    def _is_marked(self, machine: Machine, name: str) -> bool:
        with contextlib.suppress(SourceRefused, SourceUnavailable):
            return self._source(name).marked(_as_at(machine, name)) is not None
        return False

    def _leftovers(self, machine: Machine, place: str, seen: Looked) -> Iterator[Concern]:
        """Definitions of the machine at members that it has left."""
        for name in sorted(seen.powers.keys() - {place}):
            starts = self._source(name).autostart(_as_at(machine, name))
            what = f"{machine.name}: it is at {place}, and {name} still has a definition of it, off"
            if starts is not None:
                what += f", which starts {starts.words}"
            severity = Severity.WARNING if starts is None else Severity.CRITICAL
            fix = f"{UNDEFINE}: somebody may start it there, beside the machine or its copy."
            yield Concern(id="source.leftover", severity=severity, what=what, fix=fix)


def _as_at(machine: Machine, place: str) -> Machine:
    """The machine as this member knows it."""
    return machine if place == machine.source else machine.model_copy(update={"source": place})


def _wandered(machine: Machine, place: str) -> Concern:
    what = f"{machine.name}: it was at {machine.source} when it was discovered, and is found again at {place}"
    fix = "Nothing: it is moved from there. What was copied ahead before is compared whole, and what is equal is kept."
    return Concern(id="source.found-again", severity=Severity.WARNING, what=what, fix=fix)


def _most(powers: Sequence[Power]) -> Power:
    """Up where anybody says so, else unknown where anybody does not say, else what is known."""
    up = (one for one in powers if one in UP)
    return next(up, Power.UNKNOWN if Power.UNKNOWN in powers else next(iter(powers), Power.UNKNOWN))
