"""What may be claimed of a machine: proven only where each claim has its event; pure.

1. The journal's events fit together, are of this plan, and end in a commit.
2. Every disk of the plan is proven (`reports.disks`), and what the plan carries beside them is carried: UEFI variables,
   and what a TPM holds.
3. The started copy was observed after its newest start, was asked every probe of the plan, and passed them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from kubeferry.documents import Entry, Observation, Plan
from kubeferry.life.events import CutoverBegun, Observed, Planned, Started, TpmCarried, Validated, VariablesCarried
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import IllegalTransition, Recorded, fold
from reports.shapes import DiskReport, Verdict
from reports.wording import listed, plain

_PHASES = {
    Phase.COMMITTED: Verdict.PROVEN,
    Phase.ROLLED_BACK: Verdict.ROLLED_BACK,
    Phase.FAILED: Verdict.FAILED,
    Phase.PLANNED: Verdict.NOT_BEGUN,
}
_BETWEEN = {
    Phase.COPYING: "its disks are being copied",
    Phase.SYNCED: "its disks are copied and it waits for its cutover",
    Phase.REHEARSED: "it is rehearsed and waits for its cutover",
    Phase.APPROVED: "it is approved and waits for its cutover",
    Phase.STARTED: "the copy is started and not validated",
    Phase.VALIDATED: "the copy passed its probes and is not committed",
    Phase.ROLLING_BACK: "its rollback is not complete",
}


def state_of(records: Sequence[Recorded]) -> tuple[MachineState | None, str]:
    """The folded state; None with the reason where the journal's events do not fit together."""
    try:
        return fold(records), ""
    except IllegalTransition as error:
        return None, plain(f"{error.what}: {error.why}")


def newest_observation(entry: Entry, records: Sequence[Recorded], *, proving: bool = False) -> Observation | None:
    """What was seen of the copy since its newest start; None where nobody looked, or at something else. `proving`: no
    later than it counted as proven: who watches it asks again, and hears another first answer."""
    seen, proven = None, False
    for record in records:
        if isinstance(record.event, (CutoverBegun, Started)):
            seen, proven = None, False
        elif isinstance(record.event, Observed) and not (proving and proven):
            seen = _parsed(record.event)
        proven = proven or isinstance(record.event, Validated)
    return seen if seen is not None and seen.machine == entry.name else None


def _parsed(event: Observed) -> Observation | None:
    try:
        return Observation.model_validate(event.observation)
    except ValidationError:
        return None


