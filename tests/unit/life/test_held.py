"""Who waits for whom, over plans of a few machines, wherever those stand."""

from __future__ import annotations

from typing import Any

import pytest

from kubeferry.documents import Outline, StopAfter, WavesPolicy
from kubeferry.life import events as ev
from kubeferry.life.held import Held, Order
from kubeferry.life.machine_state import MachineState, Phase
from kubeferry.life.states import Recorded, fold

PLANNED = ev.Planned(plan_digest="d", disks=())
NEVER = WavesPolicy(stop_after=StopAfter())


def failed(at: str = "stop-source", what: str = "it does not stop") -> MachineState:
    return fold(map(Recorded, (PLANNED, ev.Failed(at=at, what=what))))


UNMOVED = MachineState()
MOVED = MachineState(phase=Phase.COMMITTED, plan_digest="d")
REMOVED = MachineState(phase=Phase.COMMITTED, plan_digest="d", removed=True)
BACK = MachineState(phase=Phase.ROLLED_BACK, plan_digest="d", rollback_reason="no probe passed")
FAILED, REFUSED = failed(), failed("ask-beforehand", "it cannot be moved as planned")


def a_plan(
    waves: dict[str, str],
    after: dict[str, str] | None = None,
    sets: tuple[str, ...] = (),
    order: WavesPolicy | None = NEVER,
) -> Outline:
    """Machines of one letter: wave -> its machines, machine -> those it comes after, sets that share disks."""
    whole = {name: one for one in sets for name in one}
    entries = [
        {
            "name": name,
            "target_name": name,
            "namespace": "n",
            "machine": {"id": name, "source": "lab"},
            "disks": (),
            "manifests": (),
            "after": tuple((after or {}).get(name, "")) or None,
            "moves_with": tuple({"name": other, "target_name": other} for other in whole.get(name, "") if other != name)
            or None,
        }
        for members in waves.values()
        for name in members
    ]
    return Outline.model_validate(
        {
            "api_version": "v",
            "name": "plan",
            "created_at": "2026",
            "source": "lab",
            "digest": "d",
            "waves": [{"name": name, "machines": tuple(members)} for name, members in waves.items()],
            "entries": entries,
            "order": order,
        }
    )


def held(plan: Outline, name: str, **states: MachineState) -> Held | None:
    return Order(plan, states).held(name)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (UNMOVED, "it comes after a, which has not moved yet"),
        (FAILED, "it comes after a, which has failed: it does not stop"),
        (REFUSED, "it comes after a, which has failed: it cannot be moved as planned"),
        (BACK, "it comes after a, which was rolled back: no probe passed"),
        (REMOVED, "it comes after a, which was removed from the target since it moved"),
        (MachineState(phase=Phase.CUTTING_OVER, plan_digest="d"), "it comes after a, which is cutting-over"),
    ],
)
def test_a_machine_waits_for_what_it_comes_after_with_the_reason(state: MachineState, said: str) -> None:
    assert held(a_plan({"1": "a", "2": "b"}, {"b": "a"}), "b", a=state) == Held(said, ("a",))


def test_who_comes_after_what_has_moved_waits_no_more() -> None:
    assert held(a_plan({"1": "a", "2": "b"}, {"b": "a"}), "b", a=MOVED) is None


def test_what_another_plan_has_moved_is_not_waited_for() -> None:
    plan = a_plan({"1": "a", "2": "b"}, {"b": "a"})
    assert Order(plan, {}, ("a",)).held("b") is None


def test_a_wave_that_is_later_by_its_number_alone_goes_on() -> None:
    assert held(a_plan({"1": "a", "2": "b"}), "b", a=FAILED) is None


def test_the_reason_is_that_of_the_first_of_a_chain() -> None:
    plan = a_plan({"1": "a", "2": "b", "3": "c", "4": "d"}, {"b": "a", "c": "b", "d": "c"})
    said = "it comes after c; c waits for a, which has failed: it does not stop"
    assert held(plan, "d", a=FAILED) == Held(said, ("c",))


def test_machines_that_wait_for_each_other_in_a_plan_that_nobody_ordered_end_no_look() -> None:
    plan = a_plan({"1": "ab", "2": "c"}, {"a": "b", "b": "a", "c": "a"})
    assert held(plan, "c") is not None


def test_a_set_waits_for_what_any_of_it_waits_for_and_is_waited_for_whole() -> None:
    plan = a_plan({"1": "ab", "2": "cd"}, {"d": "a"}, sets=("ab", "cd"))
    told = held(plan, "c", a=MOVED)
    assert told is not None
    assert (told.by, told.why) == (("b",), "it comes after b, which has not moved yet")
    assert held(plan, "c", a=MOVED, b=MOVED) is None


