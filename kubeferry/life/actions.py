"""What is next for one machine, and why: a pure function of its plan entry and its state.

    [begin-copy -> copy-disks -> verify-disks -> end-round]...        while the machine runs, where it is moved warm
    [begin-rehearsal -> rehearse -> end-rehearsal -> verify-disks -> record-rehearsal]     where asked for
    begin-cutover -> stop-source -> begin-copy -> copy-disks -> verify-disks [-> repair-disks -> verify-disks]
      -> apply -> start -> observe [-> observe-app] -> validate [-> stop-target] [-> watch, observe] -> commit -> done
    [take-over ->] begin-rollback -> [stop-target] -> [restart-source] -> end-rollback -> done

Each action is recorded by one kind of event (`EVENT_OF`). A runner does the action, appends the event, folds, and asks
again; killed anywhere between, the next runner is told the same action, so each must be harmless to repeat. The dry run
is the same function asked again and again (`kubeferry.life.imagined`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubeferry.life import rehearsal
from kubeferry.life.action_kinds import NEVER, REHEARSALS, Action, ActionKind, Began, EntryFacts, Goal
from kubeferry.life.action_kinds import of_disks as _of
from kubeferry.life.deadline import is_of_window, used_up
from kubeferry.life.hook_actions import hooks_at_end, hooks_first
from kubeferry.life.hooks import prepared_for
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal_actions import of_rehearsal
from kubeferry.life.rounds import decide
from kubeferry.life.watch import Turn, turn_of
from kubeferry.model import UP, Power
from kubeferry.words import counted

REPAIRS_BEFORE_GIVING_UP = 2
ASKED_FOR = "asked for while it was"
"""How the reason of a way back begins that a person has asked for."""
WAKES_BEFORE_GIVING_UP = 3
"""How often a source that somebody starts during its move is stopped and copied once more."""


A = ActionKind

_BEFORE_CUTOVER = frozenset({Phase.PLANNED, Phase.SYNCED, Phase.REHEARSED, Phase.APPROVED})
_NEEDS_SOURCE_OFF = frozenset({Phase.CUTTING_OVER, Phase.STARTED, Phase.VALIDATED})


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted, the time, and since when somebody is at it (UTC, ISO 8601), empty where nothing depends on it."""

    goal: Goal = Goal.MIGRATE
    now: str = ""
    since: str = ""


def next_action(
    entry: EntryFacts,
    state: MachineState,
    goal: Goal = Goal.MIGRATE,
    source_power: Power | None = None,
    *,
    began: Began = NEVER,
    owed: str = "",
    now: str = "",
) -> Action:
    """What to do now. `source_power` is how the source is seen at this moment, None where nobody looked; `began` is how
    this run began; `owed` says what an older plan has left to be rolled back. Without `now` (UTC, ISO 8601) no deadline
    has passed, and nothing is due."""
    if not state.plan_digest:
        return Action(A.RECORD_PLAN, "nothing is recorded of this machine yet")
    if not owed and not state.rehearsing and (ended := hooks_at_end(entry, state, goal)):
        return ended
    if (asked := _by_goal(entry, state, goal, source_power, owed)) is not None:
        return asked
    if turned := _turned(state, goal, source_power, now):
        return turned
    again = state.resumes is Phase.ROLLED_BACK and (goal is Goal.MIGRATE_AGAIN or state.waits_for_window)
    if entry.warm and (state.resumes in _BEFORE_CUTOVER or again) and source_power in UP:
        ahead = began.rounds if began.rounds <= len(state.rounds) else 0  # a rollback since then counts them anew
        round_more = decide(state.rounds, entry.warm, deltas=entry.deltas, ahead=ahead)
        if round_more.another:
            return _begin_round(state, round_more.why)
    return _BY_PHASE[state.resumes](entry, state, Asked(goal, now, began.at))


def _turned(state: MachineState, goal: Goal, power: Power | None, now: str) -> Action | None:
    """What is next whatever the phase says; None where nothing is in its way."""
    if goal is Goal.COMMIT and state.resumes not in {Phase.VALIDATED, Phase.ROLLING_BACK}:  # who is led back goes on
        return Action(A.DONE, _nothing_to_commit(state))
    if why := _wanted_back(state, now):
        return Action(A.BEGIN_ROLLBACK, why)
    if state.resumes is Phase.CUTTING_OVER and not (state.stop_asked or state.source_off) and used_up(state, now):
        return _too_late_to_stop(state, now)
    if state.source_off and power in UP and state.resumes in _NEEDS_SOURCE_OFF:
        return _source_woke_up(state)
    return None


