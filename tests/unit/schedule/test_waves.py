"""The order of machines: dependencies hold, named waves stay whole, and every contradiction is told at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeferry.errors import InputInvalid
from kubeferry.schedule.waves import Wishes, in_order, order
from kubeferry.schedule.wishes import Constraints, natural, number_of


def listed(machines: Wishes) -> list[tuple[str, tuple[str, ...]]]:
    return [(wave.name, wave.machines) for wave in order(machines)]


def problems(machines: Wishes) -> list[str]:
    with pytest.raises(InputInvalid) as caught:
        order(machines)
    assert caught.value.exit_code == 2
    assert all(problem.fix for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_nothing_gives_no_wave() -> None:
    assert order({}) == ()


def test_machines_without_wishes_move_together() -> None:
    assert listed({"web10": (None, ()), "web2": (None, ())}) == [("wave-1", ("web2", "web10"))]


def test_dependencies_make_waves() -> None:
    assert listed({"web": (None, ("app",)), "app": (None, ("db",)), "db": (None, ()), "dns": (None, ())}) == [
        ("wave-1", ("db", "dns")),
        ("wave-2", ("app",)),
        ("wave-3", ("web",)),
    ]


def test_named_waves_come_in_natural_order_and_the_rest_after_them() -> None:
    machines: Wishes = {"a": ("batch-10", ()), "b": ("batch-2", ()), "c": (None, ()), "d": ("batch-2", ())}
    assert listed(machines) == [("batch-2", ("b", "d")), ("batch-10", ("a",)), ("wave-1", ("c",))]


def test_a_wave_that_nobody_named_stands_among_those_that_are_numbered_as_it_is() -> None:
    """A sheet that moves a few machines of `wave-1` to `wave-2` lets the others move before them."""
    machines: Wishes = {"a": ("wave-10", ()), "b": ("wave-2", ()), "c": (None, ()), "d": (None, ("b",))}
    assert [name for name, _ in listed(machines)] == ["wave-1", "wave-2", "wave-3", "wave-10"]
    late: Wishes = {"a": ("wave-5", ()), "b": (None, ("a",)), "c": ("wave-7", ())}
    assert [name for name, _ in listed(late)] == ["wave-5", "wave-6", "wave-7"]


def test_what_the_policy_puts_in_order_comes_first() -> None:
    machines: Wishes = {"a": ("east", ()), "b": ("west", ()), "c": ("pilot", ()), "d": (None, ())}
    said = Constraints(order=("pilot", "wave-1", "west"))
    found = in_order(machines, constraints=said)
    assert [wave.name for wave in found.waves] == ["pilot", "wave-1", "west", "east"]
    assert found.pulled == ()  # as it was said: nothing to be told
    against = in_order(machines | {"c": ("pilot", ("b",))}, constraints=said)
    assert [wave.name for wave in against.waves] == ["west", "pilot", "wave-1", "east"]
    assert [one.why for one in against.pulled] == ["west comes before pilot: c comes after b"]


def test_what_a_named_wave_waits_for_comes_before_it_without_upsetting_the_names() -> None:
    machines: Wishes = {
        "first": ("pilot-1", ()),
        "second": ("pilot-2", ("needed",)),
        "third": ("pilot-3", ()),
        "needed": (None, ()),
    }
    assert [name for name, _ in listed(machines)] == ["pilot-1", "wave-1", "pilot-2", "pilot-3"]


def test_a_dependency_outranks_a_name() -> None:
    assert [name for name, _ in listed({"a": ("w-1", ("b",)), "b": ("w-2", ())})] == ["w-2", "w-1"]


def test_taken_names_are_left_out() -> None:
    assert listed({"a": ("wave-1", ()), "b": (None, ())}) == [("wave-1", ("a",)), ("wave-2", ("b",))]


def test_all_problems_are_told_at_once() -> None:
    found = problems({"a": (None, ("b", "ghost")), "b": (None, ("a",)), "c": ("No Name", ()), "d": (None, ("d",))})
    assert len(found) == 4
    assert any("'ghost' is not among the machines" in line for line in found)
    assert any("a after b after a" in line for line in found)
    assert any("d after d" in line for line in found)
    assert any("'No Name' cannot be the name of a wave" in line for line in found)


@pytest.mark.parametrize(
    ("machines", "words"),
    [
        ({"a": ("x", ("b",)), "b": ("x", ())}, "same wave 'x'"),
        ({"a": ("x", ("b",)), "b": ("y", ()), "c": ("y", ("d",)), "d": ("x", ())}, "x after y after x"),
        ({"a": ("x", ("b",)), "b": (None, ("c",)), "c": ("x", ())}, "contradict"),
    ],
)
def test_a_wave_that_contradicts_after_is_refused(machines: Wishes, words: str) -> None:
    assert any(words in line for line in problems(machines))


NAMES = st.sampled_from([f"m{i}" for i in range(8)])
WISHES = st.dictionaries(
    NAMES, st.tuples(st.sampled_from([None, None, "one", "two", "three"]), st.lists(NAMES, max_size=2).map(tuple))
)


@given(WISHES)
@settings(max_examples=400)
def test_an_order_is_right_or_refused(machines: dict[str, tuple[str | None, tuple[str, ...]]]) -> None:
    try:
        waves = order(machines)
    except InputInvalid:
        return
    place = {name: number for number, wave in enumerate(waves) for name in wave.machines}
    assert sorted(place) == sorted(machines)
    assert len({wave.name for wave in waves}) == len(waves)
    assert sum(len(wave.machines) for wave in waves) == len(machines)
    for name, (wish, after) in machines.items():
        assert wish is None or waves[place[name]].name == wish
        assert all(place[other] < place[name] for other in after)
    assert order(dict(reversed(machines.items()))) == waves


@given(
    st.dictionaries(NAMES, st.sampled_from([None, "wave-1", "wave-2", "wave-7", "wave-10", "a", "zebra"])),
    st.lists(st.sampled_from(["zebra", "wave-10", "wave-1"]), unique=True).map(tuple),
)
@settings(max_examples=200)
def test_where_nobody_waits_waves_are_in_the_order_of_people(
    waves: dict[str, str | None], said: tuple[str, ...]
) -> None:
    found = in_order({name: (wave, ()) for name, wave in waves.items()}, constraints=Constraints(order=said))
    names = [wave.name for wave in found.waves]
    first = [name for name in said if name in names]
    assert names[: len(first)] == first
    numbered = [name for name in names if number_of(name) and name not in said]
    assert numbered == sorted(numbered, key=natural)
    named = [name for name in names if name in waves.values() and name not in said]
    assert named == sorted(named, key=natural)
    assert found.pulled == ()


@given(WISHES)
@settings(max_examples=200)
def test_without_named_waves_only_unknown_names_and_cycles_are_refused(
    machines: dict[str, tuple[str | None, tuple[str, ...]]],
) -> None:
    """Every dependency on an earlier name only, no wave named: always orderable."""
    orderable: Wishes = {
        n: (None, tuple(o for o in after if o < n and o in machines)) for n, (_w, after) in machines.items()
    }
    assert {name for wave in order(orderable) for name in wave.machines} == set(machines)