@pytest.mark.parametrize(
    "state",
    [
        MOVED,
        BACK,
        MachineState(phase=Phase.FAILED, failed_in=Phase.STARTED, plan_digest="d"),
        MachineState(phase=Phase.CUTTING_OVER, plan_digest="d"),
        MachineState(phase=Phase.ROLLING_BACK, plan_digest="d"),
    ],
)
def test_what_is_under_way_or_at_its_end_waits_for_nothing(state: MachineState) -> None:
    plan = a_plan({"1": "a", "2": "b"}, {"b": "a"}, order=WavesPolicy(in_order=True, stop_after=StopAfter(failures=1)))
    assert held(plan, "b", a=FAILED, b=state) is None


def test_who_went_back_waits_like_any_other_once_it_is_to_be_taken_up_again() -> None:
    plan = a_plan({"1": "a", "2": "b"}, {"b": "a"})
    assert Order(plan, {"b": BACK}, again=True).held("b") is not None


@pytest.mark.parametrize("order", [None, WavesPolicy(in_order=True, stop_after=StopAfter())])
def test_waves_in_order_wait_for_all_of_the_ones_before(order: WavesPolicy | None) -> None:
    plan = a_plan({"1": "ab", "2": "c", "3": "d"}, order=order)
    told = held(plan, "d", a=MOVED, b=REFUSED)
    assert told == Held("it is in a later wave than b, which has failed: it cannot be moved as planned", ("b",))
    assert held(plan, "b", a=FAILED) is None
    assert held(plan, "c", a=MOVED, b=MOVED) is None


def stopped(rule: StopAfter, **states: MachineState) -> str:
    """Why the rest of a wave of seven is held back, and a later wave with it."""
    plan = a_plan({"1": "abcdefg", "2": "x"}, order=WavesPolicy(stop_after=rule))
    here, later = held(plan, "g", **states), held(plan, "x", **states)
    assert here == later
    return later.why if later else ""


def test_a_wave_stops_after_so_many_failures_and_all_later_ones_with_it() -> None:
    two = StopAfter(failures=2)
    assert stopped(two, a=FAILED, b=REFUSED) == ""
    assert stopped(two, a=FAILED, b=BACK, c=MOVED) == (
        "wave 1 has stopped: 2 of 3 machines that came to an end there have failed or went back (a, b)"
    )


def test_a_share_counts_from_the_third_failure_on() -> None:
    half = WavesPolicy().stop_after
    assert stopped(half, a=FAILED, b=FAILED) == ""
    assert stopped(half, a=FAILED, b=FAILED, c=FAILED) != ""
    assert stopped(half, a=FAILED, b=FAILED, c=FAILED, d=MOVED, e=MOVED, f=MOVED) != ""
    wider = a_plan({"1": "abcdefgh", "2": "x"}, order=WavesPolicy())
    assert held(wider, "x", **dict.fromkeys("abc", FAILED), **dict.fromkeys("defg", MOVED)) is None


def test_what_has_failed_is_tried_again_whatever_its_wave_has_stopped_for() -> None:
    plan = a_plan({"1": "ab", "2": "c"}, order=WavesPolicy(stop_after=StopAfter(failures=1)))
    assert held(plan, "a", a=FAILED) is None
    assert held(plan, "b", a=FAILED) is not None


def test_what_is_seen_since_counts() -> None:
    order = Order(a_plan({"1": "a", "2": "b"}, {"b": "a"}, order=WavesPolicy(stop_after=StopAfter(failures=1))), {})
    order.see("a", FAILED)
    assert order.held("b") is not None
    order.see("a", MOVED)
    assert order.held("b") is None


CHAIN: dict[str, Any] = {"waves": {"1": "ax", "2": "b", "3": "c"}, "after": {"b": "a", "c": "b"}}


@pytest.mark.parametrize(
    ("run", "refused", "found"),
    [
        ("axbc", "", ""),
        ("bc", "", "bc"),
        ("c", "", "c"),
        ("xc", "", "c"),
        ("axbc", "a", "bc"),
        ("axbc", "x", ""),
    ],
)
def test_whose_turn_does_not_come_in_a_run(run: str, refused: str, found: str) -> None:
    assert "".join(Order(a_plan(**CHAIN), {}).out_of_reach(tuple(run), tuple(refused))) == found


