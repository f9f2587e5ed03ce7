"""What can be said about one machine's move: one frozen value per kind of event, JSON with `kind` as discriminator.

An event states what *has happened* and carries the evidence for it. Most are written after the fact; seven are
intents, written before anything is touched, because what follows cannot be asked for again: `cutover_begun` (the power
state before), `stop_asked`, `last_words` (what the running guest said last), `autostart_recorded` and `notes_recorded`
(what a rollback puts back at the source), `rollback_begun` and `rehearsal_begun`.
Sizes are bytes, durations seconds, times UTC in ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from kubeferry.errors import Interrupted
from kubeferry.inside.said import Said
from kubeferry.life.event_kinds import EventKind, failing_of, passed_of
from kubeferry.life.hook_events import HookRun
from kubeferry.life.projected import Projected
from kubeferry.life.rehearsal_events import (
    RehearsalBegun,
    RehearsalEnded,
    RehearsalObserved,
    RehearsalStarted,
    Rehearsed,
)
from kubeferry.model import Autostart, Bytes, Marker, Power, Seconds, Value

RoundNumber = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(min_length=1)]


class Planned(Value):
    """The machine stands in a plan. `disks` are those whose bytes are moved: all of them, or nothing is proven."""

    kind: Literal[EventKind.PLANNED] = EventKind.PLANNED
    plan_digest: Digest
    disks: tuple[str, ...]


class Located(Value):
    """The machine is at this `source` of its estate: it has left the one of its plan, or that another one has a
    definition of it, too, is seen. From here on it is looked for there first."""

    kind: Literal[EventKind.LOCATED] = EventKind.LOCATED
    source: str


class CopyBegun(Value):
    """A round over all disks begins. Rounds count up from 1; a `final` one reads a source that is off.

    `view` is the marker of the frozen view that is copied, None where it has none; `since` that of round `since_round`,
    from which on the source tells what changed, None where all is read. `consistency` is how the disks stand to each
    other.
    """

    kind: Literal[EventKind.COPY_BEGUN] = EventKind.COPY_BEGUN
    round: RoundNumber
    final: bool
    view: Marker | None = None
    since: Marker | None = None
    since_round: RoundNumber = 0
    consistency: str = ""


class RoundLeft(Value):
    """The view of the round was given back before every disk was copied. What was copied of it stays, and the next
    round can start from it."""

    kind: Literal[EventKind.ROUND_LEFT] = EventKind.ROUND_LEFT


class DiskCopied(Value):
    """One disk is durable at the target as of this round: flushed, its fingerprint's `root` known. `versions` are those
    of the mover and what it worked with, `where` is where it ran. `same_bytes` the source named as unchanged,
    `calls` are what a cloud asks money for."""

    kind: Literal[EventKind.DISK_COPIED] = EventKind.DISK_COPIED
    disk: str
    round: RoundNumber
    root: Digest
    algorithm: str
    size_bytes: Bytes = 0
    data_bytes: Bytes = 0
    read_bytes: Bytes = 0
    written_bytes: Bytes = 0
    resumed_bytes: Bytes = 0
    same_bytes: Bytes = 0
    seconds: Seconds = 0
    calls: dict[str, int] = {}
    versions: dict[str, str] = {}
    where: str = ""


class DiskVerified(Value):
    """One disk was read back at the target and compared with the fingerprint `root`; `differing` counts blocks.
    `same_bytes` had been read back before, and were not written since."""

    kind: Literal[EventKind.DISK_VERIFIED] = EventKind.DISK_VERIFIED
    disk: str
    root: Digest
    read_bytes: Bytes = 0
    same_bytes: Bytes = 0
    differing: Annotated[int, Field(ge=0)] = 0
    seconds: Seconds = 0
    where: str = ""


class Synced(Value):
    """Every disk is durable as of `round`, of a machine that ran on. `data_bytes` were copied in all, in `seconds`."""

    kind: Literal[EventKind.SYNCED] = EventKind.SYNCED
    round: RoundNumber
    data_bytes: Bytes = 0
    seconds: Seconds = 0


class Approved(Value):
    """On whose word the cutover begins: `decisions` are the digests of those that the plan's own line holds."""

    kind: Literal[EventKind.APPROVED] = EventKind.APPROVED
    by: str
    note: str = ""
    decisions: tuple[str, ...] = ()


class NotesRecorded(Value):
    """An intent: what stood `before` where people write about the machine at its source, None for nothing. From here on
    the `line` may stand below it."""

    kind: Literal[EventKind.NOTES_RECORDED] = EventKind.NOTES_RECORDED
    before: str | None
    line: str


