"""A disk that the policy leaves out, asked of each source that we have: nobody opens it, and nobody misses it."""

from __future__ import annotations

import pytest

from converters.endpoints import open_source as open_disk
from kubeferry.ledger import External
from kubeferry.model import Disk, Machine, Power
from tests.contract.stands import MIB, Stand, named


def lacking(machine: Machine) -> Machine:
    """The machine as a plan has it that leaves out its second disk, of which nothing is as it was, and a third one,
    which is gone."""
    kept, changed = machine.data_disks
    other = changed.model_copy(update={"capacity_bytes": 7 * MIB, "format": "vhdx", "encrypted": True})
    gone = Disk(id="gone", uri="file:///not/there", format="raw", capacity_bytes=MIB)
    return machine.model_copy(update={"disks": (kept, other, gone), "left_out": (changed.id, "gone")})


@pytest.mark.parametrize("name", ["off", "on"])
def test_a_round_has_only_what_is_taken_along_and_nothing_speaks_against_the_rest(stand: Stand, name: str) -> None:
    source, told = stand.source, list[External]()
    machine = named(source, name)
    runs = machine.power is not Power.OFF
    planned = lacking(machine)
    (kept,) = planned.data_disks
    assert source.concerns(planned) == []
    with source.way(planned, remote=False) as way:
        assert way is None or way.size_bytes != 7 * MIB
    opened = source.open_round(planned, since=None, final=not runs, remote=False, ledger=told.append)
    try:
        assert set(opened.refs) == {kept.id}
        with open_disk(opened.refs[kept.id]) as endpoint:
            endpoint.read_into(0, memoryview(bytearray(min(endpoint.size, MIB))))
    finally:
        source.close_round(opened)
    if runs and source.capabilities.live_deltas:
        again = source.open_round(planned, since=opened.marker, final=False, remote=False, ledger=told.append)
        assert set(again.refs) == {kept.id}
        assert again.marker != opened.marker
        source.close_round(again)
    source.forget(planned)


def test_a_disk_that_came_meanwhile_is_missed_all_the_same(stand: Stand) -> None:
    """What nobody has decided about is not left out."""
    machine = named(stand.source, "off")
    kept, new = machine.data_disks
    planned = machine.model_copy(update={"disks": (kept,), "left_out": ("gone",)})
    found = stand.source.concerns(planned)
    assert any(new.id in one.what and "after the inventory was made" in one.what for one in found)