@pytest.mark.parametrize(("run", "refused", "found"), [("axbc", "x", "bc"), ("bc", "", "bc"), ("axbc", "", "")])
def test_where_waves_are_in_order_the_turn_of_later_ones_does_not_come(run: str, refused: str, found: str) -> None:
    order = Order(a_plan({"1": "ax", "2": "b", "3": "c"}, order=None), {})
    assert "".join(order.out_of_reach(tuple(run), tuple(refused))) == found


def test_where_a_wave_has_stopped_turns_come_only_if_what_failed_is_tried_again() -> None:
    plan = a_plan({"1": "ab", "2": "c"}, order=WavesPolicy(stop_after=StopAfter(failures=1)))
    assert list(Order(plan, {"a": FAILED}).out_of_reach("bc")) == ["b", "c"]
    assert Order(plan, {"a": FAILED}).out_of_reach("abc") == {}
    assert list(Order(plan, {"a": FAILED}).out_of_reach("abc", "a")) == ["b", "c"]
    assert list(Order(plan, {"a": BACK}).out_of_reach("abc")) == ["b", "c"]
    assert Order(plan, {"a": BACK}, again=True).out_of_reach("abc") == {}


def test_who_went_back_is_waited_for_in_vain_unless_it_is_taken_up_again() -> None:
    plan = a_plan({"1": "a", "2": "b"}, {"b": "a"})
    assert list(Order(plan, {"a": BACK}).out_of_reach(("a", "b"))) == ["b"]
    assert Order(plan, {"a": BACK}, again=True).out_of_reach(("a", "b")) == {}


# --- what a person has decided ---------------------------------------------------------------------------------------


def failed_at(minute: int) -> MachineState:
    return fold(
        [
            Recorded(PLANNED, "2026-12-01T12:00Z"),
            Recorded(ev.Failed(at="copy-disks", what="full"), f"2026-12-01T12:{minute:02}Z"),
        ]
    )


def test_what_failed_before_a_stop_was_lifted_counts_no_more() -> None:
    plan = a_plan({"1": "abcd", "2": "x"}, order=WavesPolicy(stop_after=StopAfter(failures=2)))
    states = {"a": failed_at(1), "b": failed_at(2)}
    lifted = {"1": "2026-12-01T12:05Z"}
    assert Order(plan, states).held("c") is not None
    assert Order(plan, states).stopped("1")[1] == ("a", "b")
    order = Order(plan, states, lifted=lifted)
    assert (order.held("c"), order.held("x"), order.stopped("1")) == (None, None, (None, ()))
    order.see("c", failed_at(6))
    assert order.held("d") is None
    order.see("a", failed_at(7))
    held = order.held("d")
    assert held is not None
    assert held.why == (
        "wave 1 has stopped: 2 of 2 machines that came to an end there since its stop was lifted 2026-12-01T12:05Z "
        "have failed or went back (a, c)"
    )
    assert order.stopped("2") == (None, ())


def test_who_failed_again_failed_anew() -> None:
    """At the same step as before, so that no phase tells of it."""
    failure = ev.Failed(at="copy-disks", what="full")
    records = [Recorded(PLANNED, "12:00"), Recorded(failure, "12:01"), Recorded(failure, "12:09")]
    assert fold(records).failed_at == "12:09"
    stopped = ev.Failed(at="copy-disks", what="stopped", error_type="Interrupted")
    assert fold([*records, Recorded(stopped, "12:10")]).failed_at == "12:09"


def test_who_is_not_approved_waits_with_its_set_and_whatever_is_insisted_on() -> None:
    plan = a_plan({"1": "abc"}, {"c": "a"}, sets=("ab",))
    order = Order(plan, {}, unapproved={"b": "it is not approved", "a": "", "c": ""})
    assert order.held("b") == Held("it is not approved", approval=True)
    assert order.held("a") == Held("it moves together with b: it is not approved", approval=True)
    assert set(order.out_of_reach("abc")) == {"a", "b", "c"}, "c comes after a"
    order.lack({"b": ""})
    assert (order.held("a"), order.held("b")) == (None, None)
    order.lack({"a": "it is not approved"})
    order.see("a", MachineState(phase=Phase.CUTTING_OVER, plan_digest="d"))
    assert order.held("a") is None, "what has begun comes to its end"


def test_who_is_not_approved_is_out_of_reach_though_others_failed_and_are_tried_again() -> None:
    order = Order(a_plan({"1": "ab"}), {"a": FAILED}, unapproved={"b": "it is not approved"})
    assert set(order.out_of_reach("ab")) == {"b"}