class CutoverBegun(Value):
    """An intent: from here on the source may be stopped. `power_before` is what a rollback goes back to. `taken_from`
    is the digest of an older plan that had the machine in hand, or of one that a mark at the source names: the power
    before is what that one found, `target_may_run` what it has left at the target, `autostart` and `notes` what it has
    changed at the source. `stop_is_told`: no stop is asked for before `stop-asked` stands here; journals of earlier
    versions say nothing of the sort. `deadline`: by when the copy has to have passed its probes, or the source is
    wanted back (`kubeferry.life.deadline`), and of what it is; empty for none. `window` is the plan's window that it
    begins in, empty for none, and `projected` what was known of it just before. `to_go_back`: nothing of it is done but
    the way back, which somebody has asked for."""

    kind: Literal[EventKind.CUTOVER_BEGUN] = EventKind.CUTOVER_BEGUN
    power_before: Power
    stop_is_told: bool = False
    taken_from: str = ""
    to_go_back: bool = False
    target_may_run: bool = False
    deadline: str = ""
    deadline_of: str = ""
    window: str = ""
    projected: Projected | None = None
    autostart: Autostart | None = None
    notes: NotesRecorded | None = None


class StopAsked(Value):
    """An intent: from here on the source may be off by our doing. Without it, whoever it is off by, it is not us."""

    kind: Literal[EventKind.STOP_ASKED] = EventKind.STOP_ASKED


class StopNotDone(Value):
    """The stop that was asked for last was not what the source is off by: `why`, as the source tells it. So it is off
    by somebody else."""

    kind: Literal[EventKind.STOP_NOT_DONE] = EventKind.STOP_NOT_DONE
    why: str


class LastWords(Value):
    """Heard from the running guest before the stop, and written down before it: afterwards nobody can ask again.
    `words`: file in the guest -> content. `said`: what it said of itself, where it was asked."""

    kind: Literal[EventKind.LAST_WORDS] = EventKind.LAST_WORDS
    at: str
    words: dict[str, str] = {}
    said: Said | None = None


class AutostartRecorded(Value):
    """An intent: what starts the source by itself, as it `was`; from here on that may be off. Without it nothing does,
    as far as anybody looked."""

    kind: Literal[EventKind.AUTOSTART_RECORDED] = EventKind.AUTOSTART_RECORDED
    was: Autostart


class SourceStopped(Value):
    """The source is confirmed off. `how`: already-off, agent, acpi, forced. `last_start` changes with each start of it;
    empty where the source cannot tell. `stays_off`: nothing starts it by itself any more, seen after it was off; None
    where nobody looked, or nothing there does."""

    kind: Literal[EventKind.SOURCE_STOPPED] = EventKind.SOURCE_STOPPED
    how: str
    at: str
    last_answer_at: str | None = None
    last_words: dict[str, str] = {}
    last_start: str = ""
    stays_off: bool | None = None


class VariablesCarried(Value):
    """The source's UEFI variables are on the target, and were read back there. `source_digest` (SHA-256) is of the
    store as the source handed it over, `digest` of the one that was written, `names` are those of its variables.
    Without a digest the source had none, since it never ran."""

    kind: Literal[EventKind.VARIABLES_CARRIED] = EventKind.VARIABLES_CARRIED
    source_digest: str = ""
    digest: str = ""
    size_bytes: Bytes = 0
    names: tuple[str, ...] = ()
    where: str = ""


class TpmCarried(Value):
    """What the source's TPM holds is on the target, and was read back there. `digest` (SHA-256) tells nobody what that
    is: it is made of seeds that nobody guesses. Without a digest the source had nothing, since it never ran."""

    kind: Literal[EventKind.TPM_CARRIED] = EventKind.TPM_CARRIED
    digest: str = ""
    size_bytes: Bytes = 0
    where: str = ""


class Applied(Value):
    """The plan's manifests are in place; `changes` say what was created, changed or found as it should be."""

    kind: Literal[EventKind.APPLIED] = EventKind.APPLIED
    changes: tuple[str, ...] = ()


class Started(Value):
    kind: Literal[EventKind.STARTED] = EventKind.STARTED
    where: str = ""


class Observed(Value):
    """What was seen of the started target: an Observation document as plain data."""

    kind: Literal[EventKind.OBSERVED] = EventKind.OBSERVED
    observation: dict[str, Any]

    @property
    def failing(self) -> tuple[str, ...]:
        """The probes that did not pass, in words."""
        return failing_of(self.observation)

    @property
    def passed(self) -> int:
        """How many probes passed; 0 when any failed or none ran."""
        return passed_of(self.observation)


