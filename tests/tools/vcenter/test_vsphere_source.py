"""vSphere against the lab's vCenter: two passes to equal bytes, and everything that goes wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pyVmomi import vim

from converters.endpoints import open_source as open_disk
from converters.engine.disks import verify_disk
from kubeferry.documents import StopPolicy
from kubeferry.errors import IntegrityFailed, SourceRefused, SourceUnavailable
from kubeferry.inside.said import Said
from kubeferry.ledger import CHANGE_TRACKING, LEASE, SNAPSHOT
from kubeferry.model import DiskRef, Power, Severity
from kubeferry.sources import Round, open_source
from lab.vcenter.faults import Fault
from lab.vcenter.place import Place, waited
from tests.tools.vcenter.moving import CHANCE, FORCE, MIB, PIECE, Moving

pytestmark = pytest.mark.xdist_group("vcenter")  # one simulator for all tests of a module


def test_two_passes_give_the_last_bytes_and_the_second_moves_only_what_changed(moving: Moving) -> None:
    first = moving.warm()
    assert first.consistency == "crash"
    assert first.marker
    for offset in range(0, MIB, 2 * PIECE):  # more areas than one answer has
        moving.write(0, offset)
    moving.write(1, 2 * MIB)
    moving.stop()
    last = moving.open(first.marker, final=True)
    moving.lab.relay.rules.sent = 0
    found = moving.copy(last)
    assert moving.equal()
    assert moving.lab.relay.rules.count("QueryChangedDiskAreas") == 3
    assert sum(one.tally.read for one in found.values()) == 2 * MIB  # the two blocks that the areas lie in
    assert moving.lab.relay.rules.sent < 2 * MIB + PIECE
    moving.source.close_round(last)
    for disk in moving.machine.data_disks:
        target = DiskRef(uri=(moving.folder / f"{disk.id}.raw").as_uri())
        assert not verify_disk(target, moving.folder / f"{disk.id}.kff").differing


def test_everything_at_the_source_is_written_down_first_and_gone_afterwards(moving: Moving) -> None:
    first = moving.open()
    assert [thing.kind for thing in moving.told] == [CHANGE_TRACKING, SNAPSHOT, LEASE]
    assert all(moving.source.exists(thing) for thing in moving.told)
    assert len(moving.lab.snapshots("web")) == 1
    moving.source.close_round(first)
    assert moving.lab.snapshots("web") == []
    assert [thing.kind for thing in moving.told if moving.source.exists(thing)] == [CHANGE_TRACKING]
    assert moving.source.forget(moving.machine) == ["change tracking"]
    assert not any(moving.source.exists(thing) for thing in moving.told)
    assert moving.lab.vm("web").config.changeTrackingEnabled is False


def test_change_tracking_that_was_on_before_stays_on(moving: Moving) -> None:
    moving.lab.configure("web", changeTrackingEnabled=True)
    first = moving.warm()
    assert first.marker
    assert [thing.kind for thing in moving.told] == [SNAPSHOT, LEASE]
    assert moving.source.forget(moving.machine) == []
    assert moving.lab.vm("web").config.changeTrackingEnabled is True


def test_a_quiet_guest_is_asked_for_where_tools_run(moving: Moving) -> None:
    moving.lab.tools("web", running=True)
    assert moving.warm().consistency == "frozen"
    heard: list[Said | None] = []
    stopped = moving.source.stop(moving.machine, StopPolicy(), lambda _words, _at, said=None: heard.append(said))
    assert stopped.how == "agent"
    assert stopped.last_answer_at
    assert [told is not None for told in heard] == [True]


def test_a_second_round_keeps_its_view_until_it_is_closed_and_is_never_that_of_its_marker(moving: Moving) -> None:
    first = moving.warm()
    moving.write(0, 3 * MIB)
    second = moving.open(first.marker)
    assert second.marker != first.marker
    assert moving.open(first.marker).marker == second.marker
    third = moving.open(second.marker)  # the second one was never closed
    assert third.marker not in {first.marker, second.marker}
    assert len(moving.lab.snapshots("web")) == 1
    moving.copy(third)
    moving.source.close_round(third)
    assert moving.lab.snapshots("web") == []
    assert moving.equal()


# --- what came is what the server counted --------------------------------------------------------------------------


def sent(moving: Moving) -> set[str]:
    return {f"sha1:{sha1}" for sha1, _size, _capacity in moving.lab.relay.streamed.values()}


def test_what_came_of_a_stream_is_digested_as_the_server_does(moving: Moving) -> None:
    opened = moving.open()
    moving.lab.relay.streamed.clear()
    found = moving.copy(opened)
    assert {one.stream_digest for one in found.values()} == sent(moving)
    assert len(sent(moving)) == 2
    moving.source.close_round(opened)
    assert moving.lab.relay.rules.count("HttpNfcLeaseGetManifest") == 1
    assert moving.lab.relay.rules.count("HttpNfcLeaseComplete") == 1


def test_a_stream_of_another_digest_than_in_the_manifest_is_refused_by_the_name_of_its_disk(moving: Moving) -> None:
    moving.lab.relay.rules.miscounted = {":1"}
    opened = moving.open()
    moving.copy(opened)
    with pytest.raises(IntegrityFailed) as told:
        moving.source.close_round(opened)
    assert (told.value.machine, told.value.disk) == ("web", moving.machine.data_disks[1].id)
    assert "0" * 40 in told.value.why
    assert opened.seen[moving.machine.data_disks[1].id] in told.value.why
    assert moving.lab.snapshots("web") == []
    assert moving.lab.relay.rules.count("HttpNfcLeaseAbort") == 1
    moving.source.close_round(opened)  # it was given back all the same


def test_a_wrong_stream_is_told_even_where_the_snapshot_cannot_be_removed_now(moving: Moving) -> None:
    moving.lab.relay.rules.miscounted = {":1"}
    opened = moving.open()
    moving.copy(opened)
    moving.lab.relay.rules.faults.append(Fault("RemoveSnapshot_Task", "503"))
    with pytest.raises(IntegrityFailed):
        moving.source.close_round(opened)
    assert not moving.lab.relay.rules.faults[0].times
    moving.source.close_round(opened)
    assert moving.lab.snapshots("web") == []


def test_a_copy_that_goes_on_digests_the_whole_stream(moving: Moving) -> None:
    for offset in range(0, 9 * MIB, PIECE):
        moving.lab.write("web", 0, offset, CHANCE.randbytes(PIECE))
    opened = moving.open()
    moving.lab.relay.rules.faults.append(Fault("GET /nfc", "cut"))
    with pytest.raises(SourceUnavailable, match="broke off"):
        moving.copy(opened)
    again = moving.open()
    moving.lab.relay.streamed.clear()
    found = moving.copy(again)
    assert sum(one.tally.resumed for one in found.values()) > 0
    assert {one.stream_digest for one in found.values()} == sent(moving)
    moving.source.close_round(again)


@pytest.mark.parametrize("kind", ["fault:NotSupported", "500"])
def test_a_host_without_a_manifest_is_no_error(moving: Moving, kind: str) -> None:
    moving.lab.relay.rules.miscounted = {":0", ":1"}
    opened = moving.open()
    moving.copy(opened)
    moving.lab.relay.rules.faults.append(Fault("HttpNfcLeaseGetManifest", kind))
    moving.source.close_round(opened)
    assert not moving.lab.relay.rules.faults[0].times


# --- the change tracker is not believed where it cannot know -------------------------------------------------------


def change_id(first: Round, disk: str) -> str:
    assert first.marker
    return str(json.loads(first.marker.token)["disks"][disk][0])


def stale(moving: Moving, first: Round) -> None:
    for disk in moving.machine.data_disks:
        moving.lab.relay.rules.stale.add(change_id(first, disk.id))


def tracked_anew(moving: Moving, _first: Round) -> None:
    moving.lab.track_anew("web")


def damaged(moving: Moving, _first: Round) -> None:
    """The tracker answers with areas outside of the disk."""
    moving.lab.relay.rules.faults.append(Fault("QueryChangedDiskAreas", "outside", times=9))


def stuck(moving: Moving, _first: Round) -> None:
    moving.lab.relay.rules.faults.append(Fault("QueryChangedDiskAreas", "stuck", times=9))


def refused(moving: Moving, _first: Round) -> None:
    moving.lab.relay.rules.faults.append(Fault("QueryChangedDiskAreas", "fault:NotFound", times=9))


def switched_off(moving: Moving, _first: Round) -> None:
    moving.lab.untrack("web")


@pytest.mark.parametrize("trouble", [stale, tracked_anew, damaged, stuck, refused, switched_off])
def test_where_what_changed_is_not_known_all_is_read(moving: Moving, trouble: Callable[[Moving, Round], None]) -> None:
    first = moving.warm()
    moving.write(0, 3 * MIB)
    moving.stop()
    trouble(moving, first)
    last = moving.open(first.marker, final=True)
    assert {ref.changed for ref in last.refs.values()} == {None}
    moving.copy(last)
    assert moving.equal()


def test_a_snapshot_of_somebody_else_leads_to_an_export_of_all(moving: Moving) -> None:
    first = moving.warm()
    moving.lab.snapshot("web", "before the update")
    moving.write(0, 3 * MIB)  # into the delta: the flat file does not have it
    moving.stop()
    last = moving.open(first.marker, final=True)
    assert all(ref.uri.startswith("vmdk-stream+https:") for ref in last.refs.values())
    moving.copy(last)
    assert moving.equal()
    moving.source.close_round(last)
    assert len(moving.lab.snapshots("web")) == 1  # theirs


def test_a_disk_that_grew_is_another_than_that_of_the_plan(moving: Moving) -> None:
    first = moving.warm()
    moving.stop()
    moving.lab.grow("web", 0, 16 * MIB)
    with pytest.raises(SourceRefused, match="planned") as told:
        moving.open(first.marker, final=True)
    assert f"it has {16 * MIB} bytes now, and had {9 * MIB}" in told.value.why


def test_a_round_that_a_killed_process_left_is_taken_back_by_the_next(moving: Moving, lab: Place) -> None:
    first = moving.open()
    moving.copy(first)
    elsewhere = open_source("lab", lab.config())
    moving.write(0, 3 * MIB)
    elsewhere.stop(moving.machine, FORCE, lambda _words, _at, _said=None: None)
    last = elsewhere.open_round(moving.machine, since=first.marker, final=True, remote=False, ledger=moving.told.append)
    moving.copy(last)
    assert moving.equal()
    assert lab.snapshots("web") == []
    elsewhere.close()


# --- asked before it stops -------------------------------------------------------------------------------------------


def test_a_role_that_may_not_start_it_again_is_a_concern_before_it_stops(moving: Moving) -> None:
    assert moving.source.concerns(moving.machine) == []
    moving.lab.relay.rules.denied.add("VirtualMachine.Interact.PowerOn")
    (told,) = moving.source.concerns(moving.machine)
    assert told.severity is Severity.CRITICAL
    assert "our role may not start it again: the privilege VirtualMachine.Interact.PowerOn is missing" in told.what
    assert moving.source.power(moving.machine) is Power.RUNNING
    moving.stop()
    assert moving.source.concerns(moving.machine) == [], "it need not be started again: it was off"


def test_a_role_that_may_not_keep_the_host_from_starting_it_is_a_concern(moving: Moving) -> None:
    moving.lab.relay.rules.denied.add("Host.Config.AutoStart")
    assert moving.source.concerns(moving.machine) == [], "its host does not start it"
    moving.lab.start_with_host("web", order=2)
    (told,) = moving.source.concerns(moving.machine)
    assert told.severity is Severity.CRITICAL
    assert "it starts with its host, as number 2, and our role may not switch that off" in told.what
    moving.lab.relay.rules.denied.clear()
    assert moving.source.concerns(moving.machine) == []


def test_the_place_in_the_start_of_its_host_is_given_up_and_taken_again(moving: Moving) -> None:
    moving.lab.start_with_host("web", order=2)
    told = moving.source.autostart(moving.machine)
    assert told is not None
    assert (told.settings["startDelay"], told.settings["stopAction"]) == ("17", "guestShutdown")
    moving.source.set_autostart(moving.machine, None)
    assert (moving.lab.order_of("web"), moving.source.autostart(moving.machine)) == (-1, None)
    moving.source.set_autostart(moving.machine, told)
    assert (moving.lab.order_of("web"), moving.source.autostart(moving.machine)) == (2, told)
    moving.lab.relay.rules.faults.append(Fault("ReconfigureAutostart", "fault:NoPermission"))
    with pytest.raises(SourceRefused, match="vSphere does not allow it"):
        moving.source.set_autostart(moving.machine, None)
    assert moving.lab.order_of("web") == 2
    moving.source.set_autostart(moving.machine, None)


def test_a_machine_that_goes_back_to_its_snapshot_is_never_switched_off(moving: Moving) -> None:
    moving.lab.configure("web", flags=vim.vm.FlagInfo(snapshotPowerOffBehavior="revert"))
    try:
        assert moving.source.concerns(moving.machine) == [], "it has no snapshot to go back to"
        waited(moving.lab.vm("web").CreateSnapshot_Task(name="theirs", memory=False, quiesce=False))
        (told,) = moving.source.concerns(moving.machine)
        assert "what it wrote since is lost" in told.what
        with pytest.raises(SourceRefused, match="stopped safely"):
            moving.source.stop(moving.machine, FORCE, lambda *_: None)
        assert moving.source.power(moving.machine) is Power.RUNNING
    finally:
        moving.lab.configure("web", flags=vim.vm.FlagInfo(snapshotPowerOffBehavior="powerOff"))


def test_a_trial_reads_a_file_of_the_running_machine(moving: Moving) -> None:
    with moving.source.way(moving.machine, remote=True) as way:
        assert way is not None
        assert way.credential
        assert "/folder/web/" in way.uri
        local = way.model_copy(update={"credential": None})
        with open_disk(local) as opened:
            assert opened.size > 0
    assert moving.lab.snapshots("web") == []
    assert moving.told == []
