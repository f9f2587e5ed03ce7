"""What a report holds: frozen values, all text in them bounded and free of control characters.

    Report ─┬─ MachineReport ─┬─ DiskReport, ProbeReport, Boot
            │                 ├─ Downtime, Timeline ─ TimelinePart, Projection
            │                 └─ Happening
            ├─ WaveReport, Step, RollbackReport      the programme
            ├─ Totals, Scores, Excluded, OpenThing, DecisionReport
            └─ versions

`None` says "not seen"; nothing stands in for it. Sizes are bytes, durations seconds, times UTC in ISO 8601.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from kubeferry.inside.compared import Compared
from kubeferry.life.projected import Range
from kubeferry.model import Bytes, Carried, Concern, Seconds, Value


class Verdict(StrEnum):
    """`proven` needs all: committed, every disk read back and equal, every probe of the plan passed."""

    PROVEN = "proven"
    NOT_PROVEN = "not proven"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    REMOVED = "removed"
    UNDER_WAY = "under way"
    NOT_BEGUN = "not begun"


class PartName(StrEnum):
    """The parts of a cutover, in their usual order; `watch` is time in which the copy served, before its commit or
    after it; `interrupted` is time in which nobody worked on the machine."""

    BEFORE = "before"
    STOP = "stop"
    COPY = "copy"
    VERIFY = "verify"
    REPAIR = "repair"
    START = "start"
    BOOT = "boot"
    PROBES = "probes"
    HOOKS = "hooks"
    COMMIT = "commit"
    WATCH = "watch"
    ROLLBACK = "rollback"
    INTERRUPTED = "interrupted"


class ProbeReport(Value):
    """One question to the started copy, and what was seen."""

    kind: str
    what: str
    ok: bool
    evidence: str
    seconds: Seconds


class Transfer(Value):
    """Bytes that were read or written in one go, and how fast. `bytes_per_second` is None where no time was taken.

    `where` is where the mover ran, in the target's words: a Job and its node, say. Empty where it ran beside us.
    """

    at: str
    where: str = ""
    read_bytes: Bytes
    written_bytes: Bytes = 0
    resumed_bytes: Bytes = 0
    seconds: Seconds
    bytes_per_second: float | None


class DiskReport(Value):
    """One disk: the root of what was copied, and whether a later read-back of the target came to the same.

    `paid_calls` are requests that a cloud charged for, over all rounds, and `paid_dollars` what they come to.
    `verified` is True only when the newest copy, of a final round, was read back with the same root and no block
    differed; `result` says in words what was found.
    """

    disk: str
    claim: str
    volume_mode: str
    size_bytes: Bytes
    claim_bytes: Bytes
    data_bytes: Bytes | None = None
    root: str | None = None
    algorithm: str | None = None
    verified_root: str | None = None
    differing_blocks: int | None = None
    verified: bool
    result: str
    copy_round: int | None = None
    copied: Transfer | None = None
    read_back: Transfer | None = None
    repairs: int = 0
    paid_calls: int = 0
    paid_dollars: float = 0.0


class Boot(Value):
    """What was seen of the copy when it ran. `not_shown` is what the manifest asks for and this place could not show.

    `screenshot` is a picture of its screen, as a PNG data URI. `seen` is what its place says of it: node, pod,
    addresses, claims. `compared` is what its system said of itself at the source and here; empty where it was not heard
    at both.
    """

    where: str
    started_at: str
    accelerator: str | None = None
    first_answer_at: str | None = None
    first_answer_seconds: Seconds | None = None
    guest: dict[str, str] = {}
    compared: tuple[Compared, ...] = ()
    seen: dict[str, str] = {}
    screenshot: str | None = None
    console_tail: str = ""
    not_shown: tuple[str, ...] = ()


class RehearsalReport(Value):
    """One rehearsal: an isolated copy over the disks as of `round`, durable since `synced_at`. `why` it did not pass;
    `disks` say of each whether it was read back as it was before, `removed` what was taken away. The newest alone has
    its picture and console. `together` are those that were rehearsed at the same time, itself among them; `app_probes`
    are those of `app` that were asked of it."""

    number: int
    round: int
    at: str
    synced_at: str
    passed: bool
    why: str = ""
    where: str = ""
    together: tuple[str, ...] = ()
    app: str = ""
    probes: tuple[ProbeReport, ...] = ()
    app_probes: tuple[ProbeReport, ...] = ()
    not_asked: tuple[str, ...] = ()
    not_shown: tuple[str, ...] = ()
    screenshot: str | None = None
    console_tail: str = ""
    disks: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    ended_at: str | None = None


class HookReport(Value):
    """One hook: what it does, and how a run of it ended; `ok` is None where it was not run in the newest cutover. `app`
    is the one whose hook it is. `said` is the end of what it printed, or was answered."""

    phase: str
    name: str
    what: str
    app: str = ""
    at: str | None = None
    ok: bool | None = None
    code: int | None = None
    seconds: float = 0
    why: str = ""
    said: str = ""


class RoundReport(Value):
    """One round over all disks of a machine that ran on. `whole`: all was read, not only what changed since a round
    before. `consistency`: frozen, crash or off. `seconds` are those of all its disks together."""

    round: int
    begins_at: str
    ends_at: str
    consistency: str
    whole: bool
    data_bytes: Bytes
    written_bytes: Bytes
    seconds: Seconds
    read_back_bytes: Bytes
    differing_blocks: int = 0


class TimelinePart(Value):
    """A stretch of the cutover; parts lie end to end. `down` says whether it counts as downtime."""

    name: PartName
    label: str
    begins_at: str
    offset_seconds: Seconds
    seconds: Seconds
    down: bool


class Timeline(Value):
    """From the beginning of the newest cutover to its last event. `clocks_agree` is False where a recorded time lies
    before the one that it must follow: then the figures are off by that much."""

    begins_at: str
    seconds: Seconds
    parts: tuple[TimelinePart, ...]
    clocks_agree: bool


class Bound(StrEnum):
    EXACT = "exact"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    NOT_MEASURED = "not measured"


class Downtime(Value):
    """From the last answer of the source to the first answer of the copy; the timeline's `down` parts add up to it.

    at most: the source's last answer was not seen, the beginning of the cutover stands in for it. at least: no first
    answer was seen, the newest event stands in for it. not measured: `seconds` is None, and `text` says why.
    """

    seconds: Seconds | None = None
    bound: Bound = Bound.NOT_MEASURED
    begins_at: str | None = None
    ends_at: str | None = None
    text: str


class ProjectionPart(Value):
    """One part of the downtime as it was projected; None where it was not known, and `why`."""

    name: str
    seconds: Range | None = None
    why: str = ""


class Projection(Value):
    """What was projected of the newest cutover just before the stop. Scored where the downtime was measured: `ratio` is
    what it came to by what was likely, `inside` whether it lay in the range."""

    window: str = ""
    parts: tuple[ProjectionPart, ...] = ()
    downtime: Range | None = None
    back: Range | None = None
    actual: Seconds | None = None
    ratio: float | None = None
    inside: bool | None = None
    text: str


class HappeningKind(StrEnum):
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    TAKEN_UP = "taken up"
    DIFFERED = "differed"
    REPAIRED = "repaired"
    AGAIN = "cutover again"
    ROLLBACK = "rollback"
    APPROVED = "approved"
    REHEARSED = "rehearsed"
    NOTE = "note"


class Happening(Value):
    """Something beside the straight way: a failure, an interruption, a repair, a rollback, a person's decision."""

    kind: HappeningKind
    at: str
    what: str
    why: str = ""
    fix: str = ""