class AppObserved(Value):
    """What was seen of an app as a whole, asked of one of its started machines: an Observation document as plain
    data."""

    kind: Literal[EventKind.APP_OBSERVED] = EventKind.APP_OBSERVED
    app: str
    observation: dict[str, Any]

    @property
    def failing(self) -> tuple[str, ...]:
        """The probes that did not pass, in words."""
        return failing_of(self.observation)

    @property
    def passed(self) -> int:
        """How many probes passed; 0 when any failed or none ran."""
        return passed_of(self.observation)


class Validated(Value):
    kind: Literal[EventKind.VALIDATED] = EventKind.VALIDATED
    probes_passed: Annotated[int, Field(ge=1)]


class Watched(Value):
    """A machine that is validated and not committed was asked again, and passed all its probes."""

    kind: Literal[EventKind.WATCHED] = EventKind.WATCHED
    probes_passed: Annotated[int, Field(ge=1)]


class TargetStopped(Value):
    """The target is down: it was stopped, or a person, `told_by`, has said so of one that is gone for good."""

    kind: Literal[EventKind.TARGET_STOPPED] = EventKind.TARGET_STOPPED
    told_by: str = ""


class Committed(Value):
    """The machine has moved; `by` a person, where one has said so, else by the plan's own rule. `run_strategy` is what
    the target runs it as from then on: it was given just before this was written. Empty where the target runs no
    machines of its own."""

    kind: Literal[EventKind.COMMITTED] = EventKind.COMMITTED
    run_strategy: str = ""
    by: str = ""


class SourceMarked(Value):
    """The line of `notes-recorded` stands at the source, and was read there."""

    kind: Literal[EventKind.SOURCE_MARKED] = EventKind.SOURCE_MARKED


BEFOREHAND = "ask-beforehand"
"""Where a machine failed that was refused before its first step."""


class Failed(Value):
    """An action ended with an error. `at` is the action; `error_type` a class name of `kubeferry.errors`.

    A stop that was asked for stands here, too: it is `stopped`, which is no failure.
    """

    kind: Literal[EventKind.FAILED] = EventKind.FAILED
    at: str
    what: str
    why: str = ""
    fix: str = ""
    transient: bool = False
    error_type: str = ""

    @property
    def stopped(self) -> bool:
        return self.error_type == Interrupted.__name__

    @property
    def beforehand(self) -> bool:
        """Nothing was done to it: it was refused by what was asked first."""
        return self.at == BEFOREHAND


WINDOW = "window"
"""What leads back a machine whose window ends: no fault of its own."""


class RollbackBegun(Value):
    """An intent: the target goes down, the source comes back. Once begun it is finished, whoever runs next. `cause`:
    `window` where nothing but the end of its window leads it back, and it moves in a later opening."""

    kind: Literal[EventKind.ROLLBACK_BEGUN] = EventKind.ROLLBACK_BEGUN
    reason: str
    cause: str = ""


class SourceRestarted(Value):
    kind: Literal[EventKind.SOURCE_RESTARTED] = EventKind.SOURCE_RESTARTED


class RolledBack(Value):
    kind: Literal[EventKind.ROLLED_BACK] = EventKind.ROLLED_BACK


class Released(Value):
    """Everything of ours that the machine no longer needs is proven gone; with `everything`, the machine at the target
    and its disks as well."""

    kind: Literal[EventKind.RELEASED] = EventKind.RELEASED
    removed: tuple[str, ...] = ()
    everything: bool = False


class Note(Value):
    """A remark for people; it changes nothing."""

    kind: Literal[EventKind.NOTE] = EventKind.NOTE
    text: str


Event = (
    Planned
    | Located
    | CopyBegun
    | RoundLeft
    | DiskCopied
    | DiskVerified
    | Synced
    | RehearsalBegun
    | RehearsalStarted
    | RehearsalObserved
    | RehearsalEnded
    | Rehearsed
    | Approved
    | CutoverBegun
    | StopAsked
    | StopNotDone
    | LastWords
    | AutostartRecorded
    | SourceStopped
    | VariablesCarried
    | TpmCarried
    | Applied
    | Started
    | Observed
    | AppObserved
    | Validated
    | Watched
    | TargetStopped
    | Committed
    | NotesRecorded
    | SourceMarked
    | Failed
    | RollbackBegun
    | SourceRestarted
    | RolledBack
    | Released
    | HookRun
    | Note
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def event_to_json(event: Event) -> str:
    """One line of JSON with `camelCase` names."""
    return event.model_dump_json(by_alias=True)


def event_from_json(text: str) -> Event:
    """The event that `event_to_json` wrote. Raises ValueError for anything else."""
    return _EVENT.validate_json(text)


def event_of(kind: EventKind, payload: Mapping[str, object]) -> Event:
    """The event of this kind with these fields (`snake_case`). Raises ValueError if they do not fit."""
    return _EVENT.validate_python({"kind": kind, **payload})
