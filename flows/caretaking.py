"""Whoever looks after machines that nobody is at work on: one look at all plans of a journal, and what follows from it.
The old machines of those that have moved are looked at, too: one that runs is an alarm. What happened is told, to whom
the configuration names. Sources that are wanted back come first, of all plans, and what may take hours last.

Needs no Prefect, and no plan by name: the journal holds them. Several may look at once, on several hosts: a machine's
lease lets one of them in.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from flows.migrate import Run, run_plan
from flows.progress import Board
from flows.telling import announce_outcomes
from flows.told import Outcome
from kubeferry.documents import Config, NoticeKind, OutlinedEntry, Plan, outline_in, plan_in
from kubeferry.errors import Interrupted, KubeferryError, PermanentError, ProbeFailed
from kubeferry.journal import Journal, PlanRecord
from kubeferry.life.care import Alone, goal_of, is_urgent, why_now
from kubeferry.life.deadline import told
from kubeferry.life.held import sets_of
from kubeferry.life.states import fold
from kubeferry.outside import stopping
from kubeferry.sources import Source
from kubeferry.steps.afterwards import Alarm, Watched, watch_sources
from kubeferry.steps.precedence import by_another
from kubeferry.steps.sources import source_of, unknown_source
from kubeferry.words import counted

TELL_SECONDS = 20.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A machine that was taken up, why, and how that ended; `outcome` is None where it was only looked."""

    plan: str
    machine: str
    why: str
    outcome: Outcome | None = None

    def facts(self) -> dict[str, object]:
        """For a program."""
        ended = {"phase": self.outcome.ended, "error": str(self.outcome.error or "")} if self.outcome else {}
        return {"plan": self.plan, "machine": self.machine, "why": self.why, **ended}

    @property
    def failed(self) -> KubeferryError | None:
        """What went wrong with it. That it went back is an end; that it was stopped is no failure."""
        error = self.outcome.error if self.outcome else None
        return None if isinstance(error, (Interrupted, ProbeFailed)) else error


@dataclass(frozen=True, slots=True)
class Needing:
    """A machine that is to be taken up, and why; `urgent` where all that is not waits for it."""

    machine: str
    why: str
    urgent: bool


