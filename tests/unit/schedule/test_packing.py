"""What a wave may hold: free waves are filled as far as they go, and a named one that breaks something is refused with
all reasons."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.documents import Capacity
from kubeferry.errors import InputInvalid
from kubeferry.schedule.waves import Ordered, in_order
from kubeferry.schedule.wishes import Constraints, Group, Needs, Wishes

GIB = 2**30
FREE: tuple[None, tuple[str, ...]] = (None, ())


def needs(*names: str) -> dict[str, Needs]:
    return {name: Needs(claims_bytes=GIB, memory_bytes=GIB, cpus=2) for name in names}


def listed(ordered: Ordered) -> list[tuple[str, ...]]:
    return [wave.machines for wave in ordered.waves]


def refused(machines: Wishes, constraints: Constraints, apps: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(InputInvalid) as caught:
        in_order(machines, apps=apps, constraints=constraints)
    assert all(problem.fix for problem in caught.value.problems)
    return [f"{problem.where}: {problem.what}" for problem in caught.value.problems]


def test_free_machines_fill_waves_up_to_their_capacity() -> None:
    machines: Wishes = {f"m{number}": FREE for number in range(5)}
    ordered = in_order(machines, constraints=Constraints(Capacity(machines=2)))
    assert listed(ordered) == [("m0", "m1"), ("m2", "m3"), ("m4",)]
    whys = [one.why for one in ordered.pulled]
    assert "m2 stands in wave-2, not in an earlier one: it would come to 3 machines" in whys[0]
    assert "waves.capacity.machines is 2 machines" in whys[0]


def test_a_small_one_goes_into_the_first_wave_that_has_room_for_it() -> None:
    machines: Wishes = {"a": FREE, "b": FREE, "c": FREE}
    size = {"a": Needs(cpus=3), "b": Needs(cpus=3), "c": Needs(cpus=1)}
    assert listed(in_order(machines, constraints=Constraints(Capacity(cpus=4), size))) == [("a", "c"), ("b",)]


def test_an_app_stands_in_one_wave_and_its_order_in_that() -> None:
    machines: Wishes = {"web": (None, ("db",)), "db": FREE, "other": FREE}
    apps = {"web": "shop", "db": "shop"}
    assert listed(in_order(machines, apps=apps)) == [("db", "other", "web")]
    assert listed(in_order(machines, apps=apps, constraints=Constraints(Capacity(machines=2)))) == [
        ("db", "web"),
        ("other",),
    ]


def test_apart_and_at_most_part_free_machines() -> None:
    machines: Wishes = {"dc1": FREE, "dc2": FREE, "web": FREE}
    both = frozenset({"dc1", "dc2"})
    for constraints in (
        Constraints(apart=(Group("waves.apart", "dc*", both),)),
        Constraints(at_most=(Group("waves.atMost", "role: dc", both, 1),)),
    ):
        ordered = in_order(machines, constraints=constraints)
        assert listed(ordered) == [("dc1", "web"), ("dc2",)]
        assert [one.wave for one in ordered.pulled] == ["wave-2"]


def test_a_named_wave_that_breaks_something_is_refused_with_all_reasons() -> None:
    machines: Wishes = dict.fromkeys(("a", "b", "c"), ("w1", ()))
    constraints = Constraints(
        Capacity(claims_bytes=2 * GIB, memory_bytes=2 * GIB, cpus=4, machines=2),
        needs("a", "b", "c"),
        at_most=(Group("waves.atMost", "role: db", frozenset("ab"), 1),),
        apart=(Group("waves.apart", "b, c", frozenset("bc")),),
    )
    told = refused(machines, constraints)
    assert [one.partition(":")[0] for one in told] == [
        *("waves.capacity.claimsBytes", "waves.capacity.memoryBytes", "waves.capacity.cpus"),
        *("waves.capacity.machines", "waves.atMost", "waves.apart"),
    ]
    assert "wave w1 comes to 3 GiB of claims, and 2 GiB of claims is the most of one wave" in told[0]
    assert "wave w1 holds 2 with role: db (a, b), and at most 1 may stand in one" in told[4]
    assert "b and c are kept apart, and both stand in wave w1" in told[5]


def test_what_no_wave_can_hold_is_refused() -> None:
    apps = {"a": "shop", "b": "shop"}
    told = refused({"a": FREE, "b": FREE, "c": FREE}, Constraints(Capacity(machines=1)), apps)
    assert told == ["waves.capacity.machines: app shop comes to 2 machines, and 1 machine is the most of one wave"]


def test_two_of_one_app_are_apart_where_one_waits_for_the_other() -> None:
    apps = {"a": "shop", "b": "shop"}
    constraints = Constraints(apart=(Group("waves.apart", "a, b", frozenset("ab")),))
    assert refused({"a": FREE, "b": FREE}, constraints, apps) == [
        "waves.apart: a and b are kept apart, and both stand in app shop"
    ]
    assert listed(in_order({"a": FREE, "b": (None, ("a",))}, apps=apps, constraints=constraints)) == [("a", "b")]


def test_an_app_that_is_given_two_waves_is_refused() -> None:
    told = refused({"a": ("w1", ()), "b": ("w2", ())}, Constraints(), {"a": "shop", "b": "shop"})
    assert told == ["machines.a.wave: app shop moves in one wave, and its machines are given w1, w2"]


def test_what_is_pulled_forward_or_back_is_told() -> None:
    machines: Wishes = {"a": ("w-1", ("b",)), "b": ("w-2", ()), "c": (None, ("a",)), "d": ("w-3", ("e",)), "e": FREE}
    ordered = in_order(machines)
    assert [wave.name for wave in ordered.waves] == ["w-2", "w-1", "wave-1", "w-3", "wave-2"]
    assert [one.why for one in ordered.pulled] == [
        "w-2 comes before w-1: a comes after b",
        "wave-1 comes before w-3: d comes after e",
        "c stands in wave-2: it comes after a of w-1",
    ]


NAMES = [f"m{number}" for number in range(9)]


@st.composite
def estates(draw: st.DrawFn) -> tuple[Wishes, dict[str, str], dict[str, tuple[str, ...]], Constraints]:
    """Machines without circles, some in apps, some sharing disks, and constraints that may or may not hold."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
    names.sort()
    apps = {name: app for name in names if (app := draw(st.sampled_from(["", "", "shop", "crm"])))}
    sets: dict[str, tuple[str, ...]] = {}
    if len(names) > 2 and draw(st.booleans()):
        sets = {names[0]: (names[1],), names[1]: (names[0],)}
    machines: Wishes = {
        name: (
            draw(st.sampled_from([None, None, None, "one", "two"])),
            tuple(draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=2))) if number else (),
        )
        for number, name in enumerate(names)
    }
    amounts = {name: Needs(draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(1, 4))) for name in names}
    few = st.none() | st.integers(2, 12)
    capacity = Capacity(claims_bytes=draw(few), memory_bytes=draw(few), cpus=draw(few), machines=draw(few))
    some = st.sets(st.sampled_from(names), max_size=3).map(frozenset)
    at_most = tuple(Group("m", "m", draw(some), draw(st.integers(1, 2))) for _ in range(draw(st.integers(0, 1))))
    apart = tuple(Group("a", "a", draw(some)) for _ in range(draw(st.integers(0, 2))))
    return machines, apps, sets, Constraints(capacity, amounts, at_most, apart)