class JournalLine(Value):
    """One event, as proof of the order of things."""

    seq: int
    at: str
    kind: str
    fence: int
    writer: str


class MachineReport(Value):
    """One machine of the plan: the verdict and its reasons first, then what they rest on.

    `rounds` were copied ahead while it ran, `rehearsals` are those of what was, `hooks` what
    was run around its newest cutover, or would be. `unmoved` are data disks of the source
    that the plan leaves behind.
    `app` is the one that it belongs to, and `owner` answers for it; empty where the plan names none. `moved_at` is when
    it was committed, None where it is not.
    `moves_with` are machines of its set, `attached` says of each disk that another carries how it is.
    `target_running` is as last recorded; None where it was never started. `ends_as` says what it is run as in the
    end, and since when. `attempts` counts the runs that worked on it,
    `resumes` those that took up what another left.
    """

    name: str
    title: str | None = None
    verdict: Verdict
    why: tuple[str, ...]
    phase: str | None
    wave: str
    app: str = ""
    owner: str = ""
    moved_at: str | None = None
    target_name: str
    namespace: str
    hardware: str
    probes: tuple[ProbeReport, ...] = ()
    probes_planned: int
    disks: tuple[DiskReport, ...] = ()
    rounds: tuple[RoundReport, ...] = ()
    rehearsals: tuple[RehearsalReport, ...] = ()
    hooks: tuple[HookReport, ...] = ()
    unmoved: tuple[str, ...] = ()
    moves_with: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    downtime: Downtime
    projection: Projection | None = None
    timeline: Timeline | None = None
    boot: Boot | None = None
    target_running: bool | None = None
    ends_as: str = ""
    power_before: str | None = None
    stopped_how: str | None = None
    left_so: tuple[str, ...] = ()
    source_restarted: bool = False
    applied: tuple[str, ...] = ()
    carried: tuple[Carried, ...] = ()
    concerns: tuple[Concern, ...] = ()
    history: tuple[Happening, ...] = ()
    attempts: int
    resumes: int
    journal: tuple[JournalLine, ...] = ()


