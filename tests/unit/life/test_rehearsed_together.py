"""What is next for machines that are rehearsed together, whatever they show, and wherever a command was killed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import WarmPolicy
from kubeferry.life import events as ev
from kubeferry.life.action_kinds import Action, ActionKind, EntryFacts, Goal
from kubeferry.life.imagined import imagined
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.rehearsal import has_passed, why_not
from kubeferry.life.rehearsed_together import begun, next_of_rehearsal, not_passed, plan_rehearsal, why_ended
from kubeferry.life.sets import Member, next_of_set
from kubeferry.life.states import step
from kubeferry.model import Power

A = ActionKind
FACTS = EntryFacts("d", ("vda",), warm=WarmPolicy(rounds=1))
SYNCED = (
    ev.Planned(plan_digest="d", disks=("vda",)),
    ev.CopyBegun(round=1, final=False),
    ev.DiskCopied(disk="vda", round=1, root="r1", algorithm="blake3"),
    ev.DiskVerified(disk="vda", root="r1"),
    ev.Synced(round=1),
)
FAILING = {"probes": [{"kind": "http", "what": "port 80 answers", "ok": False}]}
BAD = ("probe", "app", "disk", "before")


def synced() -> MachineState:
    state = MachineState()
    for event in SYNCED:
        state = step(state, event)
    return state


@dataclass
class World:
    """Machines of an app, and what goes wrong with which of them; `done` is what was done so far."""

    tiers: dict[str, int]
    asked: frozenset[str] = frozenset()
    bad: dict[str, str] = field(default_factory=dict)
    states: dict[str, MachineState] = field(default_factory=dict)
    done: list[tuple[str, ActionKind]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = {name: synced() for name in self.tiers}

    def members(self) -> dict[str, Member]:
        """As one command begins with them."""
        return {
            name: Member(replace(FACTS, asks_app=name in self.asked), state, tier=self.tiers[name], began=begun(state))
            for name, state in self.states.items()
        }

    def command(self, goal: Goal = Goal.REHEARSE, *, steps: int = 1000) -> Action | None:
        """One command, killed after so many steps; what it ends with, None where it was killed."""
        members = self.members()
        for _ in range(steps):
            name, action = next_of_rehearsal(members, goal)
            if action.kind is A.DONE:
                return action
            self.done.append((name, action.kind))
            self.act(name, action)
            members = {one: member.at(self.states[one]) for one, member in members.items()}
            goal = goal.after(action.kind)
        return None

    def act(self, name: str, action: Action) -> None:
        bad, state = self.bad.get(name), self.states[name]
        events = imagined(action, replace(FACTS, asks_app=name in self.asked), state, Power.RUNNING)
        if action.kind is A.REHEARSE and bad == "probe":
            events = [ev.RehearsalObserved(observation=FAILING)]
        elif action.kind is A.REHEARSE_APP and bad == "app":
            events = [ev.RehearsalObserved(observation=FAILING, app="shop")]
        elif action.kind is A.VERIFY_DISKS and bad == "disk":
            events = [ev.DiskVerified(disk="vda", root="r1", differing=3)]
        elif action.kind is A.BEGIN_REHEARSAL:
            events = [replace_together(events[0], tuple(self.tiers))]
        elif action.kind is A.END_REHEARSAL:
            events = [ev.RehearsalEnded(at="", why=why_ended(self.states, self.asked) or None)]
        for event in events:
            self.states[name] = step(self.states[name], event)

    def at(self, kind: ActionKind, name: str = "") -> list[int]:
        return [at for at, (one, what) in enumerate(self.done) if what is kind and name in {"", one}]

    def passed(self) -> list[str]:
        return [name for name, state in self.states.items() if has_passed(state)]


def replace_together(event: ev.Event, names: tuple[str, ...]) -> ev.Event:
    return event.model_copy(update={"together": names})


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = [f"m{number}" for number in range(draw(st.integers(1, 4)))]
    tiers = {name: draw(st.integers(0, 2)) for name in names}
    asked = frozenset(draw(st.lists(st.sampled_from(names), max_size=2)))
    bad = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(BAD[:3]), max_size=2))
    return World(tiers, asked, bad)


def in_order(world: World) -> None:
    """What holds of each single command from its beginning, whatever came of it."""
    starts, ends = world.at(A.START_REHEARSAL), world.at(A.END_REHEARSAL)
    assert not starts or max(world.at(A.BEGIN_REHEARSAL)) < min(starts), "all have begun before any is started"
    assert not ends or not starts or max(starts) < min(ends), "none is started once one has ended"
    for name in {name for name, _kind in world.done}:
        for other in world.tiers:
            if world.tiers[other] < world.tiers[name] and world.at(A.START_REHEARSAL, name):
                assert world.at(A.REHEARSE, other), "those before it were asked"
                assert world.at(A.REHEARSE, other)[0] < world.at(A.START_REHEARSAL, name)[0]
    asked = world.at(A.REHEARSE_APP)
    assert not asked or (len(world.at(A.REHEARSE)) == len(world.tiers) and max(world.at(A.REHEARSE)) < min(asked))
    down = [world.tiers[name] for name, kind in world.done if kind is A.END_REHEARSAL]
    assert down == sorted(down, reverse=True), "what was started last is ended first"


@given(worlds())
def test_all_pass_or_none_and_nothing_is_left_running(world: World) -> None:
    ended = world.command()
    assert ended is not None
    in_order(world)
    assert not any(state.rehearsing for state in world.states.values())
    wrong = {
        name: bad
        for name, bad in world.bad.items()
        if bad != "app" or (name in world.asked and "probe" not in world.bad.values())
    }
    assert sorted(world.passed()) == ([] if wrong else sorted(world.tiers)), (world.bad, world.done)
    assert all("vda" in state.verified or "vda" in state.differing for state in world.states.values())
    assert not wrong or any(name in ended.reason for name in wrong), ended
    whole = [name for name, bad in wrong.items() if bad in {"probe", "app"}]
    for state in world.states.values() if whole else ():
        assert why_not(state), "each says why"
    assert not whole or not_passed(world.states).split(":")[0] in whole


@given(worlds(), st.integers(0, 40), st.sampled_from([Goal.REHEARSE, Goal.END_REHEARSAL]))
def test_killed_anywhere_the_next_command_ends_what_is_left_before_anything_else(
    world: World, steps: int, goal: Goal
) -> None:
    world.command(steps=steps)
    left = [name for name, state in world.states.items() if state.rehearsing]
    recorded = world.passed()
    world.done.clear()
    world.command(goal)
    assert [name for name, kind in world.done[: len(left)] if kind is A.END_REHEARSAL] == sorted(
        left, key=lambda name: (world.tiers[name], name), reverse=True
    )
    assert not any(state.rehearsing for state in world.states.values())
    if goal is Goal.END_REHEARSAL:
        assert len(world.done) == len(left)
        assert world.passed() == recorded, "what was left has not passed"


@given(worlds(), st.integers(0, 40), st.sampled_from([Goal.MIGRATE, Goal.COMMIT, Goal.ROLLBACK, Goal.MIGRATE_AGAIN]))
def test_machines_that_move_as_one_end_it_before_anything_else(world: World, steps: int, goal: Goal) -> None:
    world.command(steps=steps)
    left = {name for name, state in world.states.items() if state.rehearsing}
    if not left or goal is Goal.COMMIT:  # of which none is watched
        return
    members = {name: replace(member, power=Power.RUNNING) for name, member in world.members().items()}
    name, action = next_of_set(members, goal)
    assert (name in left, action.kind) == (True, A.END_REHEARSAL)
    assert world.tiers[name] == max(world.tiers[one] for one in left)


def test_the_app_is_asked_when_all_have_passed_and_then_all_end_the_last_first() -> None:
    world = World({"db": 0, "cache": 0, "web": 1}, frozenset({"web"}))
    world.command()
    assert [(name, str(kind)) for name, kind in world.done] == [
        *((name, "begin-rehearsal") for name in ("db", "cache", "web")),
        *(("db", "start-rehearsal"), ("cache", "start-rehearsal"), ("db", "rehearse"), ("cache", "rehearse")),
        *(("web", "start-rehearsal"), ("web", "rehearse"), ("web", "rehearse-app")),
        *((name, "end-rehearsal") for name in ("web", "cache", "db")),
        *((name, "verify-disks") for name in ("db", "cache", "web")),
        *((name, "record-rehearsal") for name in ("db", "cache", "web")),
    ]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"db": "probe"}, "db: the copy did not pass: port 80 answers"),
        ({"web": "app"}, "web: app shop did not pass: port 80 answers"),
    ],
)
def test_each_says_whose_probe_it_was(bad: dict[str, str], why: str) -> None:
    world = World({"db": 0, "web": 1}, frozenset({"web"}), bad)
    world.command()
    assert {why_not(state) for state in world.states.values()} <= {why, why.split(": ", 1)[1]}
    assert not_passed(world.states) == why
    assert world.states["db"].phase is Phase.SYNCED


def test_none_begins_where_one_does_not_read_back_as_it_was_written() -> None:
    world = World({"db": 0, "web": 1}, bad={"db": "disk"})
    world.states["db"] = replace(world.states["db"], verified={})
    ended = world.command()
    assert ended is not None
    assert ended.reason == "db: vda did not read back as it was written"
    assert world.done == [("db", A.VERIFY_DISKS)]


def test_what_would_be_done_is_told_in_the_order_in_which_it_is_done() -> None:
    world = World({"db": 0, "web": 1}, frozenset({"web"}))
    world.command()
    told = plan_rehearsal(world.members())
    kinds = [
        "begin-rehearsal",
        "start-rehearsal",
        "rehearse",
        "end-rehearsal",
        "verify-disks",
        "record-rehearsal",
        "done",
    ]
    assert [str(action.kind) for action in told["db"]] == kinds
    assert [str(action.kind) for action in told["web"]] == [*kinds[:3], "rehearse-app", *kinds[3:]]
    assert "would be asked" in told["web"][3].reason