def planned(estate: tuple[Wishes, dict[str, str], dict[str, tuple[str, ...]], Constraints]) -> Ordered | None:
    machines, apps, sets, constraints = estate
    try:
        return in_order(machines, sets, apps, constraints)
    except InputInvalid:
        return None


@given(estates())
@settings(max_examples=500)
def test_an_order_holds_everything_that_was_asked_or_is_refused(
    estate: tuple[Wishes, dict[str, str], dict[str, tuple[str, ...]], Constraints],
) -> None:
    machines, apps, sets, constraints = estate
    ordered = planned(estate)
    if ordered is None:
        return
    place = {name: number for number, wave in enumerate(ordered.waves) for name in wave.machines}
    inside = {name: wave.machines.index(name) for wave in ordered.waves for name in wave.machines}
    assert sorted(name for wave in ordered.waves for name in wave.machines) == sorted(machines)
    for name, (wave, after) in machines.items():
        assert wave is None or ordered.waves[place[name]].name == wave
        for other in after:
            assert place[other] <= place[name]
            if place[other] == place[name]:  # in one wave only where they belong together
                assert inside[other] < inside[name]
        assert all(place[other] == place[name] for other in sets.get(name, ()))
    for app in set(apps.values()):
        assert len({place[name] for name in machines if apps.get(name) == app}) == 1
    for one in ordered.waves:
        _holds(one.machines, machines, constraints)
    assert in_order(dict(reversed(machines.items())), sets, apps, constraints) == ordered


def _holds(wave: tuple[str, ...], machines: Wishes, constraints: Constraints) -> None:
    capacity, amounts = constraints.capacity, constraints.needs
    assert capacity is not None
    for most, field in (
        (capacity.claims_bytes, "claims_bytes"),
        (capacity.memory_bytes, "memory_bytes"),
        (capacity.cpus, "cpus"),
    ):
        assert most is None or sum(getattr(amounts[name], field) for name in wave) <= most
    assert capacity.machines is None or len(wave) <= capacity.machines
    for group in constraints.at_most:
        assert sum(name in group.machines for name in wave) <= group.count
    for group in constraints.apart:
        there = [name for name in wave if name in group.machines]
        for one in there:
            for other in (other for other in there if other > one):
                assert _waits(other, one, machines) or _waits(one, other, machines)


def _waits(name: str, for_whom: str, machines: Wishes) -> bool:
    return any(other == for_whom or _waits(other, for_whom, machines) for other in machines[name][1])


@given(estates(), st.integers(0, 20))
@settings(max_examples=300)
def test_more_capacity_never_makes_it_fail(
    estate: tuple[Wishes, dict[str, str], dict[str, tuple[str, ...]], Constraints], more: int
) -> None:
    machines, apps, sets, constraints = estate
    assert constraints.capacity is not None
    wider = {
        field: None if value is None else value + more for field, value in constraints.capacity.model_dump().items()
    }
    larger = Constraints(Capacity(**wider), constraints.needs, constraints.at_most, constraints.apart)
    if planned(estate) is not None:
        assert planned((machines, apps, sets, larger)) is not None


@pytest.mark.parametrize(
    ("capacity", "apart"),
    [(Capacity(machines=1), False), (Capacity(cpus=100), False), (Capacity(cpus=5), True)],
    ids=["one-a-wave", "by-processors", "all-apart"],
)
def test_two_thousand_machines_are_packed_in_seconds(capacity: Capacity, apart: bool) -> None:
    names = [f"vm-{number}" for number in range(2000)]
    machines: Wishes = {
        name: (None, (names[number // 2],) if number % 5 == 4 else ()) for number, name in enumerate(names)
    }
    groups = (Group("waves.apart", "all", frozenset(names)),) if apart else ()
    began = time.process_time()
    ordered = in_order(machines, constraints=Constraints(capacity, needs(*names), apart=groups))
    assert time.process_time() - began < 20  # two seconds at most on an idle core
    assert sum(len(wave.machines) for wave in ordered.waves) == len(names)
