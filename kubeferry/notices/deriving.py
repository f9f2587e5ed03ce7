"""What receivers are to be told, put into the outbox: from events since they were last thought of, and from what no
event says. How that is never wrong stands in `kubeferry.journal.outbox`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from weakref import WeakKeyDictionary

from kubeferry.documents import Config, NoticeKind, outline_in
from kubeferry.documents.notify import NotifyConfig, Receiver
from kubeferry.errors import KubeferryError
from kubeferry.journal import Journal
from kubeferry.journal.leases import describe
from kubeferry.journal.outbox import Draft, News
from kubeferry.notices.happenings import OF_EVENTS, Happening, happenings
from kubeferry.notices.notice import LONGEST_NAME, Actor, Notice, PlanFacts, bounded, id_of, page_of
from kubeferry.outside.clock import now
from kubeferry.outside.struck import without_secrets


@dataclass(frozen=True, slots=True)
class Announcement:
    """What no event says. `key` tells it from others of its plan: the same one again is told once. `actor` is who does
    it; without one it is this process."""

    kind: NoticeKind
    key: str
    plan: str
    wave: str = ""
    app: str = ""
    machine: str = ""
    reason: str = ""
    fix: str = ""
    actor: Actor | None = None


def names_of(settings: NotifyConfig) -> dict[str, Receiver]:
    """The receivers by the names that the outbox has for them."""
    found: dict[str, Receiver] = {f"webhook/{name}": hook for name, hook in settings.webhooks.items()}
    return found | ({"mail": settings.mail} if settings.mail else {})


def derive(journal: Journal, settings: NotifyConfig) -> list[str]:
    """Put what happened into the outbox of each receiver. Returns, in words, which machines' events could not be read:
    these are looked at again the next time, and cost the others nothing."""
    receivers = names_of(settings)
    journal.outbox.know(receivers)
    trouble: dict[str, str] = {}
    identity = journal.identity
    for name, receiver in receivers.items():
        kinds = OF_EVENTS.intersection(map(str, receiver.events))
        news, timed = [], []
        for one in journal.outbox.news(name, kinds):
            try:
                found = list(_drafts(journal, identity, settings, receiver, one)) if one.seqs else []
            except KubeferryError as error:
                trouble[f"{one.plan} {one.machine}"] = f"{one.machine} is not told of: {error.reason}"
                continue
            news.append(one)
            timed += found
        if news:
            journal.outbox.add(name, news, [draft for _, draft in sorted(timed, key=lambda pair: pair[0])])
    return sorted(set(trouble.values()))


@dataclass(frozen=True, slots=True)
class Coming:
    """What a receiver would be told of, in a line."""

    receiver: str
    text: str


def forecast(journal: Journal, config: Config) -> list[Coming]:
    """What `deliver` would put into the outbox now; writes nothing. A receiver that the journal does not know yet is
    told of nothing that has happened. Machines whose events cannot be read are left out."""
    found: list[Coming] = []
    if config.notify is None or not journal.outbox.kept():
        return found
    known = {queue.receiver for queue in journal.outbox.queues()}
    for name, receiver in names_of(config.notify).items():
        kinds = OF_EVENTS.intersection(map(str, receiver.events))
        for one in journal.outbox.news(name, kinds) if name in known else ():
            with contextlib.suppress(KubeferryError):
                drafts = list(_drafts(journal, journal.identity, config.notify, receiver, one)) if one.seqs else []
                found += [Coming(name, f"{one.machine}: {draft.body['event']}") for _, draft in drafts]
    return found


def announce(journal: Journal, config: Config, told: Announcement) -> bool:
    """Tell those who want to hear of it, once, when `deliver` is called next. Whether it is new to anybody."""
    if config.notify is None:
        return False
    receivers = names_of(config.notify)
    journal.outbox.know(receivers)
    facts = _facts(journal, told.plan)
    wave = told.wave or facts.waves.get(told.machine, "")
    key = id_of(journal.identity, told.plan, told.kind, told.key)
    notice = Notice(
        event=told.kind,
        time=now(),
        id=key,
        plan=bounded(facts.name, LONGEST_NAME),
        wave=wave or None,
        app=told.app or facts.apps.get(told.machine) or None,
        machine=told.machine or None,
        reason=_clean(told.reason),
        fix=_clean(told.fix),
        page=page_of(config.notify.pages, facts, told.machine, wave),
        actor=told.actor,
    )
    wanted = [name for name, one in receivers.items() if told.kind in one.events and _is_for(one, facts, wave)]
    draft = Draft(key, told.plan, told.machine, wave, notice.body())
    posted = [journal.outbox.post(name, draft) for name in wanted]
    return any(posted)


def _drafts(
    journal: Journal, identity: str, settings: NotifyConfig, receiver: Receiver, news: News
) -> Iterator[tuple[str, Draft]]:
    """The messages of a machine's events, each with the time by which it is put between those of others: never before
    one of the same machine that came earlier, whatever the clocks said."""
    facts = _facts(journal, news.plan)
    wave = facts.waves.get(news.machine, "")
    if not _is_for(receiver, facts, wave):
        return
    at = ""
    for happening in happenings(journal.events(news.plan, news.machine), news.seqs):
        at = max(at, happening.record.at)
        notice = _notice(identity, settings, facts, news.machine, happening)
        yield at, Draft(notice.id, news.plan, news.machine, wave, notice.body())


def _notice(identity: str, settings: NotifyConfig, facts: PlanFacts, machine: str, told: Happening) -> Notice:
    record, wave = told.record, facts.waves.get(machine)
    return Notice(
        event=told.kind,
        time=record.at,
        id=id_of(identity, facts.digest, machine, record.seq, record.at, record.fence),
        plan=bounded(facts.name, LONGEST_NAME),
        wave=wave,
        app=facts.apps.get(machine),
        machine=bounded(machine, LONGEST_NAME),
        before=told.before,
        after=told.after,
        reason=_clean(told.reason),
        fix=_clean(told.fix),
        page=page_of(settings.pages, facts, machine, wave),
        actor=told.actor or Actor(identity=describe(record.writer), how="process"),
    )


def _clean(text: str) -> str:
    return bounded(without_secrets(text))


def _is_for(receiver: Receiver, facts: PlanFacts, wave: str) -> bool:
    return _named(facts.name, receiver.plans) and _named(wave, receiver.waves)


def _named(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


# --- plans are read once ----------------------------------------------------------------------------------------------

_read: WeakKeyDictionary[Journal, dict[str, PlanFacts]] = WeakKeyDictionary()
_lock = threading.Lock()


def _facts(journal: Journal, digest: str) -> PlanFacts:
    """What is said of a plan; of one whose document cannot be read, its name alone. Raises InputInvalid for one that
    the journal does not know."""
    with _lock:
        known = _read.setdefault(journal, {})
        if digest not in known:
            plan = journal.plan(digest)
            known[digest] = PlanFacts(digest, plan.name, *_places(plan.document))
        return known[digest]


def _places(document: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Each machine's wave and app."""
    try:
        outline = outline_in(document)
    except KubeferryError:
        return {}, {}
    waves = {machine: wave.name for wave in outline.waves for machine in wave.machines}
    return waves, {entry.name: entry.app for entry in outline.entries if entry.app}
