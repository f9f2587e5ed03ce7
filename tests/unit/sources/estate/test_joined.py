"""One inventory of several: nothing is lost in silence, and no two machines have one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import Inventory, digest_of
from kubeferry.errors import InputInvalid, SourceUnavailable
from kubeferry.model import Concern, Machine, Power, Severity
from kubeferry.sources.estate.joined import AWAY, TWICE, joined, joined_files
from lab.machines import a_machine

WHEN = "2026-11-24T02:00:00Z"


def a_source(name: str, *machines: Machine, kind: str = "libvirt", unreadable: tuple[Concern, ...] = ()) -> Inventory:
    return Inventory(
        source=name,
        source_kind=kind,
        source_version=f"{kind} 9",
        observed_at=WHEN,
        machines=tuple(one.model_copy(update={"source": name}) for one in machines),
        unreadable=unreadable,
    )


def runs(name: str, identity: str = "") -> Machine:
    return a_machine(name, id=identity or f"id-{name}", power=Power.RUNNING)


def off(name: str, identity: str = "") -> Machine:
    return runs(name, identity).model_copy(update={"power": Power.OFF})


def test_machines_are_of_their_sources_and_one_that_is_away_is_said() -> None:
    away = {"hv3": ("libvirt", SourceUnavailable("libvirt does not answer", fix="Start it."))}
    odd = Concern(id="machine.unreadable", severity=Severity.WARNING, what="odd: no XML", fix="Look.")
    parts = [a_source("hv1", runs("web"), unreadable=(odd,)), a_source("dc", runs("db"), kind="vmware")]
    found = joined("berlin", parts, away)
    assert (found.source, found.source_kind, found.source_version) == ("berlin", "estate", "libvirt 9, vmware 9")
    assert [(one.name, one.source) for one in found.machines] == [("db", "dc"), ("web", "hv1")]
    assert [(one.name, one.away) for one in found.members or ()] == [
        ("dc", None),
        ("hv1", None),
        ("hv3", "libvirt does not answer"),
    ]
    assert [(one.id, one.what) for one in found.unreadable] == [
        (AWAY, "source hv3 was not asked, and its machines are missing: libvirt does not answer"),
        ("machine.unreadable", "hv1: odd: no XML"),
    ]
    again = joined("berlin", [found])
    assert (again.machines, again.unreadable) == (found.machines, found.unreadable), "joined once, as it is"


@pytest.mark.parametrize(
    ("one", "other", "kept", "told"),
    [
        (runs("web", "u"), off("web", "u"), ["hv1"], ["machine.leftover"]),
        (off("web", "u"), runs("web", "u"), ["hv2"], ["machine.leftover"]),
        (runs("web", "u"), runs("web", "u"), [], [TWICE]),
        (off("web", "u"), off("web", "u"), [], [TWICE]),
        (runs("web", "u"), off("other", "u"), [], [TWICE]),
    ],
)
def test_one_identity_at_two_of_them_is_one_machine_where_one_of_them_runs_it(
    one: Machine, other: Machine, kept: list[str], told: list[str]
) -> None:
    found = joined("berlin", [a_source("hv1", one), a_source("hv2", other)])
    assert [machine.source for machine in found.machines] == kept
    assert [concern.id for concern in found.unreadable] == told


def test_an_identity_of_kinds_that_hand_nothing_on_may_be_that_of_two() -> None:
    parts = [a_source("one", off("web", "web#1"), kind="ova"), a_source("two", off("db", "web#1"), kind="ova")]
    assert [one.name for one in joined("berlin", parts).machines] == ["db", "web"]


def test_a_name_with_a_source_behind_it_may_be_another_machine_s() -> None:
    parts = [a_source("hv1", runs("web"), runs("web-hv2")), a_source("hv2", runs("web", "u"))]
    names = [one.name for one in joined("berlin", parts).machines]
    assert len(set(names)) == 3
    assert "web-hv1" in names


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", "a-s1"]), st.sampled_from("uvwx"), st.booleans()),
            max_size=4,
            unique_by=(lambda one: one[0], lambda one: one[1]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_each_machine_is_there_or_told_of(sources: list[list[tuple[str, str, bool]]]) -> None:
    parts = [
        a_source(f"s{number}", *((runs if up else off)(name, identity) for name, identity, up in machines))
        for number, machines in enumerate(sources)
    ]
    found = joined("berlin", parts)
    kept = {(one.source, one.id) for one in found.machines}
    assert len({one.name for one in found.machines}) == len(found.machines)
    told = " ".join(one.what for one in found.unreadable)
    for part in parts:
        for machine in part.machines:
            assert (part.source, machine.id) in kept or part.source in told
    ids = [one.id for one in found.machines]
    assert len(set(ids)) == len(ids)


def test_files_that_do_not_go_together_are_refused_with_everything() -> None:
    files = {
        "a.yaml": a_source("hv1", runs("web", "u"), runs("db", "v")),
        "b.yaml": a_source("hv2", runs("web", "u"), runs("db", "v")),
        "c.yaml": a_source("hv1", runs("new")),
    }
    with pytest.raises(InputInvalid) as refused:
        joined_files("estate", files)
    said = str(refused.value)
    assert "c.yaml: source hv1 is also in a.yaml" in said
    assert "one identity (u)" in said
    assert "one identity (v)" in said


def test_what_was_left_out_before_keeps_no_file_from_another() -> None:
    estate = joined("berlin", [a_source("hv1", runs("web", "u")), a_source("hv2", runs("web", "u"), runs("db"))])
    found = joined_files("estate", {"a.yaml": estate, "b.yaml": a_source("hv3", runs("new"))})
    assert [one.name for one in found.machines] == ["db", "new"]
    assert [one.id for one in found.unreadable] == [TWICE]


def test_an_inventory_of_one_source_has_the_digest_that_it_had() -> None:
    one = a_source("hv1", runs("web"))
    assert "members" not in one.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert digest_of(one) == digest_of(Inventory.model_validate(one.model_dump(exclude={"members"})))
