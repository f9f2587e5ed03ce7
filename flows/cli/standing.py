"""Where each machine of a plan stands at this moment, for `kubeferry status`: from plan and journal, and from what
movers on this host tell. Pure.

Nobody is asked but the journal: how a source is, is how the journal last saw it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flows.cli.outlook import Outlook
from kubeferry.documents import Entry, MoverProgress, Outline, OutlinedEntry, Plan
from kubeferry.journal import Holder
from kubeferry.life.action_kinds import Action, ActionKind, EntryFacts
from kubeferry.life.actions import next_action
from kubeferry.life.events import CopyBegun, CutoverBegun, SourceRestarted, SourceStopped, StopAsked, StopNotDone
from kubeferry.life.held import Order
from kubeferry.life.hooks import failed_at_end
from kubeferry.life.hooks import told as failure_told
from kubeferry.life.machine_state import Phase
from kubeferry.life.old_machine import left_so
from kubeferry.life.rehearsal import why_not
from kubeferry.life.sets import Member, tiers_of, turn_of
from kubeferry.life.states import ENDS, UNTOUCHED, MachineState, Recorded, fold
from kubeferry.model import Power
from kubeferry.words import counted, first_of, size

NAMED = 3  # machines that are named as what is waited for

Live = Mapping[str, MoverProgress]
"""By disk, what a mover tells that is at work now."""


def at_a_minute(at: str) -> str:
    """An ISO 8601 time in UTC as people read it: `2026-07-14 09:12 UTC`."""
    return f"{at[:16].replace('T', ' ')} UTC"


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """How the journal saw the source last, and when (UTC, ISO 8601). `off_since` where that is off; `asked` where it
    was asked to stop, and nobody has told yet whether it did. `left` says of one that was left behind by a move what
    keeps it off, and whether people read there where it is; `place` is the source of its estate at which it was found,
    empty for that of its plan."""

    power: Power
    at: str
    off_since: str = ""
    asked: bool = False
    left: tuple[str, ...] = ()
    place: str = ""

    def __str__(self) -> str:
        place = f" at {self.place}" if self.place else ""
        if self.asked:
            return f"asked to stop{place} {at_a_minute(self.at)}"
        if not self.off_since:
            return f"{self.power}{place}"
        return ", ".join((f"off{place} since {at_a_minute(self.off_since)}", *self.left))


@dataclass(frozen=True, slots=True)
class Since:
    """Another plan, in words, that did something to a machine after this one, and all that is recorded by it."""

    by: str
    records: Sequence[Recorded]


@dataclass(frozen=True, slots=True)
class Word:
    """What beside their events says whether machines may begin: those that another plan has moved, when the stop of a
    wave was lifted last, what machines lack of their approval, and the slots that they would wait for."""

    elsewhere: Collection[str] = ()
    lifted: Mapping[str, str] = field(default_factory=dict)
    unapproved: Mapping[str, str] = field(default_factory=dict)
    full: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a round has come: disks that are durable as of it, their bytes as the guest counts, what movers tell."""

    round: int
    disks_done: int
    disks: int
    done_bytes: int
    total_bytes: int
    live: Live = field(default_factory=dict)

    def __str__(self) -> str:
        amount = f"{size(self.done_bytes)} of {size(self.total_bytes)}"
        parts = [f"round {self.round}: {self.disks_done} of {counted(self.disks, 'disk')}, {amount}"]
        for disk, told in self.live.items():
            parts.append(f"{disk}: {told.phase}{_share(told)}")
        return "; ".join(parts)

    def facts(self) -> dict[str, object]:
        return {
            "round": self.round,
            "disksDone": self.disks_done,
            "disks": self.disks,
            "doneBytes": self.done_bytes,
            "totalBytes": self.total_bytes,
            "movers": {disk: told.model_dump(mode="json", by_alias=True) for disk, told in self.live.items()},
        }


def _share(told: MoverProgress) -> str:
    if not told.total_bytes:
        return ""
    return f" {100 * told.done_bytes / told.total_bytes:.0f} % of {size(told.total_bytes)}"


