"""Who is on one network with whom where machines are rehearsed together, and who hears what."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeferry.documents import Entry
from kubeferry.errors import TargetRefused
from kubeferry.model import Nic
from kubeferry.targets.directory import segments
from kubeferry.targets.directory.segments import Plug, Segments, wires_of
from tests.tools.folder_target import an_entry

EVERYBODY = b"\xff" * 6


def machine(name: str, *cards: tuple[str | None, str]) -> Entry:
    """One with these cards: MAC address, None for one that it gets anew, and network at the source."""
    nics = tuple(
        Nic(id=f"nic{number}", network_kind="network", network=network, mac=mac)
        for number, (mac, network) in enumerate(cards)
    )
    interfaces = [
        {"name": f"nic{number}", "model": "virtio", **({"macAddress": mac} if mac else {})}
        for number, (mac, _network) in enumerate(cards)
    ]
    entry = an_entry(name, devices={"interfaces": interfaces})
    return entry.model_copy(update={"machine": entry.machine.model_copy(update={"nics": nics})})


def mac(number: int) -> str:
    return f"52:54:00:00:00:{number:02x}"


def test_cards_of_one_network_are_on_one_segment_and_no_address_is_given_twice() -> None:
    db = machine("db", (mac(1), "back"))
    web = machine("web", (mac(2), "front"), (mac(3), "back"), (None, "back"))
    beside = (db, web)
    (of_db,), of_web = wires_of(db, beside, Path("/run/db")), wires_of(web, beside, Path("/run/web"))
    assert [of_db.segment, *(wire.segment for wire in of_web)] == [0, 1, 0, 0]
    assert [of_db.address, *(wire.address for wire in of_web)] == [
        *("198.18.0.15", "198.18.1.15", "198.18.0.16", "198.18.0.17"),
    ]
    assert len({wire.mac for wire in (of_db, *of_web)}) == 4
    assert of_db.card == (Path("/run/db/card0"), Path("/run/db/card0.far"))


def test_a_network_that_nobody_knows_is_the_one_that_the_plan_names() -> None:
    one, other = an_entry("one"), an_entry("other")
    assert [wires_of(entry, (one, other), Path("/run"))[0].segment for entry in (one, other)] == [0, 0]


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MOST_CARDS", 1)
    one, other = an_entry("one"), an_entry("other")
    with pytest.raises(TargetRefused, match="too many"):
        wires_of(one, (one, other), Path("/run"))


PLUGS = st.builds(Plug, st.sampled_from(["a", "b", "c"]), st.integers(0, 1), st.booleans())
ADDRESSES = st.sampled_from([bytes([2, 0, 0, 0, 0, number]) for number in range(4)] + [EVERYBODY, b"\x33" * 6])


@given(
    st.dictionaries(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 1)), st.integers(0, 1), min_size=1),
    st.lists(st.tuples(PLUGS, ADDRESSES, ADDRESSES), max_size=30),
)
def test_whatever_is_sent_nobody_hears_another_segment_or_a_service_of_another_card(
    cards: dict[tuple[str, int], int], frames: list[tuple[Plug, bytes, bytes]]
) -> None:
    table = Segments()
    for (name, number), segment in cards.items():
        table.plug(Plug(name, number), segment)
        table.plug(Plug(name, number, service=True), segment)
    for sender, goal, source in frames:
        heard = table.heard(sender, goal + source + b"\x08\x00")
        own = (sender.machine, sender.card)
        assert sender not in heard
        assert len(set(heard)) == len(heard)
        assert own in cards or not heard
        for one in heard:
            of = (one.machine, one.card)
            assert cards[of] == cards[own]
            if one.service or sender.service:
                assert of == own, "a user-mode network knows its own card, and no other one"
        if goal == EVERYBODY and own in cards and not sender.service:
            there = {Plug(*card) for card, segment in cards.items() if segment == cards[own]} - {sender}
            assert set(heard) == {*there, Plug(*own, service=True)}


def test_what_is_sent_to_one_is_heard_by_that_one() -> None:
    table = Segments()
    one, other, third = (Plug(name, 0) for name in "abc")
    for plug in (one, other, third):
        table.plug(plug, 0)
        table.plug(Plug(plug.machine, 0, service=True), 0)
    here, there = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
    assert set(table.heard(one, there + here + b"\x08\x06")) == {other, third, Plug("a", 0, service=True)}
    assert table.heard(other, here + there + b"\x08\x06") == (one,)
    assert table.heard(one, there + here + b"\x08\x06") == (other,)
    assert table.heard(one, b"short") == ()
    table.unplug("b")
    assert other not in table.heard(one, there + here + b"\x08\x06")