def _wanted_back(state: MachineState, now: str) -> str:
    """Why it is led back wherever it stands in its cutover; empty where nobody wants that."""
    if state.to_go_back and state.resumes is Phase.CUTTING_OVER:
        return f"{ASKED_FOR} in the hands of another plan"
    return used_up(state, now) if state.stop_asked or state.source_off else ""


def _too_late_to_stop(state: MachineState, now: str) -> Action:
    """Who was to stop the source never came to it, and the time for that is over: another window, or another budget."""
    if is_of_window(state) or state.hooks:  # those before the stop are run once, and then it goes back
        return Action(A.BEGIN_ROLLBACK, f"{used_up(state, now)}; it was not asked to stop")
    return Action(A.BEGIN_CUTOVER, "its time was over before its source was asked to stop: it begins anew")


def _by_goal(
    entry: EntryFacts, state: MachineState, goal: Goal, source_power: Power | None, owed: str
) -> Action | None:
    """What the goal alone decides; None on the way on. A rehearsal that is open comes first to its end."""
    if state.rehearsing or goal in REHEARSALS:
        return of_rehearsal(state, goal)
    if state.resumes is not Phase.ROLLING_BACK and goal is Goal.ROLLBACK:
        return _to_rollback(state, owed)
    if goal in {Goal.PRECOPY, Goal.END_ROUND}:
        return _precopy(entry, state, goal, source_power)
    if goal is Goal.MIGRATE and state.went_back and state.resumes in _BEFORE_CUTOVER:
        return _stays_back(state)
    return None


# --- one chooser per phase ---------------------------------------------------------------------------------------


def _before_cutover(entry: EntryFacts, state: MachineState, _asked: Asked) -> Action:
    if state.doubted and state.differing:
        return _begin_round(state, f"blocks of {', '.join(state.differing)} are not as they were before its rehearsal")
    if state.doubted and state.unverified:
        return Action(A.VERIFY_DISKS, f"{_of(state.unverified)} not read back since its rehearsal", state.unverified)
    if why := rehearsal.owed(entry.rehearsal, state, entry.now):
        return Action(A.WAIT_FOR_REHEARSAL, why)
    if entry.unapproved:
        return Action(A.WAIT_FOR_APPROVAL, entry.unapproved)
    return Action(A.BEGIN_CUTOVER, "the power state before the cutover is not recorded yet")


def _cutting_over(entry: EntryFacts, state: MachineState, _asked: Asked) -> Action:
    if entry.unapproved and not state.source_off and not state.stop_asked:  # since it began: nothing is taken back
        return Action(A.WAIT_FOR_APPROVAL, entry.unapproved)
    if not state.source_off:
        before = None if state.stop_asked else hooks_first(A.HOOKS_BEFORE_STOP, entry, state)
        return before or Action(A.STOP_SOURCE, f"the source was {state.power_before} and is not confirmed off")
    return hooks_first(A.HOOKS_AFTER_STOP, entry, state) or _source_off(state)


def _source_off(state: MachineState) -> Action:
    if state.unverified:
        return _until_verified(state)
    if state.applied is None:
        return Action(A.APPLY, "every disk is verified, and the manifests are not in place")
    return Action(A.START, "the manifests are in place and the source is confirmed off")


def _until_verified(state: MachineState) -> Action:
    if not state.final:
        return Action(A.BEGIN_COPY, "the source is off: its disks do not change any more", round=state.round + 1)
    if state.uncopied:
        return Action(A.COPY_DISKS, f"{_of(state.uncopied)} not copied since the stop", state.uncopied, state.round)
    if state.differing:
        return _differing(state)
    return Action(A.VERIFY_DISKS, f"{_of(state.unverified)} copied but not verified", state.unverified)


def _differing(state: MachineState) -> Action:
    disks = tuple(disk for disk in state.disks if disk in state.differing)
    found = ", ".join(f"{disk} in {counted(state.differing[disk], 'block')}" for disk in disks)
    if any(state.repairs.get(disk, 0) >= REPAIRS_BEFORE_GIVING_UP for disk in disks):
        return Action(
            A.WAIT_FOR_OPERATOR,
            f"the target still differs after {REPAIRS_BEFORE_GIVING_UP} repairs ({found}): its storage loses writes",
            disks,
        )
    return Action(A.REPAIR_DISKS, f"the target differs from the source: {found}", disks, state.round)