@dataclass(frozen=True, slots=True)
class Standing:
    """One machine. `waits_for` are those that have to move first, else those of its set that have to come as far as it
    has; `held` says why nothing is done to it now; `owed`: it ran before, and we have stopped it, or may have;
    `moves_with` are all others of its set; `since` is what another plan has done to it since; `ahead` what is projected
    of its cutover, where that may still begin; `app` is the one that it belongs to;
    `full` are the slots that it would wait for now."""

    machine: str
    phase: Phase
    failed: str
    next: str
    why: str
    source: SourceSeen
    holder: Holder | None
    transfer: Transfer | None
    waits_for: tuple[str, ...]
    owed: bool
    moves_with: tuple[str, ...] = ()
    held: str = ""
    since: str = ""
    ahead: Outlook | None = None
    app: str = ""
    rehearsal: str = ""
    full: str = ""

    @property
    def held_by(self) -> str:
        """Who has the lease, in words."""
        if self.holder is None:
            return ""
        return f"{self.holder.who}{', run out' if self.holder.expired else ''}"

    @property
    def reason(self) -> str:
        """What is waited for, and why what is next is next; and what became of the newest rehearsal."""
        said = "" if self.next == ActionKind.WAIT_FOR_REHEARSAL else self.rehearsal  # the reason says as much
        return "; ".join(filter(None, (self._reason, said)))

    @property
    def _reason(self) -> str:
        if self.held:
            return f"held back: {self.held}"
        if self.full:
            return f"no slot is free: {self.full}"
        if self.since:
            return f"{self.since}; by this plan: {self.why}"
        if not self.waits_for:
            return self.why
        return f"waits for {first_of(self.waits_for, NAMED)}: {self.why}"

    def facts(self) -> dict[str, object]:
        """For a program."""
        return {
            "machine": self.machine,
            "phase": str(self.phase),
            "failed": self.failed,
            "next": self.next,
            "why": self.why,
            "source": {
                "power": str(self.source.power),
                "at": self.source.at,
                "offSince": self.source.off_since or None,
                **({"place": self.source.place} if self.source.place else {}),
                **({"left": list(self.source.left)} if self.source.left else {}),
            },
            "lease": self.holder
            and {
                "owner": self.holder.who,
                "fence": self.holder.fence,
                "expiresAt": self.holder.expires_at,
                "expired": self.holder.expired,
            },
            "progress": self.transfer and self.transfer.facts(),
            "waitsFor": list(self.waits_for),
            **({"app": self.app} if self.app else {}),
            **({"heldBack": self.held} if self.held else {}),
            **({"since": self.since} if self.since else {}),
            **({"noSlot": self.full} if self.full else {}),
            **(self.ahead.facts() if self.ahead else {}),
            **({"rehearsal": self.rehearsal} if self.rehearsal else {}),
            **({"movesWith": list(self.moves_with)} if self.moves_with else {}),
        }


def standings(
    plan: Plan | Outline,
    histories: Mapping[str, Sequence[Recorded]],
    holders: Mapping[str, Holder],
    live: Mapping[str, Live],
    word: Word | None = None,
    since: Mapping[str, Since] | None = None,
    ahead: Mapping[str, Outlook] | None = None,
) -> list[Standing]:
    """All machines, in the plan's order. `histories` are the journal's events by machine; `word` is what else says
    whether they may begin; `since`, by machine, the plan that did something to it after this one, where one did: how
    the source is, is what that plan saw. `ahead`, by machine, what is projected of its cutover."""
    word = word or Word()
    states = {name: fold(records) for name, records in histories.items()}
    order = Order(plan, states, word.elsewhere, lifted=word.lifted, unapproved=word.unapproved)
    tiers = tiers_of(plan)
    members = {
        entry.name: Member(
            replace(EntryFacts.of(plan, entry, keeps_running=True), unapproved=word.unapproved.get(entry.name, "")),
            states.get(entry.name, MachineState()),
            tier=tiers[entry.name],
        )
        for entry in plan.entries
    }
    others, looks = since or {}, ahead or {}
    rows = [
        _standing(
            plan,
            entry,
            histories.get(entry.name, ()),
            members,
            holders,
            live.get(entry.name, {}),
            order,
            others.get(entry.name),
        )
        for entry in plan.entries
    ]
    return [replace(row, ahead=looks.get(row.machine), full=word.full.get(row.machine, "")) for row in rows]


def _standing(
    plan: Plan | Outline,
    entry: Entry | OutlinedEntry,
    records: Sequence[Recorded],
    members: Mapping[str, Member],
    holders: Mapping[str, Holder],
    live: Live,
    order: Order,
    since: Since | None,
) -> Standing:
    others, state = tuple(other.name for other in entry.moves_with or ()), members[entry.name].state
    action, behind = _turn(members, entry.name, others)
    seen = replace(_seen_last(plan, entry, records, since), place=state.place)
    if state.resumes is Phase.COMMITTED and since is None:
        seen = replace(seen, left=left_so(state))
    held = order.held(entry.name)
    last = fold(since.records) if since else state
    return Standing(
        entry.name,
        state.phase,
        f"{state.failed.what}" if state.failed else "; ".join(map(failure_told, failed_at_end(state))),
        str(action.kind),
        action.reason,
        seen,
        holders.get(entry.name),
        _transfer(entry, state, live),
        held.by if held else behind,
        last.owes_restart and not (since and last.phase in ENDS),
        others,
        held.why if held else "",
        f"{since.by} has it since: {last.phase}" if since else "",
        app=entry.app or "",
        rehearsal=rehearsal_words(state),
    )


