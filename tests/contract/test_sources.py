"""What every source promises, asked of each one that we have, each on its stand (`stands.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from converters.endpoints import open_source as open_disk
from kubeferry import marks
from kubeferry.errors import SourceRefused, SourceUnavailable
from kubeferry.ledger import AT_SOURCE, STOP_MARK, VIEW, External
from kubeferry.model import DiskRef, Machine, Marker, Power, Severity
from kubeferry.outside import clock
from kubeferry.sources import Round, Source
from kubeferry.steps.unconfirmed import by_another
from tests.contract.rounds import FORCE, GENTLE, LOOKED_AT, PIECE, contents, ids, no_words
from tests.contract.stands import MIB, Stand, named

WHEN = "2026-01-01T00:00:00Z"
MARK = marks.StopMark("0" * 12, Power.RUNNING, WHEN, "0" * 64, WHEN, "", "wave <1> & more")


def unwritten(thing: External) -> None:
    # A cloud's disks can only be read from snapshots; elsewhere a cold round on this machine makes nothing.
    assert thing.kind == VIEW, f"it wanted to make {thing}"
    assert "/i-" in thing.where, f"it wanted to make {thing}"


@pytest.fixture
def source(stand: Stand) -> Source:
    return stand.source


@pytest.fixture
def on(source: Source) -> Machine:
    """The machine that runs."""
    if not source.capabilities.runs:
        pytest.skip("its machines do not run")
    return named(source, "on")


@pytest.fixture
def off(source: Source) -> Machine:
    return named(source, "off")


@dataclass
class Warm:
    """A source with warm copies and its running machine; everything that its ledger was told."""

    stand: Stand
    machine: Machine
    told: list[External] = field(default_factory=list)

    @property
    def source(self) -> Source:
        return self.stand.source

    def open(self, since: Marker | None = None, *, final: bool = False, source: Source | None = None) -> Round:
        asked = source or self.source
        return asked.open_round(self.machine, since=since, final=final, remote=False, ledger=self.told.append)

    def write(self, disk: str, offset: int, letter: bytes) -> None:
        self.stand.write(self.machine, disk, offset, letter * PIECE)

    def another(self) -> Source:
        """The source as another process has it."""
        return self.stand.another()


@pytest.fixture
def warm(stand: Stand, on: Machine) -> Warm:
    if not stand.source.capabilities.warm:
        pytest.skip("its machines are copied cold only")
    return Warm(stand, on)


def assert_told_rightly(earlier: Round, before: dict[str, Any], later: Round, after: dict[str, Any]) -> None:
    """What is named `same` is the same; not everything has to be read again."""
    assert later.marker is None or later.marker != earlier.marker
    for disk, (content, same) in after.items():
        assert all(content[start:end] == before[disk][0][start:end] for start, end in same)
    assert any(same for _, same in after.values())


def test_discovery_tells_every_machine_with_its_power_and_the_sizes_of_its_disks(stand: Stand, source: Source) -> None:
    inventory = source.discover()
    assert (inventory.source, inventory.unreadable) == ("lab", ())
    machines = {"on": named(source, "on"), "off": named(source, "off")}
    assert machines["on"].power is (Power.RUNNING if source.capabilities.runs else Power.OFF)
    assert machines["off"].power is Power.OFF
    for machine in machines.values():
        assert [disk.capacity_bytes for disk in machine.data_disks] == list(stand.sizes.values())
        assert machine.source == stand.named


def test_a_machine_that_can_be_moved_raises_no_concern_running_or_not(source: Source) -> None:
    for machine in (named(source, "on"), named(source, "off")):
        assert source.concerns(machine) == []
        assert source.power(machine) is machine.power


def test_what_cannot_run_is_not_started_and_says_why(source: Source, off: Machine) -> None:
    if source.capabilities.runs:
        pytest.skip("its machines run")
    with pytest.raises(SourceRefused, match="cannot be started") as refused:
        source.start(off)
    assert (refused.value.machine, bool(refused.value.fix)) == (off.name, True)
    assert not source.capabilities.force_stop | source.capabilities.warm | source.capabilities.last_words
    assert source.power(off) is Power.OFF


def test_a_round_that_is_opened_for_another_host_is_served_or_refused(source: Source, off: Machine) -> None:
    if source.capabilities.runs:
        pytest.skip("tried where its hypervisor is set up for it")
    with pytest.raises(SourceRefused, match="on this host") as refused:
        source.open_round(off, since=None, final=True, remote=True, ledger=unwritten)
    assert refused.value.machine == off.name


def test_a_trial_is_given_what_can_be_opened_now_and_changes_nothing(source: Source) -> None:
    for name in ("on", "off"):
        machine = named(source, name)
        with source.way(machine, remote=False) as way:
            if way is not None:
                with open_disk(way) as endpoint:
                    endpoint.read_into(0, memoryview(bytearray(min(endpoint.size, LOOKED_AT))))
        assert source.power(machine) is machine.power
        assert source.concerns(machine) == []


def test_concerns_are_what_a_round_is_refused_for(source: Source, off: Machine) -> None:
    bigger = [disk.model_copy(update={"capacity_bytes": 8 * MIB, "format": "vmdk"}) for disk in off.disks]
    planned = off.model_copy(update={"disks": tuple(bigger)})
    found = source.concerns(planned)
    assert {one.severity for one in found} == {Severity.CRITICAL}
    assert all(any(disk in one.what for one in found) for disk in ids(off).values())
    with pytest.raises(SourceRefused) as refused:
        source.open_round(planned, since=None, final=True, remote=False, ledger=unwritten)
    assert refused.value.machine == off.name
    assert all(one.what.partition(": ")[2] in refused.value.why for one in found)
    assert all(one.fix in refused.value.fix for one in found)


def test_a_round_refers_to_every_data_disk_and_may_be_opened_twice(stand: Stand, source: Source, off: Machine) -> None:
    first = source.open_round(off, since=None, final=False, remote=False, ledger=unwritten)
    second = source.open_round(off, since=None, final=True, remote=False, ledger=unwritten)
    assert first.refs == second.refs
    assert first.machine == off
    assert {disk: first.refs[told].size_bytes for disk, told in ids(off).items()} == stand.sizes
    assert all(isinstance(ref, DiskRef) and ref.backing is None for ref in first.refs.values())
    source.close_round(first)
    source.close_round(first)
    source.close_round(second)


def test_a_running_machine_has_no_cold_round(source: Source, on: Machine) -> None:
    with pytest.raises(SourceRefused, match="not off") as refused:
        source.open_round(on, since=None, final=True, remote=False, ledger=unwritten)
    assert refused.value.machine == on.name
    assert refused.value.fix


def test_a_marker_that_nobody_knows_names_nothing_or_is_refused(source: Source, off: Machine) -> None:
    strange = Marker(source="lab", token="../round-1", taken_at="2024-01-01T00:00:00Z")  # noqa: S106 (a point in time)
    if source.capabilities.warm:
        opened = source.open_round(off, since=strange, final=True, remote=False, ledger=unwritten)
        assert {ref.changed for ref in opened.refs.values()} == {None}
        return
    with pytest.raises(SourceRefused):
        source.open_round(off, since=strange, final=False, remote=False, ledger=unwritten)


def test_a_machine_that_does_not_stop_is_refused_and_runs_on(source: Source, on: Machine) -> None:
    with pytest.raises(SourceRefused, match="does not stop") as refused:
        source.stop(on, GENTLE, no_words)
    assert "force" in refused.value.fix
    assert source.power(on) is Power.RUNNING


def test_a_forced_stop_a_second_stop_and_a_start_that_is_called_twice(source: Source, on: Machine) -> None:
    assert source.capabilities.force_stop
    assert source.stop(on, FORCE, no_words).how == "forced"
    assert source.power(on) is Power.OFF
    assert source.stop(on, FORCE, no_words).how == "already-off"
    opened = source.open_round(on, since=None, final=True, remote=False, ledger=unwritten)
    assert opened.refs.keys() == set(ids(on).values())
    source.start(on)
    source.start(on)
    assert source.power(on) is Power.RUNNING


def test_a_start_is_told_from_the_one_before_it_where_the_source_can_tell(source: Source, on: Machine) -> None:
    first = source.last_start(on)
    source.stop(on, FORCE, no_words)
    assert source.last_start(on) == first, "a stop is no start"
    source.start(on)
    source.stop(on, FORCE, no_words)
    assert (source.last_start(on) != first) == bool(first) == source.capabilities.tells_starts


def test_what_we_have_stopped_is_never_told_as_stopped_by_somebody_else(source: Source, on: Machine) -> None:
    asked_at = clock.now()
    source.stop(on, FORCE, no_words)
    told = source.went_off(on)
    assert told.by == ""
    assert by_another(told, asked_at) == ""
    source.start(on)


def test_stopping_what_is_off_changes_nothing(source: Source, off: Machine) -> None:
    stopped = source.stop(off, GENTLE, no_words)
    assert (stopped.how, stopped.last_answer_at) == ("already-off", None)
    assert source.power(off) is Power.OFF


def test_a_machine_that_the_source_does_not_know_is_refused_by_name(source: Source, off: Machine) -> None:
    stranger = "00000000-1111-4222-8333-444444444444"
    gone = off.model_copy(update={"id": stranger, "uuid": stranger, "name": "gone"})
    for call in (
        lambda: source.power(gone),
        lambda: source.concerns(gone),
        lambda: source.stop(gone, FORCE, no_words),
        lambda: source.start(gone),
        lambda: source.open_round(gone, since=None, final=True, remote=False, ledger=unwritten),
    ):
        with pytest.raises(SourceRefused, match="no such machine") as refused:
            call()
        assert refused.value.machine == "gone"


def test_what_changed_between_two_rounds_is_named_and_what_is_named_the_same_is_the_same(warm: Warm) -> None:
    warm.write("vda", 0, b"a")
    earlier = warm.open()
    assert earlier.consistency in {"frozen", "crash"}
    before = contents(earlier)
    assert before["vda"][0][:PIECE] == b"a" * PIECE
    assert not any(same for _, same in before.values())
    warm.source.close_round(earlier)
    if warm.source.capabilities.live_deltas:
        warm.write("vda", MIB, b"b")
        warm.write("vdb", 3 * PIECE, b"c")
        later = warm.open(earlier.marker)
        warm.write("vda", MIB + 5 * PIECE, b"d")  # into the running machine, not into the view
        after = contents(later)
        assert after["vda"][0][MIB : MIB + PIECE] == b"b" * PIECE
        assert after["vda"][0][MIB + 5 * PIECE :] == before["vda"][0][MIB + 5 * PIECE :]
        assert_told_rightly(earlier, before, later, after)
        warm.source.close_round(later)
        earlier, before = later, after
    warm.write("vda", 7 * PIECE, b"e")
    warm.source.stop(warm.machine, FORCE, no_words)
    last = warm.open(earlier.marker, final=True)
    assert last.consistency == "off"
    assert_told_rightly(earlier, before, last, left := contents(last))
    assert left["vda"][0][7 * PIECE : 8 * PIECE] == b"e" * PIECE
    assert contents(warm.open(earlier.marker, final=True)) == left
    warm.source.close_round(last)
    assert {thing.kind for thing in warm.told} <= AT_SOURCE
    assert warm.source.forget(warm.machine)
    assert warm.source.forget(warm.machine) == []
    assert not any(warm.source.exists(thing) for thing in warm.told)


def test_a_view_that_is_opened_again_elsewhere_is_the_same_until_it_is_closed(warm: Warm) -> None:
    first = warm.open()
    before = contents(first)
    warm.write("vda", PIECE, b"x")
    elsewhere = warm.another()
    again = warm.open(source=elsewhere)
    assert again.marker == first.marker
    assert contents(again) == before
    elsewhere.close_round(again)
    warm.source.close_round(first)
    fresh = warm.open()
    assert fresh.marker != first.marker
    assert contents(fresh)["vda"][0][PIECE : 2 * PIECE] == b"x" * PIECE
    elsewhere.close()
    warm.source.close_round(fresh)
    warm.source.forget(warm.machine)


def test_a_round_from_a_view_that_was_never_closed_is_a_new_one(warm: Warm) -> None:
    first = warm.open()
    before = contents(first)
    warm.write("vda", PIECE, b"x")
    if not warm.source.capabilities.live_deltas:
        warm.source.stop(warm.machine, FORCE, no_words)
    second = warm.open(first.marker, final=not warm.source.capabilities.live_deltas)
    assert_told_rightly(first, before, second, contents(second))
    warm.source.close_round(second)
    warm.source.forget(warm.machine)


def test_after_a_forced_stop_and_a_start_what_changed_is_still_told_rightly(warm: Warm) -> None:
    first = warm.open()
    before = contents(first)
    warm.source.close_round(first)
    warm.write("vda", PIECE, b"x")
    warm.source.stop(warm.machine, FORCE, no_words)
    warm.source.close_round(warm.open(first.marker, final=True))
    warm.source.start(warm.machine)  # a rollback
    warm.write("vda", 3 * PIECE, b"y")
    warm.source.stop(warm.machine, FORCE, no_words)
    last = warm.open(first.marker, final=True)
    assert_told_rightly(first, before, last, contents(last))
    warm.source.close_round(last)
    warm.source.forget(warm.machine)


def test_there_is_nothing_to_forget_after_cold_rounds_and_it_may_be_asked_twice(
    stand: Stand, source: Source, off: Machine
) -> None:
    source.open_round(off, since=None, final=True, remote=False, ledger=unwritten)
    assert bool(source.forget(off)) is stand.cold_leaves
    assert source.forget(off) == []


def test_a_mark_is_found_by_others_through_a_stop_until_it_is_taken_away_and_is_no_difference(
    stand: Stand, source: Source, on: Machine
) -> None:
    told: list[External] = []
    source.unmark(on)
    mine = replace(MARK, of=marks.short(on.id))
    source.mark(on, MARK, told.append)
    source.mark(on, mine, told.append)
    assert {thing.kind for thing in told} == {STOP_MARK}
    assert all(source.exists(thing) for thing in told)
    elsewhere = stand.another()
    found = named(elsewhere, "on")
    assert found == on.model_copy(update={"metadata": on.metadata | {marks.KEY: marks.written(mine)}})
    source.stop(on, FORCE, no_words)
    assert elsewhere.marked(on) == marks.of(named(elsewhere, "on")) == mine
    assert elsewhere.concerns(on) == []
    source.start(on)
    assert source.marked(on) == mine
    source.unmark(on)
    source.unmark(on)
    assert (source.marked(on), elsewhere.marked(on)) == (None, None)
    assert not any(source.exists(thing) for thing in told)
    elsewhere.mark(on, MARK, told.append)
    assert "mark" in source.forget(on)
    assert (source.marked(on), source.forget(on), named(source, "on").metadata) == (None, [], on.metadata)
    elsewhere.close()


def test_what_starts_a_machine_is_told_switched_off_and_put_back(stand: Stand, source: Source, on: Machine) -> None:
    assert source.autostart(on) is None
    source.set_autostart(on, None)
    stand.start_by_itself(stand, on)
    told = source.autostart(on)
    assert told is not None
    assert told.words
    if not source.capabilities.replaces_stopped:
        source.stop(on, FORCE, no_words)
        assert source.autostart(on) == told, "a stop changes nothing about it"
    for _ in range(2):
        source.set_autostart(on, None)
        assert source.autostart(on) is None
    source.stop(on, FORCE, no_words)
    elsewhere = stand.another()
    assert elsewhere.autostart(on) is None
    elsewhere.start(on)
    for _ in range(2):
        elsewhere.set_autostart(on, told)
        assert source.autostart(on) == told
    source.set_autostart(on, None)
    elsewhere.close()


@pytest.mark.parametrize("before", [None, "Ask Ann <ann@example.com> & Bob", "two\n lines "])
def test_what_people_read_is_written_below_their_own_and_taken_away_again(
    stand: Stand, source: Source, on: Machine, before: str | None
) -> None:
    source.write_notes(on, before, source.notes(on))
    assert source.notes(on) == before
    seen = named(source, "on")
    line = marks.moved_line("apps/web", "wave 1 <a> & b", WHEN)
    told: list[External] = []
    source.mark(on, replace(MARK, of=marks.short(on.id)), told.append)
    source.write_notes(on, marks.with_line(before, line), before)
    source.stop(on, FORCE, no_words)
    assert source.notes(on) == marks.with_line(before, line)
    assert source.marked(on) is not None
    source.unmark(on)
    assert source.notes(on) == marks.with_line(before, line), "the mark of the stop is another one"
    elsewhere = stand.another()
    moved = named(elsewhere, "on")
    found = moved.metadata.get(marks.MOVED, "")
    assert marks.line_in(found) == line
    metadata = {key: value for key, value in moved.metadata.items() if key != marks.MOVED}
    kept = {key: value for key, value in seen.metadata.items() if key != marks.MOVED}
    assert (moved.description, metadata) == (seen.description, kept)
    assert elsewhere.concerns(on) == []
    with pytest.raises(SourceUnavailable, match="changes"):
        elsewhere.write_notes(on, None, "what never stood there")
    elsewhere.write_notes(on, before, marks.with_line(before, line))
    assert (source.notes(on), "stop-mark" in {thing.kind for thing in told}) == (before, True)
    source.write_notes(on, None, before)
    assert source.notes(on) is None
    elsewhere.close()
    source.start(on)


def test_the_power_of_many_is_told_at_once_and_nothing_of_who_is_gone(source: Source) -> None:
    machines = [named(source, "on"), named(source, "off")]
    gone = machines[1].model_copy(update={"id": "00000000-1111-4222-8333-444444444444", "uuid": None, "name": "gone"})
    told = source.powers([*machines, gone] if source.capabilities.runs else machines)
    assert told == {machine.id: machine.power for machine in machines}
    assert source.powers([]) == {}


def test_what_is_never_stopped_is_never_marked(source: Source, off: Machine) -> None:
    assert source.marked(off) is None
    source.unmark(off)
    if not source.capabilities.runs:
        with pytest.raises(SourceRefused, match="not marked"):
            source.mark(off, MARK, unwritten)
        with pytest.raises(SourceRefused, match="not marked"):
            source.write_notes(off, "moved", None)
        assert (source.autostart(off), source.notes(off)) == (None, None)


def test_what_never_runs_is_not_asked(source: Source, off: Machine) -> None:
    if not source.capabilities.runs:
        with pytest.raises(SourceRefused, match="cannot be asked"):
            source.inside(off)


def test_the_system_in_a_running_machine_can_be_asked(source: Source, on: Machine) -> None:
    inside = source.inside(on)
    assert inside.ask is not None or inside.no_agent
    assert inside.ask is None or inside.ask("guest-ping") is None, "nobody answers in it"
    assert all(inside.addresses)
    assert source.power(on) is Power.RUNNING


def test_a_closed_source_may_be_closed_again(source: Source) -> None:
    source.close()
    source.close()