class WaveReport(Value):
    """A wave's machines by what became of them, and its downtimes as far as they were measured. `begins_at` is when the
    first cutover of it began, `ends_at` the newest event of any of its machines."""

    name: str
    machines: int
    verdicts: dict[Verdict, int]
    begins_at: str | None = None
    ends_at: str | None = None
    data_bytes: Bytes = 0
    median_downtime_seconds: Seconds | None = None
    longest_downtime_seconds: Seconds | None = None
    longest_downtime_machine: str | None = None


class Step(Value):
    """The programme so far: how many machines have moved by then, with how many bytes on their disks, and how many went
    back at that moment."""

    at: str
    moved: int
    size_bytes: Bytes
    went_back: int = 0


class RollbackReport(Value):
    """A machine that went back, and why. `source` says what became of the source, `moved_later` whether another cutover
    has moved it since."""

    machine: str
    wave: str
    app: str = ""
    at: str
    reason: str
    source: str
    moved_later: bool = False


class Excluded(Value):
    """A machine that the plan leaves out."""

    name: str
    reason: str


class DecisionReport(Value):
    """What a person decided for the plan. `how`: claimed, signed or kubernetes; `proof` says what that rests on, and
    `counts` is False for an approval that counts for nothing. `shown` is what who approved was shown."""

    at: str
    what: str
    about: str
    by: str
    how: str
    proof: str
    counts: bool = True
    said: str = ""
    shown: tuple[str, ...] = ()


class OpenThing(Value):
    """Something that was made for the move and is not known to be gone."""

    machine: str
    kind: str
    name: str
    where: str


class Scores(Value):
    """How good the projections of a plan were: of so many `machines` so many downtimes lay `inside` their ranges.
    `ratio` is the median of what they came to by what was likely."""

    machines: int
    inside: int
    ratio: float | None = None


class Totals(Value):
    """Sums over the machines of the plan. The longest downtime is None when none was measured, `scores` when no
    projection was scored."""

    machines: int
    proven: int
    disks: int
    disks_verified: int
    size_bytes: Bytes
    data_bytes: Bytes
    proven_bytes: Bytes
    probes: int
    probes_passed: int
    longest_downtime_seconds: Seconds | None = None
    longest_downtime_machine: str | None = None
    scores: Scores | None = None


class Report(Value):
    """What a plan came to. `verdict` is proven only when every machine of the plan is."""

    kind: Literal["Report"] = "Report"
    api_version: Literal["kubeferry.io/v1alpha1"] = "kubeferry.io/v1alpha1"
    verdict: Literal["proven", "not proven"]
    sentence: str
    totals: Totals
    plan_name: str
    plan_digest: str
    planned_at: str
    source: str
    generated_at: str
    machines: tuple[MachineReport, ...]
    waves: tuple[WaveReport, ...] = ()
    progress: tuple[Step, ...] = ()
    rollbacks: tuple[RollbackReport, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    decisions: tuple[DecisionReport, ...] = ()
    open_things: tuple[OpenThing, ...] = ()
    versions: dict[str, str] = {}