def rehearsal_words(state: MachineState) -> str:
    """What became of the newest rehearsal of a machine whose cutover is still to come; empty where there was none."""
    if state.rehearsal is None or state.resumes not in UNTOUCHED:
        return ""
    begun = state.rehearsal.begun
    if why := why_not(state):
        return f"rehearsal {at_a_minute(begun.at)} did not pass: {why}"
    return f"rehearsed {at_a_minute(begun.at)}, as of round {begun.round}"


def _turn(members: Mapping[str, Member], name: str, others: tuple[str, ...]) -> tuple[Action, tuple[str, ...]]:
    """What is next for a machine, and for which others of its set that waits."""
    if not others:
        return next_action(members[name].facts, members[name].state), ()
    return turn_of({one: member for one, member in members.items() if one == name or one in others}, name)


def _seen_last(
    plan: Plan | Outline, entry: Entry | OutlinedEntry, records: Sequence[Recorded], since: Since | None
) -> SourceSeen:
    """What another plan saw after this one counts; where it begins by taking over, how this one has left the source."""
    seen = source_seen(plan, entry, records)
    if since is None:
        return seen
    return source_seen(plan, entry, [record for record in since.records if record.at > seen.at], seen)


def source_seen(
    plan: Plan | Outline,
    entry: Entry | OutlinedEntry,
    records: Sequence[Recorded],
    before: SourceSeen | None = None,
) -> SourceSeen:
    """How the source was seen last; before anything was done to it, as it was discovered, or as the plan that it was
    taken from has seen it `before`."""
    seen = before or SourceSeen(entry.machine.power, plan.created_at)
    for record in records:
        event = record.event
        if isinstance(event, SourceStopped):
            seen = SourceSeen(Power.OFF, record.at, event.at or record.at)
        elif isinstance(event, StopAsked):
            seen = SourceSeen(Power.UNKNOWN, record.at, asked=True)
        elif isinstance(event, StopNotDone):
            seen = SourceSeen(Power.OFF, record.at)
        elif isinstance(event, SourceRestarted) or (isinstance(event, CopyBegun) and not event.final):
            seen = SourceSeen(Power.RUNNING, record.at)
        elif isinstance(event, CutoverBegun) and not (before and event.taken_from):
            # What another plan found before its stop says nothing of how the source is now.
            seen = SourceSeen(Power.UNKNOWN if event.taken_from else event.power_before, record.at)
    return seen


def _transfer(entry: Entry | OutlinedEntry, state: MachineState, live: Live) -> Transfer | None:
    """None where no round is open."""
    if not state.round or state.resumes not in {Phase.COPYING, Phase.CUTTING_OVER}:
        return None
    sizes = {disk.disk: disk.size_bytes for disk in entry.disks}
    done = [disk for disk in state.disks if disk not in state.uncopied]
    done_bytes = sum(sizes.get(disk, 0) for disk in done)
    return Transfer(state.round, len(done), len(state.disks), done_bytes, sum(sizes.values()), live)


# --- all of them -----------------------------------------------------------------------------------------------------


def summary(plan: Plan | Outline, rows: Sequence[Standing]) -> str:
    """All machines in one line."""
    phases = Counter(str(row.phase) for row in rows)
    parts = ", ".join(f"{number} {phase}" for phase, number in phases.items())
    told = [f"total: {counted(len(rows), 'machine')}{parts and f' ({parts})'}"]
    if off := left_off(rows):
        named = f"{', '.join(off[:NAMED])}{', …' if len(off) > NAMED else ''}"
        told.append(f"{counted(len(off), 'source is', 'sources are')} off on the way ({named})")
    if held := sum(row.holder is not None and not row.holder.expired for row in rows):
        told.append(f"{counted(held, 'machine is', 'machines are')} held by a runner")
    if waiting := sum(bool(row.held) for row in rows):
        told.append(f"{counted(waiting, 'machine is', 'machines are')} held back")
    if plan.excluded:
        told.append(f"{counted(len(plan.excluded), 'machine is', 'machines are')} not moved")
    return "; ".join(told)


def towards_stops(plan: Plan | Outline, histories: Mapping[str, Sequence[Recorded]], word: Word) -> list[str]:
    """Of waves that go on though something of them has failed, how far they are from their stop."""
    states = {name: fold(records) for name, records in histories.items()}
    return list(Order(plan, states, word.elsewhere, lifted=word.lifted).towards_stops())


def left_off(rows: Sequence[Standing]) -> list[str]:
    """The machines whose source is off, by us, and that have neither moved nor gone back: downtime goes on."""
    return [row.machine for row in owing(rows) if row.source.off_since]


def owing(rows: Sequence[Standing]) -> list[Standing]:
    """Those that ran before and that we have stopped, or may have, and that have neither moved nor gone back."""
    return [row for row in rows if row.owed and row.phase not in ENDS]
