"""From a plan and the events of its machines to a `Report`; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from kubeferry.documents import Entry, Observation, Plan
from kubeferry.inside.compared import Compared, compared
from kubeferry.life.events import (
    Applied,
    Committed,
    CutoverBegun,
    DiskCopied,
    LastWords,
    Observed,
    SourceRestarted,
    SourceStopped,
    Started,
    TargetStopped,
    TpmCarried,
    VariablesCarried,
)
from kubeferry.life.old_machine import left_so
from kubeferry.life.states import Phase, Recorded
from kubeferry.model import DATA_DEVICES, Carried, Concern, Disk, Machine
from reports.disks import disk_reports
from reports.history import happenings, journal_lines, runs
from reports.hooks import hook_reports
from reports.picture import shown
from reports.probes import probe_reports
from reports.programme import progress_of, rollbacks_of, waves_of
from reports.projections import projection_of, scores_of
from reports.rehearsals import rehearsals
from reports.rounds import copied_ahead
from reports.sets import with_their_sets
from reports.shapes import (
    Boot,
    DecisionReport,
    Excluded,
    MachineReport,
    OpenThing,
    Report,
    Totals,
    Verdict,
)
from reports.timeline import chronicle, newest_cutover
from reports.verdicts import judge, newest_observation, state_of
from reports.wording import NAME_LIMIT, console, count, ends_as, listed, plain, size

CARRIED_LIMIT = 2000


class Thing(Protocol):
    """An entry of the journal's ledger, as far as a report tells of it."""

    @property
    def machine(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def where(self) -> str: ...


def build_report(
    plan: Plan,
    events: Mapping[str, Sequence[Recorded]],
    *,
    open_things: Iterable[Thing] = (),
    decisions: tuple[DecisionReport, ...] = (),
    versions: Mapping[str, str] | None = None,
    generated_at: str,
) -> Report:
    """What the plan came to. `events` by machine name; a machine without any has not begun.

    `open_things` are the ledger's entries that are not known to be gone, `decisions` what persons decided, `versions`
    tool name -> version, and `generated_at` a UTC time in ISO 8601. Never raises for what a journal holds: what cannot
    be understood is not proven.
    """
    waves = {name: wave.name for wave in plan.waves for name in wave.machines}
    machines = with_their_sets(
        plan, [_machine(plan, entry, events.get(entry.name, ()), waves.get(entry.name, "")) for entry in plan.entries]
    )
    totals = _totals(machines)
    proven = bool(machines) and all(machine.verdict is Verdict.PROVEN for machine in machines)
    return Report(
        verdict="proven" if proven else "not proven",
        sentence=_sentence(machines, totals, proven=proven),
        totals=totals,
        plan_name=plan.name,
        plan_digest=plan.digest,
        planned_at=plain(plan.created_at, 40),
        source=plan.source,
        generated_at=plain(generated_at, 40),
        machines=machines,
        waves=waves_of(plan, events, machines),
        progress=progress_of(events, machines),
        rollbacks=rollbacks_of(plan, events, machines),
        excluded=tuple(Excluded(name=plain(n, NAME_LIMIT), reason=plain(r)) for n, r in plan.excluded.items()),
        decisions=decisions,
        open_things=tuple(
            OpenThing(machine=plain(t.machine), kind=plain(t.kind), name=plain(t.name), where=plain(t.where))
            for t in open_things
        ),
        versions=_versions(plan, events, versions or {}),
    )


def _versions(plan: Plan, events: Mapping[str, Sequence[Recorded]], reporting: Mapping[str, str]) -> dict[str, str]:
    """Of what moved the machines and showed them, as recorded then, and of what makes this report now."""
    seen = {"source": plan.source_version} if plan.source_version else {}
    for record in (record for records in events.values() for record in records):
        if isinstance(record.event, DiskCopied):
            seen |= {f"mover: {tool}": version for tool, version in record.event.versions.items()}
        if isinstance(record.event, Observed):
            told = record.event.observation.get("versions")
            seen |= {str(tool): str(version) for tool, version in told.items()} if isinstance(told, dict) else {}
    seen |= {f"report: {tool}": version for tool, version in reporting.items()}
    return {plain(tool, 80): plain(version, 120) for tool, version in list(seen.items())[:40]}


# --- one machine -----------------------------------------------------------------------------------------------------


def _machine(plan: Plan, entry: Entry, records: Sequence[Recorded], wave: str) -> MachineReport:
    disks, seen = disk_reports(entry, records), newest_observation(entry, records)
    verdict, why = judge(plan, entry, records, disks, seen)
    proving = newest_observation(entry, records, proving=True)
    timeline, downtime = chronicle(records, proving, watched=entry.commit is not None)
    state, _ = state_of(records)
    moved = {disk.disk for disk in entry.disks} | {disk.disk for disk in entry.attached or ()}
    attempts, resumes = runs(records)
    moved_away = state is not None and state.phase is Phase.COMMITTED
    return MachineReport(
        name=plain(entry.name, NAME_LIMIT),
        title=plain(entry.machine.title) if entry.machine.title else None,
        verdict=verdict,
        why=why,
        phase=state.phase if state and state.plan_digest else None,
        wave=wave,
        app=plain(getattr(entry, "app", None) or "", NAME_LIMIT),
        owner=plain(getattr(entry, "owner", None) or "", NAME_LIMIT),
        moved_at=_moved_at(records) if state and state.phase is Phase.COMMITTED else None,
        target_name=entry.target_name,
        namespace=entry.namespace,
        hardware=hardware(entry.machine),
        left_so=left_so(state) if state and moved_away else (),
        ends_as=_ends_as(entry, records, state.phase if state else None),
        probes=probe_reports(seen),
        probes_planned=len(entry.probes),
        disks=disks,
        rounds=copied_ahead(records),
        rehearsals=rehearsals(records),
        hooks=hook_reports(entry, records),
        unmoved=tuple(plain(disk.id) for disk in _data_disks(entry.machine) if disk.id not in moved),
        downtime=downtime,
        projection=projection_of(records, downtime),
        timeline=timeline,
        boot=_boot(proving, records),
        carried=tuple(_carried(line) for line in entry.carried[:CARRIED_LIMIT]),
        concerns=tuple(_concern(concern) for concern in entry.concerns),
        history=happenings(records),
        attempts=attempts,
        resumes=resumes,
        journal=journal_lines(records),
        **_course(records),
    )


def _course(records: Sequence[Recorded]) -> dict[str, Any]:
    """What was done to source and target in the newest cutover, as far as it is recorded."""
    facts: dict[str, Any] = {}
    for record in newest_cutover(records):
        event = record.event
        if isinstance(event, CutoverBegun):
            facts["power_before"] = event.power_before
        elif isinstance(event, SourceStopped):
            facts["stopped_how"] = plain(event.how, 40)
        elif isinstance(event, Applied):
            facts["applied"] = (*facts.get("applied", ()), *(plain(change) for change in event.changes))
        elif isinstance(event, VariablesCarried):
            facts["applied"] = (*facts.get("applied", ()), plain(variables_told(event)))
        elif isinstance(event, TpmCarried):
            facts["applied"] = (*facts.get("applied", ()), plain(tpm_told(event)))
        elif isinstance(event, (Started, TargetStopped)):
            facts["target_running"] = isinstance(event, Started)
        elif isinstance(event, SourceRestarted):
            facts["source_restarted"] = True
    return facts


def variables_told(event: VariablesCarried) -> str:
    """What became of the UEFI variables, in a line."""
    if not event.digest:
        return "UEFI variables: the source has none, since it never ran"
    same = "the same bytes" if event.digest == event.source_digest else f"SHA-256 {event.source_digest} at the source"
    what = f"{count(len(event.names), 'UEFI variable')} carried to {event.where} and read back"
    return f"{what}: SHA-256 {event.digest}, {same}"


def tpm_told(event: TpmCarried) -> str:
    """What became of what the TPM holds, in a line."""
    if not event.digest:
        return "TPM: the source's holds nothing, since it never ran"
    return f"what the TPM holds carried to {event.where} and read back: SHA-256 {event.digest}"


def _ends_as(entry: Entry, records: Sequence[Recorded], phase: Phase | None) -> str:
    if phase is Phase.ROLLED_BACK:
        return ""  # its source is the machine, and the copy is nobody's
    committed = phase is Phase.COMMITTED
    given = [record.event.run_strategy for record in records if isinstance(record.event, Committed)]
    return ends_as(
        plain(entry.run_strategy, 40), plain(given[-1], 40) if committed and given else "", committed=committed
    )


def _moved_at(records: Sequence[Recorded]) -> str | None:
    return next((plain(one.at, 40) for one in reversed(records) if isinstance(one.event, Committed)), None)


def _data_disks(machine: Machine) -> list[Disk]:
    """What holds data at the source, whether the plan takes it along or not."""
    return [disk for disk in machine.disks if disk.device in DATA_DEVICES]


def hardware(machine: Machine) -> str:
    """The machine in one line, as its source describes it."""
    firmware = {"bios": "BIOS", "uefi": "UEFI"}.get(machine.firmware.kind, "firmware unknown")
    secure = ", secure boot" if machine.firmware.secure_boot else ""
    parts = [
        count(machine.cpu.vcpus, "vCPU"),
        size(machine.memory.size_bytes),
        firmware + secure,
        count(len(_data_disks(machine)), "disk"),
        count(len(machine.nics), "network card"),
    ]
    return " · ".join(parts) + (f" · {plain(machine.guest.os_name, 80)}" if machine.guest.os_name else "")


def _boot(seen: Observation | None, records: Sequence[Recorded]) -> Boot | None:
    if seen is None:
        return None
    return Boot(
        where=plain(seen.where),
        started_at=plain(seen.started_at, 40),
        accelerator=plain(seen.accelerator, 40) or None,
        first_answer_at=plain(seen.first_answer_at, 40) if seen.first_answer_at else None,
        first_answer_seconds=seen.first_answer_seconds,
        guest={plain(key, 80): plain(value) for key, value in list(seen.guest.items())[:40]},
        compared=_compared(seen, records),
        seen={plain(key, 80): plain(value) for key, value in list(seen.seen.items())[:300]},
        screenshot=shown(seen.screenshot),
        console_tail=console(seen.console_tail),
        not_shown=tuple(plain(path) for path in seen.not_shown[:200]),
    )


def _compared(seen: Observation, records: Sequence[Recorded]) -> tuple[Compared, ...]:
    """What the system said of itself before the move and after it."""
    cutover = (record.event for record in newest_cutover(records))
    heard = next((event.said for event in cutover if isinstance(event, LastWords) and event.said), None)
    if heard is None or seen.said is None:
        return ()
    return tuple(
        Compared(what=plain(one.what), before=plain(one.before), after=plain(one.after), outcome=one.outcome)
        for one in compared(heard, seen.said)
    )


def _carried(line: Carried) -> Carried:
    return Carried(
        field=plain(line.field),
        fate=line.fate,
        source=plain(line.source),
        target=plain(line.target),
        reason=plain(line.reason),
    )


def _concern(concern: Concern) -> Concern:
    return Concern(id=plain(concern.id), severity=concern.severity, what=plain(concern.what), fix=plain(concern.fix))


# --- the whole -------------------------------------------------------------------------------------------------------


def _totals(machines: tuple[MachineReport, ...]) -> Totals:
    disks = [disk for machine in machines for disk in machine.disks]
    verified = [disk for disk in disks if disk.verified]
    measured = [(m.downtime.seconds, m.name) for m in machines if m.downtime.seconds is not None]
    longest, whose = max(measured, default=(None, None))
    return Totals(
        machines=len(machines),
        proven=sum(machine.verdict is Verdict.PROVEN for machine in machines),
        disks=len(disks),
        disks_verified=len(verified),
        size_bytes=sum(disk.size_bytes for disk in disks),
        data_bytes=sum(disk.data_bytes or 0 for disk in disks),
        proven_bytes=sum(disk.size_bytes for disk in verified),
        probes=sum(machine.probes_planned for machine in machines),
        probes_passed=sum(probe.ok for machine in machines for probe in machine.probes),
        longest_downtime_seconds=longest,
        longest_downtime_machine=whose,
        scores=scores_of(machines),
    )


def _sentence(machines: tuple[MachineReport, ...], totals: Totals, *, proven: bool) -> str:
    if not machines:
        return "The plan holds no machine."
    if proven:
        who = "The machine moved and is" if totals.machines == 1 else f"All {totals.machines} machines moved and are"
        return f"{who} proven. Every block was read back and compared; every copy was started and passed its probes."
    told = [f"{_names(machines, verdict)} {_is(machines, verdict)} {verdict}" for verdict in _told(machines)]
    are = "is" if totals.proven == 1 else "are"
    of_all = f"{totals.proven} of {totals.machines} machines {are}" if totals.machines > 1 else "The machine is not"
    return f"{of_all} proven. {'; '.join(told)}."


def _told(machines: tuple[MachineReport, ...]) -> list[Verdict]:
    return [v for v in Verdict if v is not Verdict.PROVEN and any(m.verdict is v for m in machines)]


def _names(machines: tuple[MachineReport, ...], verdict: Verdict) -> str:
    return listed([machine.name for machine in machines if machine.verdict is verdict])


def _is(machines: tuple[MachineReport, ...], verdict: Verdict) -> str:
    many = sum(machine.verdict is verdict for machine in machines) > 1
    if verdict in {Verdict.ROLLED_BACK, Verdict.REMOVED}:
        return "were" if many else "was"
    if verdict in {Verdict.FAILED, Verdict.NOT_BEGUN}:
        return "have" if many else "has"
    return "are" if many else "is"