def judge(
    plan: Plan, entry: Entry, records: Sequence[Recorded], disks: tuple[DiskReport, ...], seen: Observation | None
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and what it rests on, or what is missing, in words."""
    state, contradiction = state_of(records)
    if state is None:
        return Verdict.NOT_PROVEN, (f"the journal contradicts itself: {contradiction}",)
    if not state.plan_digest:
        return Verdict.NOT_BEGUN, ("nothing is recorded of it",)
    verdict = _PHASES.get(state.phase, Verdict.UNDER_WAY)
    if verdict is Verdict.PROVEN and state.removed:
        return Verdict.REMOVED, ("it had moved; its copy and the copy's disks were removed from the target since",)
    if verdict is not Verdict.PROVEN:
        return verdict, _unfinished(state)
    doubts = [
        *_plan_doubts(plan, entry, records),
        *_disk_doubts(disks),
        *_beside_doubts(entry, carried_beside(records)),
        *_probe_doubts(entry, seen),
        *_app_doubts(entry, state),
    ]
    if doubts:
        return Verdict.NOT_PROVEN, tuple(doubts)
    grounds = _grounds(disks, seen, carried_beside(records))
    if state.app_observed is not None:
        grounds.append(f"app {state.app_observed.app} as a whole passed {_probes(state.app_observed.passed)}")
    return Verdict.PROVEN, tuple(grounds)


def _unfinished(state: MachineState) -> tuple[str, ...]:
    if state.phase is Phase.FAILED and state.failed is not None:
        failed = state.failed
        told = [f"{failed.at}: {failed.what}", failed.why and f"why: {failed.why}", failed.fix and f"fix: {failed.fix}"]
        return tuple(plain(line) for line in told if line)
    if state.phase is Phase.ROLLED_BACK:
        source = "the source was started again" if state.source_restarted else "the source is as it was before"
        later = ("its window ended during its cutover: it moves in a later opening of it",)
        reason = plain(state.rollback_reason or "the reason is not recorded")
        return (reason, source, *(later if state.waits_for_window else ()))
    if state.phase is Phase.PLANNED:
        return ("it stands in the plan, and nothing was done yet",)
    if state.phase is Phase.CUTTING_OVER:
        return (_cutting_over(state),)
    return (_BETWEEN.get(state.phase, f"it is {state.phase}"),)


def _cutting_over(state: MachineState) -> str:
    """How far a cutover has come, and what is missing."""
    if not state.source_off:
        return "the cutover has begun; the source is not confirmed off"
    if not state.final or state.uncopied:
        return f"the source is off; not copied yet: {listed(state.uncopied if state.final else state.disks)}"
    if state.differing:
        return f"copied; read back with differences: {listed(list(state.differing))}"
    if state.unverified:
        return f"copied; not read back yet: {listed(state.unverified)}"
    if state.applied is None:
        return "every disk is read back and equal; the manifests are not in place yet"
    return "every disk is read back and equal; the copy is not started yet"


def _plan_doubts(plan: Plan, entry: Entry, records: Sequence[Recorded]) -> list[str]:
    planned = [record.event for record in records if isinstance(record.event, Planned)]
    if not planned or planned[-1].plan_digest != plan.digest:
        return ["its events belong to another plan"]
    if set(planned[-1].disks) != {disk.disk for disk in entry.disks}:
        return ["its events speak of other disks than the plan"]
    return [] if entry.disks or entry.attached else ["no disk of it was moved"]


def _disk_doubts(disks: tuple[DiskReport, ...]) -> list[str]:
    return [f"disk {disk.disk}: {disk.result}" for disk in disks if not disk.verified]


def _beside_doubts(entry: Entry, carried: Beside) -> list[str]:
    """What the plan says that goes beside the disks, and the newest cutover has not carried."""
    variables = entry.variables is not None and carried.variables is None
    doubts = ["its UEFI variables were not carried"] if variables else []
    return [*doubts, *(["what its TPM holds was not carried"] if entry.tpm is not None and carried.tpm is None else [])]


def _probe_doubts(entry: Entry, seen: Observation | None) -> list[str]:
    if not entry.probes:
        return ["the plan asks no probe, so nothing shows that the copy works"]
    if seen is None:
        return ["nothing was observed of the started copy"]
    failing = [f"probe failed: {plain(probe.what)}: {plain(probe.evidence)}" for probe in seen.probes if not probe.ok]
    asked, planned = sorted(probe.kind for probe in seen.probes), sorted(probe.kind for probe in entry.probes)
    return [*failing, *(["the probes that were asked are not those of the plan"] if asked != planned else [])]


def _app_doubts(entry: Entry, state: MachineState) -> list[str]:
    """What the plan asks of its app as a whole, by this machine, and nobody has seen pass."""
    if not entry.app_probes:
        return []
    if state.app_observed is None:
        return [f"nothing was observed of app {entry.app} as a whole"]
    if state.app_observed.passed != len(entry.app_probes):
        failing = listed([plain(one) for one in state.app_observed.failing]) or "not all of them were asked"
        return [f"probes of app {entry.app} as a whole have not passed: {failing}"]
    return []


@dataclass(frozen=True, slots=True)
class Beside:
    """What the newest cutover has carried beside the disks, as it was recorded; None where it was not."""

    variables: VariablesCarried | None = None
    tpm: TpmCarried | None = None


def carried_beside(records: Sequence[Recorded]) -> Beside:
    """Of the newest cutover: what an earlier one has carried counts for nothing."""
    found = Beside()
    for record in records:
        if isinstance(record.event, CutoverBegun):
            found = Beside()
        elif isinstance(record.event, VariablesCarried):
            found = replace(found, variables=record.event)
        elif isinstance(record.event, TpmCarried):
            found = replace(found, tpm=record.event)
    return found


def _probes(passed: int) -> str:
    return "its only probe" if passed == 1 else f"all {passed} probes"


def _grounds(disks: tuple[DiskReport, ...], seen: Observation | None, carried: Beside) -> list[str]:
    names = listed([disk.disk for disk in disks])
    passed = len(seen.probes) if seen else 0
    grounds = [f"{names}: every block was read back at the target and equals what was copied"] if disks else []
    grounds.append(f"the copy passed {_probes(passed)}")
    if carried.variables is not None and (variables := carried.variables.names):
        were = "variable of the source was" if len(variables) == 1 else "variables of the source were"
        grounds.append(f"{len(variables)} UEFI {were} put beside the copy and read back")
    if carried.tpm is not None and carried.tpm.digest:
        grounds.append("what the TPM of the source holds was put beside the copy and read back")
    return grounds
