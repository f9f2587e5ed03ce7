"""Telling people what a run does, beside it: in a thread of its own, which no machine waits for.

What happened stands in the journal; whoever delivers next tells what was left. So the thread may fail, and may be cut
off at the end: `kubeferry notify`, the next run, or whoever looks after things each minute goes on. What sends is
imported where somebody is to be told.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubeferry.documents import Config, NoticeKind, Plan
from kubeferry.errors import Deferred, HeldBack, InputInvalid, KubeferryError, LateHookFailed, ProbeFailed
from kubeferry.journal import Journal
from kubeferry.journal.outbox import Queue
from kubeferry.outside import stopping
from kubeferry.outside.clock import now
from kubeferry.steps.hooks import failure
from kubeferry.words import counted, plain

if TYPE_CHECKING:
    from flows.told import Outcome
    from kubeferry.notices import Announcement

EVERY_SECONDS = 15.0  # what comes together in that time is told together, where it is much
END_SECONDS = 20.0
HURRIED_SECONDS = 3.0  # where somebody asked to stop

DEFERRED = "deferred"
"""How the run of a machine ends whose window did not allow its cutover."""

logger = logging.getLogger(__name__)


def refuse_unready(config: Config) -> None:
    """Raise InputInvalid where receivers are configured that nothing can be sent to: a night's run is to be told of."""
    if config.notify is None:
        return
    from kubeferry.notices import problems

    if found := problems(config):
        raise InputInvalid("it cannot be told what happens", found)


@contextlib.contextmanager
def telling(journal: Journal, config: Config) -> Iterator[None]:
    """While the block lasts, tell what happens; at its end a moment is given for the rest. It raises nothing itself."""
    if config.notify is None:
        yield
        return
    from kubeferry.notices.deriving import names_of

    over = threading.Event()
    with _logged():  # from here on, and not from when the thread comes to it
        journal.outbox.know(names_of(config.notify))
    thread = threading.Thread(target=_go_on, args=(journal, config, over), daemon=True, name="tells")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(HURRIED_SECONDS if stopping.requested() else END_SECONDS)
        if thread.is_alive():
            logger.warning("not all was told at the end of the run: `kubeferry notify` goes on")


def announce_outcomes(journal: Journal, config: Config, plan: Plan, outcomes: Sequence[Outcome]) -> None:
    """Tell what no event says of a run's machines: those that wait for their window, once for each opening; hooks that
    failed after a move's end; and waves that wait for a person's approval, once for what they lack."""
    if config.notify is None:
        return
    from kubeferry.notices import Announcement, announce
    from kubeferry.notices.deriving import derive

    with _logged():  # what happened comes before what is said of it
        derive(journal, config.notify)
    for one in outcomes:
        if one.phase == DEFERRED and one.error:
            told = Announcement(
                kind=NoticeKind.DEFERRED,
                key=f"{one.machine} {one.error.reason}",
                plan=plan.digest,
                machine=one.machine,
                reason=one.error.reason,
                fix=one.error.fix,
            )
            with _logged():
                announce(journal, config, told)
        with _logged():
            if late := _late(journal, plan, one):
                announce(journal, config, _hook_failed(plan, one.machine, late))
    for wave, error in _unapproved(plan, outcomes).items():
        with _logged():
            announce(journal, config, _wanted(plan, wave, error))


def _late(journal: Journal, plan: Plan, outcome: Outcome) -> LateHookFailed | None:
    """What failed after the end of a machine's move, also where its outcome says why it went back."""
    if isinstance(outcome.error, (Deferred, ProbeFailed)):
        return failure(plan.entry(outcome.machine), journal.state(plan.digest, outcome.machine))
    return outcome.error if isinstance(outcome.error, LateHookFailed) else None


def _hook_failed(plan: Plan, machine: str, error: LateHookFailed) -> Announcement:
    """No machine failed: what comes after its move did, and is told once a day for as long as it does."""
    from kubeferry.notices import Announcement

    key = f"{machine} {error.what} {now()[:10]}"
    return Announcement(NoticeKind.FAILED, key, plan.digest, machine=machine, reason=error.reason, fix=error.fix)


def _unapproved(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, HeldBack]:
    """By wave why one of its machines is not approved, as far as that is all that it waits for."""
    waves = {name: wave.name for wave in plan.waves for name in wave.machines}
    held = {one.machine: one.error for one in outcomes if isinstance(one.error, HeldBack)}
    return {waves[name]: error for name, error in held.items() if error.settled_by}


def _wanted(plan: Plan, wave: str, error: HeldBack) -> Announcement:
    from kubeferry.notices import Announcement

    why = f"wave {wave} waits for an approval: {error.why_held}"
    key = f"{wave} {error.why_held}"
    return Announcement(NoticeKind.APPROVAL_WANTED, key, plan.digest, wave=wave, reason=why, fix=error.settled_by)


def _go_on(journal: Journal, config: Config, over: threading.Event) -> None:
    from kubeferry.notices import deliver

    ended = False
    while not ended:
        ended = over.wait(EVERY_SECONDS)
        with _logged():
            deliver(journal, config, seconds=END_SECONDS / 2)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """What keeps people from being told keeps no machine from moving."""
    try:
        yield
    except KubeferryError as error:
        logger.warning("nobody is told for now: %s", error.reason)
    except Exception:
        logger.exception("nobody is told for now: a defect")


# --- what is left -----------------------------------------------------------------------------------------------------


def of_queues(queues: Sequence[Queue]) -> list[dict[str, object]]:
    """For a program."""
    return [
        {
            "receiver": one.receiver,
            "waiting": one.waiting,
            "oldestAt": one.oldest_at or None,
            "tries": one.tries,
            "error": one.error,
            "nextAt": one.next_at or None,
            "undeliverable": one.undeliverable,
            "refusal": one.refusal,
        }
        for one in queues
    ]


def in_words(queues: Sequence[Queue]) -> list[str]:
    """A line for each receiver that was not told of everything."""
    lines = []
    for one in queues:
        if one.waiting:
            tried = f", tried {counted(one.tries, 'time')}: {one.error}" if one.tries else ""
            count = counted(one.waiting, "message waits", "messages wait")
            lines.append(f"outbox: {count} for {one.receiver} since {_minute(one.oldest_at)}{tried}")
        if one.undeliverable:
            count = counted(one.undeliverable, "message was", "messages were")
            lines.append(
                f"outbox: {count} refused by {one.receiver} and set aside: {one.refusal}; "
                "`kubeferry notify --again` sends it once more"
            )
    return [plain(line) for line in lines]


def _minute(at: str) -> str:
    """An ISO 8601 time in UTC as people read it."""
    return f"{at[:16].replace('T', ' ')} UTC"