@dataclass(slots=True)
class Looked:
    """What one look has found. `under_way` counts machines whose cutover has begun, and come to no end. `troubles` are
    plans that could not be looked after, by their names; `alarms` are old machines that run beside their copy, by plan;
    `unanswered` sources that do not tell. `sent` counts messages, and `told` says who was told of what happened."""

    taken: list[Taken] = field(default_factory=list)
    under_way: int = 0
    troubles: dict[str, KubeferryError] = field(default_factory=dict)
    alarms: list[tuple[PlanRecord, Alarm]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    sent: int = 0
    told: str = ""

    def troubled(self, plan: PlanRecord, error: KubeferryError) -> None:
        """A plan could not be looked after."""
        named = f"{plan.name} ({plan.digest[:12]})"
        logger.warning("plan %s is not looked after: %s", named, error)
        self.troubles[named] = error

    @property
    def failed(self) -> bool:
        """Whether somebody is to look at it."""
        return bool(self.troubles or self.alarms) or any(one.failed for one in self.taken)

    def facts(self) -> dict[str, object]:
        """For a program."""
        return {
            "underWay": self.under_way,
            "taken": [one.facts() for one in self.taken],
            "troubles": {named: str(error) for named, error in self.troubles.items()},
            "alarms": [
                {"plan": plan.name, "machine": one.machine, "what": one.what, "why": one.why, "fix": one.fix}
                for plan, one in self.alarms
            ],
            "unanswered": self.unanswered,
        }

    def __str__(self) -> str:
        """In one line."""
        found = f"{counted(self.under_way, 'machine is', 'machines are')} under way"
        if not self.taken:
            return f"{found}, and each has somebody or needs nobody now"
        return f"{found}, {counted(len(self.taken), 'of them was', 'of them were')} taken up"


def look_after(config: Config, journal: Journal, *, dry_run: bool = False) -> Looked:
    """Take up each machine that needs somebody: of all plans those first that go back, or whose time is over; then
    alarms and messages; then the rest. A plan that cannot be read, or whose source is not in the configuration, keeps
    no other one waiting."""
    looked, rest = Looked(), dict[str, list[str]]()
    under_way, ended = _cutovers(journal)
    looked.under_way = sum(map(len, under_way.values()))
    for digest in _until_stopped((*under_way, *ended)):
        with _apart(journal, digest, looked):
            needing = _needing(journal, digest, [*under_way.get(digest, ()), *ended.get(digest, ())])
            rest[digest] = [one.machine for one in needing if not one.urgent]
            looked.taken += _taken(config, journal, digest, [one for one in needing if one.urgent], dry_run)
    if not stopping.requested():
        _look_at_old_machines(config, journal, looked)
    if not dry_run:
        _tell(config, journal, looked)
    before = len(looked.taken)
    for digest in _until_stopped(digest for digest, machines in rest.items() if machines):
        with _apart(journal, digest, looked):  # asked anew: what came first may have taken long
            looked.taken += _taken(config, journal, digest, _needing(journal, digest, rest[digest]), dry_run)
    if len(looked.taken) > before and not dry_run:
        _tell(config, journal, looked)
    return looked


def _until_stopped(digests: Iterable[str]) -> Iterator[str]:
    return itertools.takewhile(lambda _: not stopping.requested(), dict.fromkeys(digests))


@contextlib.contextmanager
def _apart(journal: Journal, digest: str, looked: Looked) -> Iterator[None]:
    """What is wrong with one plan costs no other one."""
    try:
        yield
    except KubeferryError as error:
        looked.troubled(journal.plan(digest), error)


def _taken(
    config: Config, journal: Journal, digest: str, needing: Collection[Needing], dry_run: bool
) -> Iterable[Taken]:
    """How those of a plan ended that are taken up; nothing is done where it is only looked."""
    if needing and dry_run:
        name = journal.plan(digest).name
        return [Taken(name, one.machine, one.why) for one in needing]
    return _take_up(config, journal, _plan(config, journal, digest), needing) if needing else ()


def _look_at_old_machines(config: Config, journal: Journal, looked: Looked) -> None:
    """Whether one of them runs beside its copy. Nothing is done to any: a person decides which one is right."""
    moved = {one.plan for one in journal.cutovers() if one.moved}
    for record in (plan for plan in journal.plans() if plan.digest in moved):
        try:
            plan = plan_in(journal.plan(record.digest).document, record.digest)
            if unknown_source(plan, config):
                looked.unanswered.append(f"plan {plan.name}: its source {plan.source!r} is not in the configuration")
                continue
            found = _seen_of(config, journal, plan)
        except KubeferryError as error:
            looked.troubled(record, error)
            continue
        looked.alarms += [(record, alarm) for alarm in found.alarms]
        looked.unanswered += found.unanswered


def _seen_of(config: Config, journal: Journal, plan: Plan) -> Watched:
    with contextlib.ExitStack() as opened:

        def source() -> Source:
            return opened.enter_context(contextlib.closing(source_of(plan, config, journal)))

        return watch_sources(plan, journal, source)


def _tell(config: Config, journal: Journal, looked: Looked) -> None:
    """Send what waits in the outbox. That nobody could be told is no reason to fail: it waits for the next look."""
    if config.notify is None:
        return
    from kubeferry.notices import Announcement, announce, deliver

    today = f"{journal.now():%Y-%m-%d}"  # once a day, for as long as it runs
    try:
        for plan, alarm in looked.alarms:
            key = f"{alarm.machine} runs {today}"
            reason = f"{alarm.what}: {alarm.why}"
            announce(
                journal,
                config,
                Announcement(NoticeKind.ALARM, key, plan.digest, machine=alarm.machine, reason=reason, fix=alarm.fix),
            )
        found = deliver(journal, config, seconds=TELL_SECONDS)
        looked.sent += found.sent
        looked.told = f"{counted(looked.sent, 'message')} sent, {found.waiting} waiting"
    except KubeferryError as error:
        logger.warning("nobody is told for now: %s", error.reason)


def _cutovers(journal: Journal) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The machines whose cutover has come to no end, by their plans' digests; and, of plans that have hooks, those
    whose cutover has."""
    under_way: dict[str, list[str]] = defaultdict(list)
    ended: dict[str, list[str]] = defaultdict(list)
    for one in journal.cutovers():
        (ended if one.ended else under_way)[one.plan].append(one.machine)
    return under_way, {digest: ones for digest, ones in ended.items() if _has_hooks(journal.plan(digest).document)}


def _has_hooks(document: str) -> bool:
    """Whether a plan's text may have any: most have none, and are not read for it."""
    return '"hooks"' in document


def _needing(journal: Journal, digest: str, machines: list[str]) -> list[Needing]:
    """Those of a plan's machines that are taken up now, and why. One that somebody has in hand, a run or another plan,
    is left to him; whose runner sleeps on this host cannot be taken up, which its run tells."""
    holders, now = journal.holders(digest), told(journal.now())
    held = {name for name, one in holders.items() if not (one.expired or one.may_be_succeeded)}
    if held.issuperset(machines):
        return []
    outline = outline_in(journal.plan(digest).document, digest)
    entries, sets = {one.name: one for one in outline.entries}, sets_of(outline)
    found = list[Needing]()
    for unit in dict.fromkeys(tuple(sorted(sets[name])) for name in machines if name in sets):
        if not held.isdisjoint(unit):
            continue
        theirs = [name for name in unit if name in entries and by_another(journal, digest, entries[name]) is None]
        # What another plan has in hand since is no longer this one's, whatever it has left under way.
        alone = {name: _alone(journal, digest, entries[name]) for name in theirs}
        urgent = is_urgent([one.state for one in alone.values()], now)
        found += [Needing(name, why, urgent) for name, why in why_now(alone, now).items() if name in machines]
    return found


def _alone(journal: Journal, digest: str, entry: OutlinedEntry) -> Alone:
    records = journal.events(digest, entry.name)
    return Alone(fold(records), entry.commit, records[-1].at if records else "", entry.hooks or ())


def _plan(config: Config, journal: Journal, digest: str) -> Plan:
    registered = journal.plan(digest)
    plan = plan_in(registered.document, f"plan {registered.name} ({digest[:12]}) in the journal")
    if problem := unknown_source(plan, config):
        raise PermanentError(
            f"nobody can look after plan {plan.name}",
            why=f"its source {plan.source!r} is not in the configuration",
            fix=problem.fix,
        )
    return plan


def _take_up(config: Config, journal: Journal, plan: Plan, needing: Collection[Needing]) -> Iterator[Taken]:
    reasons = {one.machine: one.why for one in needing}
    for name, why in reasons.items():
        logger.info("%s of plan %s is taken up: %s", name, plan.name, why)
    units = dict.fromkeys(plan.set_of(name) for name in reasons)
    wanted = {unit: goal_of([journal.state(plan.digest, name) for name in unit]) for unit in units}
    for goal in dict.fromkeys(wanted.values()):
        names = tuple(name for unit in units if wanted[unit] is goal for name in unit)
        run = Run(plan, config, journal, Board(quiet=True), goal, patient=False)  # the next look comes soon
        outcomes = run_plan(run, names)
        announce_outcomes(journal, config, plan, outcomes)
        for one in outcomes:
            yield Taken(plan.name, one.machine, reasons.get(one.machine, "it moves together with them"), one)