def _started(entry: EntryFacts, state: MachineState, _asked: Asked) -> Action:
    return hooks_first(A.HOOKS_AFTER_START, entry, state) or _seen(entry, state)


def _seen(entry: EntryFacts, state: MachineState) -> Action:
    if state.observed is None:
        return Action(A.OBSERVE, "the target is started, and nobody has looked at it")
    if not state.probes_passed:
        return Action(A.BEGIN_ROLLBACK, _what_failed(state))
    if of_app := hooks_first(A.HOOKS_OF_APP, entry, state):
        return of_app
    if entry.asks_app:
        if state.app_observed is None:
            return Action(A.OBSERVE_APP, "it passed its own probes, and those of its app were not asked")
        if not state.app_observed.passed:
            return Action(A.BEGIN_ROLLBACK, f"its app did not pass: {', '.join(state.app_observed.failing)}")
    return Action(A.VALIDATE, f"all probes passed: {state.probes_passed}")


def _what_failed(state: MachineState) -> str:
    failing = state.observed.failing if state.observed else ()
    return f"the target did not pass: {', '.join(failing)}" if failing else "no probe ran on the target"


def _validated(entry: EntryFacts, state: MachineState, asked: Asked) -> Action:
    if not state.probes_passed:
        return Action(A.BEGIN_ROLLBACK, f"while it was watched: {_what_failed(state)}")
    if state.target_may_run and not entry.keeps_running:
        return Action(A.STOP_TARGET, "the target was started for the proof only, and the proof is complete")
    if entry.commit is None or (not entry.keeps_running and entry.commit.then == "commit"):
        return Action(A.COMMIT, "every disk is verified and every probe passed")  # what stays off cannot be watched
    said = asked.goal is Goal.COMMIT
    found = turn_of(entry.commit, state, asked.now, runs=state.target_may_run, asked=said, since=asked.since)
    return Action(_TURNS[found.turn], found.why)


_TURNS = {Turn.WAIT: A.WATCH, Turn.ASK: A.OBSERVE, Turn.COMMIT: A.COMMIT, Turn.GO_BACK: A.BEGIN_ROLLBACK}


def _nothing_to_commit(state: MachineState) -> str:
    if state.resumes is Phase.COMMITTED:
        return "it is committed already"
    return f"it is {state.phase}: only a machine that is validated and watched can be committed"


def _rolling_back(_entry: EntryFacts, state: MachineState, _asked: Asked) -> Action:
    if state.target_may_run:
        return Action(A.STOP_TARGET, "the target must be down before the source comes back")
    if state.owes_restart:
        return Action(A.RESTART_SOURCE, f"the source was {state.power_before} before the cutover")
    source = "the source is as it was before the cutover" if state.stop_asked else "its source was left alone"
    return Action(A.END_ROLLBACK, f"the target is down, and {source}")


def _rolled_back(entry: EntryFacts, state: MachineState, asked: Asked) -> Action:
    if entry.unapproved and (asked.goal is Goal.MIGRATE_AGAIN or state.waits_for_window):
        return Action(A.WAIT_FOR_APPROVAL, entry.unapproved)
    if asked.goal is Goal.MIGRATE_AGAIN:
        return Action(A.BEGIN_CUTOVER, f"asked to try again after the rollback ({state.rollback_reason})")
    if state.waits_for_window:
        return Action(A.BEGIN_CUTOVER, "it went back since its window ended, and nothing else was in its way")
    return _stays_back(state)


def _stays_back(state: MachineState) -> Action:
    return Action(A.DONE, f"it was rolled back: {state.rollback_reason}")


def _committed(_entry: EntryFacts, state: MachineState, _asked: Asked) -> Action:
    if state.removed:
        return Action(
            A.DONE, "it has moved, and was removed from the target since: roll it back to run its source again"
        )
    return Action(A.DONE, "it is committed")


