"""What a machine of a plan waits for before anything is done to it: a function of the plan and of where its machines
stand.

    after        those that it comes after, each with all of its set, have moved
    in order     so have all machines of the waves before its own: policy `waves.inOrder`, and plans of earlier versions
    stop after   neither its own wave nor one before it has stopped: policy `waves.stopAfter`. Once a person has lifted
                 that, what failed before counts no more
    approval     it is approved, where the plan asks for that: policy `approval`

A set waits for what any of it waits for. What is under way waits for nothing: it comes to its end, or goes back. What
has failed is no reason to wait for itself: it is tried again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubeferry.documents import Outline, Plan, StopAfter, WavesPolicy
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import UNTOUCHED
from kubeferry.words import counted, first_of

FEWEST = 3
"""Failures from which on their share of a wave says something."""
NAMED = 3

_EARLIER = WavesPolicy(in_order=True, stop_after=StopAfter())
"""Plans of earlier versions do not say what waits for what: each wave was built on the one before it."""
_BACK = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Held:
    """Why a machine waits, for the middle of a sentence. `by`: the machines that have to move first, none where a wave
    has stopped. `approval`: an approval is waited for, whatever else is said of its turn."""

    why: str
    by: tuple[str, ...] = ()
    approval: bool = False


class Order:
    """The order of a plan's machines, and where they stand: as the journal says, and as it is told since. `elsewhere`
    are those that another plan has moved; with `again` those that were rolled back are taken up once more. `lifted`:
    when the stop of a wave was lifted last, by its name; `unapproved`: what machines lack of their approval."""

    def __init__(
        self,
        plan: Plan | Outline,
        states: Mapping[str, MachineState],
        elsewhere: Collection[str] = (),
        *,
        again: bool = False,
        lifted: Mapping[str, str] | None = None,
        unapproved: Mapping[str, str] | None = None,
    ) -> None:
        self._rule, self._waves = plan.order or _EARLIER, plan.waves
        self._wave_of = {name: number for number, wave in enumerate(plan.waves) for name in wave.machines}
        self._sets = sets_of(plan)
        self._after = after(plan)
        self._elsewhere, self._again = frozenset(elsewhere), again
        self._lifted = [(lifted or {}).get(wave.name, "") for wave in plan.waves]
        self._unapproved = dict(unapproved or {})
        self._states: dict[str, MachineState] = {}
        self._told: dict[int, Held | None] = {}  # by wave: whether it has stopped, or one before it
        self._moved_in, self._failed_in = Counter[int](), Counter[int]()
        for name in self._wave_of:
            self.see(name, states.get(name, MachineState()))

    def see(self, name: str, state: MachineState) -> None:
        """The machine stands here now."""
        for count, one in ((-1, self._states.get(name)), (1, state)):
            if one is not None:
                wave = self._wave_of[name]
                self._moved_in[wave] += count * has_moved(one)
                self._failed_in[wave] += count * self._counts(one, wave)
        self._states[name] = state
        self._told.clear()

    def lack(self, unapproved: Mapping[str, str]) -> None:
        """What machines lack of their approval now; empty where they lack nothing."""
        self._unapproved.update(unapproved)

    def held(self, name: str) -> Held | None:
        """Why nothing may be done to this machine now; None where it may begin, go on, or has come to its end."""
        states = [self._states[one] for one in self._sets[name]]
        if not all(state.may_begin(again=self._again) for state in states):
            return None
        for one in self._sets[name]:
            if why := self._unapproved.get(one):
                return Held(why if one == name else f"it moves together with {one}: {why}", approval=True)
        if behind := self._behind(name):
            return self._held(f"it comes after {first_of(behind, NAMED)}", behind)
        if behind := self._before(name):
            return self._held(f"it is in a later wave than {first_of(behind, NAMED)}", behind)
        return None if any(has_failed(state) for state in states) else self._stopped(self._wave_of[name])

    def out_of_reach(self, machines: Collection[str], refused: Collection[str] = ()) -> dict[str, Held]:
        """Those of a run's machines whose turn does not come in it: what they wait for is not among its machines, is
        refused, or out of reach as well; or a wave has stopped, and nothing that failed is tried again."""
        run, found, barred = frozenset(machines), dict[str, Held](), False
        tried = any(has_failed(self._states[name]) and not self._is_back(name) for name in run - frozenset(refused))
        for wave in self._waves:
            for name in (name for name in wave.machines if name in run and name not in refused):
                gone = barred or any(self._stays(one, run, refused, found) for one in self._behind(name))
                held = self.held(name)
                if held and (held.approval or (gone if held.by else not tried)):
                    found[name] = held
            if self._rule.in_order and not barred:
                left = (name for name in wave.machines if not has_moved(self._states[name]))
                barred = any(self._stays(name, run, refused, found) for name in left)
        return found

    def _stays(self, name: str, run: Collection[str], refused: Collection[str], found: Collection[str]) -> bool:
        """Whether a machine that has not moved will not do so in this run."""
        return self._is_back(name) or name not in run or name in refused or name in found

    def _is_back(self, name: str) -> bool:
        """Whether it went back, and nobody takes it up again."""
        state = self._states[name]
        return state.went_back and not self._again

    def _behind(self, name: str) -> tuple[str, ...]:
        """Those that it comes after, and that have not moved."""
        return tuple(
            one for one in self._after[name] if not has_moved(self._states[one]) and one not in self._elsewhere
        )

    def _before(self, name: str) -> tuple[str, ...]:
        """Those of the first wave before its own that has not moved whole, where waves are in order."""
        if self._rule.in_order:
            for number, wave in enumerate(self._waves[: self._wave_of[name]]):
                if self._moved_in[number] < len(wave.machines):
                    return tuple(one for one in wave.machines if not has_moved(self._states[one]))
        return ()

    def _stopped(self, last: int) -> Held | None:
        if last not in self._told:
            found = (held for number in range(last + 1) if (held := self._stopped_at(number)))
            self._told[last] = next(found, None)
        return self._told[last]

    def _stopped_at(self, number: int) -> Held | None:
        failed, wave = self._failed_in[number], self._waves[number]
        ended = failed + self._moved_in[number]
        if not is_reached(self._rule.stop_after, failed, ended):
            return None
        named = first_of([one for one in wave.machines if self._counts(self._states[one], number)], NAMED)
        since = self._lifted[number] and f" since its stop was lifted {self._lifted[number]}"
        return Held(
            f"wave {wave.name} has stopped: {failed} of {ended} machines that came to an end there{since} have failed "
            f"or went back ({named})"
        )

    def _counts(self, state: MachineState, wave: int) -> bool:
        """Whether a failure of this wave counts: none from before its stop was lifted does."""
        return has_failed(state) and (not self._lifted[wave] or state.failed_at > self._lifted[wave])

    def stopped(self, wave: str) -> tuple[Held | None, tuple[str, ...]]:
        """Whether a wave has stopped by itself, and the machines of it whose failures count now."""
        number = next(number for number, one in enumerate(self._waves) if one.name == wave)
        failed = tuple(one for one in self._waves[number].machines if self._counts(self._states[one], number))
        return self._stopped_at(number), failed

    def towards_stops(self) -> Iterator[str]:
        """Of each wave that goes on though machines of it have failed, how far it is from its stop."""
        rule = self._rule.stop_after
        many = [f"once {rule.failures} have"] if rule.failures is not None else []
        many += [f"once {rule.share:.0%} of them have, from the {FEWEST}rd on"] if rule.share is not None else []
        for number, wave in enumerate(self._waves):
            failed = self._failed_in[number]
            if failed and many and not self._stopped_at(number):
                ended = counted(failed + self._moved_in[number], "machine")
                yield (
                    f"wave {wave.name} goes on: {failed} of {ended} that came to an end there failed or went back; it "
                    f"stops {' or '.join(many)}"
                )

    def _held(self, what: str, behind: tuple[str, ...]) -> Held:
        """With where the first of them stands, or what that waits for in its turn."""
        first = last = behind[0]
        seen = {first}
        while (further := next(iter(self._waits_for(last)), last)) not in seen:
            seen.add(further)
            last = further
        if last != first:
            return Held(f"{what}; {first} waits for {last}, which {_standing(self._states[last])}", behind)
        if len(behind) == 1:
            return Held(f"{what}, which {_standing(self._states[first])}", behind)
        return Held(f"{what}; {first} {_standing(self._states[first])}", behind)

    def _waits_for(self, name: str) -> Iterator[str]:
        if self._states[name].failed is None and self._states[name].may_begin(again=self._again):
            yield from self._behind(name)


def after(plan: Plan | Outline) -> dict[str, tuple[str, ...]]:
    """For each machine those that have to have moved before it, or any of its set, may: sets are whole."""
    sets, own = sets_of(plan), {entry.name: entry.after or () for entry in plan.entries}
    return {
        name: _outside(whole, (one for member in whole for one in own[member]), sets) for name, whole in sets.items()
    }


def sets_of(plan: Plan | Outline) -> dict[str, tuple[str, ...]]:
    """For each machine of a plan those that move as one, itself first."""
    return {entry.name: (entry.name, *(one.name for one in entry.moves_with or ())) for entry in plan.entries}


def _outside(whole: tuple[str, ...], named: Iterable[str], sets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for name in named for one in sets[name] if one not in whole))


def is_reached(rule: StopAfter, failed: int, ended: int) -> bool:
    """Whether a wave has stopped of which so many machines have failed, among so many that came to an end."""
    many = rule.failures is not None and failed >= rule.failures
    return many or (rule.share is not None and failed >= FEWEST and failed >= rule.share * ended)


def has_moved(state: MachineState) -> bool:
    """It serves at the target: it is the target's, and still there, or has passed its probes, and is watched before it
    is committed. Nobody waits for that: what comes after it moves in the same window."""
    return state.resumes is Phase.VALIDATED or (state.resumes is Phase.COMMITTED and not state.removed)


def has_failed(state: MachineState) -> bool:
    """Its move was begun and did not end well. One that was refused beforehand, or that its window's end led back, is
    no sign for others."""
    if state.waits_for_window:
        return False
    return state.went_back or state.resumes in _BACK or (state.failed is not None and not state.failed.beforehand)


def _standing(state: MachineState) -> str:
    if state.resumes is Phase.COMMITTED:
        return "was removed from the target since it moved"
    if state.went_back:
        return f"was rolled back: {state.rollback_reason}"
    if state.failed:
        return f"has failed: {state.failed.what}"
    return "has not moved yet" if state.resumes in UNTOUCHED else f"is {state.phase}"