def _copying(_entry: EntryFacts, state: MachineState, _asked: Asked) -> Action:
    """A round of a running machine. Blocks that read back wrong are copied by the next one, whatever changed meanwhile;
    in the end the final round repairs, or gives up."""
    if state.uncopied and state.left:
        return _begin_round(state, f"round {state.round} was left before it was done, and goes on in another one")
    if state.uncopied:
        return Action(
            A.COPY_DISKS, f"{_of(state.uncopied)} not copied in round {state.round}", state.uncopied, state.round
        )
    if state.differing and state.round < REPAIRS_BEFORE_GIVING_UP + len(state.rounds) + 1:
        return _begin_round(state, f"blocks of {', '.join(state.differing)} did not read back as they were written")
    unseen = tuple(disk for disk in state.unverified if disk not in state.differing)
    if unseen:
        return Action(A.VERIFY_DISKS, f"{_of(unseen)} copied but not verified", unseen)
    return Action(A.END_ROUND, f"every disk is durable as of round {state.round}", round=state.round)


def _begin_round(state: MachineState, why: str) -> Action:
    return Action(A.BEGIN_COPY, why, round=state.round + 1)


def _precopy(entry: EntryFacts, state: MachineState, goal: Goal, power: Power | None) -> Action:
    """One round, and nothing that touches the machine."""
    if state.resumes is Phase.COPYING:
        return _copying(entry, state, Asked(goal))
    if entry.warm is None:
        return Action(A.DONE, "it is planned to be copied after its stop")
    if state.resumes not in _BEFORE_CUTOVER | {Phase.ROLLED_BACK}:
        return Action(A.DONE, f"it is {state.phase}: nothing is copied ahead any more")
    if goal is Goal.END_ROUND:
        return Action(A.DONE, f"round {state.round} is durable")
    if power not in UP:
        return Action(A.DONE, f"it is {power or 'not looked at'}: only a running machine is copied ahead")
    return _begin_round(state, f"{counted(len(state.rounds), 'round is', 'rounds are')} durable")


_BY_PHASE: Mapping[Phase, Callable[[EntryFacts, MachineState, Asked], Action]] = {
    Phase.PLANNED: _before_cutover,
    Phase.COPYING: _copying,
    Phase.SYNCED: _before_cutover,
    Phase.REHEARSED: _before_cutover,
    Phase.APPROVED: _before_cutover,
    Phase.CUTTING_OVER: _cutting_over,
    Phase.STARTED: _started,
    Phase.VALIDATED: _validated,
    Phase.COMMITTED: _committed,
    Phase.ROLLING_BACK: _rolling_back,
    Phase.ROLLED_BACK: _rolled_back,
}


def _to_rollback(state: MachineState, owed: str) -> Action:
    if owed and state.resumes in _BEFORE_CUTOVER | {Phase.ROLLED_BACK}:
        return Action(A.TAKE_OVER, owed)
    if state.resumes is Phase.ROLLED_BACK:
        return Action(A.DONE, f"it was rolled back already: {state.rollback_reason}")
    if state.resumes is Phase.PLANNED:
        return Action(A.DONE, "nothing was done to it that could be rolled back")
    if prepared_for(state) and not state.failed:
        return Action(A.BEGIN_ROLLBACK, "its hooks before the stop were run, and it was not asked to stop")
    why = f"after a failure: {state.failed.what}" if state.failed else f"{ASKED_FOR} {state.phase}"
    return Action(A.BEGIN_ROLLBACK, why)


def to_mend(state: MachineState) -> str:
    """What to do about a machine that went back by itself."""
    if any(seen and seen.failing for seen in (state.observed, state.app_observed)):
        return (
            "Look at the console and the screenshot in the report, correct the policy or the guest, plan again, or run "
            "`kubeferry migrate --again`."
        )
    return "Settle what led back, then run `kubeferry migrate --again`."


def _source_woke_up(state: MachineState) -> Action:
    """Somebody started the source behind our back. What was copied of it is stale, and the target must not run too."""
    if state.target_may_run:
        return Action(A.BEGIN_ROLLBACK, "the source was started again by somebody: two copies must not run")
    if state.resumes is Phase.VALIDATED:
        return Action(A.BEGIN_ROLLBACK, "the source was started again by somebody: what was proven of it is stale")
    if state.woken >= WAKES_BEFORE_GIVING_UP:
        why = f"the source was started again {state.woken + 1} times during its move: find out what starts it"
        return Action(A.BEGIN_ROLLBACK, why)
    return Action(A.BEGIN_CUTOVER, "the source was started again by somebody: it is stopped and copied once more")
